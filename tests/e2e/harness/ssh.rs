//! OpenSSH's client, asked nothing and asking nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::output::{Finished, Session};
use super::wait::eventually;
use super::{Flood, Replica, Terminal};

/// What a program is given on its stdin.
pub(crate) enum Input {
    /// `/dev/null`.
    Nothing,
    Bytes(Vec<u8>),
    Flood(Flood),
    /// Stays open; [`Session::types`] writes to it.
    Held,
}

/// Sessions of a program that prints what it reads and says so first, and the one that had no room any more.
pub(crate) async fn until_refused(program: impl Fn() -> Ssh) -> (Vec<Session>, Session) {
    let mut held = Vec::new();
    loop {
        assert!(held.len() < 64, "there is room for ever more");
        let mut session = program().input(Input::Held).start();
        eventually("a session, or its end", async || {
            (!session.stdout_is_empty() || !session.is_running()).then_some(())
        })
        .await;
        if session.stdout_is_empty() {
            return (held, session);
        }
        held.push(session);
    }
}

/// A call of `ssh` that was not made yet.
pub(crate) struct Ssh {
    arguments: Vec<OsString>,
    login: String,
    host: String,
    command: Option<OsString>,
    /// For scp: from where, and where to.
    copy: Option<[String; 2]>,
    environment: Vec<(String, String)>,
    /// What stty(1) makes of the client's own terminal.
    modes: Option<String>,
    pub(super) input: Input,
    pub(super) hashed: bool,
    pub(super) reads_later: bool,
    pub(super) limit: Duration,
}

impl Ssh {
    /// Logs in to `replica` as `login`; no key but those that options name.
    pub(crate) fn new(replica: &Replica, login: &str) -> Self {
        Self::to(&replica.port().to_string(), &replica.known_hosts().display().to_string(), login)
    }

    /// Logs in to `replica` by another port of this machine, that leads there.
    pub(super) fn through(port: u16, replica: &Replica, login: &str) -> Self {
        let ssh = Self::to(&port.to_string(), &replica.known_hosts().display().to_string(), login);
        ssh.option(&format!("HostKeyAlias=[127.0.0.1]:{}", replica.port()))
    }

    /// Logs in to the `bastion dev` that printed this line.
    pub(crate) fn to_dev(ready: &str, login: &str) -> Self {
        let words: Vec<&str> = ready.split_whitespace().collect();
        let port = words.iter().position(|word| *word == "-p").map(|at| words[at + 1]).expect("ssh is told the port");
        let known_hosts = words.iter().find_map(|word| word.strip_prefix("UserKnownHostsFile="));
        Self::to(port, known_hosts.expect("the host key is pinned").trim_matches('\''), login)
    }

    fn to(port: &str, known_hosts: &str, login: &str) -> Self {
        let ssh = Self {
            arguments: vec!["-F".into(), "none".into()],
            login: login.to_owned(),
            host: "127.0.0.1".to_owned(),
            command: None,
            copy: None,
            environment: Vec::new(),
            modes: None,
            input: Input::Nothing,
            hashed: false,
            reads_later: false,
            limit: super::LIMIT,
        };
        ssh.option(&format!("Port={port}"))
            .option(&format!("UserKnownHostsFile={known_hosts}"))
            .option("StrictHostKeyChecking=yes")
            .option("BatchMode=yes")
            .option("ControlPath=none")
    }

    /// Offers the key in `file`, and no other.
    pub(crate) fn key(self, file: &Path) -> Self {
        self.option("IdentitiesOnly=yes")
            .option(&format!("IdentityFile={}", file.display()))
            .option("IdentityAgent=none")
    }

    /// Offers the keys of the agent at `socket`.
    pub(crate) fn agent(self, socket: &Path) -> Self {
        self.option("IdentityFile=none").option(&format!("IdentityAgent={}", socket.display()))
    }

    /// Goes on from here, as `ssh -J` does, to what the server calls `host`, with the key in `key`. What host keys it
    /// meets is in `known_hosts`, or is added there.
    pub(crate) fn jump(mut self, host: &str, key: &Path, known_hosts: &Path) -> Self {
        let mut proxy = vec!["ssh".to_owned()];
        proxy.extend(self.arguments.drain(..).map(|word| word.to_string_lossy().into_owned()));
        proxy.extend(["-W".to_owned(), "%h:22".to_owned(), format!("{}@{}", self.login, self.host)]);
        self.arguments = vec!["-F".into(), "none".into()];
        // OpenSSH sends the name of whoever sits at the laptop.
        (self.host, self.login) = (host.to_owned(), "somebody".to_owned());
        self.option(&format!("ProxyCommand={}", proxy.join(" ")))
            .option(&format!("UserKnownHostsFile={}", known_hosts.display()))
            .option("StrictHostKeyChecking=accept-new")
            .option("BatchMode=yes")
            .option("ControlPath=none")
            .key(key)
    }

    /// OpenSSH ends the proxy of [`Self::jump`] by hanging it up. Under nohup it has to hear of the end from the
    /// server.
    pub(crate) fn proxy_under_nohup(mut self) -> Self {
        for argument in &mut self.arguments {
            if let Some(command) = argument.to_str().and_then(|argument| argument.strip_prefix("ProxyCommand=")) {
                *argument = format!("ProxyCommand=nohup {command}").into();
            }
        }
        self
    }

    /// Trusts the host keys in `file`, and no other.
    pub(crate) fn known_hosts(mut self, file: &Path) -> Self {
        // OpenSSH goes by the first of several.
        self.arguments.splice(0..0, ["-o".into(), format!("UserKnownHostsFile={}", file.display()).into()]);
        self
    }

    pub(crate) fn option(self, option: &str) -> Self {
        self.argument("-o").argument(option)
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn command(mut self, command: impl Into<OsString>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Copies by scp, rather than run something. A path after a colon is in the pod.
    pub(crate) fn copy(mut self, from: &str, to: &str) -> Self {
        self.copy = Some([from, to].map(str::to_owned));
        self
    }

    pub(crate) fn login(mut self, login: &str) -> Self {
        self.login = login.to_owned();
        self
    }

    /// Sets a variable of the client's own environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets modes of the client's own terminal first, as stty(1) takes them.
    pub(crate) fn modes(mut self, modes: &str) -> Self {
        self.modes = Some(modes.to_owned());
        self
    }

    pub(crate) fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    /// Takes the digest of stdout.
    pub(crate) fn hashed(mut self) -> Self {
        self.hashed = true;
        self
    }

    /// Leaves stdout unread until [`Session::reads_on`].
    pub(crate) fn reads_later(mut self) -> Self {
        self.reads_later = true;
        self
    }

    /// How long the whole call may take.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn start(mut self) -> Session {
        let mut command = tokio::process::Command::new(if self.copy.is_some() { "scp" } else { "ssh" });
        command.args(self.take_arguments()).envs(self.environment.drain(..));
        command.env_remove("SSH_AUTH_SOCK").kill_on_drop(true);
        command.stdin(if matches!(self.input, Input::Nothing) { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Session::new(command.spawn().expect("OpenSSH's client is installed"), self)
    }

    pub(crate) async fn run(self) -> Finished {
        self.start().finish().await
    }

    /// In a terminal of this size.
    pub(crate) fn terminal(mut self, rows: u16, columns: u16) -> Terminal {
        let mut command = match self.modes.take() {
            Some(modes) => {
                pty_process::Command::new("sh").args(["-c", &format!("stty {modes}; exec ssh \"$@\""), "sh"])
            }
            None => pty_process::Command::new("ssh"),
        };
        command = command.arg("-tt");
        if !self.environment.iter().any(|(name, _)| name == "TERM") {
            command = command.env("TERM", "xterm-256color");
        }
        command = command.env_remove("SSH_AUTH_SOCK").kill_on_drop(true);
        command = command.args(self.take_arguments()).envs(self.environment.drain(..));
        Terminal::start(command, rows, columns)
    }

    fn take_arguments(&mut self) -> Vec<OsString> {
        let mut arguments = std::mem::take(&mut self.arguments);
        let host = format!("{}@{}", self.login, self.host);
        if let Some(paths) = self.copy.take() {
            let path = |path: String| if path.starts_with(':') { format!("{host}{path}") } else { path };
            arguments.extend(paths.map(path).map(OsString::from));
            return arguments;
        }
        arguments.push(host.into());
        // No `--`: what follows the host is the command, dashes or not.
        arguments.extend(self.command.take());
        arguments
    }
}

/// A connection that carries many sessions (`ControlMaster`).
pub(crate) struct Master {
    folder: tempfile::TempDir,
    _connection: Session,
}

impl Master {
    /// `ssh` logs in and stays, without a session of its own.
    pub(crate) async fn start(ssh: Ssh) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let path = folder.path().join("s");
        let mut ssh = ssh.argument("-M").argument("-N");
        ssh.arguments.splice(0..0, ["-S".into(), path.clone().into_os_string()]);
        let connection = ssh.start();
        eventually("the control socket", async || path.exists().then_some(())).await;
        Self { folder, _connection: connection }
    }

    /// A session on this connection, and on no other.
    pub(crate) fn ssh(&self, command: &str) -> Ssh {
        self.shell().command(command)
    }

    /// A login shell on this connection, and on no other.
    pub(crate) fn shell(&self) -> Ssh {
        let mut arguments: Vec<OsString> = vec!["-F".into(), "none".into(), "-S".into(), self.path().into_os_string()];
        // Without its master the client would log in by itself; this proxy keeps it from that.
        arguments
            .extend(["-o", "ControlMaster=no", "-o", "BatchMode=yes", "-o", "ProxyCommand=false"].map(OsString::from));
        Ssh {
            arguments,
            login: "shared".to_owned(),
            host: "connection".to_owned(),
            copy: None,
            command: None,
            environment: Vec::new(),
            modes: None,
            input: Input::Nothing,
            hashed: false,
            reads_later: false,
            limit: super::LIMIT,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }
}
