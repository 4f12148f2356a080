//! What editors send, replayed, or sent by the editor itself where it can be had. Their servers in the pod are stood in
//! for.

mod jetbrains;
mod tramp;
mod vscode;
mod zed;

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::forwards::connect;
use crate::harness::{Laptop, within};

/// An editor's server: tells its port, and answers each connection with what it read until the end, in capitals.
const SERVER: &str = "
import socket, threading
def serve(c):
    text = b''
    while piece := c.recv(65536): text += piece
    c.sendall(text.upper()); c.close()
s = socket.create_server(('127.0.0.1', 0))
print('Extension host agent listening on', s.getsockname()[1], flush=True)
while True: threading.Thread(target=serve, args=(s.accept()[0],)).start()
";

/// A program on the laptop whose output is read line by line.
struct Talk {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    fn start(laptop: &Laptop, program: &str, arguments: &[&str]) -> Self {
        let mut child = laptop.command(program, arguments).stderr(Stdio::inherit()).spawn().expect("it is installed");
        let stdin = child.stdin.take().expect("it is piped");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, stdin, lines }
    }

    async fn types(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).await.expect("it reads");
        self.stdin.flush().await.expect("it reads");
    }

    /// What follows `start` on the next line that begins so.
    async fn hears(&mut self, start: &str) -> String {
        let hear = async {
            loop {
                let line = self.lines.next_line().await.expect("it writes text");
                let line = line.unwrap_or_else(|| panic!("it ended without {start:?}"));
                if let Some(rest) = line.strip_prefix(start) {
                    return rest.to_owned();
                }
            }
        };
        within(Duration::from_secs(60), &format!("a line {start:?}"), hear).await
    }

    /// What stands between `==` and `==`, as the scripts of VS Code answer.
    async fn value(&mut self, name: &str) -> String {
        let rest = self.hears(&format!("{name}==")).await;
        rest.strip_suffix("==").expect("the answer has an end").to_owned()
    }

    async fn kill(mut self) {
        self.child.kill().await.expect("it is our child");
    }
}

/// A connection to this port of the pod by the SOCKS server on that port of the laptop (RFC 1928).
async fn by_socks(socks: u16, there: u16) -> TcpStream {
    let mut stream = connect(socks).await;
    stream.write_all(&[5, 1, 0]).await.expect("it is taken");
    stream.read_exact(&mut [0; 2]).await.expect("it needs no password");
    let request = [&[5, 1, 0, 1, 127, 0, 0, 1][..], &there.to_be_bytes()].concat();
    stream.write_all(&request).await.expect("it is taken");
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).await.expect("it answers");
    assert_eq!(answer[1], 0, "the SOCKS server refuses");
    stream
}
