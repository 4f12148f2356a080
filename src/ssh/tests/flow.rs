//! Who does not read, or is slow to, holds up nobody else.

use bytes::Bytes;
use russh::ChannelMsg;
use tokio::time::timeout;

use super::{Config, PATIENCE, TestServer, config, ended, exec};

#[tokio::test]
async fn a_program_that_does_not_read_holds_up_nobody() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let stalled = exec(&alice, "stall").await;
    for _ in 0..40 {
        stalled.data_bytes(Bytes::from(vec![0; 1 << 20])).await.unwrap();
    }
    assert_eq!(ended(exec(&alice, "exit 3").await).await.2, Some(3));
}

#[tokio::test]
async fn an_amplifier_ends() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let channel = exec(&alice, "double").await;
    let (mut read, write) = channel.split();
    tokio::spawn(async move {
        for _ in 0..20 {
            write.data_bytes(Bytes::from(vec![1; 1 << 20])).await.unwrap();
        }
        write.eof().await.unwrap();
    });
    let mut received = 0;
    while let Some(message) = timeout(PATIENCE, read.wait()).await.unwrap() {
        if let ChannelMsg::Data { data } = message {
            received += data.len();
        }
    }
    assert_eq!(received, 40 << 20);
}

#[tokio::test]
async fn too_much_unread_input_ends_its_session_only() {
    let server = TestServer::start(Config { spool_slow_above_mib: 2, spool_limit_mib: 1, ..config() }).await;
    let alice = server.log_in("alice").await;
    let stalled = exec(&alice, "stall").await;
    stalled.data_bytes(Bytes::from(vec![0; 2 << 20])).await.unwrap();
    let (_, err, status) = ended(stalled).await;
    assert!(err.contains("too much unread input"), "{err}");
    assert_eq!(status, Some(255));
    assert_eq!(ended(exec(&alice, "exit 0").await).await.2, Some(0));
}

/// Its user read that her program was to blame.
#[tokio::test]
async fn input_that_is_lost_by_the_disk_is_told_as_such() {
    let server = TestServer::start(Config { spool_directory: "/nonexistent".into(), ..config() }).await;
    let alice = server.log_in("alice").await;
    let stalled = exec(&alice, "stall").await;
    stalled.data_bytes(Bytes::from(vec![0; 2 << 20])).await.unwrap();
    let (_, err, status) = ended(stalled).await;
    assert_eq!((err.contains("the disk of the SSH server failed"), status), (true, Some(255)), "{err}");
}

#[tokio::test]
async fn resizes_pass_while_input_is_held_up() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let mut channel = alice.channel_open_session().await.unwrap();
    channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    channel.exec(false, "size").await.unwrap();
    channel.data_bytes(Bytes::from(vec![0; 1 << 20])).await.unwrap();
    channel.window_change(132, 50, 0, 0).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"132x50\n") {
        if let Some(ChannelMsg::Data { data }) = timeout(PATIENCE, channel.wait()).await.unwrap() {
            seen.extend_from_slice(&data);
        }
    }
}
