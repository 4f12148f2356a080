//! Who vouches for the host keys of DevServers, as the bastion itself shows it.
//!
//! A DevServer's SSH server is the bastion's, within the connection; its host certificate names the authority, and whom
//! it belongs to. The connection around it is checked, so this is as good as the bastion's word.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handler};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::{Algorithm, Certificate, PublicKey};
use russh::{Preferred, SshId};
use tokio::time::timeout;

use super::connection::Connection;
use super::failure::Failure;

/// What a DevServer's certificate tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    key: PublicKey,
    /// Her name there, which may not be what she logs in as.
    pub(super) user: String,
    /// Where she lands if she names no DevServer.
    pub(super) devserver: String,
}

const LIMIT: Duration = Duration::from_secs(30);
const SSH: u32 = 22;

impl Authority {
    pub(super) async fn ask(connection: &Connection) -> Result<Self, Failure> {
        let certificate = Self::show(connection, "localhost").await?;
        Self::of(&certificate).ok_or_else(|| wrong("the certificate is of no DevServer"))
    }

    /// What the server behind the bastion that is called `host` there proves itself with.
    pub(super) async fn show(connection: &Connection, host: &str) -> Result<Certificate, Failure> {
        let channel = connection.handle.channel_open_direct_tcpip(host, SSH, "localhost", 0).await;
        let channel = channel.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(russh::ChannelOpenFailure::AdministrativelyProhibited) => {
                Failure::new("you may not forward ports, which `ssh mydev.dev` needs").cure("ask your administrator")
            }
            other => wrong(&other.to_string()),
        })?;
        let shown = Arc::new(Mutex::new(None));
        let config = client::Config {
            client_id: SshId::Standard("SSH-2.0-devctl".into()),
            preferred: Preferred { host_key_certificates: vec![Algorithm::Ed25519].into(), ..Preferred::DEFAULT },
            ..client::Config::default()
        };
        let look = Look { shown: shown.clone() };
        // It ends as soon as the key was seen, which is all that it is for.
        let _ = timeout(LIMIT, client::connect_stream(Arc::new(config), channel.into_stream(), look)).await;
        let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        shown.ok_or_else(|| wrong("it showed no certificate"))
    }

    /// The certificate says: `dev`, `dev.alice`, and further names.
    fn of(certificate: &Certificate) -> Option<Self> {
        let [devserver, full, ..] = certificate.valid_principals() else { return None };
        let user = full.strip_prefix(devserver.as_str())?.strip_prefix('.')?;
        let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if user.is_empty() || !plain(user) || !plain(devserver) || certificate.verify_signature().is_err() {
            return None;
        }
        let key = PublicKey::new(certificate.signature_key().clone(), "");
        Some(Self { key, user: user.to_owned(), devserver: devserver.clone() })
    }

    /// The line that trusts it with the names of her DevServers.
    pub(super) fn known_hosts_line(&self) -> Result<String, Failure> {
        let key = self.key.to_openssh().map_err(|error| Failure::new(error.to_string()))?;
        Ok(format!("@cert-authority *.{} {key}", self.user))
    }
}

fn wrong(why: &str) -> Failure {
    Failure::new(format!("the bastion does not tell who vouches for DevServers: {why}"))
}

struct Look {
    shown: Arc<Mutex<Option<Certificate>>>,
}

impl Handler for Look {
    type Error = russh::Error;

    async fn check_server_key(&mut self, proof: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = proof.certificate().cloned();
        Ok(false)
    }
}
