//! Who gets in, and what it costs those who do not.

use std::sync::Arc;
use std::time::Duration;

use russh::client::AuthResult;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use russh::{SendError, Signer};
use tokio::time::timeout;

use super::{Config, PATIENCE, TestServer, config, new_key};

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

#[tokio::test]
async fn who_does_not_log_in_is_cut_off() {
    let server = TestServer::start(Config { login_grace_time: Duration::from_millis(50), ..config() }).await;
    let mut silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let mut greeting = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut greeting);
    timeout(PATIENCE, read).await.expect("the server closes").ok();
    assert!(greeting.starts_with(b"SSH-2.0-bastion_"));
}
