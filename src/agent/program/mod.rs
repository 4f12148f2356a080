//! A session's program: started as sshd would, copied to and from its stream, hung up with it.

mod answers;
mod input;
mod modes;
mod output;
mod redraw;
mod shell;
mod start;

pub(super) use shell::Shells;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::AtomicBool;

use rustix::process::Pid;
use tokio::process::Child;
use tokio::sync::Notify;

use super::account::Account;
use super::activity;
use super::forward::{Display, Leading, SshAgentSocket};
use super::hang_up;
use super::ledger;
use super::memory;
use super::request::{Exit, ProgramRequest, Response, X11};
use crate::carrier::{Carrier, Message, Stream};
use start::Held;

/// Runs the program that `request` asks for, to its end or its session's; a shell that lasts also beyond.
pub(super) async fn run(
    mut request: ProgramRequest,
    shells: &Shells,
    account: &Account,
    carrier: &Carrier,
    stream: Stream,
) {
    if let Some((terminal, patience)) = request.lasting_shell() {
        return shells.enter(request, &terminal, patience, account, carrier, stream).await;
    }
    let Stream { sender, receiver } = stream;
    let ssh_agent = ssh_agent_socket(&mut request);
    let _listening = ssh_agent.as_ref().zip(request.ssh_agent).map(|(socket, number)| socket.lead(number, carrier));
    let display = display(&mut request);
    let _leading = display.as_ref().and_then(|display| lead(display, request.x11.as_ref(), carrier));
    let (mut announced, mut listener) = (memory::announcements(), memory::Listener::new(request.out_of_memory));
    let started = match start::start(&request, account) {
        Ok(started) => started,
        Err(why) => {
            let _ = sender.send(Message::control(&Response::NotStarted(why)));
            return;
        }
    };
    let start::Started { mut child, group, stdin, output, held } = started;
    let _counted = activity::program();
    let _told = ledger::Entry::new(group, held.pipes());
    if sender.send(Message::control(&Response::Started)).is_err() {
        return hang_up(child, group, held).await;
    }
    let terminal = matches!(held, Held::Terminal(_));
    if terminal {
        sender.mark_terminal();
    }
    let (redraw, is_buried) = (Notify::new(), AtomicBool::new(false));
    let mut input = Box::pin(input::feed(receiver, stdin, &held, group, &is_buried, &redraw));
    let mut redrawn = Box::pin(redraw::serve(&redraw, &held));
    let mut copied = Box::pin(output::copy(output, &mut child, &is_buried, &sender, request.ended));
    let status = loop {
        tokio::select! {
            status = &mut copied => break status,
            () = &mut input => break None, // The session is over.
            () = &mut redrawn => {}
            Ok(()) = announced.changed(), if terminal => {
                if let Some(news) = listener.hear() {
                    let _ = sender.send(Message::control(&news));
                }
            }
        }
    };
    drop((copied, redrawn));
    match status {
        Some(status) => {
            let end = exit(status);
            for news in listener.hear_at(end).into_iter().chain([Response::Exited(end)]) {
                let _ = sender.send(Message::control(&news));
            }
        }
        None => {
            drop(input);
            hang_up(child, group, held).await;
        }
    }
}

async fn hang_up(mut child: Child, group: Pid, held: Held) {
    match held {
        Held::Terminal(terminal) => hang_up::terminal(child, group, terminal).await,
        Held::Pipes(pipes) => hang_up::holders(group, &pipes, || drop(child.try_wait())).await,
    }
}

/// The place of the ssh-agent's socket, if one is forwarded. Where there is none the program runs without, as with
/// sshd.
fn ssh_agent_socket(request: &mut ProgramRequest) -> Option<SshAgentSocket> {
    let socket = request.ssh_agent.and_then(|_| SshAgentSocket::new().ok())?;
    request.environment.push(("SSH_AUTH_SOCK".to_owned(), socket.path().to_string_lossy().into_owned()));
    Some(socket)
}

/// The display that stands for the user's, if one is forwarded; else the program runs without.
fn display(request: &mut ProgramRequest) -> Option<Display> {
    let (x11, _) = request.x11.as_ref()?;
    let display = Display::open().ok()?;
    request.environment.extend(display.variables(x11.screen));
    Some(display)
}

/// Leads to the display of whoever asks, if she forwards hers.
fn lead(display: &Display, forwarded: Option<&(X11, u64)>, carrier: &Carrier) -> Option<Leading> {
    let (x11, listener) = forwarded?;
    display.lead(x11, *listener, carrier).ok()
}

fn exit(status: ExitStatus) -> Exit {
    match status.signal() {
        Some(number) => Exit::Signal { number: number.unsigned_abs(), core_dumped: status.core_dumped() },
        None => Exit::Code(status.code().unwrap_or(255).unsigned_abs()),
    }
}
