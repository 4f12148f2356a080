//! Clients of all kinds, with a home of their own that knows the bastion and her key.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, fs};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::output::Finished;
use super::wait::within;
use super::{Replica, User};

/// How long a client may take for what a test asks.
const LIMIT: Duration = Duration::from_secs(120);

/// A user's laptop: programs that run there find the bastion as host `pod` of OpenSSH's configuration.
pub(crate) struct Laptop {
    home: TempDir,
    port: u16,
    login: String,
}

impl Laptop {
    pub(crate) fn new(user: &User, replica: &Replica) -> Self {
        let home = tempfile::tempdir().expect("there is a folder for temporary files");
        let laptop = Self { home, port: replica.port(), login: user.name().to_owned() };
        let known = fs::read_to_string(replica.known_hosts()).expect("it was written");
        // Dropbear's client knows hosts by their names alone, whatever the port.
        laptop.write(".ssh/known_hosts", format!("{known}127.0.0.1 {}", replica.host_key()));
        laptop.write("key", fs::read_to_string(user.key()).expect("ssh-keygen wrote it"));
        laptop.write("key.pub", super::public(user.key()));
        let Self { port, login, .. } = &laptop;
        let home = laptop.home.path().display();
        laptop.write(
            ".ssh/config",
            format!(
                "Host pod\n HostName 127.0.0.1\n Port {port}\n User {login}\nIdentityFile {home}/key\nIdentitiesOnly yes\n\
                 IdentityAgent none\nUserKnownHostsFile {home}/.ssh/known_hosts\nStrictHostKeyChecking yes\nBatchMode yes\n"
            ),
        );
        // OpenSSH reads the home folder of passwd(5), whatever HOME says.
        for program in ["ssh", "scp", "sftp"] {
            let script = format!("#!/bin/sh\nPATH=${{PATH#*:}} exec {program} -F {home}/.ssh/config \"$@\"\n");
            laptop.write(&format!("bin/{program}"), &script);
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(laptop.path(&format!("bin/{program}")), mode).expect("the folder is ours");
        }
        laptop
    }

    /// Has its ssh reach, as `host`, what the server at `jump` calls `name`, as `ssh -J` does.
    pub(crate) fn knows_behind(&self, host: &str, jump: &str, name: &str) {
        let home = self.home.path().display();
        let known = fs::read_to_string(self.path(".ssh/config")).expect("it was written");
        self.write(
            ".ssh/config",
            format!(
                "Host {host}\n HostName {name}\n ProxyJump {jump}\n User somebody\n IdentityFile {home}/key\n \
                 IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {home}/.ssh/known_behind\n \
                 StrictHostKeyChecking accept-new\n BatchMode yes\n{known}"
            ),
        );
    }

    /// As if its ssh were told of a host `bastion`, and `devctl` installed.
    pub(crate) fn knows_the_bastion(&self) {
        let (port, home) = (self.port, self.home.path().display());
        self.write(
            ".ssh/config",
            format!(
                "Host bastion\n HostName 127.0.0.1\n Port {port}\nHost *\n IdentityFile {home}/key\n IdentitiesOnly yes\n \
                 IdentityAgent none\n UserKnownHostsFile {home}/.ssh/known_hosts\n StrictHostKeyChecking yes\n BatchMode yes\n"
            ),
        );
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_devctl"), self.path("bin/devctl")).expect("the folder is ours");
    }

    /// A file in its home, which is where programs run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is ours");
        fs::write(&path, text).expect("the folder is ours");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the folder is ours");
    }

    /// Whether the file of this name is now as `bytes` are.
    pub(crate) fn holds(&self, name: &str, bytes: &[u8]) -> bool {
        fs::read(self.path(name)).is_ok_and(|there| there == bytes)
    }

    pub(crate) fn port(&self) -> String {
        self.port.to_string()
    }

    pub(crate) fn login(&self) -> &str {
        &self.login
    }

    /// `program` with these arguments, still to be run.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [self.path("bin")].into_iter().chain(env::split_paths(&path));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("PATH", env::join_paths(folders).expect("they were a PATH"))
            .env("PORT", self.port())
            .env("LOGIN", &self.login)
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Starts what goes on until it is dropped, such as a forward.
    pub(crate) fn start(&self, program: &str, arguments: &[&str]) -> Child {
        self.command(program, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is installed")
    }

    pub(crate) async fn run(&self, program: &str, arguments: &[&str]) -> Finished {
        self.run_with(program, arguments, b"").await
    }

    /// Runs it with `input` on its stdin.
    pub(crate) async fn run_with(&self, program: &str, arguments: &[&str], input: &[u8]) -> Finished {
        let start = Instant::now();
        let mut child = self.command(program, arguments).spawn().expect("it is installed");
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = input.to_owned();
        tokio::spawn(async move {
            let _ = stdin.write_all(&input).await; // It may end without having read all.
        });
        let output = within(LIMIT, &format!("the end of {program}"), child.wait_with_output()).await;
        Finished::of(output.expect("it is our child"), start.elapsed())
    }
}

/// Whether this machine has `program`.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}
