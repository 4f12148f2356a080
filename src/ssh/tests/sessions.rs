//! What a session's program is given and gives.

use russh::{ChannelMsg, Sig};
use tokio::time::timeout;

use super::{Config, PATIENCE, TestServer, config, ended, exec};

#[tokio::test]
async fn exec_reports_output_and_exit_status() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    assert_eq!(ended(exec(&alice, "exit 7").await).await, (vec![], String::new(), Some(7)));
    assert_eq!(ended(exec(&alice, "stderr oh").await).await, (vec![], "oh".into(), Some(0)));
    let cat = exec(&alice, "cat").await;
    cat.data(&b"hello"[..]).await.unwrap();
    cat.eof().await.unwrap();
    assert_eq!(ended(cat).await, (b"hello".to_vec(), String::new(), Some(0)));
}

#[tokio::test]
async fn a_signal_reaches_the_program_and_its_end_is_told_as_one() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    for (signal, dumps, words) in [(Sig::TERM, false, "Terminated"), (Sig::QUIT, true, "Quit")] {
        let mut cat = exec(&alice, "cat").await;
        cat.signal(Sig::Custom("x".repeat(10_000))).await.unwrap();
        cat.signal(signal.clone()).await.unwrap();
        let told = async {
            loop {
                match cat.wait().await.expect("it is told before the close") {
                    ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, .. } => {
                        return (format!("{signal_name:?}"), core_dumped, error_message);
                    }
                    ChannelMsg::ExitStatus { .. } => panic!("a signal is no exit status"),
                    _ => {}
                }
            }
        };
        let told = timeout(PATIENCE, told).await.expect("it ends");
        assert_eq!(told, (format!("{signal:?}"), dumps, words.to_owned()));
    }
}

/// As in a pod without an agent.
#[tokio::test]
async fn whoever_signals_a_program_that_cannot_hear_it_is_told_once() {
    let server = TestServer::start(config()).await;
    let mut deaf = exec(&server.log_in("alice").await, "deaf").await;
    for _ in 0..3 {
        deaf.signal(Sig::TERM).await.unwrap();
    }
    let told = async {
        loop {
            if let ChannelMsg::ExtendedData { data, .. } = deaf.wait().await.expect("it is told") {
                return String::from_utf8_lossy(&data).into_owned();
            }
        }
    };
    let told = timeout(PATIENCE, told).await.expect("it is told");
    assert!(told.contains("TERM was not delivered"), "{told}");
    deaf.eof().await.unwrap();
    assert_eq!(ended(deaf).await, (vec![], String::new(), Some(0)));
}

#[tokio::test]
async fn a_missing_devserver_is_told_with_those_that_exist() {
    let server = TestServer::start(config()).await;
    let (out, err, status) = ended(exec(&server.log_in("alice+nope").await, "exit 0").await).await;
    assert_eq!((out.as_slice(), status), (&b""[..], Some(255)));
    assert_eq!(err, "bastion: you have no DevServer `nope`; you have: dev, gpu\n");
    assert_eq!(ended(exec(&server.log_in("alice+gpu").await, "exit 0").await).await.2, Some(0));
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_refused() {
    let server = TestServer::start(Config { max_sessions: 1, ..config() }).await;
    let alice = server.log_in("alice").await;
    let _first = exec(&alice, "stall").await;
    assert!(alice.channel_open_session().await.is_err());
}
