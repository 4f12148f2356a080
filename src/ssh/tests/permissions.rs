//! What somebody may not.

use russh::{ChannelMsg, ChannelOpenFailure, Error};
use tokio::time::timeout;

use super::log::Log;
use super::{Config, PATIENCE, Permissions, Permits, TestServer, config, ended, exec};
use crate::identity::Way;

#[tokio::test]
async fn a_forced_command_runs_whatever_is_asked_for() {
    let permissions = Permissions { forced_command: Some("exit 9".into()), ..Permissions::ALL };
    let alice = TestServer::permitting(config(), permissions).await.log_in("alice").await;
    assert_eq!(ended(exec(&alice, "exit 1").await).await.2, Some(9));
    let shell = alice.channel_open_session().await.unwrap();
    shell.request_shell(false).await.unwrap();
    assert_eq!(ended(shell).await.2, Some(9));
}

/// A shell looked for a program of that name. Options restrict what may be done: without them it is not run.
#[tokio::test]
async fn a_forced_internal_sftp_is_the_servers_own_and_has_no_options() {
    let forced = async |command: &str| {
        let permissions = Permissions { forced_command: Some(command.into()), ..Permissions::ALL };
        let alice = TestServer::permitting(config(), permissions).await.log_in("alice").await;
        let channel = exec(&alice, "exit 9").await;
        channel.eof().await.unwrap();
        ended(channel).await
    };
    assert_eq!(forced("internal-sftp").await, (vec![], String::new(), Some(0)));
    for command in ["internal-sftp -R", "internal-sftp\t-d /drop"] {
        let (_, told, status) = forced(command).await;
        assert!(told.contains("internal-sftp with options") && status == Some(255), "{told}");
    }
}

#[tokio::test]
async fn a_forced_command_is_not_its_clients_to_signal() {
    let permissions = Permissions { forced_command: Some("cat".into()), ..Permissions::ALL };
    let alice = TestServer::permitting(config(), permissions).await.log_in("alice").await;
    let mut cat = exec(&alice, "whatever").await;
    cat.signal(russh::Sig::KILL).await.unwrap();
    cat.data(&b"still here"[..]).await.unwrap();
    let echoed = async { while !matches!(cat.wait().await.expect("it runs"), ChannelMsg::Data { .. }) {} };
    timeout(PATIENCE, echoed).await.expect("it goes on");
    cat.eof().await.unwrap();
    assert_eq!(ended(cat).await.2, Some(0));
}

#[tokio::test]
async fn a_terminal_that_is_not_permitted_is_refused_and_the_session_goes_on() {
    let log = Log::collect();
    let permissions = Permissions { pty: false, ..Permissions::ALL };
    let alice = TestServer::permitting(config(), permissions).await.log_in("alice").await;
    let mut channel = alice.channel_open_session().await.unwrap();
    channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    assert!(matches!(timeout(PATIENCE, channel.wait()).await.unwrap(), Some(ChannelMsg::Failure)));
    log.tells(&["refused a terminal", "user=\"alice\"", "client.addr=127.0.0.1"]).await;
    channel.exec(false, "stderr apart").await.unwrap();
    assert_eq!(ended(channel).await, (vec![], "apart".into(), Some(0)));
}

#[tokio::test]
async fn a_display_that_cannot_be_forwarded_is_refused_or_told_of() {
    let restricted = Permissions { x11_forwarding: false, ..Permissions::ALL };
    let switched_off = Config { allow_x11_forwarding: false, ..config() };
    let cases = [
        (config(), Permissions::ALL, "00ff", Some("X11 is not forwarded: this DevServer's pod has no agent")),
        (config(), Permissions::ALL, "no cookie", None),
        (config(), restricted, "00ff", None),
        (switched_off, Permissions::ALL, "00ff", None),
    ];
    for (config, permissions, cookie, told) in cases {
        let alice = TestServer::permitting(config, permissions).await.log_in("alice").await;
        let mut channel = alice.channel_open_session().await.unwrap();
        channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", cookie, 0).await.unwrap();
        let answer = timeout(PATIENCE, channel.wait()).await.unwrap();
        assert_eq!(matches!(answer, Some(ChannelMsg::Success)), told.is_some(), "{answer:?}");
        channel.exec(false, "exit 0").await.unwrap();
        let (_, err, status) = ended(channel).await;
        assert_eq!((err.contains(told.unwrap_or("X11")), status), (told.is_some(), Some(0)), "{err}");
    }
}

/// On a terminal the output of a command may be read by a program all the same, as Ansible reads it.
#[tokio::test]
async fn what_a_command_on_a_terminal_cannot_have_is_told_beside_its_output() {
    let alice = TestServer::permitting(config(), Permissions::ALL).await.log_in("alice").await;
    let channel = alice.channel_open_session().await.unwrap();
    channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    channel.request_x11(false, false, "MIT-MAGIC-COOKIE-1", "00ff", 0).await.unwrap();
    channel.exec(false, "exit 0").await.unwrap();
    let (out, err, status) = ended(channel).await;
    assert!(out.is_empty(), "{}", String::from_utf8_lossy(&out));
    assert!(err.contains("X11 is not forwarded"), "{err}");
    assert_eq!(status, Some(0));
}

#[tokio::test]
async fn connections_lead_where_each_list_permits() {
    let list = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Permits::parse(Way::Open, "here", &words).unwrap()
    };
    let config = Config { permit_open: list(&["localhost:80", "localhost:81", "gpu:8888", "gpu:22"]), ..config() };
    let permit_open = list(&["localhost:81", "localhost:82", "gpu:8888", "gpu:22"]);
    let alice =
        TestServer::permitting(config, Permissions { permit_open, ..Permissions::ALL }).await.log_in("alice").await;
    let cases = [
        ("localhost", 80, false),
        ("localhost", 81, true),
        ("localhost", 82, false),
        ("127.0.0.1", 81, false),
        // Where it leads to is another matter.
        ("gpu", 8888, true),
        ("gpu.alice", 8888, false),
        ("localhost", 8888, false),
        ("gpu.alice", 22, false),
    ];
    for (host, port, permitted) in cases {
        // What is permitted finds no agent here.
        let expected =
            if permitted { ChannelOpenFailure::ConnectFailed } else { ChannelOpenFailure::AdministrativelyProhibited };
        match alice.channel_open_direct_tcpip(host, port, "localhost", 1).await {
            Err(Error::ChannelOpenFailure(failure)) => assert_eq!(failure, expected, "{host}:{port}"),
            other => panic!("{host}:{port}: {other:?}"),
        }
    }
    assert!(alice.channel_open_direct_tcpip("gpu", 22, "localhost", 1).await.is_ok(), "a jump");
    let socket = alice.channel_open_direct_streamlocal("/run/socket").await;
    assert!(matches!(socket, Err(Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))));
}
