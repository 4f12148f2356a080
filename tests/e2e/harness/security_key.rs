//! A security key made in software, and the agent that holds it (draft-miller-ssh-agent, OpenSSH's PROTOCOL.u2f).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use russh::keys::signature::Signer;
use russh::keys::ssh_encoding::{Decode, Encode};
use russh::keys::ssh_key::public::{EcdsaPublicKey, KeyData, SkEcdsaSha2NistP256, SkEd25519};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey, PublicKey};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;

const APPLICATION: &str = "ssh:";
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const FAILURE: u8 = 5;

/// What the key says of its owner in a signature.
#[derive(Clone, Copy)]
pub(crate) enum Presence {
    None = 0,
    Touched = 1,
    /// Touched, and told the PIN.
    Verified = 5,
}

pub(crate) struct SecurityKey {
    public: PublicKey,
    flags: Arc<AtomicU8>,
    socket: PathBuf,
    _folder: TempDir,
    _serving: AbortOnDropHandle<()>,
}

/// What signs.
#[derive(Clone)]
struct Token {
    public: PublicKey,
    key: Arc<PrivateKey>,
    flags: Arc<AtomicU8>,
    /// What it is asked to sign for, as it understands it.
    application: String,
}

impl SecurityKey {
    pub(crate) fn ed25519() -> Self {
        Self::start(Algorithm::Ed25519, APPLICATION)
    }

    pub(crate) fn ecdsa() -> Self {
        Self::start(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }, APPLICATION)
    }

    /// One whose signatures are for another application.
    pub(crate) fn of_another_application() -> Self {
        Self::start(Algorithm::Ed25519, "https://example.org")
    }

    fn start(algorithm: Algorithm, application: &str) -> Self {
        let key = PrivateKey::random(&mut rand::rng(), algorithm).expect("keys can be made");
        let public = match key.public_key().key_data() {
            KeyData::Ed25519(point) => KeyData::SkEd25519(SkEd25519::new(*point, APPLICATION)),
            KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => {
                KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(*point, APPLICATION))
            }
            _ => unreachable!("no security key has such a key"),
        };
        let (public, flags) = (PublicKey::from(public), Arc::new(AtomicU8::new(Presence::Touched as u8)));
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let socket = folder.path().join("agent");
        let listener = UnixListener::bind(&socket).expect("the folder is ours");
        let (key, application) = (Arc::new(key), application.to_owned());
        let token = Token { public: public.clone(), key, flags: flags.clone(), application };
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, token.clone()));
            }
        });
        Self { public, flags, socket, _folder: folder, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The line of `authorized_keys`.
    pub(crate) fn public(&self) -> String {
        self.public.to_openssh().expect("it can be written")
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// What further signatures say.
    pub(crate) fn shows(&self, presence: Presence) {
        self.flags.store(presence as u8, Ordering::Relaxed);
    }
}

/// Answers `ssh` until it goes.
async fn serve(mut stream: UnixStream, token: Token) {
    while let Ok(length) = stream.read_u32().await {
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await.expect("ssh sends what it announces");
        let answer = token.answer(&request);
        stream.write_u32(answer.len() as u32).await.expect("ssh waits for it");
        stream.write_all(&answer).await.expect("ssh waits for it");
    }
}

impl Token {
    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        match request.split_first() {
            Some((&REQUEST_IDENTITIES, _)) => {
                answer.push(IDENTITIES_ANSWER);
                1u32.encode(&mut answer).expect("it is memory");
                self.public.to_bytes().expect("it can be written").encode(&mut answer).expect("it is memory");
                "a security key".encode(&mut answer).expect("it is memory");
            }
            Some((&SIGN_REQUEST, mut rest)) => {
                let _key = Vec::<u8>::decode(&mut rest).expect("which key");
                let message = Vec::<u8>::decode(&mut rest).expect("what to sign");
                answer.push(SIGN_RESPONSE);
                self.sign(&message).encode(&mut answer).expect("it is memory");
            }
            _ => answer.push(FAILURE),
        }
        answer
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let counter = 7u32.to_be_bytes();
        let tail = [&[self.flags.load(Ordering::Relaxed)][..], &counter].concat();
        let signed = [&Sha256::digest(&self.application)[..], &tail, &Sha256::digest(message)].concat();
        let signature = self.key.try_sign(&signed).expect("it is a private key");
        let mut bytes = Vec::new();
        self.public.algorithm().encode(&mut bytes).expect("it is memory");
        signature.as_bytes().encode(&mut bytes).expect("it is memory");
        [bytes, tail].concat()
    }
}
