//! What the agent is asked for a command, and its first answer.

use super::super::agent::unanswered;
use super::super::{Error, X11};
use super::{Command, Program};
use crate::agent::request::{self, ProgramRequest, Request, Response, ShellsRequest};
use crate::carrier::{Carrier, Message, Receiver, parse};

pub(super) fn request(
    command: &Command,
    ssh_agent: Option<u64>,
    x11: Option<(X11, u64)>,
    session: Option<String>,
) -> Request {
    let terminal = command.terminal.clone();
    let out_of_memory = true;
    let program = match &command.program {
        Program::Shell => request::Program::Shell,
        Program::Command(line) => match String::from_utf8(line.to_vec()) {
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
    })
}

/// Returns once the agent says that `program`, which was asked of it, runs. A command of which nobody knows whether it
/// has begun is not to be asked of another agent: it must not run twice, while a second shell does no harm.
pub(super) async fn answered(program: &Program, carrier: &Carrier, receiver: &mut Receiver) -> Result<(), Error> {
    match (begun(carrier, receiver).await, program) {
        (Err(Error::Lost(_) | Error::OldAgent), Program::Command(_)) if receiver.was_asked() => Err(Error::Unanswered),
        (begun, _) => begun,
    }
}

/// Returns once the agent that `carrier` leads to says that what was asked for runs.
pub(super) async fn begun(carrier: &Carrier, receiver: &mut Receiver) -> Result<(), Error> {
    match receiver.receive().await.map(|(message, _)| message) {
        Some(Message::Control(news)) => match parse(&news).map_err(Error::Carrier)? {
            Response::Started => Ok(()),
            Response::NotStarted(why) => Err(Error::NotStarted(why)),
            Response::Exited(_)
            | Response::Ended(_)
            | Response::OutOfMemory(_)
            | Response::Notice(_)
            | Response::Listening(_)
            | Response::Activity(_)
            | Response::History(_) => Err(Error::Protocol("a program that ended before it began")),
        },
        Some(_) => Err(Error::Protocol("a program that speaks before it began")),
        None => Err(unanswered(carrier, receiver)),
    }
}

/// Whether it is at a shell that lasts: then the agent knows what is on its terminal, and leads back to it.
pub(super) fn lasts(command: &Command) -> bool {
    let shell = matches!(command.program, Program::Shell) && command.detached.is_some();
    command.terminal.is_some() && (shell || matches!(command.program, Program::Shells(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::linked::while_linked;
    use crate::carrier::{Side, Stream, json};

    fn ask(carrier: &Carrier) -> Stream {
        carrier.open(json(&Request::Activity))
    }

    /// Regression: such a command was asked of the next pod, on the same home.
    #[tokio::test]
    async fn a_command_that_may_have_begun_is_not_asked_for_again() {
        let command = Program::Command("./deploy".into());
        let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
        let (agents, mut opened) = Carrier::new(Side::Agent, "one".into());
        let asked = async {
            let streams = [ask(&carrier), ask(&carrier)];
            let taken_in = [opened.recv().await, opened.recv().await];
            (streams, taken_in)
        };
        let ([mut first, mut second], _taken_in) = while_linked(&carrier, |_| agents.clone(), asked).await;
        let mut unasked = ask(&carrier);
        carrier.close(); // Its agent is gone.
        assert!(matches!(answered(&command, &carrier, &mut first.receiver).await, Err(Error::Unanswered)));
        for harmless in [&Program::Shell, &Program::Sftp] {
            let again = answered(harmless, &carrier, &mut second.receiver).await.unwrap_err();
            assert!(again.is_outage(), "{again}");
        }
        let again = answered(&command, &carrier, &mut unasked.receiver).await.unwrap_err();
        assert!(again.is_outage(), "{again}");
    }

    /// She was told that her agent is old, and to restart what all her connections led to.
    #[tokio::test]
    async fn one_stream_too_many_is_told_as_such() {
        let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
        let mut streams: Vec<_> = std::iter::repeat_with(|| ask(&carrier)).take(6 * 1024 + 1).collect();
        let last = streams.last_mut().expect("there are some");
        let refused = answered(&Program::Shell, &carrier, &mut last.receiver).await;
        assert!(matches!(refused, Err(Error::TooManyStreams)), "{refused:?}");
    }
}
