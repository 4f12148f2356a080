//! run.sh's first line: who leads the program's process group. What the program writes may overtake it.

use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::SplitStream;

use super::super::Error;
use super::super::exec::{self, ExecStream, Frame};
use super::super::script::Shell;
use super::{Output, closed};

/// What it tells.
pub(super) struct Hello {
    pub(super) shell: Shell,
    /// The program's output that came with it or, on the other channel, before it.
    pub(super) early: Vec<Output>,
}

/// Reads it from the terminal, or from stderr where stdio is apart.
pub(super) async fn read(stream: &mut SplitStream<ExecStream>, nonce: &str, tty: bool) -> Result<Hello, Error> {
    let mut line = BytesMut::new();
    let mut early = Vec::new();
    let mut early_bytes = 0;
    loop {
        let message = stream.next().await.ok_or_else(closed)?.map_err(|e| Error::Lost(Box::new(e)))?;
        match Frame::parse(message)? {
            Frame::Stdout(data) if tty => line.extend_from_slice(&data),
            Frame::Stderr(data) => line.extend_from_slice(&data),
            // The channels are apart all the way: the program's stdout may overtake run.sh's stderr.
            Frame::Stdout(data) => {
                early_bytes += data.len();
                early.push(Output::Stdout(data));
            }
            Frame::Status(status) => {
                return Err(match exec::exit_code(&status) {
                    Err(Error::NotStarted(message)) if message.contains("\"sh\"") => Error::NoShell,
                    Err(error) => error,
                    Ok(code) => Error::NotStarted(format!(
                        "its shell ended at once with status {code}: {}",
                        String::from_utf8_lossy(&line).trim()
                    )),
                });
            }
            _ => {}
        }
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let rest = line.split_off(end + 1).freeze();
            let text = String::from_utf8_lossy(&line);
            let [first, pid, born] = text.split_whitespace().collect::<Vec<_>>()[..] else {
                return Err(Error::NotStarted(text.trim().to_owned()));
            };
            if first != nonce {
                return Err(Error::NotStarted(text.trim().to_owned()));
            }
            early.push(if tty { Output::Stdout(rest) } else { Output::Stderr(rest) });
            let shell = Shell::Heard { pid: pid.to_owned(), born: born.to_owned() };
            return Ok(Hello { shell, early });
        }
        if line.len() > MAX_HELLO || early_bytes > MAX_EARLY {
            return Err(Error::Protocol("no first line from the pod's shell"));
        }
    }
}

/// It must come within so many bytes.
const MAX_HELLO: usize = 4096;
/// So many bytes may overtake it.
const MAX_EARLY: usize = 4 * 1024 * 1024;
