//! OpenSSH's extensions (OpenSSH PROTOCOL §4) and those of draft-ietf-secsh-filexfer-extensions-00.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::account;
use super::codes::{VERSION, fxp};
use super::handles;
use super::wire::{Fields, Replies};
use super::{MAX_DATA, MAX_PACKET, Refusal, Reply, Server, done, files, one_name};

const OFFERED: [(&str, &str); 10] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
];

/// The reply to the client's first packet.
pub(super) fn greet(replies: &mut Replies) {
    replies.packet(fxp::VERSION, |packet| {
        packet.u32(VERSION);
        for (name, version) in OFFERED {
            packet.string(name.as_bytes());
            packet.string(version.as_bytes());
        }
    });
}

pub(super) fn serve(server: &mut Server, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
    match fields.string()? {
        b"posix-rename@openssh.com" => {
            let (from, to) = (fields.path()?, fields.path()?);
            done(fs::rename(from, to))
        }
        b"statvfs@openssh.com" => Ok(Reply::Numbers(files::file_system(&fields.path()?)?.to_vec())),
        b"fstatvfs@openssh.com" => Ok(Reply::Numbers(files::file_system_of(server.file(fields.string()?)?)?.to_vec())),
        b"hardlink@openssh.com" => {
            let (from, to) = (fields.path()?, fields.path()?);
            done(fs::hard_link(from, to))
        }
        b"fsync@openssh.com" => done(server.file(fields.string()?)?.sync_all()),
        b"lsetstat@openssh.com" => {
            let (path, attributes) = (fields.path()?, fields.attributes()?);
            done(files::set(&path, &attributes, false))
        }
        b"limits@openssh.com" => {
            let (packet, data) = (MAX_PACKET as u64, MAX_DATA as u64);
            Ok(Reply::Numbers(vec![packet, data, data, handles::max()]))
        }
        b"expand-path@openssh.com" => Ok(one_name(&files::real_path(&expand(&fields.path()?)?)?)),
        b"copy-data" => {
            let (from, offset, length) = (fields.string()?, fields.u64()?, fields.u64()?);
            let (to, at) = (fields.string()?, fields.u64()?);
            done(files::copy(server.file(from)?, offset, length, server.file(to)?, at))
        }
        b"home-directory" => {
            let whose = String::from_utf8_lossy(fields.string()?);
            // What a client logged in as is no user of the pod's.
            Ok(one_name(&account::home_of(&whose).filter(|_| !is_own(&whose)).unwrap_or_else(home)))
        }
        _ => Err(Refusal::Unsupported),
    }
}

/// `~`, `~user`, and what is below.
fn expand(path: &Path) -> io::Result<PathBuf> {
    let mut parts = path.components();
    let first = parts.next().map(|part| part.as_os_str().to_string_lossy());
    let Some(whose) = first.as_ref().and_then(|first| first.strip_prefix('~')) else { return Ok(path.to_owned()) };
    let home = match whose.is_empty() || is_own(whose) {
        true => Some(home()),
        false => account::home_of(whose),
    };
    let home = home.ok_or_else(|| io::Error::other(format!("no such user: {whose}")))?;
    Ok(match parts.as_path() {
        rest if rest.as_os_str().is_empty() => home,
        rest => home.join(rest),
    })
}

fn is_own(name: &str) -> bool {
    std::env::var("USER").is_ok_and(|own| own == name)
}

fn home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| "/".into(), PathBuf::from)
}
