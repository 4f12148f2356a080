//! Who gets in, and what it costs those who do not.

use std::sync::Arc;
use std::time::Duration;

use russh::client::AuthResult;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{SendError, Signer};
use tokio::time::timeout;

use super::log::Log;
use super::{Config, PATIENCE, TestServer, config, new_key};
use crate::identity::Permissions;

#[tokio::test]
async fn foreign_keys_and_unknown_users_are_refused_alike() {
    let server = TestServer::start(config()).await;
    let mut answers = Vec::new();
    for (name, key) in [("alice", Arc::new(new_key())), ("mallory", server.key.clone())] {
        let key = PrivateKeyWithHashAlg::new(key, None);
        match server.connect().await.authenticate_publickey(name, key).await.unwrap() {
            AuthResult::Failure { remaining_methods, .. } => answers.push(remaining_methods),
            AuthResult::Success => panic!("{name} got in"),
        }
    }
    assert_eq!(answers[0], answers[1]);
}

/// Signs with a key that is not the one it is asked for.
struct Forger(PrivateKey);

impl Signer for Forger {
    type Error = SendError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        let signature = self.0.try_sign(&to_sign).unwrap().encode_vec().unwrap();
        signature.encode(&mut to_sign).unwrap();
        Ok(to_sign)
    }
}

/// Nobody's: only what is offered matters.
const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCagWzzYLFztAYyfBQKBkvNjfPf/p7TEibey2XxXoEYDJkd9hod9kT1MvkN0yDaBa8NVwsdRYuXwwxBiqbqGX0mmytfSH+b9hqAM7urabsn9RXzWKDPwhdGIxF9Yxt7EDTb6Ja9faco0BU18CsIkBNFKPhaxOQyZC9MMz6NN9X0dcYhwaAjxSEqqE7na84tF9h4S3QLUCJITHx6o5qOje4NsB8ZfhjWPQzpCeCb1Ym/yvcllWozXKisy8L6szxDKTmL62g3sdohwMRWUm44H1qWTd4l6rFuHqKWhXjMm8ooenN4w+wit1TiOPSpzmx3OlzAugNr/a4kLqbe6FuY8m2l";

/// Tells whether it was asked to sign.
struct Asked(bool);

impl Signer for Asked {
    type Error = SendError;

    async fn auth_sign(&mut self, _: &AgentIdentity, _: Option<HashAlg>, _: Vec<u8>) -> Result<Vec<u8>, Self::Error> {
        self.0 = true;
        Err(SendError {})
    }
}

#[tokio::test]
async fn an_rsa_key_is_not_to_be_proven_with_sha1() {
    let rsa = PublicKey::from_openssh(RSA).unwrap();
    let server = TestServer::knowing(config(), Permissions::ALL, new_key(), rsa.clone()).await;
    for (hash, welcome) in [(None, false), (Some(HashAlg::Sha256), true), (Some(HashAlg::Sha512), true)] {
        let (mut connection, mut signer) = (server.connect().await, Asked(false));
        let answer = connection.authenticate_publickey_with("alice", rsa.clone(), hash, &mut signer).await;
        assert!(!answer.is_ok_and(|answer| answer.success()));
        assert_eq!(signer.0, welcome, "{hash:?}");
    }
}

#[tokio::test]
async fn twenty_keys_may_be_offered_before_the_good_one() {
    let server = TestServer::start(config()).await;
    let mut connection = server.connect().await;
    for _ in 0..20 {
        let key = PrivateKeyWithHashAlg::new(Arc::new(new_key()), None);
        assert!(!connection.authenticate_publickey("alice", key).await.unwrap().success());
    }
    let key = PrivateKeyWithHashAlg::new(server.key.clone(), None);
    assert!(connection.authenticate_publickey("alice", key).await.unwrap().success());
}

#[tokio::test]
async fn three_bad_signatures_end_the_connection() {
    let server = TestServer::start(config()).await;
    let (public, good) = (server.key.public_key(), PrivateKeyWithHashAlg::new(server.key.clone(), None));
    for bad in 1..=3 {
        let mut connection = server.connect().await;
        for _ in 0..bad {
            let mut forger = Forger(new_key());
            let answer = connection.authenticate_publickey_with("alice", public.clone(), None, &mut forger).await;
            assert!(!answer.unwrap().success());
        }
        let answer = connection.authenticate_publickey("alice", good.clone()).await;
        assert_eq!(answer.is_ok_and(|answer| answer.success()), bad < 3, "after {bad}");
        assert_eq!(connection.is_closed(), bad == 3);
    }
}

/// As somebody does who looks for the owner of a key: everybody's public keys are at code hosts.
#[tokio::test]
async fn a_key_that_is_welcome_and_not_proven_is_in_the_log() {
    let log = Log::collect();
    let server = TestServer::start(config()).await;
    let public = server.key.public_key();
    let key = public.fingerprint(HashAlg::Sha256).to_string();
    let refused = ["refused a key", "login=\"alice\"", &key, "no good signature followed", "client.addr=127.0.0.1"];

    let mut connection = server.connect().await;
    let unknown = PrivateKeyWithHashAlg::new(Arc::new(new_key()), None);
    assert!(!connection.authenticate_publickey("mallory", unknown).await.unwrap().success());
    let mut leaves = Asked(false);
    assert!(connection.authenticate_publickey_with("alice", public.clone(), None, &mut leaves).await.is_err());
    assert!(leaves.0 && log.lines(&refused).is_empty(), "it may prove it yet");
    drop(connection);
    log.tells(&refused).await;
    log.tells(&["left without a login", "login=\"alice\"", "keys=2", "no good signature followed"]).await;

    let mut connection = server.connect().await;
    for _ in 0..2 {
        let mut forger = Forger(new_key());
        let answer = connection.authenticate_publickey_with("alice", public.clone(), None, &mut forger).await;
        assert!(!answer.unwrap().success());
    }
    server.prove(connection, "alice").await;
    log.tells(&["logged in", "login=\"alice\""]).await;
    assert_eq!(log.lines(&refused).len(), 1, "what is proven in the end is not refused");
}

/// A certificate that russh refuses by itself leaves no more than this.
#[tokio::test]
async fn who_asks_for_a_login_and_offers_nothing_is_in_the_log() {
    let log = Log::collect();
    let server = TestServer::start(config()).await;
    let mut connection = server.connect().await;
    assert!(!connection.authenticate_none("alice+gpu").await.unwrap().success());
    drop(connection);
    log.tells(&["left without a login", "login=\"alice\"", "keys=0", "has expired", "client.addr=127.0.0.1"]).await;
    // Whoever goes on is told of by what comes after.
    let mut connection = server.connect().await;
    assert!(!connection.authenticate_none("alice").await.unwrap().success());
    server.prove(connection, "bob").await;
    assert_eq!(log.lines(&["left without a login"]).len(), 1);
}

#[tokio::test]
async fn who_does_not_log_in_is_cut_off() {
    let server = TestServer::start(Config { login_grace_time: Duration::from_millis(50), ..config() }).await;
    let mut silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let mut greeting = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut greeting);
    timeout(PATIENCE, read).await.expect("the server closes").ok();
    assert!(greeting.starts_with(b"SSH-2.0-bastion_"));
}
