//! What the agent is asked for a command, and its first answer.

use super::super::{Error, X11};
use super::{Command, Program};
use crate::agent::request::{self, News, ProgramRequest, Request, ShellsRequest};
use crate::carrier::{Message, Receiver, parse};

pub(super) fn request(
    command: &Command,
    ssh_agent: Option<u64>,
    x11: Option<(X11, u64)>,
    session: Option<String>,
    once: &str,
) -> Request {
    let terminal = command.terminal.clone();
    let out_of_memory = true;
    let program = match &command.program {
        Program::Shell => request::Program::Shell,
        Program::Command(line) => match String::from_utf8(line.clone()) {
            Ok(text) => request::Program::Command(text),
            Err(other) => request::Program::Bytes(other.into_bytes()),
        },
        Program::Sftp => request::Program::Sftp,
        Program::Shells(shells) => {
            let shells = shells.clone();
            return Request::Shells(ShellsRequest { shells, terminal, ssh_agent, x11, out_of_memory, session });
        }
    };
    let detached = command.detached.map(|detached| detached.as_secs());
    let environment = command.environment.clone();
    Request::Program(ProgramRequest {
        program,
        terminal,
        environment,
        ssh_agent,
        x11,
        detached,
        out_of_memory,
        ended: true,
        session,
        once: Some(once.to_owned()),
    })
}

/// Returns once the agent says that what was asked for runs.
pub(super) async fn begun(receiver: &mut Receiver) -> Result<(), Error> {
    match receiver.receive().await.map(|(message, _)| message) {
        Some(Message::Control(news)) => match parse(&news).map_err(Error::Carrier)? {
            News::Started => Ok(()),
            News::NotStarted(why) => Err(Error::NotStarted(why)),
            News::Exited(_)
            | News::Ended(_)
            | News::OutOfMemory(_)
            | News::Notice(_)
            | News::Listening(_)
            | News::Activity(_)
            | News::History(_) => Err(Error::Protocol("a program that ended before it began")),
        },
        Some(_) => Err(Error::Protocol("a program that speaks before it began")),
        None => Err(Error::Lost("the pod's agent does not run it".into())),
    }
}

/// Whether it is at a shell that lasts: then the agent knows what is on its terminal, and leads back to it.
pub(super) fn lasts(command: &Command) -> bool {
    let shell = matches!(command.program, Program::Shell) && command.detached.is_some();
    command.terminal.is_some() && (shell || matches!(command.program, Program::Shells(_)))
}
