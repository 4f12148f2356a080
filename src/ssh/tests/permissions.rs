//! What somebody may not.

use russh::ChannelMsg;
use tokio::time::timeout;

use super::{Config, PATIENCE, Permissions, TestServer, config, ended, exec};

#[tokio::test]
async fn a_forced_command_runs_whatever_is_asked_for() {
    let permissions = Permissions { forced_command: Some("exit 9".into()), ..Permissions::ALL };
    let alice = TestServer::permitting(config(), permissions).await.log_in("alice").await;
    assert_eq!(ended(exec(&alice, "exit 1").await).await.2, Some(9));
    let shell = alice.channel_open_session().await.unwrap();
    shell.request_shell(false).await.unwrap();
    assert_eq!(ended(shell).await.2, Some(9));
}

#[tokio::test]
async fn a_terminal_that_is_not_permitted_is_refused_and_the_session_goes_on() {
    let permissions = Permissions { pty: false, ..Permissions::ALL };
    let alice = TestServer::permitting(config(), permissions).await.log_in("alice").await;
    let mut channel = alice.channel_open_session().await.unwrap();
    channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    assert!(matches!(timeout(PATIENCE, channel.wait()).await.unwrap(), Some(ChannelMsg::Failure)));
    channel.exec(false, "stderr apart").await.unwrap();
    assert_eq!(ended(channel).await, (vec![], "apart".into(), Some(0)));
}

#[tokio::test]
async fn a_display_that_cannot_be_forwarded_is_refused_or_told_of() {
    let restricted = Permissions { x11_forwarding: false, ..Permissions::ALL };
    let switched_off = Config { allow_x11_forwarding: false, ..config() };
    let cases = [
        (config(), Permissions::ALL, "00ff", Some("X11 is not forwarded, as this DevServer's pod has no agent")),
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
