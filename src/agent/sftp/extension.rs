//! OpenSSH's extensions (OpenSSH PROTOCOL §4) and those of draft-ietf-secsh-filexfer-extensions-00.

use std::fs;
use std::path::{Path, PathBuf};

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
        b"expand-path@openssh.com" => Ok(one_name(&files::real_path(&expand(&fields.path()?))?)),
        b"copy-data" => {
            let (from, offset, length) = (fields.string()?, fields.u64()?, fields.u64()?);
            let (to, at) = (fields.string()?, fields.u64()?);
            done(files::copy(server.file(from)?, offset, length, server.file(to)?, at))
        }
        b"home-directory" => {
            fields.string()?; // Whose: there is one user here.
            Ok(one_name(&home()))
        }
        _ => Err(Refusal::Unsupported),
    }
}

/// `~` and `~/…`.
fn expand(path: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) if rest.as_os_str().is_empty() => home(),
        Ok(rest) => home().join(rest),
        Err(_) => path.to_owned(),
    }
}

fn home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| "/".into(), PathBuf::from)
}
