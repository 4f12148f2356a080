//! Forwards that wait for a DevServer, and what they hold meanwhile.

use russh::client::Handle;
use tokio::time::timeout;

use super::echo::NEVER_MADE;
use super::log::Log;
use super::{AnyHost, PATIENCE, TestServer, config, ended, exec};

async fn is_promised(alice: &Handle<AnyHost>) {
    let promised = timeout(PATIENCE, alice.tcpip_forward("localhost", NEVER_MADE.into())).await;
    assert!(promised.expect("it is answered").is_ok(), "it is promised");
}

#[tokio::test]
async fn who_only_waits_for_a_listener_is_told_that_there_will_be_none() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    is_promised(&alice).await;
    server.there.given_up.cancel();
    let end = async {
        while !alice.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, end).await.expect("the connection ends");
}

/// It was ended although a notebook was open over it.
#[tokio::test]
async fn who_has_a_forward_open_is_left_alone_when_there_will_be_no_listener() {
    let log = Log::collect();
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let _forward = alice.channel_open_direct_tcpip("gpu", 22, "localhost", 1).await.unwrap();
    is_promised(&alice).await;
    server.there.given_up.cancel();
    log.tells(&["gave up listening for a client"]).await;
    assert_eq!(ended(exec(&alice, "exit 3").await).await.2, Some(3));
}
