//! What newcomers are told.

use bytes::Bytes;

use super::forward::{Asked, Forwarder};
use super::jump::SSH;
use super::message;
use crate::workspace::{Address, Target};

/// How else her DevServer is reached, and what its host key is known by, if she may jump there.
pub(super) fn introduction(forwarder: &Forwarder) -> Option<Bytes> {
    let Forwarder { context, identity, target, .. } = forwarder;
    let user = identity.user();
    let devserver = match target {
        Target::Shared { .. } => target.to_string(),
        own => context.run.devserver(own),
    };
    let jump = Address::Tcp { host: devserver.clone(), port: SSH };
    if forwarder.refusal(Asked::Connect(&jump)).is_some() {
        return None;
    }
    let text = format!("`ssh -J {user}@THIS-SERVER {devserver}` leads here too, as do scp, rsync and your editor;");
    let line = context.authority.known_hosts_line(&format!("{devserver},*.{user}"));
    let lines = [
        message::line(&text, true),
        message::line("so that ssh knows it, put this line into ~/.ssh/known_hosts:", true),
        format!("{line}\r\n").into(),
    ];
    Some(lines.concat().into())
}
