//! What may be asked for on which channel, and when.

use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::time::timeout;

use super::{PATIENCE, TestServer, config, exec};

/// Whether what was asked for is granted.
async fn granted(channel: &mut Channel<Msg>) -> bool {
    let answer = async {
        loop {
            match channel.wait().await.expect("it is open") {
                ChannelMsg::Success => return true,
                ChannelMsg::Failure => return false,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, answer).await.expect("it is answered")
}

/// Asks for all that precedes a program, and for one more; how many are granted.
async fn asks_for_a_program(channel: &mut Channel<Msg>) -> usize {
    let mut count = 0;
    channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    count += usize::from(granted(channel).await);
    channel.set_env(true, "LANG", "C.UTF-8").await.unwrap();
    count += usize::from(granted(channel).await);
    channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00ff", 0).await.unwrap();
    count += usize::from(granted(channel).await);
    channel.agent_forward(true).await.unwrap();
    count += usize::from(granted(channel).await);
    channel.exec(true, "cat").await.unwrap();
    count + usize::from(granted(channel).await)
}

#[tokio::test]
async fn what_a_program_begins_with_is_refused_once_it_runs() {
    let alice = TestServer::start(config()).await.log_in("alice").await;
    let mut fresh = alice.channel_open_session().await.unwrap();
    assert_eq!(asks_for_a_program(&mut fresh).await, 5);
    assert_eq!(asks_for_a_program(&mut fresh).await, 0);
    let mut running = exec(&alice, "cat").await;
    assert_eq!(asks_for_a_program(&mut running).await, 0);
}

#[tokio::test]
async fn variables_that_are_not_taken_are_refused() {
    let alice = TestServer::start(config()).await.log_in("alice").await;
    let mut channel = alice.channel_open_session().await.unwrap();
    let (mut taken, mut refused) = (0, 0);
    for n in 0..40 {
        channel.set_env(true, format!("X{n}"), "x").await.unwrap();
        match granted(&mut channel).await {
            true => taken += 1,
            false => refused += 1,
        }
    }
    assert_eq!((taken, refused), (32, 8));
    channel.set_env(true, "BASTION_PERSIST", "0").await.unwrap();
    assert!(granted(&mut channel).await, "it is no variable of a program");
    let mut fresh = alice.channel_open_session().await.unwrap();
    for (name, is_taken) in [("X", true), ("Y", false), ("LD_PRELOAD", false)] {
        fresh.set_env(true, name, "x").await.unwrap();
        assert_eq!(granted(&mut fresh).await, is_taken, "{name}");
    }
}

#[tokio::test]
async fn a_forwarded_connection_runs_no_program() {
    let alice = TestServer::start(config()).await.log_in("alice").await;
    let mut jump = alice.channel_open_direct_tcpip("gpu", 22, "localhost", 1).await.unwrap();
    assert_eq!(asks_for_a_program(&mut jump).await, 0);
}
