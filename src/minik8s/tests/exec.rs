//! `pods/exec` does what the real thing does, where that is a trap too.

use super::{socket::Socket, *};
use futures::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";
const INPUT: &str = "stdin=true&stdout=true&stderr=true";
const TERMINAL: &str = "stdin=true&stdout=true&tty=true";
/// Time for something to happen that should not.
const A_WHILE: Duration = Duration::from_millis(500);

async fn with_pod() -> (Running, Pod) {
    let running = Running::start().await;
    let pod = running.pod("default", "dev", IDLE).await;
    (running, pod)
}

/// Sends until the other side takes no more.
async fn flood(socket: &mut Socket) {
    let frame = Message::Binary([&[0][..], &[b'x'; 32 << 10]].concat().into());
    while let Ok(sent) = timeout(A_WHILE, socket.0.send(frame.clone())).await {
        sent.unwrap();
    }
}

#[tokio::test]
async fn streams_stay_apart_and_the_status_comes_last() {
    let (running, pod) = with_pod().await;
    let output = running.run(&pod, "echo out; echo err >&2; exit 7").await;
    assert_eq!((output.text().as_str(), &output.stderr[..]), ("out\n", &b"err\n"[..]));
    let status = output.status.as_ref().unwrap();
    assert_eq!((&status["reason"], output.code()), (&json!("NonZeroExitCode"), 7));
    assert_eq!(running.run(&pod, "kill -9 $$").await.code(), 137);
    assert_eq!(running.run(&pod, "true").await.status.unwrap()["status"], "Success");

    let mut socket = running.exec(&pod, INPUT, &["true"]).await.unwrap();
    assert_eq!(socket.next().await.unwrap(), (1, Vec::new()), "an empty frame says hello");
    running.cluster.stop().await;
}

#[tokio::test]
async fn input_arrives_whole_and_ends() {
    let (running, pod) = with_pod().await;
    let socket = running.exec(&pod, INPUT, &["sh", "-c", "md5sum; exit"]).await.unwrap();
    let (mut sink, source) = socket.0.split();
    let reader = tokio::spawn(source.collect::<Vec<_>>());
    let frame = Message::Binary([&[0][..], &[b'x'; 32 << 10]].concat().into());
    for _ in 0..640 {
        sink.send(frame.clone()).await.unwrap();
    }
    sink.send(Message::Binary(vec![255, 0].into())).await.unwrap();
    let messages = timeout(PATIENCE, reader).await.unwrap().unwrap();
    let said: Vec<u8> = messages
        .into_iter()
        .filter_map(|message| match message {
            Ok(Message::Binary(frame)) if frame[0] == 1 => Some(frame[1..].to_vec()),
            _ => None,
        })
        .flatten()
        .collect();
    let local = std::process::Command::new("sh")
        .args(["-c", "head -c 20971520 /dev/zero | tr '\\0' x | md5sum"])
        .output()
        .unwrap();
    assert_eq!(said, local.stdout);
    running.cluster.stop().await;
}

#[tokio::test]
async fn much_output_arrives_whole() {
    let (running, pod) = with_pod().await;
    let output = running.run(&pod, "head -c 50000000 /dev/zero; echo end").await;
    assert_eq!(output.stdout.len(), 50_000_004);
    assert_eq!(output.code(), 0);
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_terminal_has_a_size_and_signals() {
    let (running, pod) = with_pod().await;
    let script = "trap 'stty size' WINCH; stty size; tty; echo ready; while :; do sleep 0.05; done";
    let mut socket = running.exec(&pod, TERMINAL, &["bash", "-c", script]).await.unwrap();
    let first = socket.until("ready").await;
    assert!(first.contains("/dev/pts/"), "{first}");
    socket.send(4, br#"{"Width":132,"Height":43}"#).await;
    socket.until("43 132").await;

    // No shell: one that is about to become another program may lose the signal.
    let mut socket = running.exec(&pod, TERMINAL, &["cat"]).await.unwrap();
    socket.send(0, b"ready\n").await;
    socket.until("ready\r\nready").await;
    socket.send(0, b"\x03").await;
    assert_eq!(socket.rest().await.code(), 130, "Ctrl-C interrupts");
    running.cluster.stop().await;
}

#[tokio::test]
async fn an_exec_cannot_reach_the_terminal_of_the_cluster() {
    let (running, pod) = with_pod().await;
    let output = running.run(&pod, "(: </dev/tty) 2>/dev/null && echo reached; ps -o sid= -p $$").await;
    assert!(!output.text().contains("reached"));
    let ours = std::fs::read_to_string("/proc/self/stat").unwrap();
    let session = ours.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap();
    assert_ne!(output.text().trim(), session);
    running.cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let (running, pod) = with_pod().await;
    let socket = running.exec(&pod, INPUT, &["no-such-program"]).await.unwrap();
    let status = socket.rest().await.status.unwrap();
    assert_eq!(status["reason"], "InternalError");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("exec: \"no-such-program\": executable file not found in $PATH"), "{message}");

    let refused = running.exec(&pod, &format!("{INPUT}&container=other"), &["true"]).await;
    assert_eq!(code(refused.map(drop)).0, 400);
    let mut nobody = pod.clone();
    nobody.metadata.name = Some("nobody".to_owned());
    assert_eq!(code(running.exec(&nobody, INPUT, &["true"]).await.map(drop)).0, 404);
    running.cluster.stop().await;
}

#[tokio::test]
async fn the_end_of_output_ends_the_input() {
    let (running, pod) = with_pod().await;
    let file = running.data.path().join("got");
    let command = format!("exec cat >{}", file.display());
    let mut socket = running.exec(&pod, INPUT, &["sh", "-c", &command]).await.unwrap();
    let (_, _) = socket.next().await.unwrap();
    eventually("the file is there", || file.exists()).await;
    let output = socket.rest().await;
    assert_eq!(output.code(), 0, "it ends though the client never said so");
    running.cluster.stop().await;
}

#[tokio::test]
async fn unread_input_holds_up_an_exec_that_is_over() {
    let (running, pod) = with_pod().await;
    let mut socket = running.exec(&pod, INPUT, &["sh", "-c", "head -c 9; exit"]).await.unwrap();
    flood(&mut socket).await;
    let heard = timeout(A_WHILE, async {
        while let Some((channel, _)) = socket.next().await {
            assert_ne!(channel, 3, "the exec ended");
        }
    });
    assert!(heard.await.is_err(), "nothing ends");

    let mut socket = running.exec(&pod, INPUT, &["true"]).await.unwrap();
    socket.send(0, b"little").await;
    assert_eq!(socket.rest().await.code(), 0, "what fits into a pipe does no harm");
    running.cluster.stop().await;
}

#[tokio::test]
async fn unread_input_blocks_resizes_and_pings() {
    let (running, pod) = with_pod().await;
    let mut socket = running.exec(&pod, INPUT, &["sleep", "60"]).await.unwrap();
    socket.0.send(Message::Ping("1".into())).await.unwrap();
    let pong = async |socket: &mut Socket| loop {
        match socket.0.next().await {
            Some(Ok(Message::Pong(_))) => return,
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    timeout(PATIENCE, pong(&mut socket)).await.unwrap();
    for _ in 0..16 {
        socket.send(0, &[b'x'; 32 << 10]).await;
    }
    socket.0.send(Message::Ping("2".into())).await.unwrap();
    assert!(timeout(A_WHILE, pong(&mut socket)).await.is_err());
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_program_outlives_its_connection_but_not_its_pod() {
    let (running, pod) = with_pod().await;
    let mark = format!("1000{}", std::process::id());
    let mut socket = running.exec(&pod, INPUT, &["sh", "-c", &format!("echo on; sleep {mark}; :")]).await.unwrap();
    socket.until("on").await;
    drop(socket);
    let output = running.run(&pod, &format!("sleep 0.3; pgrep -f 'sleep {mark}' >/dev/null && echo alive")).await;
    assert_eq!(output.text(), "alive\n");

    let pods = running.within::<Pod>("default");
    pods.delete("dev", &Default::default()).await.unwrap();
    until(&pods, "dev", |pod: Option<&Pod>| pod.is_none()).await;
    assert_eq!(processes_with(&format!("sleep {mark}")), 0);
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_child_that_holds_the_output_holds_the_exec() {
    let (running, pod) = with_pod().await;
    let started = std::time::Instant::now();
    let output = running.run(&pod, "sleep 0.5 & echo done").await;
    assert_eq!(output.text(), "done\n");
    assert!(started.elapsed() >= Duration::from_millis(500));
    running.cluster.stop().await;
}

#[tokio::test]
async fn silence_ends_the_connection_and_pings_do_not_break_it() {
    let running = Running::start_impatient(Duration::from_secs(2)).await;
    let pod = running.pod("default", "dev", IDLE).await;
    let started = std::time::Instant::now();
    let mut socket = running.exec(&pod, INPUT, &["sleep", "60"]).await.unwrap();
    let ended = async {
        loop {
            tokio::select! {
                message = socket.0.next() => match message {
                    Some(Ok(Message::Binary(frame))) => assert_ne!(frame[0], 3),
                    Some(Ok(_)) => {}
                    _ => return,
                },
                () = tokio::time::sleep(Duration::from_millis(200)) => {
                    let _ = socket.0.send(Message::Ping("".into())).await;
                }
            }
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2));

    let mut socket = running.exec(&pod, INPUT, &["sh", "-c", "sleep 3; echo still"]).await.unwrap();
    for _ in 0..6 {
        tokio::time::sleep(A_WHILE).await;
        socket.send(1, b"").await;
    }
    socket.until("still").await;
    running.cluster.stop().await;
}
