//! What one user has open is bounded, and what is bounded is hers alone.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{join_all, select_all};
use russh::client::{self, DisconnectReason, Handle};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelOpenFailure, Disconnect, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::allowance::Allowances;
use super::super::config::PenaltiesConfig;
use super::super::inbox::Inbox;
use super::super::throttle::{Pace, Throttle};
use super::log::Log;
use super::{AnyHost, Config, PATIENCE, TestServer, config, ended, exec, new_key};

const PIECE: usize = 32 * 1024;

/// Hears why it is sent away.
struct Told(mpsc::UnboundedSender<String>);

impl client::Handler for Told {
    type Error = Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        if let DisconnectReason::ReceivedDisconnect(info) = reason {
            let _ = self.0.send(info.message);
        }
        Ok(())
    }
}

fn is_short<T>(opened: &Result<T, Error>) -> bool {
    matches!(opened, Err(Error::ChannelOpenFailure(ChannelOpenFailure::ResourceShortage)))
}

/// A jump, as soon as there is room for one.
pub(super) async fn jump(alice: &Handle<AnyHost>) -> Handle<AnyHost> {
    let open = async {
        loop {
            match alice.channel_open_direct_tcpip("gpu", 22, "localhost", 1).await {
                Ok(channel) => break channel,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let channel = timeout(PATIENCE, open).await.expect("those before are forgotten");
    client::connect_stream(Arc::default(), channel.into_stream(), AnyHost).await.unwrap()
}

#[tokio::test]
async fn names_that_nothing_has_are_not_kept() {
    let log = Log::collect();
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let long = "a".repeat(200_000);
    for port in [22, 80] {
        let refused = alice.channel_open_direct_tcpip(&long, port, "localhost", 1).await.err();
        let prohibited = Some(Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited));
        assert_eq!(format!("{refused:?}"), format!("{prohibited:?}"), "{port}");
    }
    assert!(alice.channel_open_direct_streamlocal(&long).await.is_err());
    assert!(alice.tcpip_forward(&long, 8080).await.is_err());
    assert!(alice.streamlocal_forward(&long).await.is_err());
    assert!(alice.tcpip_forward("localhost", 65_536).await.is_err());
    let told = log.lines(&["refused to forward", "user=\"alice\"", "no port so high", "client.addr=127.0.0.1"]);
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_others_are_let_in() {
    let server = TestServer::start(Config { max_connections_per_user: 3, ..config() }).await;
    let three = join_all((0..3).map(|_| server.log_in("alice"))).await;
    let (told, mut why) = mpsc::unbounded_channel();
    let mut fourth = client::connect(Arc::default(), server.address, Told(told)).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(server.key.clone(), None);
    let _ = fourth.authenticate_publickey("alice", key).await;
    let why = timeout(PATIENCE, why.recv()).await.expect("it is ended").expect("it is told why");
    assert!(why.contains("you have 3 open"), "{why}");
    assert_eq!(ended(exec(&server.log_in("bob").await, "exit 3").await).await.2, Some(3));
    assert_eq!(ended(exec(&three[2], "exit 4").await).await.2, Some(4));
    drop(three);
    let again = async {
        loop {
            let mut connection = server.connect().await;
            let key = PrivateKeyWithHashAlg::new(server.key.clone(), None);
            let _ = connection.authenticate_publickey("alice", key).await;
            if connection.channel_open_session().await.is_ok() {
                break;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("places are given back");
}

#[tokio::test]
async fn who_holds_all_places_with_silence_keeps_no_newcomer_out() {
    let config = Config {
        max_startups: 4,
        max_startups_per_source: 2,
        login_grace_time: 10 * PATIENCE,
        proxy_protocol_from: vec!["127.0.0.0/8".parse().unwrap()],
        penalties: PenaltiesConfig { no_auth: PATIENCE, ..config().penalties },
        ..config()
    };
    let server = TestServer::start(config).await;
    let from = async |source: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let header = format!("PROXY TCP4 {source} 127.0.0.1 1 22\r\n");
        stream.write_all(header.as_bytes()).await.unwrap();
        stream
    };
    let mut silent = Vec::new();
    for source in ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2"] {
        let (mut stream, mut greeting) = (from(source).await, [0; 8]);
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"SSH-2.0-");
        silent.push(stream);
    }
    let newcomer = client::connect_stream(Arc::default(), from("10.0.0.3").await, AnyHost).await.unwrap();
    let alice = server.prove(newcomer, "alice").await;
    assert_eq!(ended(exec(&alice, "exit 3").await).await.2, Some(3));
    let ends = silent.iter_mut().map(|stream| {
        async move {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        .boxed()
    });
    let ((), gone, _) = timeout(PATIENCE, select_all(ends)).await.expect("one of them had to go");
    // For no fault of its own.
    let source = ["10.0.0.1", "10.0.0.2"][gone / 2];
    let again = client::connect_stream(Arc::default(), from(source).await, AnyHost).await.unwrap();
    server.prove(again, "alice").await;
}

#[tokio::test]
async fn jumps_are_connections_of_hers() {
    let server = TestServer::start(Config { max_connections_per_user: 3, ..config() }).await;
    let alice = server.log_in("alice").await;
    let opened = join_all((0..3).map(|_| alice.channel_open_direct_tcpip("gpu", 22, "localhost", 1))).await;
    assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 2);
    assert_eq!(opened.iter().filter(|opened| is_short(opened)).count(), 1);
    for channel in opened.into_iter().flatten() {
        channel.close().await.unwrap();
    }
    assert!(server.prove(jump(&alice).await, "anything").await.channel_open_session().await.is_ok());
}

#[tokio::test]
async fn sessions_and_forwards_of_all_her_connections_are_counted_together() {
    let server = TestServer::start(Config { max_channels_per_user: 3, ..config() }).await;
    let (one, two, bob) = (server.log_in("alice").await, server.log_in("alice").await, server.log_in("bob").await);
    let mut held = vec![exec(&one, "cat").await, exec(&two, "cat").await];
    held.push(one.channel_open_direct_tcpip("gpu", 22, "localhost", 1).await.unwrap());
    assert!(is_short(&two.channel_open_session().await));
    assert!(is_short(&two.channel_open_direct_tcpip("gpu", 22, "localhost", 1).await));
    assert_eq!(ended(exec(&bob, "exit 3").await).await.2, Some(3));
}

/// More often than its whole source would be refused for.
#[tokio::test]
async fn a_login_within_a_connection_that_fails_is_not_held_against_its_source() {
    let server = TestServer::start(Config { max_connections_per_user: 2, ..config() }).await;
    let alice = server.log_in("alice").await;
    for _ in 0..6 {
        // The one before has ended, and been judged, once there is room for this one.
        let mut inner = jump(&alice).await;
        let key = PrivateKeyWithHashAlg::new(Arc::new(new_key()), None);
        assert!(!inner.authenticate_publickey("alice", key).await.unwrap().success());
        inner.disconnect(Disconnect::ByApplication, "", "").await.unwrap();
    }
    server.log_in("bob").await;
}

fn inbox(allowances: &Allowances, user: &str) -> (Inbox, Arc<Throttle>, Arc<super::super::allowance::Allowance>) {
    let throttle = Throttle::new(u64::MAX, u64::MAX, allowances.rooms().clone());
    let allowance = allowances.of(user);
    throttle.belong(allowance.rooms.clone());
    (Inbox::new(throttle.clone(), std::env::temp_dir()), throttle, allowance)
}

/// Whatever `inbox` keeps for a program that does not read, up to the end.
async fn fill(inbox: &Inbox) {
    for _ in 0..1024 {
        if inbox.put(Bytes::from(vec![0; PIECE])).await.is_err() {
            return;
        }
    }
    panic!("there is no end to what one user may fill");
}

/// Whether all arrives of what a program reads that is four pieces behind.
async fn is_served(inbox: &Inbox) -> bool {
    let (mut sent, mut received) = (0, 0);
    while sent < 64 * PIECE {
        if inbox.put(Bytes::from(vec![1; PIECE])).await.is_err() {
            return false;
        }
        sent += PIECE;
        while sent - received > 4 * PIECE {
            received += inbox.take().await.unwrap().unwrap().len();
        }
    }
    inbox.put_eof();
    while let Some(data) = inbox.take().await.unwrap() {
        received += data.len();
    }
    received == sent
}

fn small() -> Allowances {
    Allowances::new(&Config { spool_memory_mib: 1, spool_total_mib: 8, ..config() })
}

#[tokio::test]
async fn who_fills_her_room_leaves_the_others_theirs() {
    let allowances = small();
    let alice = [inbox(&allowances, "alice"), inbox(&allowances, "alice")];
    for (inbox, throttle, _) in &alice {
        fill(inbox).await;
        assert_eq!(throttle.pace(), Pace::Trickle, "it is read slowly before it ends");
    }
    let (bob, throttle, allowance) = inbox(&allowances, "bob");
    assert!(is_served(&bob).await);
    bob.put(Bytes::from(vec![0; 6 * PIECE])).await.unwrap();
    assert!(throttle.pace() != Pace::Trickle && !allowance.rooms.disk.is_nearly_full());
}

#[tokio::test]
async fn where_everything_is_full_programs_that_read_go_on() {
    let allowances = small();
    let users = ["alice", "carol", "dave", "erin", "frank", "grace"].map(|user| inbox(&allowances, user));
    for (inbox, ..) in &users {
        fill(inbox).await;
    }
    let (bob, throttle, allowance) = inbox(&allowances, "bob");
    assert!(allowance.rooms.disk.is_nearly_full());
    assert!(is_served(&bob).await);
    bob.put(Bytes::from(vec![0; 6 * PIECE])).await.unwrap();
    assert_eq!(throttle.pace(), Pace::Trickle);
}
