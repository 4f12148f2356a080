//! Just enough HTTP to ask a server of the pod's own something: one GET, whose answer ends with the connection.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that is stuck must not hold up the rest.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const MAX: u64 = 1024 * 1024;

/// The body of what the server at `port` of loopback answers, if that is a success.
pub(super) async fn get(port: u16, path: &str, authorization: Option<&str>) -> Option<Vec<u8>> {
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !is_plain(path) || path.contains(' ') || !authorization.is_none_or(is_plain) {
        return None;
    }
    timeout(PATIENCE, ask(port, path, authorization)).await.ok()?
}

async fn ask(port: u16, path: &str, authorization: Option<&str>) -> Option<Vec<u8>> {
    let mut stream = match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
        Ok(stream) => stream,
        Err(_) => TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.ok()?,
    };
    // Version 1.0: the answer comes in one piece, whoever gives it.
    let authorization = authorization.map(|proof| format!("Authorization: {proof}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\n{authorization}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(MAX).read_to_end(&mut answer).await.ok()?;
    body(&answer).map(<[u8]>::to_vec)
}

fn body(answer: &[u8]) -> Option<&[u8]> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    (status == "200").then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_has_a_body() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n[]"), Some(&b"[]"[..]));
        assert_eq!(body(b"HTTP/1.0 200 OK\r\n\r\n"), Some(&b""[..]));
        for bad in [&b"HTTP/1.1 403 Forbidden\r\n\r\n[]"[..], b"HTTP/1.1 200 OK\r\n", b"[]", b"", b"HTTP/2 200\r\n\r\n"]
        {
            assert_eq!(body(bad), None);
        }
    }

    #[tokio::test]
    async fn what_would_be_a_second_line_is_not_sent() {
        assert_eq!(get(1, "/a\r\nX: y", None).await, None);
        assert_eq!(get(1, "/", Some("token a\r\nX: y")).await, None);
    }
}
