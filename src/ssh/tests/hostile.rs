//! Clients that do what no good client does. What each does has a clear end, takes nothing from its neighbours, and
//! leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::iter;
use russh::client::{self, Handle, Msg};
use russh::keys::PrivateKeyWithHashAlg;
use russh::{Channel, ChannelMsg, ChannelOpenFailure, Error};
use tokio::time::timeout;

use super::{AnyHost, Config, PATIENCE, TestServer, config, ended, exec};

/// Of what is asked for thousands of times, so much is under way at once.
const AT_ONCE: usize = 100;

/// A server that waits, when it is told to end, for whatever still runs.
async fn patient() -> TestServer {
    TestServer::start(Config { drain_timeout: 10 * PATIENCE, ..config() }).await
}

impl TestServer {
    /// A client that announces this window and these packets for its channels.
    async fn log_in_with(&self, window_size: u32, maximum_packet_size: u32) -> Handle<AnyHost> {
        let config = client::Config { window_size, maximum_packet_size, ..client::Config::default() };
        let mut connection = client::connect(Arc::new(config), self.address, AnyHost).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(self.key.clone(), None);
        assert!(connection.authenticate_publickey("alice", key).await.unwrap().success());
        connection
    }

    /// Somebody else is served meanwhile.
    async fn serves_others(&self) {
        assert_eq!(ended(exec(&self.log_in("alice").await, "exit 3").await).await.2, Some(3));
    }

    /// Its clients have left: no task of theirs keeps it.
    async fn keeps_nothing(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.run).await.expect("nothing runs any more").unwrap();
    }
}

/// A channel, as soon as one before has been forgotten.
pub(super) async fn opens(alice: &Handle<AnyHost>) -> Channel<Msg> {
    let open = async {
        loop {
            match alice.channel_open_session().await {
                Ok(channel) => break channel,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(PATIENCE, open).await.expect("those before are forgotten")
}

pub(super) async fn is_sent_away(alice: &Handle<AnyHost>) {
    let end = async {
        while !alice.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, end).await.expect("the connection ends");
}

#[tokio::test]
async fn of_ten_thousand_channels_all_but_a_few_are_refused() {
    let server = patient().await;
    let alice = server.log_in("alice").await;
    let opened: Vec<_> =
        iter(0..10_000).map(|_| alice.channel_open_session()).buffer_unordered(AT_ONCE).collect().await;
    let (held, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!(held.len(), config().max_sessions);
    for refusal in refused {
        let why = refusal.err();
        assert!(matches!(why, Some(Error::ChannelOpenFailure(ChannelOpenFailure::ResourceShortage))), "{why:?}");
    }
    server.serves_others().await;
    for channel in held.into_iter().flatten() {
        channel.exec(false, "exit 4").await.unwrap();
        assert_eq!(ended(channel).await.2, Some(4));
    }
    // As many again: each that was held is forgotten.
    for _ in 0..config().max_sessions {
        opens(&alice).await;
    }
    drop(alice);
    server.keeps_nothing().await;
}

#[tokio::test]
async fn channels_that_are_opened_for_nothing_are_forgotten_when_they_close() {
    let server = patient().await;
    let alice = server.log_in("alice").await;
    for _ in 0..300 {
        opens(&alice).await.close().await.unwrap();
    }
    let channel = opens(&alice).await;
    channel.exec(false, "exit 5").await.unwrap();
    assert_eq!(ended(channel).await.2, Some(5));
    drop(alice);
    server.keeps_nothing().await;
}

#[tokio::test]
async fn a_megabyte_of_environment_is_read_and_not_kept() {
    let server = patient().await;
    let alice = server.log_in("alice").await;
    let channel = alice.channel_open_session().await.unwrap();
    for n in 0..1024 {
        channel.set_env(false, format!("LC_{n}"), "x".repeat(1024)).await.unwrap();
    }
    // More than may be taken of one, and as much as one packet carries.
    channel.set_env(false, "LC_LONG", "x".repeat(30_000)).await.unwrap();
    channel.exec(false, "exit 6").await.unwrap();
    assert_eq!(ended(channel).await.2, Some(6));
    server.serves_others().await;
    drop(alice);
    server.keeps_nothing().await;
}

/// More than any packet may be: nothing that follows could be understood.
#[tokio::test]
async fn a_variable_of_a_megabyte_ends_its_connection_and_no_other() {
    let server = patient().await;
    let (alice, neighbour) = (server.log_in("alice").await, server.log_in("alice").await);
    let running = exec(&neighbour, "cat").await;
    let channel = alice.channel_open_session().await.unwrap();
    let _ = channel.set_env(false, "LC_LONG", "x".repeat(1 << 20)).await;
    let _ = channel.exec(false, "exit 0").await;
    is_sent_away(&alice).await;
    running.data(&b"still"[..]).await.unwrap();
    running.eof().await.unwrap();
    assert_eq!(ended(running).await, (b"still".to_vec(), String::new(), Some(0)));
    drop((alice, neighbour));
    server.keeps_nothing().await;
}

/// What it asks for is kept from it for as long as it likes, and costs no more for that.
#[tokio::test]
async fn a_client_without_a_window_is_sent_nothing_and_holds_up_nobody() {
    let server = patient().await;
    let alice = server.log_in_with(0, 32_768).await;
    let mut silent = exec(&alice, "stderr oh").await;
    let loud = exec(&alice, "double").await;
    for _ in 0..8 {
        loud.data_bytes(Bytes::from(vec![1; 1 << 20])).await.unwrap();
    }
    server.serves_others().await;
    // Its end needs no window.
    assert_eq!(ended(exec(&alice, "exit 7").await).await.2, Some(7));
    let early = timeout(Duration::from_millis(50), async {
        loop {
            match silent.wait().await {
                Some(ChannelMsg::Data { .. } | ChannelMsg::ExtendedData { .. } | ChannelMsg::ExitStatus { .. }) => {
                    break;
                }
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    });
    assert!(early.await.is_err(), "it was sent what there is no room for");
    drop((silent, loud));
    drop(alice);
    server.keeps_nothing().await;
}

#[tokio::test]
async fn packets_of_one_byte_arrive_in_order_both_ways() {
    let server = patient().await;
    let alice = server.log_in_with(1 << 20, 1).await;
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(5_000).collect();
    let (mut reader, writer) = exec(&alice, "cat").await.split();
    let typed = sent.clone();
    let typing = tokio::spawn(async move {
        for byte in typed {
            writer.data_bytes(vec![byte]).await.unwrap();
        }
        writer.eof().await.unwrap();
        writer
    });
    let (mut received, mut status) = (Vec::new(), None);
    while let Some(message) = timeout(PATIENCE, reader.wait()).await.expect("it goes on") {
        match message {
            ChannelMsg::Data { data } => {
                assert_eq!(data.len(), 1);
                received.extend_from_slice(&data);
            }
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            _ => {}
        }
    }
    drop(typing.await.unwrap());
    assert!(received == sent, "{} bytes came back", received.len());
    assert_eq!(status, Some(0));
    server.serves_others().await;
    drop(alice);
    server.keeps_nothing().await;
}

/// No data could be sent to it at all.
#[tokio::test]
async fn a_client_that_takes_no_packets_is_sent_away() {
    let server = patient().await;
    let alice = server.log_in_with(1 << 20, 0).await;
    assert!(alice.channel_open_session().await.is_err());
    is_sent_away(&alice).await;
    server.serves_others().await;
    drop(alice);
    server.keeps_nothing().await;
}

#[tokio::test]
async fn forwards_to_everything_are_refused_one_by_one() {
    let server = patient().await;
    let alice = server.log_in("alice").await;
    // Here no pod has an agent that could connect.
    let ports =
        iter(0..3_000_u32).map(|n| alice.channel_open_direct_tcpip(format!("10.0.0.{}", n % 256), n * 50, "x", 1));
    let refused = ports.buffer_unordered(AT_ONCE).filter(|opened| std::future::ready(opened.is_err())).count().await;
    assert_eq!(refused, 3_000);
    let odd = ["", "\0", "no such host", "::", "255.255.255.255", &"x".repeat(10_000)];
    for host in odd {
        for port in [0, 1, 22, 65_535, 65_536, u32::MAX] {
            // A host without dots at port 22 is a server of hers, which tells whom it does not find.
            let opened = alice.channel_open_direct_tcpip(host, port, "\u{202e}", u32::MAX).await;
            assert!(opened.is_err() || port == 22, "{host:?}:{port}");
        }
        assert!(alice.channel_open_direct_streamlocal(host).await.is_err(), "{host:?}");
        assert!(alice.tcpip_forward(host, 70_000).await.is_err(), "{host:?}");
        let _ = alice.streamlocal_forward(host).await; // Whether it says so now or later.
    }
    assert_eq!(ended(exec(&alice, "exit 8").await).await.2, Some(8));
    server.serves_others().await;
    drop(alice);
    server.keeps_nothing().await;
}

/// Each is a server that waits for a client to log in, for as long as any other does.
#[tokio::test]
async fn jumps_on_which_nobody_speaks_are_few_and_end() {
    let grace = Duration::from_secs(3);
    let server = TestServer::start(Config { login_grace_time: grace, drain_timeout: 10 * PATIENCE, ..config() }).await;
    let alice = server.log_in("alice").await;
    let opened: Vec<_> = iter(0..1_000)
        .map(|_| alice.channel_open_direct_tcpip("gpu", 22, "localhost", 1))
        .buffer_unordered(AT_ONCE)
        .filter_map(|opened| std::future::ready(opened.ok()))
        .collect()
        .await;
    assert!(!opened.is_empty());
    for mut channel in opened {
        let close = async { while channel.wait().await.is_some() {} };
        timeout(PATIENCE, close).await.expect("it is cut off");
    }
    assert_eq!(ended(exec(&alice, "exit 9").await).await.2, Some(9));
    drop(alice);
    server.keeps_nothing().await;
}
