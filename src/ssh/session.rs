//! One session channel (RFC 4254 §6): runs what the client asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelReadHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, info, info_span};

use super::copy::FAILURE;
use super::events::Events;
use super::forward;
use super::introduction::introduction;
use super::logged_in::LoggedIn;
use super::notice::Notices;
use super::receive::{ToProgram, receive};
use super::request::SFTP;
use super::writer::{Closed, End, Writer};
use super::{Answered, copy, message, progress, request, signal};
use crate::identity::Identity;
use crate::telemetry::{chain, metrics};
use crate::workspace::{self, Command, Exit, Process, Program, Reader, Target, TerminalSize, WITHOUT_AGENT};

/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u32 = 130;
/// Longer than any DevServer's name, in characters.
const MAX_LOGGED: usize = 128;
/// To tell somebody why her session ends.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Signals that may wait to be sent on.
const MAX_SIGNALS: usize = 8;

/// A session channel whose client may still be asking.
pub(super) struct Session {
    /// Whose session it is.
    pub(super) logged_in: LoggedIn,
    pub(super) client: Handle,
    pub(super) address: SocketAddr,
    /// Where the client reached us.
    pub(super) server: SocketAddr,
}

impl Session {
    /// Serves the channel to its end.
    pub(super) async fn run(mut self, channel: Channel<Msg>, command: oneshot::Receiver<Command>) {
        let number = u32::from(channel.id());
        let (mut reader, half) = channel.split();
        let LoggedIn { context, identity, target, .. } = &self.logged_in;
        let (answer, mut own) = (context.answer.clone(), None);
        // Whether she may stay there is watched for as long as this is.
        let mut elsewhere = None;
        let Some(mut command) = request::begun(&mut reader, command).await else { return };
        let events = Arc::new(Events::default());
        if let Some(line) = typed_line(&command, identity) {
            match answer.answer(identity, target, line, &command) {
                Some(Answered::Here(process)) => own = Some(process),
                Some(Answered::There(target, program)) => {
                    command.program = program;
                    elsewhere = Some(self.logged_in.turn_to(target));
                }
                None => {}
            }
        }
        let LoggedIn { identity, target, .. } = &self.logged_in;
        let writer = Writer::new(half, events.clone(), End::of(&command));
        command.environment.extend(self.variables());
        if matches!(target, Target::Shared { .. }) {
            // One that lasts would be what its owner's next login finds, and hers what a guest would.
            command.detached = None;
            // Whoever works there is one account: its owner could sign with a guest's agent, and read his display.
            (command.ssh_agent, command.x11) = (false, None);
        }
        // As a text, which the log escapes: it is the client's.
        let devserver: String = target.to_string().chars().take(MAX_LOGGED).collect();
        let span = info_span!("session", user = identity.user(), devserver, channel = number);
        self.serve(command, own, reader, writer, &events).instrument(span).await;
        events.closed.cancel();
        drop(elsewhere);
    }

    /// Where she comes from (ssh(1), ENVIRONMENT), and who she is: in a DevServer that is shared it may be another's.
    fn variables(&self) -> [(String, String); 3] {
        let (client, server) = (self.address, self.server);
        let (ip, port) = (client.ip().to_canonical(), client.port());
        let connection = format!("{ip} {port} {} {}", server.ip().to_canonical(), server.port());
        let user = self.logged_in.identity.user().to_owned();
        let from = format!("{ip} {port} {}", server.port());
        [("SSH_CLIENT", from), ("SSH_CONNECTION", connection), ("BASTION_USER", user)]
            .map(|(name, value)| (name.to_owned(), value))
    }

    /// Runs `command`, or serves the bastion's `own` process.
    async fn serve(
        &self,
        command: Command,
        own: Option<Process>,
        reader: ChannelReadHalf,
        writer: Writer,
        events: &Arc<Events>,
    ) {
        let began = Instant::now();
        metrics().sessions.inc();
        metrics().open_sessions.inc();
        let terminal = writer.end.is_terminal();
        let kind = match command.program {
            _ if own.is_some() => "own",
            Program::Shell => "shell",
            Program::Command(_) => "exec",
            Program::Sftp => SFTP,
            Program::Shells(_) => "shells",
        };
        let (key, persistent) = (self.logged_in.identity.fingerprint(), terminal && command.detached.is_some());
        info!(kind, terminal, persistent, key, "session started");

        let inbox = Arc::new(self.logged_in.inbox());
        let (size, sizes) = watch::channel(None);
        let (signal, signals) = mpsc::channel(MAX_SIGNALS);
        // As with sshd: what she did not choose to run is not hers to signal, nor is a subsystem.
        let takes_signals = self.logged_in.identity.permissions().forced_command.is_none() && kind != SFTP;
        let to_program = ToProgram { inbox: inbox.clone(), size, signal, takes_signals };
        let receive = receive(reader, to_program, events.clone(), terminal);
        let _receive = AbortOnDropHandle::new(tokio::spawn(receive.in_current_span()));
        let (standing, notices) = (&self.logged_in.standing, Notices::none(sizes.clone()));
        let client = copy::Client { inbox, sizes, signals, writer: &writer, events, standing, notices };
        let result = tokio::select! {
            result = self.work(&command, own, client, began) => result,
            () = self.turned_out() => Ok(copy::Totals::ended(FAILURE)),
        };
        match result {
            Ok(totals) => {
                let copy::Totals { exit, lost: _, bytes_in, bytes_out } = totals;
                // RFC 4254 §6.10: how it ended precedes the close, or OpenSSH reports 255.
                match exit {
                    Exit::Code(status) => writer.exit_status(status).await,
                    Exit::Signal { number, core_dumped } => {
                        let (id, name, words) = (writer.half.id(), signal::name(number), signal::words(number));
                        let language = "en".to_owned();
                        let _ = self.client.exit_signal_request(id, name, core_dumped, words, language).await;
                    }
                }
                writer.eof().await;
                self.logged_in.slots.closing.close(&writer.half, &events.closed, false).await;
                info!(?exit, bytes_in, bytes_out, duration = ?began.elapsed(), "session ended");
            }
            Err(Closed) => info!(duration = ?began.elapsed(), "session ended by the client"),
        }
        metrics().open_sessions.dec();
    }

    /// Starts the program, or takes the bastion's `own`, and copies to its end.
    async fn work(
        &self,
        command: &Command,
        own: Option<Process>,
        client: copy::Client<'_>,
        began: Instant,
    ) -> Result<copy::Totals, Closed> {
        let (writer, is_own) = (client.writer, own.is_some());
        let started = match own {
            Some(process) => Ok(process),
            None => self.start(command, writer).await,
        };
        let mut process = match started {
            Ok(process) => process,
            Err(NotStarted::Told(status)) => return Ok(copy::Totals::ended(status)),
            Err(NotStarted::Closed) => return Err(Closed),
        };
        let _ssh_agent = process.ssh_agent.take().map(|connections| {
            let serve = forward::serve_ssh_agent(connections, self.logged_in.clone(), self.client.clone());
            AbortOnDropHandle::new(tokio::spawn(serve.in_current_span()))
        });
        let _x11 = process.x11.take().map(|connections| {
            let serve = forward::serve_x11(connections, self.logged_in.clone(), self.client.clone());
            AbortOnDropHandle::new(tokio::spawn(serve.in_current_span()))
        });
        // Only now: a notice lies over the screen of a program that runs.
        let client = copy::Client { notices: self.notices(command, client.sizes.clone()), ..client };
        let ended = copy::process(process, client, &self.logged_in.context.drain, began).await;
        if is_own { ended } else { self.explain(ended, writer).await }
    }

    /// Returns some time after she may not be there any more: for a client that does not read, and so is not told why,
    /// and whose input would reach the program for as long as it likes.
    async fn turned_out(&self) {
        self.logged_in.standing.ended().await;
        sleep(LAST_WORD).await;
    }

    /// What may have to be told meanwhile: only to a terminal, for a program may read anything else.
    fn notices(&self, command: &Command, sizes: watch::Receiver<Option<TerminalSize>>) -> Notices {
        let LoggedIn { context, identity, target, .. } = &self.logged_in;
        match &command.terminal {
            Some(terminal) => Notices::new(context.run.notices(identity, target), terminal.size, sizes),
            None => Notices::none(sizes),
        }
    }

    /// A program that was killed may have gone with its pod, and its user should read why.
    async fn explain(&self, ended: Result<copy::Totals, Closed>, writer: &Writer) -> Result<copy::Totals, Closed> {
        let LoggedIn { context, identity, target, .. } = &self.logged_in;
        let totals = ended?;
        let left = matches!(totals.lost, Some(workspace::Error::Left));
        let reason = match signal::ended(totals.exit) && !left {
            true => context.run.why_gone(identity, target).await,
            false => None,
        };
        if let Some(reason) = reason.or_else(|| Some(totals.lost.as_ref()?.user_message())) {
            writer.say(&reason).await?;
        }
        Ok(totals)
    }

    /// Starts the program, showing what it waits for.
    async fn start(&self, command: &Command, writer: &Writer) -> Result<Process, NotStarted> {
        if let Some(why) = request::refusal(self.logged_in.identity.permissions()) {
            writer.say(why).await?;
            return Err(NotStarted::Told(FAILURE));
        }
        let columns = command.terminal.as_ref().map(|terminal| terminal.size.columns);
        let (said, messages) = watch::channel(String::new());
        let start = async {
            let say = move |text: &str| {
                said.send_replace(text.to_owned());
            };
            let LoggedIn { context, identity, target, .. } = &self.logged_in;
            context.run.start(identity, target, command, &say).await
        };
        let start = async { tokio::join!(start, progress::show(messages, writer, columns)) };
        let interrupted = async {
            match columns.is_some() {
                true => writer.events.interrupted.notified().await,
                false => std::future::pending().await,
            }
        };
        let (started, clear) = tokio::select! {
            started = start => started,
            () = writer.events.closed.cancelled() => return Err(NotStarted::Closed),
            () = interrupted => {
                let _ = writer.say("interrupted").await;
                return Err(NotStarted::Told(INTERRUPTED));
            }
            why = self.logged_in.standing.ended() => {
                let _ = writer.say(why).await;
                return Err(NotStarted::Told(FAILURE));
            }
        };
        if clear {
            writer.draw(message::CLEAR_LINE).await?;
        }
        match started {
            Ok(process) => {
                for missing in missing(command, &process) {
                    writer.say(&missing).await?;
                }
                self.tell_news(command, writer).await?;
                // Whoever had to wait may be new here.
                if let Some(introduction) = introduction(&self.logged_in).filter(|_| clear) {
                    writer.draw(introduction).await?;
                }
                Ok(process)
            }
            Err(error) => {
                info!(error = chain(&error), "failed to start the program");
                writer.say(&error.user_message()).await?;
                Err(NotStarted::Told(FAILURE))
            }
        }
    }

    /// Tells why the pod ended while nobody looked.
    async fn tell_news(&self, command: &Command, writer: &Writer) -> Result<(), Closed> {
        let reader = match (&command.program, &command.terminal) {
            (Program::Sftp, _) => return Ok(()),
            (_, Some(_)) => Reader::Terminal,
            (_, None) => Reader::Command,
        };
        let LoggedIn { context, identity, target, .. } = &self.logged_in;
        for news in context.run.news(identity, target, reader) {
            writer.say(&news).await?;
        }
        Ok(())
    }
}

/// Why no program runs.
enum NotStarted {
    /// The client was told, and its session ends with this status.
    Told(u32),
    Closed,
}

impl From<Closed> for NotStarted {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// The command line, if it is what the client typed and not what its key is bound to.
fn typed_line<'a>(command: &'a Command, identity: &Identity) -> Option<&'a str> {
    match &command.program {
        Program::Command(line) if identity.permissions().forced_command.is_none() => str::from_utf8(line).ok(),
        _ => None,
    }
}

/// What was asked for, and a pod without an agent cannot do.
fn missing(command: &Command, process: &Process) -> impl Iterator<Item = String> {
    let lasts = matches!(command.program, Program::Shell) && command.detached.is_some();
    let all = [
        (command.x11.is_some() && process.x11.is_none(), "X11 is not forwarded"),
        (command.ssh_agent && process.ssh_agent.is_none(), "your ssh-agent is not forwarded"),
        (lasts && process.signals.is_none(), "this shell ends with its connection"),
    ];
    all.into_iter().filter(|(is_missing, _)| *is_missing).map(|(_, words)| format!("{words}: {WITHOUT_AGENT}"))
}
