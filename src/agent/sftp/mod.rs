//! An SFTP server, version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions (OpenSSH PROTOCOL §4), on stdin
//! and stdout. Answers in order, as fast as requests come; replies are written together while more requests wait.

pub(crate) mod codes;
mod extension;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod handles;
mod long_name;
mod reply;
pub(crate) mod wire;

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

use rustix::io::Errno;

use super::close::{Close, close};
use super::open_files;
use codes::fxp;
use handles::{Entries, Handle, Handles};
use long_name::Names;
use reply::{Name, Refusal, Reply};
use wire::{Fields, Replies};

/// Largest packet that is taken or sent, in bytes, as OpenSSH's.
const MAX_PACKET: usize = 256 * 1024;
/// Largest piece of a file in one packet, in bytes.
const MAX_DATA: usize = MAX_PACKET - 1024;
/// Entries of a folder in one reply.
const ENTRIES: usize = 100;
/// Replies that wait are written at the latest when they are so many bytes.
const ENOUGH: usize = 256 * 1024;

/// Serves until the client closes stdin. Relative paths begin in the folder it is started in.
pub fn serve(input: impl Read, output: impl Write) -> io::Result<()> {
    open_files::take_room();
    serve_with(close, input, output)
}

fn serve_with(close: Close, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut server = Server { handles: Handles::default(), names: Names::load(), replies: Replies::default(), close };
    let mut buffer = vec![0; MAX_PACKET + 4];
    let mut filled = 0;
    loop {
        let mut start = 0;
        while let Some(packet) = packet(&buffer[start..filled])? {
            start += 4 + packet.len();
            server.answer(packet)?;
            if server.replies.0.len() >= ENOUGH {
                write(&mut output, &mut server.replies)?;
            }
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        write(&mut output, &mut server.replies)?;
        match input.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            read => filled += read,
        }
    }
}

fn write(output: &mut impl Write, replies: &mut Replies) -> io::Result<()> {
    output.write_all(&replies.0)?;
    replies.0.clear();
    output.flush()
}

/// The first whole packet, without its length.
fn packet(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some(size) = bytes.first_chunk().map(|size| u32::from_be_bytes(*size) as usize) else { return Ok(None) };
    if !(1..=MAX_PACKET).contains(&size) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet of an impossible size"));
    }
    Ok(bytes.get(4..4 + size))
}

struct Server {
    handles: Handles,
    names: Names,
    replies: Replies,
    close: Close,
}

impl Server {
    /// Adds the reply to a packet. An error ends the session: nothing that follows could be understood.
    fn answer(&mut self, packet: &[u8]) -> io::Result<()> {
        let mut fields = Fields(packet);
        let begun = fields.byte().and_then(|kind| Ok((kind, fields.u32()?)));
        let (kind, id) = begun.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a packet without a request"))?;
        if kind == fxp::INIT {
            extension::greet(&mut self.replies);
            return Ok(());
        }
        let result = self.serve(kind, &mut fields);
        self.reply(id, result);
        Ok(())
    }

    fn serve(&mut self, kind: u8, fields: &mut Fields<'_>) -> Result<Reply, Refusal> {
        match kind {
            fxp::OPEN => {
                let (path, flags, attributes) = (fields.path()?, fields.u32()?, fields.attributes()?);
                self.keep(Handle::File(files::open(&path, flags, &attributes)?))
            }
            fxp::CLOSE => match self.handles.remove(fields.string()?).ok_or(io::Error::from(Errno::BADF))? {
                Handle::File(file) => done((self.close)(file)),
                Handle::Folder { .. } => Ok(Reply::Done),
            },
            fxp::READ => {
                let (handle, offset, size) = (fields.string()?, fields.u64()?, fields.u32()?);
                read(self.file(handle)?, offset, size)
            }
            fxp::WRITE => {
                let (handle, offset, data) = (fields.string()?, fields.u64()?, fields.string()?);
                done(self.file(handle)?.write_all_at(data, offset))
            }
            fxp::LSTAT => Ok(Reply::Attributes(files::attributes(&fs::symlink_metadata(fields.path()?)?))),
            fxp::FSTAT => Ok(Reply::Attributes(files::attributes(&self.metadata(fields.string()?)?))),
            fxp::SETSTAT => {
                let (path, attributes) = (fields.path()?, fields.attributes()?);
                done(files::set(&path, &attributes, true))
            }
            fxp::FSETSTAT => {
                let (handle, attributes) = (fields.string()?, fields.attributes()?);
                done(files::set_open(self.file(handle)?, &attributes))
            }
            fxp::OPENDIR => {
                let path = fields.path()?;
                let names = fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.file_name()));
                let entries: Entries =
                    Box::new([".", ".."].map(|dot| Ok(OsString::from(dot))).into_iter().chain(names));
                self.keep(Handle::Folder { path, entries: entries.peekable() })
            }
            fxp::READDIR => self.read_folder(fields.string()?),
            fxp::REMOVE => done(fs::remove_file(fields.path()?)),
            fxp::MKDIR => {
                let (path, attributes) = (fields.path()?, fields.attributes()?);
                let mode = attributes.permissions.unwrap_or(0o777) & 0o7777;
                // As mkdir(2): less what the umask takes away, for many clients always ask for 0777.
                done(fs::DirBuilder::new().mode(mode).create(path))
            }
            fxp::RMDIR => done(fs::remove_dir(fields.path()?)),
            fxp::REALPATH => Ok(one_name(&files::real_path(&fields.path()?)?)),
            fxp::STAT => Ok(Reply::Attributes(files::attributes(&fs::metadata(fields.path()?)?))),
            fxp::RENAME => {
                let (from, to) = (fields.path()?, fields.path()?);
                done(files::rename(&from, &to))
            }
            fxp::READLINK => Ok(one_name(&fs::read_link(fields.path()?)?)),
            fxp::SYMLINK => {
                // OpenSSH's order, which all clients have taken over: the target, then the link.
                let (target, link) = (fields.path()?, fields.path()?);
                done(std::os::unix::fs::symlink(target, link))
            }
            fxp::EXTENDED => extension::serve(self, fields),
            _ => Err(Refusal::Unsupported),
        }
    }

    fn keep(&mut self, handle: Handle) -> Result<Reply, Refusal> {
        self.handles.insert(handle).map(Reply::Handle).ok_or(Refusal::TooManyHandles)
    }

    fn file(&self, handle: &[u8]) -> Result<&File, Refusal> {
        self.handles.file(handle).ok_or(Refusal::Handle)
    }

    fn metadata(&mut self, handle: &[u8]) -> Result<Metadata, Refusal> {
        match self.handles.get(handle).ok_or(Refusal::Handle)? {
            Handle::File(file) => Ok(file.metadata()?),
            Handle::Folder { path, .. } => Ok(fs::metadata(path)?),
        }
    }

    fn read_folder(&mut self, handle: &[u8]) -> Result<Reply, Refusal> {
        let Some(Handle::Folder { path, entries }) = self.handles.get(handle) else {
            return Err(Refusal::Handle);
        };
        let mut names = Vec::new();
        // An error is told once those are that came before it.
        while names.len() < ENTRIES
            && let Some(name) = entries.next_if(|name| name.is_ok() || names.is_empty())
        {
            let name = name?;
            // One that is gone by now is not told of.
            let Ok(metadata) = fs::symlink_metadata(path.join(&name)) else { continue };
            let long = self.names.line(name.as_bytes(), &metadata);
            names.push(Name { name: name.as_bytes().to_vec(), long, attributes: files::attributes(&metadata) });
        }
        if names.is_empty() { Err(Refusal::Eof) } else { Ok(Reply::Names(names)) }
    }

    fn reply(&mut self, id: u32, result: Result<Reply, Refusal>) {
        let kind = result.as_ref().map_or(fxp::STATUS, Reply::kind);
        self.replies.packet(kind, |packet| {
            packet.u32(id);
            match result {
                Ok(reply) => reply.encode(packet),
                Err(refusal) => refusal.encode(packet),
            }
        });
    }
}

fn read(file: &File, offset: u64, size: u32) -> Result<Reply, Refusal> {
    let mut data = vec![0; (size as usize).min(MAX_DATA)];
    let mut filled = 0;
    while filled < data.len() {
        match file.read_at(&mut data[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    data.truncate(filled);
    if data.is_empty() && size > 0 { Err(Refusal::Eof) } else { Ok(Reply::Data(data)) }
}

fn done(result: io::Result<()>) -> Result<Reply, Refusal> {
    Ok(result.map(|()| Reply::Done)?)
}

fn one_name(path: &Path) -> Reply {
    let name = path.as_os_str().as_bytes().to_vec();
    Reply::Names(vec![Name { long: name.clone(), name, attributes: wire::Attributes::default() }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8, fill: impl FnOnce(&mut Replies)) -> Vec<u8> {
        let mut packet = Replies::default();
        packet.packet(kind, fill);
        packet.0
    }

    fn exchange(requests: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        serve(requests, &mut output).unwrap();
        output
    }

    #[test]
    fn a_version_comes_with_its_extensions() {
        let greeting = exchange(&request(fxp::INIT, |packet| packet.u32(3)));
        assert_eq!(greeting[4..9], [2, 0, 0, 0, 3]);
        assert!(greeting.windows(27).any(|part| part == b"posix-rename@openssh.com\0\0\0"));
    }

    #[test]
    fn every_prefix_of_a_request_is_refused_and_none_panics() {
        let whole = request(fxp::OPEN, |packet| {
            packet.u32(7);
            packet.string(b"/nowhere/at/all");
            packet.u32(1);
            packet.attributes(&wire::Attributes { size: Some(1), times: Some((1, 2)), ..Default::default() });
        });
        for end in 9..whole.len() {
            let mut cut = whole[..end].to_vec();
            let size = (end - 4) as u32;
            cut[..4].copy_from_slice(&size.to_be_bytes());
            let reply = exchange(&cut);
            assert_eq!(reply[4..13], [101, 0, 0, 0, 7, 0, 0, 0, 5], "{end}");
        }
        assert_eq!(exchange(&whole)[4..13], [101, 0, 0, 0, 7, 0, 0, 0, 2]);
    }

    /// Regression: such a file was told as copied, and whoever deleted the original had lost it.
    #[test]
    fn what_only_the_close_tells_not_to_be_written_is_told() {
        let open = request(fxp::OPEN, |packet| {
            packet.u32(1);
            packet.string(b"/dev/null");
            packet.u32(codes::fxf::WRITE);
            packet.u32(0);
        });
        let close = request(fxp::CLOSE, |packet| {
            packet.u32(2);
            packet.string(&[0; 4]);
        });
        let mut output = Vec::new();
        serve_with(|_| Err(rustix::io::Errno::NOSPC.into()), &[open, close].concat()[..], &mut output).unwrap();
        let handle = 4 + packet(&output).unwrap().unwrap().len();
        assert_eq!(output[handle + 4..][..9], [101, 0, 0, 0, 2, 0, 0, 0, 4]);
    }

    /// Up to 99 names were lost with it, of which the client never heard.
    #[test]
    fn names_that_come_before_an_error_are_told() {
        let mut server =
            Server { handles: Handles::default(), names: Names::load(), replies: Replies::default(), close };
        let entries: Entries = Box::new([Ok("etc".into()), Err(Errno::IO.into()), Ok("usr".into())].into_iter());
        let handle = server.handles.insert(Handle::Folder { path: "/".into(), entries: entries.peekable() }).unwrap();
        let mut told = || server.read_folder(&handle);
        assert!(matches!(told(), Ok(Reply::Names(names)) if names.len() == 1 && names[0].name == b"etc"));
        assert!(matches!(told(), Err(Refusal::Io(_))));
        assert!(matches!(told(), Ok(Reply::Names(names)) if names.len() == 1));
        assert!(matches!(told(), Err(Refusal::Eof)));
    }

    #[test]
    fn garbage_ends_the_session_with_an_error() {
        for garbage in [&[0; 8][..], &[255; 64], &[0, 0, 0, 1, 3]] {
            assert!(serve(garbage, Vec::new()).is_err());
        }
    }

    #[test]
    fn unknown_handles_and_requests_are_answered() {
        for (kind, code) in [(fxp::CLOSE, 2), (fxp::READ, 5), (fxp::READDIR, 4), (77, 8)] {
            let reply = exchange(&request(kind, |packet| {
                packet.u32(1);
                packet.string(b"none");
            }));
            assert_eq!(reply[4..13], [101, 0, 0, 0, 1, 0, 0, 0, code], "{kind}");
        }
    }
}
