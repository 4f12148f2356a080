//! Targets of fuzzing: what is read of a connection before russh reads it.

use russh::cipher;
use tokio::io::{AsyncReadExt, join, sink};

const OURS: [cipher::Name; 2] = [cipher::AES_128_GCM, cipher::CHACHA20_POLY1305];

/// Whatever a client says first: russh reads every byte of it, and has a cipher to offer.
pub fn greeting(words: &[u8]) {
    block_on(async {
        let exchanged = super::version_exchange::exchange(join(words, sink()), &OURS).await;
        let (mut greeted, offered) = exchanged.expect("neither reading nor writing fails here");
        assert!(!offered.is_empty() && offered.iter().all(|cipher| OURS.contains(cipher)));
        let mut read = Vec::new();
        greeted.read_to_end(&mut read).await.expect("reading does not fail here");
        assert!(read == words);
    });
}

/// Whatever a load balancer says first: the header, and nothing after it, is what decides.
pub fn proxy_protocol(stream: &[u8]) {
    block_on(async {
        let mut rest = stream;
        let Ok(client) = super::proxy_protocol::read_client(&mut rest).await else { return };
        let header = &stream[..stream.len() - rest.len()];
        assert!(header.len() <= 16 + usize::from(u16::MAX));
        let alone = super::proxy_protocol::read_client(&mut &header[..]).await;
        assert_eq!(alone.expect("it was a header before"), client);
        let cut = super::proxy_protocol::read_client(&mut &header[..header.len() - 1]).await;
        assert!(cut.is_err());
    });
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without threads or sockets").block_on(future);
}

#[cfg(test)]
pub(crate) mod seeds {
    use bytes::BufMut;

    /// The first words of a client of that name, with the ciphers that it knows.
    pub(crate) fn client(name: &str, ciphers: &str) -> Vec<u8> {
        let mut payload = vec![20]; // SSH_MSG_KEXINIT
        payload.put_bytes(7, 16);
        for list in ["mlkem768x25519-sha256", "ssh-ed25519", ciphers, ciphers] {
            payload.put_u32(list.len() as u32);
            payload.put_slice(list.as_bytes());
        }
        let mut words = format!("SSH-2.0-{name}\r\n").into_bytes();
        words.put_u32(payload.len() as u32 + 5);
        words.put_u8(4);
        words.put_slice(&payload);
        words.put_bytes(0, 4);
        words
    }

    /// What clients say first.
    pub(crate) fn greetings() -> Vec<Vec<u8>> {
        vec![
            client("OpenSSH_9.2", "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com"),
            client("OpenSSH_9.2", "3des-cbc"),
            client("dropbear", "aes128-ctr"),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            vec![b'x'; 1100],
            [b"SSH-2.0-OpenSSH_9.2\r\n\0\0\x88\xb8".as_slice(), &[1; 36_000]].concat(),
        ]
    }

    /// Headers of both versions, and what follows them.
    pub(crate) fn proxy_headers() -> Vec<Vec<u8>> {
        let v2 = |command: u8, family: u8, body: &[u8]| {
            let length = (body.len() as u16).to_be_bytes();
            [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, body].concat()
        };
        let headers = [
            b"PROXY TCP4 10.0.0.7 10.0.0.1 5022 22\r\n".to_vec(),
            b"PROXY TCP6 2001:db8::7 ::1 5022 22\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff:f:f:f ::1 65535 65535\r\n".to_vec(),
            v2(0x21, 0x11, &[10, 0, 0, 7, 10, 0, 0, 1, 0, 9, 0, 22]),
            v2(0x21, 0x21, &[[0xfd; 16].as_slice(), &[2; 16], &[0, 7, 0, 22], b"\x04\0\x01x"].concat()),
            v2(0x21, 0x31, &[b'/'; 216]),
            v2(0x20, 0x00, b""),
        ];
        headers.into_iter().map(|header| [header.as_slice(), b"SSH-2.0-OpenSSH_9.2\r\n"].concat()).collect()
    }
}
