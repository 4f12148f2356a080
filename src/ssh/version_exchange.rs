//! The first words of a connection, read before russh reads them: they tell which cipher to offer.
//!
//! The client's order of ciphers decides (RFC 4253 §7.1), and that of OpenSSH before 10.0 begins with chacha20, which
//! costs both ends twice what GCM does where the CPU has AES. A client that is offered one cipher takes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use russh::cipher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// The line that begins a connection, without its end. Some clients (asyncssh, libssh) look for OpenSSH's name in it to
/// know in which order SFTP's `symlink` takes its paths, which OpenSSH has the other way round than its specification.
pub(super) const SERVER_ID: &str = concat!("SSH-2.0-bastion_", env!("CARGO_PKG_VERSION"), " SFTP-like-OpenSSH_9.9");
/// RFC 4253 §4.2, with room for lines before it.
const MAX_LINE: usize = 1024;
/// RFC 4253 §6.1.
const MAX_PACKET: usize = 35_000;
/// Clients may wait for our algorithms before they send theirs; OpenSSH does not, but others take its name.
const PATIENCE: Duration = Duration::from_millis(500);
const SSH_MSG_KEXINIT: u8 = 20;

/// Greets the client, and returns the stream for russh with the ciphers to offer on it: the first of `ciphers` that
/// the client knows, or all.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    ciphers: &[cipher::Name],
) -> io::Result<(Greeted<S>, Vec<cipher::Name>)> {
    let greeting = format!("{SERVER_ID}\r\n");
    stream.write_all(greeting.as_bytes()).await?;
    let mut read = BytesMut::new();
    let client = fill(&mut stream, &mut read, line).await?;
    let known = match client {
        Some(line) if line.starts_with(b"SSH-2.0-OpenSSH_") => {
            let kex_init = |read: &[u8]| kex_init(read.get(line.len()..)?);
            timeout(PATIENCE, fill(&mut stream, &mut read, kex_init)).await.unwrap_or(Ok(None))?
        }
        _ => None,
    };
    let first = known.and_then(|payload| {
        let names = client_ciphers(payload)?;
        let knows =
            |cipher: &&cipher::Name| names.split(|byte| *byte == b',').any(|name| name == cipher.as_ref().as_bytes());
        ciphers.iter().find(knows).copied()
    });
    let offered = first.map_or_else(|| ciphers.to_vec(), |cipher| vec![cipher]);
    Ok((Greeted { read: read.freeze(), written: greeting.len(), stream }, offered))
}

/// Reads on until `parse` finds what it looks for or the client has nothing more to say. russh judges what is wrong.
async fn fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    read: &mut BytesMut,
    parse: impl Fn(&[u8]) -> Option<Bytes>,
) -> io::Result<Option<Bytes>> {
    loop {
        if let Some(found) = parse(read) {
            return Ok(Some(found));
        }
        if read.len() > MAX_LINE + MAX_PACKET || stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

/// The identification line, its end included.
fn line(read: &[u8]) -> Option<Bytes> {
    let end = read.iter().take(MAX_LINE).position(|byte| *byte == b'\n');
    match end {
        Some(end) => Some(Bytes::copy_from_slice(&read[..=end])),
        // Whatever it is, it is no line.
        None if read.len() >= MAX_LINE => Some(Bytes::new()),
        None => None,
    }
}

/// The payload of an SSH_MSG_KEXINIT packet (RFC 4253 §6), once it is there.
fn kex_init(mut packet: &[u8]) -> Option<Bytes> {
    let length = packet.try_get_u32().ok()? as usize;
    // After the length of the padding.
    packet.get(..length.min(MAX_PACKET)).map(|packet| Bytes::copy_from_slice(packet.get(1..).unwrap_or_default()))
}

/// `encryption_algorithms_client_to_server` of an SSH_MSG_KEXINIT (RFC 4253 §7.1).
fn client_ciphers(mut payload: Bytes) -> Option<Bytes> {
    const COOKIE: usize = 16;
    if payload.try_get_u8().ok()? != SSH_MSG_KEXINIT || payload.remaining() < COOKIE {
        return None;
    }
    payload.advance(COOKIE);
    let _kex_algorithms = name_list(&mut payload)?;
    let _server_host_key_algorithms = name_list(&mut payload)?;
    name_list(&mut payload)
}

fn name_list(payload: &mut Bytes) -> Option<Bytes> {
    let length = payload.try_get_u32().ok()? as usize;
    (length <= payload.len()).then(|| payload.split_to(length))
}

/// A stream on which the greeting has been exchanged, for a library that exchanges it.
pub(super) struct Greeted<S> {
    /// What was read, for the library to read again.
    read: Bytes,
    /// Bytes of the greeting that the library has yet to write, in vain.
    written: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.written == 0 {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        let length = self.written.min(buf.len());
        self.written -= length;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::seeds::client;
    use super::*;

    const OURS: [cipher::Name; 2] = [cipher::AES_128_GCM, cipher::CHACHA20_POLY1305];

    /// What is offered to a client that says `words`, and what the library then reads.
    async fn offered(words: &[u8]) -> (Vec<cipher::Name>, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(MAX_LINE + 2 * MAX_PACKET);
        client.write_all(words).await.unwrap();
        client.shutdown().await.unwrap();
        let (mut greeted, offered) = exchange(server, &OURS).await.unwrap();
        let mut read = Vec::new();
        greeted.read_to_end(&mut read).await.unwrap();
        greeted.write_all(format!("{SERVER_ID}\r\nmore").as_bytes()).await.unwrap();
        drop(greeted);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, format!("{SERVER_ID}\r\nmore"));
        (offered, read)
    }

    #[tokio::test]
    async fn our_order_decides_where_the_client_tells_what_it_knows() {
        let words = client("OpenSSH_9.2", "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com");
        assert_eq!(offered(&words).await, (vec![cipher::AES_128_GCM], words));
    }

    #[tokio::test]
    async fn a_client_that_insists_gets_its_cipher() {
        let words = client("OpenSSH_9.2", "chacha20-poly1305@openssh.com");
        assert_eq!(offered(&words).await, (vec![cipher::CHACHA20_POLY1305], words));
    }

    #[tokio::test]
    async fn others_are_offered_all() {
        for (name, ciphers) in [("dropbear", "aes128-gcm@openssh.com"), ("OpenSSH_9.2", "3des-cbc")] {
            let words = client(name, ciphers);
            assert_eq!(offered(&words).await, (OURS.to_vec(), words));
        }
    }

    #[tokio::test]
    async fn nonsense_is_left_to_the_library() {
        let id = b"SSH-2.0-OpenSSH_9.2\r\n";
        let long = [b'x'; MAX_LINE + 10];
        let words: [&[u8]; 6] = [
            b"",
            b"GET / HTTP/1.1\r\n",
            &long,
            id,
            &[id, [0; 40].as_slice()].concat(),
            &[id, [255; 40].as_slice()].concat(),
        ];
        for words in words {
            assert_eq!(offered(words).await, (OURS.to_vec(), words.to_vec()));
        }
    }

    #[tokio::test]
    async fn a_client_that_waits_for_us_is_offered_all() {
        let (mut client, server) = tokio::io::duplex(MAX_PACKET);
        client.write_all(b"SSH-2.0-OpenSSH_8.2\r\n").await.unwrap();
        assert_eq!(exchange(server, &OURS).await.unwrap().1, OURS);
    }
}
