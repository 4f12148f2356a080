//! Proves to the bastion who somebody is, with as few keys as it takes.

use std::path::Path;

use russh::client::AuthResult;
use russh::client::Handle;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey, decode_secret_key, ssh_key};
use russh::{AgentAuthError, Signer};

use super::bastion::Bastion;
use super::failure::Failure;
use super::host_key::{Judge, fingerprint};
use super::identities::{Agent, AgentState, Holder, Identities, Offer};
use super::terminal;

const PASSPHRASE_TRIES: usize = 3;

/// Offers one key after another until the bastion lets her in.
pub(super) async fn authenticate(
    handle: &mut Handle<Judge>,
    bastion: &Bastion,
    found: Identities,
    mut agent: Option<Agent>,
) -> Result<(), Failure> {
    if found.offers.is_empty() {
        return Err(no_key(bastion, &found));
    }
    let mut notes = found.notes;
    let mut refused = Vec::new();
    for offer in &found.offers {
        // How many keys it takes is the server's to say: it hangs up.
        if handle.is_closed() {
            notes.push("the bastion took no more keys: name the right one by `devctl login --identity FILE`".into());
            break;
        }
        match try_one(handle, bastion, offer, agent.as_mut()).await? {
            Tried::Accepted => return Ok(()),
            Tried::Refused => refused.push(format!("{} ({})", fingerprint(&offer.identity.public_key()), offer.name)),
            Tried::Unusable(why) => notes.push(format!("{}: {why}", offer.name)),
        }
    }
    Err(denied(bastion, &refused, &notes))
}

enum Tried {
    Accepted,
    Refused,
    /// It could not sign.
    Unusable(String),
}

async fn try_one(
    handle: &mut Handle<Judge>,
    bastion: &Bastion,
    offer: &Offer,
    agent: Option<&mut Agent>,
) -> Result<Tried, Failure> {
    let hash = match offer.identity.public_key().algorithm().is_rsa() {
        true => handle.best_supported_rsa_hash().await?.flatten().or(Some(HashAlg::Sha512)),
        false => None,
    };
    let login = &bastion.login;
    let key = match (&offer.holder, agent) {
        (Holder::Agent, Some(agent)) => {
            return match sign_by(handle, login, offer, hash, agent).await {
                Ok(result) => Ok(outcome(&result)),
                Err(AgentAuthError::Send(error)) => Err(error.into()),
                Err(AgentAuthError::Key(error)) => Ok(Tried::Unusable(format!("the agent does not sign: {error}"))),
            };
        }
        (Holder::Agent, None) => return Ok(Tried::Unusable("the agent is gone".to_owned())),
        (Holder::File(file), _) => decrypt(file, None).map_err(|why| Failure::new(why.to_string()))?,
        (Holder::EncryptedFile(file), _) => {
            // The passphrase is not asked for in vain.
            match sign_by(handle, login, offer, hash, &mut Probe).await {
                Ok(result) => return Ok(outcome(&result)),
                Err(Probed::Gone(error)) => return Err(error.into()),
                Err(Probed::Welcome) => unlock(file, &offer.name, bastion.quiet).await?,
            }
        }
    };
    Ok(outcome(&sign_by(handle, login, offer, hash, &mut Own(key)).await?))
}

async fn sign_by<S: Signer>(
    handle: &mut Handle<Judge>,
    login: &str,
    offer: &Offer,
    hash: Option<HashAlg>,
    signer: &mut S,
) -> Result<AuthResult, S::Error> {
    match &offer.identity {
        AgentIdentity::PublicKey { key, .. } => {
            handle.authenticate_publickey_with(login, key.clone(), hash, signer).await
        }
        AgentIdentity::Certificate { certificate, .. } => {
            handle.authenticate_certificate_with(login, certificate.clone(), hash, signer).await
        }
    }
}

fn outcome(result: &AuthResult) -> Tried {
    match result.success() {
        true => Tried::Accepted,
        false => Tried::Refused,
    }
}

/// Signs with a key that is in our own hands.
struct Own(PrivateKey);

impl Signer for Own {
    type Error = Failure;

    async fn auth_sign(&mut self, _: &AgentIdentity, hash: Option<HashAlg>, data: Vec<u8>) -> Result<Vec<u8>, Failure> {
        sign(&self.0, hash, data).map_err(|error| Failure::new(format!("failed to sign: {error}")).no_connection())
    }
}

/// The data with its signature behind (RFC 4252 §7).
fn sign(key: &PrivateKey, hash: Option<HashAlg>, mut data: Vec<u8>) -> Result<Vec<u8>, ssh_key::Error> {
    let signature = match key.key_data() {
        KeypairData::Rsa(key) => (key, hash).try_sign(&data)?,
        key => key.try_sign(&data)?,
    };
    let mut encoded = Vec::new();
    signature.encode(&mut encoded)?;
    encoded.encode(&mut data)?;
    Ok(data)
}

/// Only asks whether a key would do.
struct Probe;

enum Probed {
    Welcome,
    Gone(russh::SendError),
}

impl From<russh::SendError> for Probed {
    fn from(error: russh::SendError) -> Self {
        Self::Gone(error)
    }
}

impl Signer for Probe {
    type Error = Probed;

    async fn auth_sign(&mut self, _: &AgentIdentity, _: Option<HashAlg>, _: Vec<u8>) -> Result<Vec<u8>, Probed> {
        Err(Probed::Welcome)
    }
}

async fn unlock(file: &Path, name: &str, quiet: bool) -> Result<PrivateKey, Failure> {
    let add = format!("`ssh-add {}` once, and the agent has it", file.display());
    let no_terminal = || {
        let message = format!("the key {name} has a passphrase, and there is no terminal to ask for it");
        Failure::new(message).cure(add.clone()).no_connection()
    };
    for _ in 0..PASSPHRASE_TRIES {
        let answer = match quiet {
            true => Err(terminal::NoAnswer::NoTerminal),
            false => terminal::ask_secret(&format!("Passphrase of {name}: ")).await,
        };
        let passphrase = answer.map_err(|why| why.failure(no_terminal()))?;
        match decrypt(file, Some(&passphrase)) {
            Ok(key) => return Ok(key),
            Err(_) => eprintln!("devctl: this is not the passphrase of {name}"),
        }
    }
    Err(Failure::new(format!("the key {name} was not unlocked")).cure(add.clone()).no_connection())
}

fn decrypt(file: &Path, passphrase: Option<&str>) -> Result<PrivateKey, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    decode_secret_key(&text, passphrase).map_err(|error| format!("{}: {error}", file.display()))
}

fn no_key(bastion: &Bastion, found: &Identities) -> Failure {
    let mut why = found.notes.clone();
    match &found.agent {
        AgentState::Absent => {}
        AgentState::Reached(_) => why.push("the agent holds no key for it".to_owned()),
        AgentState::Unreachable(socket, error) => {
            why.push(format!("the agent at {} does not answer: {error}", socket.display()));
        }
    }
    let message = match why.is_empty() {
        true => format!("you have no SSH key to log in to {} with", bastion.display()),
        false => format!("you have no SSH key to log in to {} with:\n{}", bastion.display(), why.join("\n")),
    };
    let cure = "make one by `ssh-keygen -t ed25519`, and send ~/.ssh/id_ed25519.pub to your administrator;\n\
                one in another place is named by `devctl login --identity FILE`";
    Failure::new(message).cure(cure).no_connection()
}

fn denied(bastion: &Bastion, refused: &[String], notes: &[String]) -> Failure {
    let mut lines = vec![format!("{} does not let {} in (publickey)", bastion.display(), bastion.login)];
    lines.extend(refused.iter().map(|key| format!("refused: {key}")));
    lines.extend(notes.iter().map(|note| format!("not offered: {note}")));
    let cure = "is the name right? `devctl login USER@HOST` takes another;\n\
                or send your public key (ssh-keygen -y -f KEY) to your administrator, who can tell why";
    Failure::new(lines.join("\n")).cure(cure).no_connection()
}
