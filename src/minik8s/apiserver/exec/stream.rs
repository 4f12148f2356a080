//! The channels of an exec, with the ways of the real thing, its traps included: one loop reads the socket and writes
//! stdin itself, so what the program does not read holds up resizes, pings and the close; a connection that breaks ends
//! nothing.

use super::Lost;
use super::stdin::{PipeStdin, Stdin};
use crate::minik8s::kubelet::{Exec, ExecRequest, ExecStdio, Process};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{
    SinkExt, StreamExt,
    future::join,
    stream::{SplitSink, SplitStream},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5: the byte that follows names the channel that its sender will write no more.
const CLOSE: u8 = 255;

const FRAME: usize = 32 << 10;
/// How long a client that was told the end has to hang up; data may still be on its way to it.
const CLOSING: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

pub(super) struct Stream {
    sink: Mutex<SplitSink<Socket, Message>>,
    source: Mutex<SplitStream<Socket>>,
    /// When data last passed, either way; pings do not count.
    active: parking_lot::Mutex<Instant>,
    idle: Duration,
}

/// What of an exec is at an end.
#[derive(Default)]
struct Ended {
    output: CancellationToken,
    stdin: CancellationToken,
}

impl Stream {
    pub(super) fn new(socket: Socket, idle: Duration) -> Stream {
        let (sink, source) = socket.split();
        Stream {
            sink: Mutex::new(sink),
            source: Mutex::new(source),
            active: parking_lot::Mutex::new(Instant::now()),
            idle,
        }
    }

    /// Tells the client that the stream is there, by an empty frame on the first channel it will hear from.
    pub(super) async fn open(self, wanted: &ExecRequest) -> Result<Stream, Lost> {
        let first = match (wanted.stdout, wanted.stderr && !wanted.tty) {
            (true, _) => STDOUT,
            (_, true) => STDERR,
            _ => ERROR,
        };
        self.send(Bytes::copy_from_slice(&[first])).await?;
        Ok(self)
    }

    pub(super) async fn run(&self, exec: Exec) -> Result<(), Lost> {
        let Exec { mut process, stdio } = exec;
        let ended = Ended::default();
        let code = match stdio {
            ExecStdio::Pipes { stdin, mut stdout, mut stderr } => {
                let mut stdin = Stdin::Pipe(stdin.map(PipeStdin::new));
                let outputs = async {
                    let stdout = async {
                        let copied = self.copy(STDOUT, stdout.as_mut()).await;
                        ended.output.cancel();
                        copied
                    };
                    join(stdout, self.copy(STDERR, stderr.as_mut())).await
                };
                let code = self.until_over(outputs, &mut process, &mut stdin, &ended).await;
                let Some(code) = code else {
                    drop(stdin);
                    outlive(process, (stdout, stderr));
                    return Err(Lost);
                };
                code
            }
            ExecStdio::Terminal(pty) => {
                let (mut output, input) = pty.into_split();
                let mut stdin = Stdin::Terminal(input);
                ended.stdin.cancel();
                let outputs = async { (self.copy(STDOUT, Some(&mut output)).await, Ok(())) };
                let code = self.until_over(outputs, &mut process, &mut stdin, &ended).await;
                let Some(code) = code else {
                    outlive(process, (output, stdin));
                    return Err(Lost);
                };
                code
            }
        };
        self.close(&exit_status(code?)).await
    }

    /// The program's exit code; none if its client is gone before.
    async fn until_over(
        &self,
        outputs: impl Future<Output = (Result<(), Lost>, Result<(), Lost>)>,
        process: &mut Process,
        stdin: &mut Stdin,
        ended: &Ended,
    ) -> Option<Result<i32, Lost>> {
        tokio::select! {
            code = finish(outputs, process, &ended.stdin) => Some(code),
            Lost = self.listen(stdin, ended) => None,
            Lost = self.idle() => None,
        }
    }

    /// Sends the status, which is the last word, and waits for the client to hang up.
    pub(super) async fn close(&self, status: &Value) -> Result<(), Lost> {
        let mut frame = vec![ERROR];
        frame.extend(status.to_string().into_bytes());
        self.send(frame.into()).await?;
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let mut sink = self.sink.lock().await;
        sink.send(Message::Close(Some(goodbye))).await.map_err(|_| Lost)?;
        // Closing with input unread would reset the connection, and output the client has yet to read would be lost.
        let mut source = self.source.lock().await;
        let _ = timeout(CLOSING, async { while let Some(Ok(_)) = source.next().await {} }).await;
        Ok(())
    }

    /// The one loop that reads the socket. Ends when the client is gone.
    async fn listen(&self, stdin: &mut Stdin, ended: &Ended) -> Lost {
        let mut source = self.source.lock().await;
        if stdin.is_closed() {
            ended.stdin.cancel();
        }
        loop {
            let message = tokio::select! {
                biased;
                // The trap that loses uploads: containerd takes the end of stdout for the end of all.
                () = ended.output.cancelled(), if !ended.stdin.is_cancelled() => {
                    if stdin.settle(&mut *source).await.is_err() {
                        return Lost;
                    }
                    ended.stdin.cancel();
                    continue;
                }
                message = source.next() => message,
            };
            let frame = match message {
                Some(Ok(Message::Binary(frame))) => frame,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Lost,
                Some(Ok(_)) => continue,
            };
            self.touch();
            match frame.first() {
                Some(&STDIN) => stdin.write(frame.slice(1..)).await,
                Some(&RESIZE) => stdin.resize(&frame[1..]),
                Some(&CLOSE) if frame[1..] == [STDIN] => {
                    stdin.close();
                    ended.stdin.cancel();
                }
                _ => {}
            }
        }
    }

    async fn copy(&self, channel: u8, from: Option<&mut (impl AsyncRead + Unpin)>) -> Result<(), Lost> {
        let Some(from) = from else { return Ok(()) };
        loop {
            let mut frame = BytesMut::with_capacity(FRAME + 1);
            frame.put_u8(channel);
            // A terminal ends with an error.
            match from.read_buf(&mut frame).await {
                Ok(1..) => self.send(frame.freeze()).await?,
                Ok(0) | Err(_) => return Ok(()),
            }
        }
    }

    async fn send(&self, frame: Bytes) -> Result<(), Lost> {
        let mut sink = self.sink.lock().await;
        sink.send(Message::Binary(frame)).await.map_err(|_| Lost)?;
        self.touch();
        Ok(())
    }

    fn touch(&self) {
        *self.active.lock() = Instant::now();
    }

    async fn idle(&self) -> Lost {
        loop {
            let active = *self.active.lock();
            let end = active + self.idle;
            if Instant::now() >= end {
                return Lost;
            }
            sleep_until(end).await;
        }
    }
}

/// An exec is over when its program has ended, its output is at an end (a child may hold it longer) and so is its
/// input.
async fn finish(
    outputs: impl Future<Output = (Result<(), Lost>, Result<(), Lost>)>,
    process: &mut Process,
    stdin_ended: &CancellationToken,
) -> Result<i32, Lost> {
    let ((stdout, stderr), code) = join(outputs, process.wait()).await;
    stdout?;
    stderr?;
    stdin_ended.cancelled().await;
    Ok(code)
}

/// A program whose client is gone runs on, blocked once its pipes are full, until it or its container ends.
fn outlive(mut process: Process, held_open: impl Send + 'static) {
    tokio::spawn(async move {
        process.wait().await;
        drop(held_open);
    });
}

fn exit_status(code: i32) -> Value {
    match code {
        0 => json!({"metadata": {}, "status": "Success"}),
        code => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
    }
}
