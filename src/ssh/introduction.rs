//! What newcomers are told.

use bytes::Bytes;

use super::destination::SSH;
use super::forward::Asked;
use super::logged_in::LoggedIn;
use super::message;
use crate::workspace::{Address, Target};

/// How else her DevServer is reached, and what its host key is known by, if she may jump there.
pub(super) fn introduction(logged_in: &LoggedIn) -> Option<Bytes> {
    let LoggedIn { context, identity, target, .. } = logged_in;
    let user = identity.user();
    let devserver = match target {
        Target::Shared { .. } => target.to_string(),
        own => context.run.devserver(own),
    };
    let jump = Address::Tcp { host: devserver.clone(), port: SSH };
    if logged_in.refusal(Asked::Connect(&jump)).is_some() {
        return None;
    }
    let text = format!("`ssh -J {user}@BASTION {devserver}` leads here too, as do scp, rsync and your editor");
    let line = context.authority.known_hosts_line(&format!("{devserver},*.{user}"));
    let lines = [
        message::terminal_line(&text),
        message::terminal_line("(BASTION is what you typed after the @);"),
        message::terminal_line("so that ssh knows it, put this line into ~/.ssh/known_hosts:"),
        format!("{line}\r\n").into(),
    ];
    Some(lines.concat().into())
}
