//! The server in the pod: takes carriers' links, and runs what their streams ask for.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::sink;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream, unix::pipe};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::account::Account;
use super::pipe::{most, widen, write_all};
use super::request::{ENDING, Request, Response};
use super::{activity, forward, memory, open_files, program, socket};
use crate::carrier::{self, Carrier, Incoming, Link, Message, Side, Stream};

/// How long programs wait for the next link after theirs broke, unless the bastion says how long it tries.
const GRACE: Duration = Duration::from_secs(60);
/// The longest that it can say.
const MAX_GRACE: Duration = Duration::from_hours(24);
/// What commands that run are given to be done, once the pod is told to end. Of the 5 s that it has.
const MOMENT: Duration = Duration::from_secs(1);
/// What answers that are still owed are given then, and as much again a bastion to hear that nothing else is answered.
const LEAVE: Duration = Duration::from_millis(500);
/// What it may take until somebody who has connected hands over a link's pipes.
const HANDED_OVER: Duration = Duration::from_secs(10);
/// After a failure to accept.
const PAUSE: Duration = Duration::from_millis(100);
/// What is read from a link at once, in bytes.
const READ: usize = 64 * 1024;
/// What a link's pipes hold, in bytes.
const PIPE: usize = 512 * 1024;

/// Serves until it is told to end.
pub async fn serve() -> io::Result<()> {
    open_files::take_room();
    let listener = socket::listen(&socket::path()?)?;
    let server = Server::new(Account::own);
    let mut ended = signal(SignalKind::terminate())?;
    let _watching = AbortOnDropHandle::new(tokio::spawn(async { tokio::join!(activity::watch(), memory::watch()) }));
    let told = async {
        ended.recv().await;
        server.wind_up(MOMENT).await;
        server.leave().await;
    };
    tokio::select! {
        () = server.take_links(&listener) => {}
        () = told => {}
    }
    for known in server.carriers().values() {
        known.carrier.close();
    }
    server.tasks.close();
    server.tasks.wait().await;
    Ok(())
}

#[derive(Clone)]
struct Server {
    /// Looked up for each program, as by sshd: a startup script may change it, and so may its user.
    account: fn() -> Account,
    carriers: Arc<Mutex<HashMap<String, Known>>>,
    shells: program::Shells,
    tasks: TaskTracker,
    /// The pod is about to end: nothing begins any more.
    ending: CancellationToken,
    /// What runs without a terminal, and may be over soon.
    commands: TaskTracker,
}

struct Known {
    carrier: Carrier,
    /// Its end, unless there is another link.
    expiry: Option<AbortOnDropHandle<()>>,
}

impl Server {
    fn new(account: fn() -> Account) -> Self {
        Self {
            account,
            carriers: Arc::default(),
            shells: Default::default(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
            commands: TaskTracker::new(),
        }
    }

    async fn take_links(&self, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if socket::is_own_users(&stream) => {
                    tokio::spawn(self.clone().link(stream));
                }
                Ok(_) => {}
                // No files left, say: those who are in go on.
                Err(error) => {
                    eprintln!("bastion-agent: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Begins nothing more, which is then asked of the next pod, and lets commands end that do within `moment`: one
    /// that began as the pod was deleted can be asked of no other.
    async fn wind_up(&self, moment: Duration) {
        self.ending.cancel();
        self.commands.close();
        let over = async {
            self.commands.wait().await;
            join_all(self.all_carriers().iter().map(Carrier::told)).await;
        };
        let _ = timeout(moment, over).await;
    }

    /// Tells all bastions what came here: all else they ask of the next pod.
    async fn leave(&self) {
        join_all(self.all_carriers().iter().map(|carrier| carrier.leave(LEAVE))).await;
    }

    /// Serves one link. The socket stays open for as long: the other end waits for it.
    async fn link(self, socket: UnixStream) {
        match self.try_link(&socket).await {
            // Whoever was there has left; the log is its user's.
            Ok(()) | Err(carrier::Error::Closed) => {}
            Err(error) => eprintln!("bastion-agent: {error}"),
        }
    }

    async fn try_link(&self, socket: &UnixStream) -> Result<(), carrier::Error> {
        let broken = |error: io::Error| carrier::Error::Broken(error.into());
        let files = socket.async_io(Interest::READABLE, || socket::receive_files(socket));
        let files = timeout(HANDED_OVER, files).await.map_err(|_| carrier::Error::Silent)?.map_err(broken)?;
        let (mut source, sink) = pipes(files).map_err(broken)?;
        let accepted = carrier::accept(&mut source).await?;
        let carrier = self.carrier(&accepted);
        let grace = accepted.grace().unwrap_or(GRACE).min(MAX_GRACE);
        let linked = carrier.accepted(Link { source, sink: Box::pin(sink) }, accepted).await;
        if !matches!(linked, Err(carrier::Error::Replaced)) {
            self.forget_after(grace, &carrier);
        }
        linked
    }

    /// The carrier that a link continues, or a new one; to one that was forgotten, a nameless one says so.
    fn carrier(&self, accepted: &carrier::Accepted) -> Carrier {
        let mut carriers = self.carriers();
        if let Some(known) = carriers.get_mut(accepted.carrier()) {
            known.expiry = None;
            return known.carrier.clone();
        }
        if !accepted.is_new() {
            return Carrier::new(Side::Agent, String::new()).0;
        }
        let (carrier, incoming) = Carrier::new(Side::Agent, accepted.carrier().to_owned());
        if self.ending.is_cancelled() {
            carrier.refuse();
        }
        carriers.insert(carrier.name().to_owned(), Known { carrier: carrier.clone(), expiry: None });
        tokio::spawn(self.clone().accept(carrier.clone(), incoming));
        carrier
    }

    async fn accept(self, carrier: Carrier, mut incoming: Incoming) {
        while let Some((request, stream)) = incoming.recv().await {
            let (server, carrier) = (self.clone(), carrier.clone());
            let serve = async move { server.serve(&request, &carrier, stream).await };
            self.tasks.spawn(serve);
        }
    }

    async fn serve(&self, request: &[u8], carrier: &Carrier, stream: Stream) {
        let request = carrier::parse::<Request>(request);
        // Before the look: whoever ends them waits for all that saw nothing of it.
        let _counted = matches!(&request, Ok(request) if request.is_brief()).then(|| self.commands.token());
        if self.ending.is_cancelled() {
            let _ = stream.sender.send(Message::control(&Response::NotStarted(ENDING.to_owned())));
            return;
        }
        match request {
            Ok(Request::Program(request)) => {
                activity::session();
                program::run(request, &self.shells, &(self.account)(), carrier, stream).await;
            }
            Ok(Request::Shells(request)) => {
                if !request.shells.only_looks() {
                    activity::session();
                }
                self.shells.serve(request, carrier, stream).await;
            }
            Ok(Request::Return(request)) => self.shells.take_back(request, carrier, stream).await,
            Ok(Request::Connect(address)) => forward::connect(address, stream).await,
            Ok(Request::Activity) => {
                let _ = stream.sender.send(Message::control(&Response::Activity(activity::report())));
            }
            Ok(Request::History) => {
                let _ = stream.sender.send(Message::control(&Response::History(activity::history())));
            }
            Ok(Request::Listen(request)) => forward::listen(request, carrier, stream).await,
            Err(_) => {} // A younger bastion's: the dropped stream says no.
        }
    }

    /// Ends a carrier that nobody links to again within `grace`.
    fn forget_after(&self, grace: Duration, carrier: &Carrier) {
        let (server, gone) = (self.clone(), carrier.clone());
        let expire = async move {
            tokio::time::sleep(grace).await;
            if !gone.is_linked() {
                server.carriers().remove(gone.name());
                gone.close();
            }
        };
        if let Some(known) = self.carriers().get_mut(carrier.name()) {
            known.expiry = Some(AbortOnDropHandle::new(tokio::spawn(expire)));
        }
    }

    fn all_carriers(&self) -> Vec<Carrier> {
        self.carriers().values().map(|known| known.carrier.clone()).collect()
    }

    fn carriers(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.carriers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pipes(
    [source, sink]: [OwnedFd; 2],
) -> io::Result<(ReaderStream<pipe::Receiver>, impl futures::Sink<Bytes, Error = io::Error>)> {
    for pipe in [&source, &sink] {
        widen(pipe, PIPE);
    }
    let source = ReaderStream::with_capacity(pipe::Receiver::from_owned_fd(source)?, READ);
    let most = most(&sink)?;
    let sink = sink::unfold(pipe::Sender::from_owned_fd(sink)?, move |mut pipe, bytes: Bytes| async move {
        write_all(&mut pipe, most, &bytes).await?;
        Ok(pipe)
    });
    Ok((source, sink))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::request::{Exit, Program, ProgramRequest};
    use super::*;
    use crate::carrier::linked::while_linked;
    use crate::carrier::{json, parse};

    const COMMAND: &str = "read line; test \"$line\" = go";

    fn asks(carrier: &Carrier, line: &str) -> Stream {
        carrier.open(json(&Request::Program(command(line))))
    }

    fn command(line: &str) -> ProgramRequest {
        ProgramRequest {
            program: Program::Command(line.to_owned()),
            terminal: None,
            environment: Vec::new(),
            ssh_agent: None,
            x11: None,
            detached: None,
            out_of_memory: false,
            ended: true,
            session: None,
        }
    }

    async fn news(stream: &mut Stream) -> Response {
        loop {
            let (message, _) = stream.receiver.receive().await.expect("the stream goes on");
            if let Message::Control(news) = message {
                return parse(&news).unwrap();
            }
        }
    }

    async fn with_program(test: impl AsyncFnOnce(&Server, &Carrier, Stream)) {
        let server = Server::new(|| Account { name: "root".into(), home: "/".into(), shell: Some("/bin/sh".into()) });
        let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
        let test = async {
            let mut program = asks(&carrier, COMMAND);
            assert_eq!(news(&mut program).await, Response::Started);
            test(&server, &carrier, program).await;
        };
        while_linked(&carrier, |accepted| server.carrier(accepted), test).await;
    }

    /// Regression: such a command was lost with its pod, as the next one could not be asked for it any more.
    #[tokio::test]
    async fn a_command_that_began_as_its_pod_ends_is_let_end_and_no_other_begins() {
        with_program(async |server, carrier, mut program| {
            let (told, is_told) = tokio::sync::oneshot::channel();
            let ends = async {
                server.wind_up(MAX_GRACE).await;
                told.send(()).unwrap();
            };
            let goes_on = async {
                server.ending.cancelled().await;
                let refused = news(&mut asks(carrier, "true")).await;
                assert_eq!(refused, Response::NotStarted(ENDING.to_owned()));
                program.sender.data(Bytes::from_static(b"go\n")).await.unwrap();
                assert_eq!(news(&mut program).await, Response::Exited(Exit::Code(0)));
                is_told.await.unwrap();
            };
            tokio::join!(ends, goes_on);
        })
        .await;
    }

    /// The shell that a startup script had chosen was nobody's: the account was read before it ran.
    #[tokio::test]
    async fn a_program_gets_the_account_as_it_is_when_it_begins() {
        static CHANGED: AtomicBool = AtomicBool::new(false);
        let server = Server::new(|| {
            let name = if CHANGED.load(Ordering::Relaxed) { "later" } else { "first" };
            Account { name: name.into(), home: "/".into(), shell: Some("/bin/sh".into()) }
        });
        let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
        let test = async {
            for name in ["first", "later"] {
                let mut program = asks(&carrier, &format!("test $USER = {name}"));
                assert_eq!(news(&mut program).await, Response::Started);
                assert_eq!(news(&mut program).await, Response::Exited(Exit::Code(0)));
                CHANGED.store(true, Ordering::Relaxed);
            }
        };
        while_linked(&carrier, |accepted| server.carrier(accepted), test).await;
    }

    /// Whoever waits for it alone waited for what the program had left behind.
    #[tokio::test]
    async fn how_a_program_ended_is_told_before_others_let_go_of_its_output_to_whoever_understands_it() {
        with_program(async |_, carrier, _program| {
            const LEAVES: &str = "exec 3<&0; (read line <&3; echo $line) & exit 3";
            for ended in [true, false] {
                let request = ProgramRequest { ended, ..command(LEAVES) };
                let mut program = carrier.open(json(&Request::Program(request)));
                assert_eq!(news(&mut program).await, Response::Started);
                if ended {
                    assert_eq!(news(&mut program).await, Response::Ended(Exit::Code(3)));
                }
                program.sender.data(Bytes::from_static(b"go\n")).await.unwrap();
                let (message, _) = program.receiver.receive().await.expect("what was left behind speaks");
                assert!(matches!(message, Message::Data(data) if data == "go\n"));
                assert_eq!(news(&mut program).await, Response::Exited(Exit::Code(3)));
            }
        })
        .await;
    }

    #[tokio::test]
    async fn one_that_goes_on_is_not_waited_for() {
        with_program(async |server, _, _program| {
            server.wind_up(Duration::from_millis(20)).await;
            assert_eq!(server.commands.len(), 1);
        })
        .await;
    }
}
