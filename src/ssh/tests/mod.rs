//! The server against russh's client on loopback, with tasks for programs.

mod allowance;
mod echo;
mod ends;
mod flow;
mod forwards;
mod hostile;
mod keepalive;
mod log;
mod login;
mod permissions;
mod requests;
mod sessions;
mod unread;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use russh::client::{self, Handle, Msg};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::config::PenaltiesConfig;
use super::variables::AcceptEnv;
use super::{Authenticate, Authority, Config, HostKeySource, HostKeys, Server};
use crate::identity::{Credential, Identity, OwnedCredential, Permissions, Permits, Refusal};
use echo::Echo;

/// Longer than anything here takes, and the end of what hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Knows alice and bob by one key, until it is taken away.
struct OneUser(PublicKey, Permissions, CancellationToken);

#[async_trait]
impl Authenticate for OneUser {
    fn welcome(&self, login: &str, key: &PublicKey, _: IpAddr) -> Result<(), Refusal> {
        if ["alice", "bob"].contains(&login) && *key == self.0 { Ok(()) } else { Err(Refusal::Unknown) }
    }

    async fn learn(&self, _: &str) -> bool {
        false
    }

    fn resolve(&self, login: &str, credential: Credential<'_>, from: IpAddr) -> Result<Identity, Refusal> {
        let Credential::Key(key) = credential else { return Err(Refusal::UntrustedAuthority) };
        self.welcome(login, key, from)?;
        Ok(Identity::for_test(login, self.1.clone()))
    }

    async fn lapse(&self, _: &str, _: &OwnedCredential, _: IpAddr, _: &Identity) -> String {
        self.2.cancelled().await;
        "your key was removed".to_owned()
    }
}

struct TestServer {
    address: SocketAddr,
    key: Arc<PrivateKey>,
    shutdown: CancellationToken,
    key_removed: CancellationToken,
    there: Echo,
    run: JoinHandle<()>,
}

struct AnyHost;

impl client::Handler for AnyHost {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

fn new_key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

pub(super) fn config() -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        proxy_protocol_from: vec![],
        host_key: HostKeySource::File("unused".into()),
        further_host_keys: vec![],
        host_certificates: vec![],
        ciphers: vec![russh::cipher::AES_256_GCM],
        macs: vec![russh::mac::HMAC_SHA256_ETM],
        banner: None,
        login_grace_time: PATIENCE,
        max_startups: 100,
        max_startups_per_source: 100,
        penalties: PenaltiesConfig {
            auth_failed: Duration::from_secs(5),
            no_auth: Duration::ZERO,
            grace_exceeded: Duration::from_secs(10),
            min: Duration::from_secs(15),
            max: Duration::from_secs(600),
            max_sources: 100,
            exempt: vec![],
        },
        max_key_offers: 20,
        max_connections_per_user: 50,
        max_channels_per_user: 100,
        max_sessions: 10,
        accept_env: AcceptEnv::parse(vec!["LANG".to_owned(), "X*".to_owned()]).unwrap(),
        allow_port_forwarding: true,
        allow_stream_local_forwarding: true,
        permit_open: Permits::ANY,
        permit_listen: Permits::ANY,
        allow_agent_forwarding: true,
        allow_x11_forwarding: true,
        max_forwards: 10,
        detached_shell_timeout: Duration::ZERO,
        keepalive_interval: Duration::from_secs(30),
        keepalive_count_max: 3,
        drain_timeout: Duration::from_secs(1),
        spool_directory: std::env::temp_dir(),
        spool_memory_mib: 64,
        spool_slow_above_mib: 64,
        spool_limit_mib: 128,
        spool_total_mib: 1024,
    }
}

impl TestServer {
    async fn start(config: Config) -> Self {
        Self::permitting(config, Permissions::ALL).await
    }

    /// Where alice may do only so much.
    async fn permitting(config: Config, permissions: Permissions) -> Self {
        let key = new_key();
        let known = key.public_key().clone();
        Self::knowing(config, permissions, key, known).await
    }

    /// Where alice is `known` by a key that need not be the one that she has.
    async fn knowing(config: Config, permissions: Permissions, key: PrivateKey, known: PublicKey) -> Self {
        let listener = TcpListener::bind(config.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = Arc::new(key);
        let key_removed = CancellationToken::new();
        let user = OneUser(known, permissions, key_removed.clone());
        let host_keys = HostKeys { keys: vec![new_key()], certificates: vec![] };
        let authority = Arc::new(Authority::new(&host_keys.keys[0]).unwrap());
        let there = Echo::default();
        let (user, echo) = (Arc::new(user), Arc::new(there.clone()));
        let server = Server::new(config, host_keys, authority, user, echo.clone(), echo);
        let shutdown = CancellationToken::new();
        let run = tokio::spawn(server.run(listener, shutdown.clone()));
        Self { address, key, shutdown, key_removed, there, run }
    }

    async fn connect(&self) -> Handle<AnyHost> {
        client::connect(Arc::default(), self.address, AnyHost).await.unwrap()
    }

    async fn log_in(&self, name: &str) -> Handle<AnyHost> {
        let connection = self.connect().await;
        self.prove(connection, name).await
    }

    /// As somebody whose client takes no output.
    async fn log_in_without_window(&self, name: &str) -> Handle<AnyHost> {
        let config = Arc::new(client::Config { window_size: 0, ..client::Config::default() });
        let connection = client::connect(config, self.address, AnyHost).await.unwrap();
        self.prove(connection, name).await
    }

    async fn prove(&self, mut connection: Handle<AnyHost>, name: &str) -> Handle<AnyHost> {
        let key = PrivateKeyWithHashAlg::new(self.key.clone(), None);
        assert!(connection.authenticate_publickey(name, key).await.unwrap().success());
        connection
    }
}

async fn exec(connection: &Handle<AnyHost>, command: &str) -> Channel<Msg> {
    let channel = connection.channel_open_session().await.unwrap();
    channel.exec(false, command).await.unwrap();
    channel
}

/// What came until the close: stdout, stderr and the exit status.
async fn ended(mut channel: Channel<Msg>) -> (Vec<u8>, String, Option<u32>) {
    let (mut out, mut err, mut status) = (Vec::new(), Vec::new(), None);
    let read = async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    assert!(status.is_none(), "output after the exit status");
                    out.extend_from_slice(&data);
                }
                ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, read).await.expect("the channel ends");
    (out, String::from_utf8(err).unwrap(), status)
}
