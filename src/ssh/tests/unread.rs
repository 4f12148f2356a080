//! Clients that take no output: their sessions end all the same, and nobody waits for them.

use bytes::Bytes;
use tokio::time::timeout;

use super::{Config, PATIENCE, TestServer, config, ended, exec};

#[tokio::test]
async fn output_that_nobody_reads_holds_up_nobody() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in_without_window("alice").await;
    let cat = exec(&alice, "cat").await;
    // More than may wait on the way to it and back.
    for _ in 0..300 {
        cat.data(&b"x"[..]).await.unwrap();
    }
    assert_eq!(ended(exec(&alice, "exit 3").await).await.2, Some(3));
}

#[tokio::test]
async fn a_close_is_heard_after_too_much_input() {
    let config = Config { max_sessions: 1, spool_slow_above_mib: 2, spool_limit_mib: 1, ..config() };
    let server = TestServer::start(config).await;
    let alice = server.log_in_without_window("alice").await;
    let stalled = exec(&alice, "stall").await;
    stalled.data_bytes(Bytes::from(vec![0; 2 << 20])).await.unwrap();
    stalled.close().await.unwrap();
    let another = async { while alice.channel_open_session().await.is_err() {} };
    timeout(PATIENCE, another).await.expect("the session ends, and makes room");
}

#[tokio::test]
async fn a_key_that_is_taken_away_ends_a_session_whose_client_does_not_read() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in_without_window("alice").await;
    let cat = exec(&alice, "cat").await;
    cat.data(&b"x"[..]).await.unwrap();
    server.key_removed.cancel();
    assert_eq!(ended(cat).await, (vec![], String::new(), Some(255)), "it is ended before its connection");
}
