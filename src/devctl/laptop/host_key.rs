//! Whether to go on with a server that shows this host key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::client::{Handler, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::{HashAlg, PublicKey};

use super::bastion::Bastion;
use super::failure::Failure;
use super::known_hosts::{self, KnownHosts, Place, Verdict};
use super::terminal;

/// What to do about a host that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Refuse,
    Ask,
    Accept,
}

/// The client's side of a connection.
pub(super) struct Judge {
    pub(super) bastion: Bastion,
    pub(super) known: KnownHosts,
    pub(super) unknown: Unknown,
    pub(super) seen: Arc<Mutex<Seen>>,
}

/// What a server showed of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The first line that it said.
    pub(super) software: Option<String>,
    pub(super) fingerprint: Option<String>,
    /// The key was not known, and is from now on.
    pub(super) learned: bool,
}

impl Handler for Judge {
    type Error = Failure;

    async fn check_server_key(&mut self, proof: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        let key = proof.public_key();
        let fingerprint = fingerprint(&key);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).fingerprint = Some(fingerprint.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (host, port) = self.bastion.known_as();
        match self.known.judge(proof, host, now) {
            Verdict::Known => return Ok(true),
            Verdict::Changed(place) => return Err(changed(&self.bastion, &fingerprint, &place)),
            Verdict::Revoked(place) => return Err(revoked(&self.bastion, &fingerprint, &place)),
            Verdict::Unknown => {}
        }
        match self.unknown {
            Unknown::Refuse => return Err(unknown(&self.bastion, &fingerprint)),
            Unknown::Ask => ask(&self.bastion, &fingerprint).await?,
            Unknown::Accept => {}
        }
        known_hosts::learn(&self.bastion.learning_file(), host, port, key.key_data())?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).learned = true;
        Ok(true)
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut Session) -> Result<(), Failure> {
        // A server's words do not get to move the cursor about.
        let plain: String = banner.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect();
        if !self.bastion.quiet {
            eprint!("{plain}");
        }
        Ok(())
    }

    async fn kex_done(
        &mut self,
        _secret: Option<&[u8]>,
        _names: &russh::Names,
        session: &mut Session,
    ) -> Result<(), Failure> {
        let software = String::from_utf8_lossy(session.remote_sshid()).into_owned();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).software = Some(software);
        Ok(())
    }
}

/// `ED25519 SHA256:…`, as OpenSSH's client has it.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    let kind = match key.algorithm().as_str() {
        "ssh-ed25519" => "ED25519",
        "ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512" => "RSA",
        name if name.starts_with("ecdsa-") => "ECDSA",
        name if name.starts_with("sk-ssh-ed25519") => "ED25519-SK",
        name if name.starts_with("sk-ecdsa") => "ECDSA-SK",
        _ => "OTHER",
    };
    format!("{kind} {}", key.fingerprint(HashAlg::Sha256))
}

async fn ask(bastion: &Bastion, fingerprint: &str) -> Result<(), Failure> {
    let question = format!(
        "The bastion {} is new here. Its host key is\n  {fingerprint}\n\
         Is it the one that your administrator told you? [yes/no, or the fingerprint] ",
        bastion.display()
    );
    let answer = terminal::ask(&question).await.map_err(|why| why.failure(unknown(bastion, fingerprint)))?;
    let digest = fingerprint.rsplit(' ').next().unwrap_or(fingerprint);
    match answer.trim() {
        "yes" => Ok(()),
        told if told == digest || told == fingerprint => Ok(()),
        _ => Err(Failure::new("the host key was not accepted").no_connection()),
    }
}

fn unknown(bastion: &Bastion, fingerprint: &str) -> Failure {
    let message = format!("the host key of {} is not known here: {fingerprint}", bastion.display());
    let login = bastion.login_argument();
    Failure::new(message)
        .cure(format!(
            "`devctl login {login}` shows it and asks; `devctl login --accept-new {login}` takes it without asking"
        ))
        .no_connection()
}

fn changed(bastion: &Bastion, fingerprint: &str, place: &Place) -> Failure {
    let name = bastion.known_name();
    let (file, line) = (place.file.display(), place.line);
    let message = format!(
        "the host key of {} has changed\n\
         @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n\
         @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\
         @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n\
         IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY: somebody between you and the bastion may be listening.\n\
         It may also be that the bastion was given a new host key.\n\
         The key that it shows: {fingerprint}\n\
         The key that is known: {file} line {line}",
        bastion.display()
    );
    let cure = format!(
        "ask your administrator whether the new key is right; only then\n\
         `ssh-keygen -R '{name}' -f {file}` and `devctl login {}`",
        bastion.login_argument()
    );
    Failure::new(message).cure(cure).no_connection()
}

fn revoked(bastion: &Bastion, fingerprint: &str, place: &Place) -> Failure {
    let (file, line) = (place.file.display(), place.line);
    let message = format!("the host key of {} is revoked: {fingerprint} ({file} line {line})", bastion.display());
    Failure::new(message).cure("ask your administrator; do not go on").no_connection()
}
