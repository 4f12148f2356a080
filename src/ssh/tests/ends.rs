//! What the server ends, and how it is told.

use russh::client::Msg;
use russh::{Channel, ChannelMsg, Disconnect};
use tokio::time::timeout;

use super::log::Log;
use super::{Config, PATIENCE, TestServer, config, ended, exec};

#[tokio::test]
async fn a_key_that_is_taken_away_ends_what_runs_and_the_connection() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let (one, other) = (exec(&alice, "stall").await, exec(&alice, "cat").await);
    server.key_removed.cancel();
    for channel in [one, other] {
        assert_eq!(ended(channel).await, (vec![], "bastion: your key was removed\n".into(), Some(255)));
    }
    let end = async {
        while !alice.is_closed() {
            assert!(alice.channel_open_session().await.is_err(), "nothing new is begun");
        }
    };
    timeout(PATIENCE, end).await.expect("the connection ends");
}

#[tokio::test]
async fn a_drain_waits_for_programs_and_tells_terminals() {
    let server = TestServer::start(Config { drain_timeout: PATIENCE, ..config() }).await;
    let alice = server.log_in("alice").await;
    let mut shell = alice.channel_open_session().await.unwrap();
    shell.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    shell.request_shell(false).await.unwrap();
    shell.data(&b"x"[..]).await.unwrap();
    let data = |message| match message {
        Some(ChannelMsg::Data { data }) => data,
        other => panic!("{other:?}"),
    };
    let next = async |shell: &mut Channel<Msg>| loop {
        match timeout(PATIENCE, shell.wait()).await.unwrap() {
            Some(ChannelMsg::WindowAdjusted { .. } | ChannelMsg::Success) => {}
            other => break data(other),
        }
    };
    assert_eq!(next(&mut shell).await, "x");
    server.shutdown.cancel();
    assert!(String::from_utf8_lossy(&next(&mut shell).await).contains("this server is shutting down"));
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
    shell.eof().await.unwrap();
    assert_eq!(ended(shell).await.2, Some(0));
    timeout(PATIENCE, server.run).await.expect("the drain ends").unwrap();
}

/// OpenSSH's client would end its connection at data on stderr after the end.
#[tokio::test]
async fn who_writes_no_more_runs_on_and_nothing_follows_the_end_of_its_output() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let mut channel = exec(&alice, "hush").await;
    let mut seen = Vec::new();
    let read = async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => seen.push(String::from_utf8_lossy(&data).into_owned()),
                ChannelMsg::ExtendedData { .. } => seen.push("stderr".to_owned()),
                ChannelMsg::ExitStatus { exit_status } => seen.push(exit_status.to_string()),
                ChannelMsg::Eof => {
                    seen.push("eof".to_owned());
                    channel.eof().await.unwrap();
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, read).await.expect("the channel ends");
    assert_eq!(seen, ["all", "eof", "0"]);
}

/// paramiko's users wait for it alone, and waited for whatever server the program had left in the background.
#[tokio::test]
async fn how_a_program_ended_is_told_once_although_others_hold_its_output() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let mut channel = exec(&alice, "leave 7").await;
    let mut seen = Vec::new();
    let read = async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::ExitStatus { exit_status } => {
                    seen.push(exit_status.to_string());
                    channel.eof().await.unwrap();
                }
                ChannelMsg::Eof => seen.push("eof".to_owned()),
                ChannelMsg::Close => seen.push("close".to_owned()),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, read).await.expect("the channel ends");
    assert_eq!(seen, ["7", "eof", "close"]);
}

/// A client in it may have nobody else to tell it: OpenSSH's `ssh -W` waits for the close.
#[tokio::test]
async fn a_channel_ends_with_the_connection_that_jumps_through_it() {
    let alice = TestServer::start(config()).await.log_in("alice").await;
    for words in [&b"SSH-1.0-of old\r\n"[..], b"SSH-2.0-x\r\nno packet of SSH's, whatever it may be"] {
        let mut jump = alice.channel_open_direct_tcpip("gpu", 22, "localhost", 1).await.unwrap();
        jump.data(words).await.unwrap();
        let closed = async { while !matches!(jump.wait().await, Some(ChannelMsg::Close) | None) {} };
        timeout(PATIENCE, closed).await.expect("the channel is closed");
    }
    assert_eq!(ended(exec(&alice, "exit 3").await).await.2, Some(3), "the connection around it goes on");
}

#[tokio::test]
async fn the_log_tells_whose_connection_ended_and_how() {
    let log = Log::collect();
    let server = TestServer::start(config()).await;
    let ended = ["connection ended", "client.addr=127.0.0.1", "duration="];
    let tells = async |words: [&str; 2]| log.tells(&[&ended[..], &words].concat()).await;
    let stranger = server.connect().await;
    stranger.disconnect(Disconnect::ByApplication, "", "en").await.unwrap();
    drop(stranger);
    let alice = server.log_in("alice").await;
    alice.disconnect(Disconnect::ByApplication, "", "en").await.unwrap();
    drop(alice);
    tells(["user=\"alice\"", "the client ended it"]).await;
    let _bob = server.log_in("bob").await;
    server.key_removed.cancel();
    tells(["user=\"bob\"", "your key was removed"]).await;
    let server = TestServer::start(config()).await;
    let _alice = server.log_in("alice").await;
    server.shutdown.cancel();
    tells(["user=\"alice\"", "the server goes down"]).await;
    assert_eq!(log.lines(&ended).len(), 3, "of who did not log in nothing is told here");
}
