//! Forwards that wait for a DevServer, and what they hold meanwhile.

use russh::client::Handle;
use tokio::time::timeout;

use super::allowance::jump;
use super::echo::NEVER_MADE;
use super::hostile::{is_sent_away, opens};
use super::log::Log;
use super::{AnyHost, Config, PATIENCE, TestServer, config, ended, exec};

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
    is_sent_away(&alice).await;
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

#[tokio::test]
async fn the_log_tells_of_listeners_that_are_too_many() {
    let log = Log::collect();
    let server = TestServer::start(Config { max_sessions: 1, ..config() }).await;
    let alice = server.log_in("alice").await;
    is_promised(&alice).await;
    assert!(alice.tcpip_forward("another", NEVER_MADE.into()).await.is_err());
    log.tells(&["refused to listen", "user=\"alice\"", "another", "max_sessions", "client.addr=127.0.0.1"]).await;
}

/// The pod may take minutes to start: whoever lost her connection and came again had less and less room.
#[tokio::test]
async fn what_waits_for_a_pod_gives_its_room_back_with_its_connection() {
    let server = TestServer::start(Config { max_channels_per_user: 2, ..config() }).await;
    let alice = server.log_in("alice").await;
    let waits_and_goes = async |connection: Handle<AnyHost>| {
        // Again while there is no room: those before may not be forgotten yet.
        let open = async move {
            while connection.channel_open_direct_tcpip("localhost", NEVER_MADE.into(), "x", 1).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        let waiting = tokio::spawn(open);
        timeout(PATIENCE, server.there.waits.notified()).await.expect("it waits for the pod");
        waiting.abort();
    };
    for _ in 0..4 {
        waits_and_goes(server.log_in("alice").await).await;
    }
    opens(&alice).await.close().await.unwrap();
    for _ in 0..4 {
        let inner = server.prove(jump(&alice).await, "anybody").await;
        waits_and_goes(inner).await;
    }
    opens(&alice).await;
}
