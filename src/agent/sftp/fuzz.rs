//! A target of fuzzing: what clients ask of the SFTP server.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::codes::{VERSION, fxp};
use super::packet;
use super::wire::{Fields, Malformed, Replies};

/// More packets than this teach nothing, and read the same file again and again.
const PACKETS: usize = 64;

/// Whatever a client asks, in a folder of its own: each request gets one whole reply, in its turn.
pub fn serve(input: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let (mut requests, mut ids, mut rest) = (Vec::new(), Vec::new(), input);
    while let Ok(Some(request)) = packet(rest)
        && ids.len() < PACKETS
    {
        rest = &rest[4 + request.len()..];
        let request = confine(request, folder.path());
        requests.extend_from_slice(&(request.len() as u32).to_be_bytes());
        requests.extend_from_slice(&request);
        match kind_and_id(&request) {
            Ok((fxp::INIT, _)) => ids.push(VERSION), // The version, in the place of an id.
            Ok((_, id)) => ids.push(id),
            Err(Malformed) => break,
        }
    }
    if ids.len() < PACKETS {
        requests.extend_from_slice(rest);
    }
    let mut replies = Vec::new();
    let ended = super::serve(&requests[..], &mut replies);
    let mut rest = &replies[..];
    for id in ids {
        // Nothing may have been written when what follows ended the session.
        if ended.is_err() && rest.is_empty() {
            break;
        }
        let reply = packet(rest).ok().flatten().expect("a whole reply for each request");
        let answered = kind_and_id(reply).expect("the kind and the id of a reply");
        assert_eq!(answered.1, id);
        rest = &rest[4 + reply.len()..];
    }
    assert!(rest.is_empty());
}

fn kind_and_id(packet: &[u8]) -> Result<(u8, u32), Malformed> {
    let mut fields = Fields(packet);
    Ok((fields.byte()?, fields.u32()?))
}

/// The request with its paths within `folder`. One that is malformed before its last path stays as it is: the server
/// sees that too, and does nothing.
fn confine(request: &[u8], folder: &Path) -> Vec<u8> {
    try_confine(request, folder).unwrap_or_else(|Malformed| request.to_vec())
}

fn try_confine(request: &[u8], folder: &Path) -> Result<Vec<u8>, Malformed> {
    let mut fields = Fields(request);
    let mut confined = Replies::default();
    let (kind, id) = (fields.byte()?, fields.u32()?);
    let paths = match kind {
        fxp::INIT | fxp::CLOSE | fxp::READ | fxp::WRITE | fxp::FSTAT | fxp::FSETSTAT | fxp::READDIR | fxp::EXTENDED => {
            0
        }
        fxp::OPEN
        | fxp::LSTAT
        | fxp::SETSTAT
        | fxp::OPENDIR
        | fxp::REMOVE
        | fxp::MKDIR
        | fxp::RMDIR
        | fxp::REALPATH
        | fxp::STAT
        | fxp::READLINK => 1,
        fxp::RENAME | fxp::SYMLINK => 2,
        // Nothing is known of its paths.
        _ => return Ok([&[255], &request[1..5]].concat()),
    };
    confined.byte(kind);
    confined.u32(id);
    let paths = if kind == fxp::EXTENDED { extension(&mut fields, &mut confined)? } else { paths };
    for _ in 0..paths {
        let mut name = fields.path()?.into_os_string().into_vec();
        name.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'_');
        if name == b".." {
            name.pop();
        }
        confined.string(folder.join(std::ffi::OsStr::from_bytes(&name)).as_os_str().as_bytes());
    }
    confined.0.extend_from_slice(fields.0);
    Ok(confined.0)
}

/// Returns how many paths follow.
fn extension(fields: &mut Fields<'_>, confined: &mut Replies) -> Result<usize, Malformed> {
    let name = fields.string()?;
    let paths = match name {
        b"posix-rename@openssh.com" | b"hardlink@openssh.com" => 2,
        b"statvfs@openssh.com" | b"lsetstat@openssh.com" | b"expand-path@openssh.com" => 1,
        b"fstatvfs@openssh.com" | b"fsync@openssh.com" | b"limits@openssh.com" | b"home-directory" => 0,
        b"copy-data" => {
            let (from, offset, length) = (fields.string()?, fields.u64()?, fields.u64()?);
            confined.string(name);
            confined.string(from);
            confined.u64(offset);
            confined.u64(1 + length % 100_000); // A file of holes may be long.
            return Ok(0);
        }
        _ => {
            confined.string(b"unknown");
            return Ok(0);
        }
    };
    confined.string(name);
    Ok(paths)
}

#[cfg(test)]
pub(crate) mod seeds {
    use super::super::codes::fxf;
    use super::super::wire::Attributes;
    use super::*;

    /// What clients do, each in one connection.
    pub(crate) fn requests() -> Vec<Vec<u8>> {
        let all = Attributes { size: Some(9), owner: Some((0, 0)), permissions: Some(0o600), times: Some((1, 2)) };
        let mut seeds = vec![files(&all), folders(&all)];
        seeds.extend(extensions(&all));
        seeds
    }

    const HANDLE: &[u8] = &[0; 4];

    #[derive(Default)]
    struct Client(Replies, u32);

    impl Client {
        fn ask(&mut self, kind: u8, fill: impl FnOnce(&mut Replies)) -> &mut Self {
            self.1 += 1;
            let id = self.1;
            self.0.packet(kind, |packet| {
                packet.u32(id);
                fill(packet);
            });
            self
        }

        fn open(&mut self, name: &[u8]) -> &mut Self {
            self.ask(fxp::OPEN, |packet| {
                packet.string(name);
                packet.u32(fxf::READ | fxf::WRITE | fxf::CREAT);
                packet.attributes(&Attributes::default());
            })
        }
    }

    fn files(all: &Attributes) -> Vec<u8> {
        let mut client = Client::default();
        client.0.packet(fxp::INIT, |packet| packet.u32(VERSION));
        client.open(b"file");
        client.ask(fxp::WRITE, |packet| {
            packet.string(HANDLE);
            packet.u64(3);
            packet.string(b"data");
        });
        client.ask(fxp::READ, |packet| {
            packet.string(HANDLE);
            packet.u64(0);
            packet.u32(32768);
        });
        client.ask(fxp::FSTAT, |packet| packet.string(HANDLE));
        client.ask(fxp::FSETSTAT, |packet| {
            packet.string(HANDLE);
            packet.attributes(all);
        });
        client.ask(fxp::SETSTAT, |packet| {
            packet.string(b"file");
            packet.attributes(all);
        });
        client.ask(fxp::CLOSE, |packet| packet.string(HANDLE));
        std::mem::take(&mut client.0.0)
    }

    fn folders(all: &Attributes) -> Vec<u8> {
        let mut client = Client::default();
        client.ask(fxp::MKDIR, |packet| {
            packet.string(b"folder");
            packet.attributes(all);
        });
        client.ask(fxp::SYMLINK, |packet| {
            packet.string(b"folder");
            packet.string(b"link");
        });
        client.ask(fxp::OPENDIR, |packet| packet.string(b""));
        client.ask(fxp::READDIR, |packet| packet.string(HANDLE)).ask(fxp::READDIR, |packet| packet.string(HANDLE));
        client.ask(fxp::RENAME, |packet| {
            packet.string(b"folder");
            packet.string(b"other");
        });
        for kind in [fxp::REALPATH, fxp::STAT, fxp::LSTAT, fxp::READLINK, fxp::REMOVE, fxp::RMDIR] {
            client.ask(kind, |packet| packet.string(b"link"));
        }
        std::mem::take(&mut client.0.0)
    }

    fn extensions(all: &Attributes) -> [Vec<u8>; 2] {
        let mut client = Client::default();
        client.open(b"file").open(b"other");
        for name in [&b"fstatvfs@openssh.com"[..], b"fsync@openssh.com", b"limits@openssh.com", b"home-directory"] {
            client.ask(fxp::EXTENDED, |packet| {
                packet.string(name);
                packet.string(HANDLE);
            });
        }
        for other in [HANDLE, &[0, 0, 0, 1]] {
            client.ask(fxp::EXTENDED, |packet| {
                packet.string(b"copy-data");
                packet.string(HANDLE);
                packet.u64(0);
                packet.u64(0);
                packet.string(other);
                packet.u64(4);
            });
        }
        let mut paths = Client::default();
        paths.open(b"file");
        for name in [&b"posix-rename@openssh.com"[..], b"hardlink@openssh.com"] {
            paths.ask(fxp::EXTENDED, |packet| {
                packet.string(name);
                packet.string(b"file");
                packet.string(b"another");
            });
        }
        for name in [&b"statvfs@openssh.com"[..], b"lsetstat@openssh.com", b"expand-path@openssh.com"] {
            paths.ask(fxp::EXTENDED, |packet| {
                packet.string(name);
                packet.string(b"~/another");
                packet.attributes(all);
            });
        }
        [client.0.0, paths.0.0]
    }
}
