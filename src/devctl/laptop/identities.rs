//! The keys that a person has: in an agent, in files, and the certificates of them.

use std::path::{Path, PathBuf};

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key, load_public_key};
use tokio::net::UnixStream;

use super::bastion::Bastion;

/// What can be offered to a server, in the order to do so.
#[derive(Default)]
pub(super) struct Identities {
    pub(super) offers: Vec<Offer>,
    /// Why keys that are there cannot be offered.
    pub(super) notes: Vec<String>,
    pub(super) agent: AgentState,
}

/// A key, or a certificate of one.
#[derive(Clone)]
pub(super) struct Offer {
    /// What a person knows it by.
    pub(super) name: String,
    pub(super) identity: AgentIdentity,
    pub(super) holder: Holder,
}

/// Where the private key is.
#[derive(Clone)]
pub(super) enum Holder {
    Agent,
    File(PathBuf),
    /// It needs a passphrase.
    EncryptedFile(PathBuf),
}

/// The agent as it was found.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub(super) enum AgentState {
    /// None is configured.
    #[default]
    Absent,
    /// It does not answer at this socket.
    Unreachable(PathBuf, String),
    /// It holds so many keys.
    Reached(usize),
}

pub(super) type Agent = AgentClient<UnixStream>;

/// As OpenSSH's client tries them.
const DEFAULT_FILES: [&str; 5] = ["id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa"];

/// The socket of the agent to ask.
pub(super) fn agent_socket(bastion: &Bastion) -> Option<PathBuf> {
    let from_environment = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    match bastion.config.identity_agent.as_deref() {
        Some("none") => None,
        None | Some("SSH_AUTH_SOCK") => from_environment("SSH_AUTH_SOCK"),
        Some(path) => match path.strip_prefix('$').map(|name| name.trim_matches(['{', '}'])).filter(is_variable) {
            Some(variable) => from_environment(variable),
            None => Some(bastion.path(path)),
        },
    }
}

/// Else it is a path that begins with one.
fn is_variable(name: &&str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Identities {
    /// Finds what there is. If she named a file, then it is the only one.
    pub(super) async fn find(bastion: &Bastion, agent: Result<Option<&mut Agent>, (PathBuf, String)>) -> Self {
        let Bastion { config, places, identity: chosen, .. } = bastion;
        let mut found = Self::default();
        let held = match agent {
            Ok(None) => Vec::new(),
            Ok(Some(agent)) => match agent.request_identities().await {
                Ok(held) => {
                    found.agent = AgentState::Reached(held.len());
                    held
                }
                Err(error) => {
                    let socket = agent_socket(bastion).unwrap_or_default();
                    found.agent = AgentState::Unreachable(socket, error.to_string());
                    Vec::new()
                }
            },
            Err((socket, error)) => {
                found.agent = AgentState::Unreachable(socket, error);
                Vec::new()
            }
        };
        let configured = config.identity_files.iter().filter(|file| *file != "none");
        let explicit: Vec<PathBuf> = match chosen {
            Some(file) => vec![file.to_owned()],
            None => configured.map(|file| bastion.path(file)).collect(),
        };
        let named = chosen.is_some() || !config.identity_files.is_empty();
        for file in &explicit {
            found.add_file(file, bastion, &held, true);
        }
        if chosen.is_none() && config.identities_only != Some(true) {
            for identity in &held {
                found.add(comment(identity), identity.clone(), Holder::Agent);
            }
        }
        if !named {
            for file in DEFAULT_FILES.map(|name| places.ssh().join(name)) {
                found.add_file(&file, bastion, &held, false);
            }
        }
        found
    }

    fn add(&mut self, name: String, identity: AgentIdentity, holder: Holder) {
        if !self.offers.iter().any(|offer| is_same(&offer.identity, &identity)) {
            self.offers.push(Offer { name, identity, holder });
        }
    }

    /// Certificates first: they say more than the key.
    fn add_file(&mut self, file: &Path, bastion: &Bastion, held: &[AgentIdentity], must_exist: bool) {
        let Bastion { config, places, .. } = bastion;
        let name = places.shorten(file);
        let key = match read(file) {
            Ok(key) => key,
            Err(Unusable::Missing) if !must_exist => return,
            Err(why) => {
                self.notes.push(format!("{name}: {why}"));
                return;
            }
        };
        let in_agent = held.iter().any(|identity| identity.public_key().key_data() == key.public.key_data());
        let holder = match key.private {
            _ if in_agent => Holder::Agent,
            Private::Plain => Holder::File(file.to_owned()),
            Private::Encrypted => Holder::EncryptedFile(file.to_owned()),
            Private::Elsewhere(why) => {
                self.notes.push(format!("{name}: {why}"));
                return;
            }
        };
        let beside = std::iter::once(with_suffix(file, "-cert.pub"));
        let beside = beside.chain(config.certificate_files.iter().map(|file| bastion.path(file)));
        for path in beside {
            let certificate = std::fs::read_to_string(&path).ok();
            let certificate = certificate.and_then(|text| Certificate::from_openssh(text.trim()).ok());
            if let Some(certificate) = certificate.filter(|it| it.public_key() == key.public.key_data()) {
                let identity = AgentIdentity::Certificate { certificate, comment: String::new() };
                self.add(places.shorten(&path), identity, holder.clone());
            }
        }
        self.add(name, AgentIdentity::from(key.public), holder);
    }
}

/// What a key file tells without a passphrase.
struct KeyFile {
    public: PublicKey,
    private: Private,
}

enum Private {
    Plain,
    Encrypted,
    /// Not in the file, or not for us.
    Elsewhere(&'static str),
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("there is no such file")]
    Missing,
    #[error("it cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("it is not a private key that devctl understands; `ssh-add` it")]
    NoKey,
    #[error("it has a passphrase, and {0} beside it is missing: `ssh-keygen -y -f KEY >KEY.pub` makes it")]
    NoPublicHalf(String),
}

const IN_AGENT_ONLY: &str = "the private key is not here, and the agent does not hold it";
const SECURITY_KEY: &str = "a security key works through ssh-agent: `ssh-add` it";

fn read(file: &Path) -> Result<KeyFile, Unusable> {
    let beside = with_suffix(file, ".pub");
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        // A public key alone says which one of the agent's is meant.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let public = load_public_key(&beside).map_err(|_| Unusable::Missing)?;
            return Ok(KeyFile { public, private: Private::Elsewhere(IN_AGENT_ONLY) });
        }
        Err(error) => return Err(Unusable::Unreadable(error)),
    };
    if let Ok(public) = PublicKey::from_openssh(text.trim()) {
        return Ok(KeyFile { public, private: Private::Elsewhere(IN_AGENT_ONLY) });
    }
    if let Ok(key) = PrivateKey::from_openssh(&text) {
        let private = match key.is_encrypted() {
            _ if key.algorithm().as_str().starts_with("sk-") => Private::Elsewhere(SECURITY_KEY),
            true => Private::Encrypted,
            false => Private::Plain,
        };
        return Ok(KeyFile { public: key.public_key().clone(), private });
    }
    match decode_secret_key(&text, None) {
        Ok(key) => Ok(KeyFile { public: key.public_key().clone(), private: Private::Plain }),
        Err(russh::keys::Error::KeyIsEncrypted) => match load_public_key(&beside) {
            Ok(public) => Ok(KeyFile { public, private: Private::Encrypted }),
            Err(_) => Err(Unusable::NoPublicHalf(beside.display().to_string())),
        },
        Err(_) => Err(Unusable::NoKey),
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn is_same(one: &AgentIdentity, other: &AgentIdentity) -> bool {
    match (one, other) {
        (AgentIdentity::PublicKey { key: one, .. }, AgentIdentity::PublicKey { key: other, .. }) => {
            one.key_data() == other.key_data()
        }
        (
            AgentIdentity::Certificate { certificate: one, .. },
            AgentIdentity::Certificate { certificate: other, .. },
        ) => one.signature() == other.signature(),
        _ => false,
    }
}

fn comment(identity: &AgentIdentity) -> String {
    let (AgentIdentity::PublicKey { comment, .. } | AgentIdentity::Certificate { comment, .. }) = identity;
    match comment.as_str() {
        "" => "in the agent".to_owned(),
        comment => format!("{comment}, in the agent"),
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::LineEnding;
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::super::places::Places;
    use super::super::ssh_config::HostConfig;
    use super::*;

    struct Home {
        folder: tempfile::TempDir,
        places: Places,
    }

    impl Home {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let places = Places::new(folder.path().into(), folder.path().join(".config"));
            std::fs::create_dir(places.ssh()).unwrap();
            Self { folder, places }
        }

        fn key(&self, name: &str, seed: u8) -> PublicKey {
            let key = PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]));
            let text = key.to_openssh(LineEnding::LF).unwrap();
            std::fs::write(self.places.ssh().join(name), text.as_bytes()).unwrap();
            key.public_key().clone()
        }

        async fn find(&self, config: &HostConfig, chosen: Option<&Path>) -> Identities {
            let destination = "alice@bastion".parse().unwrap();
            let chosen = chosen.map(Path::to_owned);
            let bastion = Bastion::resolve(destination, chosen, &self.places).unwrap();
            Identities::find(&Bastion { config: config.clone(), ..bastion }, Ok(None)).await
        }
    }

    fn names(identities: &Identities) -> Vec<&str> {
        identities.offers.iter().map(|offer| offer.name.as_str()).collect()
    }

    #[tokio::test]
    async fn the_usual_files_are_offered_unless_others_are_named() {
        let home = Home::new();
        home.key("id_ed25519", 1);
        home.key("id_rsa", 2);
        home.key("work", 3);
        let usual = home.find(&HostConfig::default(), None).await;
        assert_eq!(names(&usual), ["~/.ssh/id_ed25519", "~/.ssh/id_rsa"]);
        assert!(usual.notes.is_empty());
        let config = HostConfig { identity_files: vec!["~/.ssh/work".into()], ..Default::default() };
        assert_eq!(names(&home.find(&config, None).await), ["~/.ssh/work"]);
        let config_by_token = HostConfig { identity_files: vec!["%d/.ssh/work".into()], ..Default::default() };
        assert_eq!(names(&home.find(&config_by_token, None).await), ["~/.ssh/work"]);
        let chosen = home.places.ssh().join("id_rsa");
        assert_eq!(names(&home.find(&config, Some(&chosen)).await), ["~/.ssh/id_rsa"]);
        assert!(home.folder.path().exists());
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_offered_is_told() {
        let home = Home::new();
        std::fs::write(home.places.ssh().join("junk"), "junk").unwrap();
        std::fs::write(home.places.ssh().join("only.pub"), home.key("x", 1).to_openssh().unwrap()).unwrap();
        let files = ["~/.ssh/junk", "~/.ssh/gone", "~/.ssh/only"].map(str::to_owned).to_vec();
        let found = home.find(&HostConfig { identity_files: files, ..Default::default() }, None).await;
        assert!(found.offers.is_empty());
        assert_eq!(found.notes.len(), 3, "{:?}", found.notes);
        assert!(found.notes[0].contains("junk") && found.notes[0].contains("ssh-add"));
        assert!(found.notes[1].contains("no such file"));
        assert!(found.notes[2].contains("agent"));
    }
}
