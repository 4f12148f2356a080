//! Signs of life, both ways.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::{Error, client};
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::echo::NEVER_MADE;
use super::log::Log;
use super::{AnyHost, Config, PATIENCE, TestServer, config, ended, exec};

#[tokio::test]
async fn a_client_is_answered_while_a_program_stalls_and_a_devserver_is_made() {
    let alice = TestServer::start(config()).await.log_in("alice").await;
    let stalled = exec(&alice, "stall").await;
    stalled.data_bytes(Bytes::from(vec![0; 4 << 20])).await.unwrap();
    let alive = async {
        assert!(alice.tcpip_forward("localhost", NEVER_MADE.into()).await.is_ok(), "it is promised");
        alice.send_ping().await.unwrap();
        assert_eq!(ended(exec(&alice, "exit 3").await).await.2, Some(3));
        assert!(alice.cancel_tcpip_forward("localhost", NEVER_MADE.into()).await.is_ok());
        assert!(alice.cancel_tcpip_forward("localhost", NEVER_MADE.into()).await.is_err(), "it is no more");
    };
    timeout(PATIENCE, alive).await.expect("the connection goes on");
}

#[tokio::test]
async fn a_pod_that_cannot_listen_is_a_refusal() {
    let alice = TestServer::start(config()).await.log_in("alice").await;
    for port in [0, 8080] {
        let refused = timeout(PATIENCE, alice.tcpip_forward("localhost", port)).await.unwrap();
        assert!(matches!(refused, Err(Error::RequestDenied)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_client_that_gives_no_sign_of_life_is_cut() {
    let log = Log::collect();
    let often = Duration::from_millis(500);
    let server = TestServer::start(Config { keepalive_interval: often, keepalive_count_max: 2, ..config() }).await;
    let (relay, silent) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
    let (address, to, mute) = (relay.local_addr().unwrap(), server.address, silent.clone());
    // Between client and server; what the client says is lost once it is mute.
    let cut = tokio::spawn(async move {
        let (client, server) = (relay.accept().await.unwrap().0, TcpStream::connect(to).await.unwrap());
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let up = async move {
            tokio::select! {
                _ = copy(&mut from_client, &mut to_server) => {}
                () = mute.cancelled() => {}
            }
            (from_client, to_server)
        };
        let up = tokio::spawn(up);
        let _ = copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
        drop(up.await);
    });
    let connection = client::connect(Arc::default(), address, AnyHost).await.unwrap();
    let alice = server.prove(connection, "alice").await;
    assert_eq!(ended(exec(&alice, "exit 3").await).await.2, Some(3));
    silent.cancel();
    timeout(PATIENCE, cut).await.expect("the server cuts it off").unwrap();
    log.tells(&["connection ended", "user=\"alice\"", "no sign of life"]).await;
}
