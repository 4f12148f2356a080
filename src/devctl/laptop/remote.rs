//! A session at the bastion that is joined to this process: what goes in and comes out is passed on byte for byte.

use std::ffi::OsString;
use std::io;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, Pty, Sig};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::Ssh;
use super::bastion::Bastion;
use super::connection::{self, Connection};
use super::failure::{Failure, INTERRUPTED, NO_CONNECTION, USAGE};
use super::host_key::Unknown;
use super::terminal::{self, Raw};
use super::{line, mistake, written};
use crate::devctl::verbs::Who;

/// What RFC 4254 calls stderr.
const STDERR: u32 = 1;
/// What one packet holds, with room for what stands around it.
const MOST: usize = 200 << 10;
pub(super) const PIECE: usize = 32 * 1024;
/// Variables that tell a program how to write for this terminal.
pub(super) const VARIABLES: [&str; 4] = ["LANG", "LC_ALL", "COLORTERM", "NO_COLOR"];

/// Has the bastion answer a verb.
pub(super) async fn verb(bastion: &Bastion, words: &[OsString]) -> Result<u8, Failure> {
    let line = line(words);
    if line.len() > MOST {
        let message = format!("the command has {} KiB, and no more than {} are taken", line.len() >> 10, MOST >> 10);
        return Err(Failure::new(message).cure("send what is long on stdin, or as a file: `devctl cp`").status(USAGE));
    }
    let connection = connection::open(bastion, Unknown::Refuse).await;
    let connection = connection.map_err(|failure| mistake(words).unwrap_or(failure))?;
    let terminal = terminal::is_interactive();
    run(&connection, Some(line), terminal).await
}

/// A shell or a command in a DevServer, where OpenSSH is not installed.
pub(super) async fn shell(bastion: &Bastion, ssh: &Ssh) -> Result<u8, Failure> {
    let login = super::openssh::login(bastion, ssh.name.as_deref())?;
    let bastion = Bastion { login, ..bastion.clone() };
    let connection = connection::open(&bastion, Unknown::Refuse).await?;
    let command = ssh.line();
    let terminal = ssh.wants_terminal(&command);
    run(&connection, command, terminal).await
}

/// What the bastion answered.
pub(super) struct Answer {
    pub(super) status: u8,
    pub(super) text: String,
    /// On stderr.
    pub(super) said: String,
}

/// Asks a verb of the bastion's quietly.
pub(super) async fn ask(connection: &Connection, words: &[&str]) -> Result<Answer, Failure> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let channel = connection.handle.channel_open_session().await?;
    channel.exec(true, line(&words)).await?;
    channel.eof().await?;
    let (mut reader, _writer) = channel.split();
    let (mut status, mut text, mut said) = (NO_CONNECTION, Vec::new(), Vec::new());
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => text.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, ext: STDERR } => said.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => status = u8::try_from(exit_status).unwrap_or(u8::MAX),
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    let words = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Answer { status, text: words(text), said: words(said) })
}

/// Asks it whom it takes us for. None: it does not tell, as older ones do not.
pub(super) async fn who(connection: &Connection) -> Option<Who> {
    let answer = ask(connection, &["whoami", "-o", "json"]).await.ok().filter(|answer| answer.status == 0)?;
    serde_json::from_str(&answer.text).ok()
}

async fn run(connection: &Connection, command: Option<Vec<u8>>, terminal: bool) -> Result<u8, Failure> {
    let mut channel = connection.handle.channel_open_session().await?;
    for name in VARIABLES {
        if let Ok(value) = std::env::var(name) {
            channel.set_env(false, name, value).await?;
        }
    }
    if terminal {
        let (columns, rows) = terminal::size();
        let kind = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
        let modes = [(Pty::TTY_OP_ISPEED, 38_400), (Pty::TTY_OP_OSPEED, 38_400)];
        channel.request_pty(true, &kind, columns, rows, 0, 0, &modes).await?;
    }
    match command {
        Some(command) => channel.exec(true, command).await?,
        None => channel.request_shell(true).await?,
    }
    // Without one at the other end nobody there would know Ctrl-C.
    let granted = terminal && is_granted(&mut channel).await?;
    if terminal && !granted {
        eprintln!("devctl: the bastion gives you no terminal; your key may not have one");
    }
    let terminal = granted;
    let raw = match terminal {
        true => Some(Raw::enter().map_err(|error| Failure::new(format!("failed to set up the terminal: {error}")))?),
        false => None,
    };
    let ended = tokio::select! {
        ended = join(channel, terminal) => ended,
        // The terminal is to be left as it was found.
        status = terminated(), if terminal => Ok(status),
    };
    drop(raw);
    let status = ended?;
    let _ = connection.handle.disconnect(Disconnect::ByApplication, "", "").await;
    Ok(status)
}

/// Whether the first thing that was asked for is there: answers come in the order of the questions.
async fn is_granted(channel: &mut Channel<Msg>) -> Result<bool, Failure> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(true),
            Some(ChannelMsg::Failure) => return Ok(false),
            Some(ChannelMsg::Close) | None => return Err(lost()),
            Some(_) => {}
        }
    }
}

/// Somebody ends this process; it is as a shell would tell it.
pub(super) async fn terminated() -> u8 {
    let kinds = (signal(SignalKind::terminate()), signal(SignalKind::hangup()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut hangup), Ok(mut interrupt)) = kinds else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => 128 + 15,
        _ = hangup.recv() => 128 + 1,
        // Not her Ctrl-C, which goes to the other end.
        _ = interrupt.recv() => INTERRUPTED,
    }
}

/// Passes on until the other end has said how it ended.
async fn join(channel: Channel<Msg>, terminal: bool) -> Result<u8, Failure> {
    let (reader, writer) = channel.split();
    let output = show(reader);
    let input = async {
        tokio::join!(send(&writer), resize(&writer, terminal));
        std::future::pending().await
    };
    tokio::select! {
        ended = output => ended,
        status = input => status,
    }
}

/// Writes what comes, each to where it belongs. A reader that waits, as `less` does, holds up nothing else: the bastion
/// would take a connection that answers no keepalive for dead.
async fn show(mut reader: ChannelReadHalf) -> Result<u8, Failure> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut status = None;
    while let Some(message) = reader.wait().await {
        let done = match message {
            ChannelMsg::Data { data } => write(&mut stdout, &data).await,
            ChannelMsg::ExtendedData { data, ext: STDERR } => write(&mut stderr, &data).await,
            ChannelMsg::ExitStatus { exit_status } => {
                status = Some(u8::try_from(exit_status).unwrap_or(u8::MAX));
                Ok(())
            }
            ChannelMsg::ExitSignal { signal_name, .. } => {
                status = Some(128 + number(&signal_name));
                Ok(())
            }
            ChannelMsg::Failure => {
                return Err(Failure::new("the bastion refused to run it").cure("ask your administrator"));
            }
            ChannelMsg::Close => break,
            _ => Ok(()),
        };
        if let Err(error) = done {
            return written(&error);
        }
    }
    status.ok_or_else(lost)
}

pub(super) fn lost() -> Failure {
    let cure = "run it again; `devctl doctor` looks at each step of the way";
    Failure::new("the connection to the bastion was lost").cure(cure).no_connection()
}

pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), data: &[u8]) -> io::Result<()> {
    to.write_all(data).await?;
    to.flush().await
}

/// Sends stdin, and its end.
async fn send(writer: &ChannelWriteHalf<Msg>) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; PIECE];
    loop {
        match stdin.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(n) => {
                if writer.data_bytes(buffer[..n].to_vec()).await.is_err() {
                    return;
                }
            }
        }
    }
    let _ = writer.eof().await;
}

/// Tells each new size of the terminal.
async fn resize(writer: &ChannelWriteHalf<Msg>, terminal: bool) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    while terminal && changes.recv().await.is_some() {
        let (columns, rows) = terminal::size();
        if writer.window_change(columns, rows, 0, 0).await.is_err() {
            return;
        }
    }
}

/// As kernels number them.
fn number(signal: &Sig) -> u8 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(_) => 127,
    }
}
