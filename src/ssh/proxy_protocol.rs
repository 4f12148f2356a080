//! The PROXY protocol (haproxy's proxy-protocol.txt, versions 1 and 2): a load balancer tells whose connection it is.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads the header that `stream` must begin with, and nothing after it. Returns the client's address; `None` if the
/// connection is the load balancer's own.
pub(super) async fn read_client(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let header = read_header(stream).await?;
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(&header, config) {
        Ok((parsed, length)) if length == header.len() => Ok(parsed.proxied_address().map(|address| address.source)),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "no header of the PROXY protocol")),
    }
}

const V1: &[u8] = b"PROXY ";
const V1_MAX: usize = 107;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 2: the signature, version and command, family and protocol, the length of what follows.
const V2_FIXED: usize = 16;

async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut header = vec![0; V2.len()];
    stream.read_exact(&mut header).await?;
    if header == V2 {
        header.resize(V2_FIXED, 0);
        stream.read_exact(&mut header[V2.len()..]).await?;
        let length = u16::from_be_bytes([header[V2_FIXED - 2], header[V2_FIXED - 1]]);
        header.resize(V2_FIXED + usize::from(length), 0);
        stream.read_exact(&mut header[V2_FIXED..]).await?;
    } else if header.starts_with(V1) {
        // Byte by byte: only the line's end tells where SSH begins.
        while header.last() != Some(&b'\n') && header.len() < V1_MAX {
            header.push(stream.read_u8().await?);
        }
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n";

    /// What it tells, with what is left of the stream.
    async fn read(header: &[u8]) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
        let stream = [header, SSH].concat();
        let mut rest = stream.as_slice();
        let told = read_client(&mut rest).await?;
        Ok((told, rest.to_vec()))
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        [V2, &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
    }

    #[tokio::test]
    async fn the_client_is_told_and_ssh_is_left() {
        let ipv6 = v2(0x21, 0x21, &[[0xfd; 16].as_slice(), &[2; 16], &[0, 7, 0, 22], b"\x04\0\x01x"].concat());
        let headers = [
            (b"PROXY TCP4 10.0.0.7 10.0.0.1 5022 22\r\n".to_vec(), Some("10.0.0.7:5022")),
            (b"PROXY TCP6 2001:db8::7 ::1 5022 22\r\n".to_vec(), Some("[2001:db8::7]:5022")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2(0x21, 0x11, &[10, 0, 0, 7, 10, 0, 0, 1, 0, 9, 0, 22]), Some("10.0.0.7:9")),
            (ipv6, Some("[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:7")),
            (v2(0x20, 0x00, b""), None),
        ];
        for (header, client) in headers {
            let (told, rest) = read(&header).await.unwrap();
            assert_eq!(told, client.map(|client| client.parse().unwrap()));
            assert_eq!(rest, SSH);
        }
    }

    #[tokio::test]
    async fn anything_else_is_an_error() {
        let bad = [
            b"".to_vec(),
            b"PROXY TCP4 10.0.0.7 10.0.0.1 5022\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.777 10.0.0.1 5022 22\r\n".to_vec(),
            b"PROXY TCP4 10.0.0.7 10.0.0.1 5022 22\n".to_vec(),
            [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat(),
            v2(0x31, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 12]),
        ];
        for header in bad {
            assert!(read(&header).await.is_err(), "{header:?}");
        }
        let mut short = &v2(0x21, 0x11, &[0; 12])[..20];
        assert_eq!(read_client(&mut short).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
