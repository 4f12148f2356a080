//! Workspaces without a cluster: a task stands for each program. For tests of what lies above.

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{Command, Exit, Output, Process, Program};

/// Its programs echo stdin to stdout, but for the commands `exit N`, `stderr TEXT`, `hush` (closes stdout and stderr,
/// and ends after stdin), `leave N` (ends with status N, but leaves somebody who reads stdin to its end), `deaf` (hears
/// no signals), `stall` (never reads), `double` (writes twice what it reads) and `size` (prints the terminal's size at
/// each change). Any signal ends them as SIGTERM, but for SIGQUIT, which leaves a core file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EchoWorkspaces;

impl EchoWorkspaces {
    /// Starts the task that stands for `command`.
    pub(crate) fn start(self, command: &Command) -> Process {
        let (stdin, input) = mpsc::channel(8);
        let (size, sizes) = watch::channel(None);
        let (signals, mut sent) = mpsc::channel::<String>(8);
        let (output, receiver) = mpsc::channel(8);
        let line = match &command.program {
            Program::Shell | Program::Sftp | Program::Shells(_) => String::new(),
            Program::Command(line) => String::from_utf8_lossy(line).into_owned(),
        };
        let is_deaf = line == "deaf";
        tokio::spawn(async move {
            let exit = tokio::select! {
                status = run(&line, input, sizes, &output) => Exit::Code(status),
                Some(name) = sent.recv() => match name.as_str() {
                    "QUIT" => Exit::Signal { number: 3, core_dumped: true },
                    _ => Exit::Signal { number: 15, core_dumped: false },
                },
            };
            let _ = output.send(Output::Exit(exit)).await;
        });
        let signals = (!is_deaf).then_some(signals);
        Process { stdin, size, output: receiver, signals, redraw: None, ssh_agent: None, x11: None }
    }
}

async fn run(
    line: &str,
    mut input: mpsc::Receiver<Bytes>,
    mut sizes: watch::Receiver<Option<super::TerminalSize>>,
    output: &mpsc::Sender<Output>,
) -> u32 {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "exit" => return rest.parse().unwrap_or(2),
        "stderr" => {
            let _ = output.send(Output::Stderr(Bytes::copy_from_slice(rest.as_bytes()))).await;
            return 0;
        }
        "hush" => {
            let _ = output.send(Output::Stdout(Bytes::from_static(b"all"))).await;
            let _ = output.send(Output::Eof).await;
            while input.recv().await.is_some() {}
            let _ = output.send(Output::Stderr(Bytes::from_static(b"never"))).await;
        }
        "leave" => {
            let status = rest.parse().unwrap_or(2);
            let _ = output.send(Output::Ended(Exit::Code(status))).await;
            while input.recv().await.is_some() {}
            return status;
        }
        "stall" => output.closed().await,
        "size" => {
            while sizes.changed().await.is_ok() {
                let size = *sizes.borrow_and_update();
                if let Some(size) = size {
                    let text = format!("{}x{}\n", size.columns, size.rows);
                    let _ = output.send(Output::Stdout(text.into())).await;
                }
            }
        }
        _ => {
            while let Some(data) = input.recv().await {
                let copies = if word == "double" { 2 } else { 1 };
                for _ in 0..copies {
                    let _ = output.send(Output::Stdout(data.clone())).await;
                }
            }
        }
    }
    0
}
