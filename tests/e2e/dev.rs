//! `bastion dev`: the whole product in one process, for a newcomer.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{
    Agent, Input, Server, Ssh, eventually, eventually_within, is_real, keygen, processes_with_argument, skip_unless,
};

/// A newcomer's machine: a home of her own, and nothing of this machine's user.
struct Newcomer {
    folder: TempDir,
}

impl Newcomer {
    fn arrives() -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        std::fs::create_dir_all(folder.path().join("home/.ssh")).expect("the folder is ours");
        Self { folder }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn runs_dev(&self, arguments: &[&str]) -> Server {
        self.runs_dev_with_agent(arguments, None)
    }

    fn runs_dev_with_agent(&self, arguments: &[&str], agent: Option<&Path>) -> Server {
        self.runs_dev_of(Path::new(env!("CARGO_BIN_EXE_bastion")), arguments, agent)
    }

    fn runs_dev_of(&self, program: &Path, arguments: &[&str], agent: Option<&Path>) -> Server {
        let data = self.folder.path().join("data");
        let data = data.to_str().expect("the tests' folders have plain names");
        let all = [&["dev", "--listen", "127.0.0.1:0", "--data", data], arguments].concat();
        Server::start_at(program, &all, |command| {
            command.env("HOME", self.home()).env("USER", "newcomer").env_remove("LOGNAME");
            if let Some(agent) = agent {
                command.env("SSH_AUTH_SOCK", agent);
            }
        })
    }
}

/// Pastes the line into a shell that has no terminal to ask questions on.
fn paste(line: &str) -> Output {
    let mut command = Command::new("timeout");
    command
        .args(["60", "setsid", "-w", "sh", "-c", line])
        .env_remove("SSH_AUTH_SOCK")
        .env_remove("DISPLAY")
        .stdin(Stdio::null());
    command.output().expect("there is a shell")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn the_line_that_is_printed_can_be_pasted() {
    skip_unless!(!is_real(), "`bastion dev` brings its own cluster");
    let newcomer = Newcomer::arrives();
    let mut server = newcomer.runs_dev(&[]);
    let line = server.ready().await;
    assert!(line.starts_with("ssh "), "{line}");
    assert_eq!(stdout(&paste(&format!("{line} 'echo works'"))), "works\n");
    assert_eq!(server.stdout().lines().count(), 1, "one line on stdout: {}", server.stdout());
}

/// All that a newcomer's first build makes, and nothing of what other tests had built.
#[tokio::test]
async fn what_quickstart_builds_is_enough() {
    skip_unless!(!is_real(), "`bastion dev` brings its own cluster");
    let programs = Path::new(env!("CARGO_BIN_EXE_bastion")).parent().expect("it is in a folder");
    let built = |script: &str| {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).expect("it is there");
        let build = text.lines().find(|line| line.contains("--release") && line.contains("--bin")).expect("it builds");
        let words = build.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_owned).collect();
        words.windows(2).filter(|pair| pair[0] == "--bin").map(|pair| pair[1].clone()).collect::<Vec<_>>()
    };
    assert_eq!(built("scripts/bench.d/stage.py"), built("scripts/quickstart"));
    let newcomer = Newcomer::arrives();
    let bin = tempfile::tempdir_in(programs).expect("the target folder is ours");
    for name in built("scripts/quickstart") {
        // Not a symlink: it looks beside the file that it is.
        std::fs::hard_link(programs.join(&name), bin.path().join(&name)).expect("it was built");
    }
    let mut server = newcomer.runs_dev_of(&bin.path().join("bastion"), &[], None);
    let line = server.ready().await;
    let file = newcomer.folder.path().join("note");
    std::fs::write(&file, "carried").expect("the folder is ours");
    let copy = line.replacen("ssh -p ", "scp -q -P ", 1);
    let (options, login) = copy.rsplit_once(' ').expect("a login");
    stdout(&paste(&format!("{options} {} {login}:", file.display())));
    assert_eq!(stdout(&paste(&format!("{line} 'cat note'"))), "carried");
}

#[tokio::test]
async fn keys_of_the_home_folder_get_in() {
    skip_unless!(!is_real(), "`bastion dev` brings its own cluster");
    let newcomer = Newcomer::arrives();
    let key = keygen(&newcomer.home().join(".ssh"), "id_ed25519", "ed25519");
    let mut server = newcomer.runs_dev(&[]);
    let ready = server.ready().await;
    assert!(!ready.contains(" -i "), "her own key is known to ssh: {ready}");
    Ssh::to_dev(&ready, "newcomer").key(&key).command("echo in").run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn keys_of_the_agent_get_in() {
    skip_unless!(!is_real(), "`bastion dev` brings its own cluster");
    let newcomer = Newcomer::arrives();
    let agent = Agent::start().await;
    agent.add(&keygen(newcomer.folder.path(), "key", "ed25519"));
    let mut server = newcomer.runs_dev_with_agent(&[], Some(agent.socket()));
    let ready = server.ready().await;
    Ssh::to_dev(&ready, "newcomer").agent(agent.socket()).command("echo in").run().await.exits(0).prints("in\n");
}

#[tokio::test]
async fn users_can_be_named() {
    skip_unless!(!is_real(), "`bastion dev` brings its own cluster");
    let newcomer = Newcomer::arrives();
    let folder = newcomer.folder.path();
    let (alice, bob) = (keygen(folder, "alice", "ed25519"), keygen(folder, "bob", "ed25519"));
    let user = |name: &str, key: &Path| format!("{name}={}.pub", key.display());
    let mut server = newcomer.runs_dev(&["--user", &user("alice", &alice), "--user", &user("bob", &bob)]);
    let ready = server.ready().await;
    let ssh = |login: &str, key: &Path| Ssh::to_dev(&ready, login).key(key).command("echo in");
    ssh("alice", &alice).run().await.exits(0).prints("in\n");
    ssh("bob", &bob).run().await.exits(0).prints("in\n");
    ssh("alice", &bob).run().await.exits(255).prints("");
}

#[tokio::test]
async fn host_key_and_home_survive_a_restart() {
    skip_unless!(!is_real(), "`bastion dev` brings its own cluster");
    let newcomer = Newcomer::arrives();
    let mut server = newcomer.runs_dev(&[]);
    let line = server.ready().await;
    assert_eq!(stdout(&paste(&format!("{line} 'echo kept >note; echo written'"))), "written\n");
    let known_hosts = |line: &str| {
        let file = line.split_once("UserKnownHostsFile=").expect("the host key is pinned").1;
        let file = file.split_whitespace().next().expect("a file").trim_matches('\'');
        let keys = std::fs::read_to_string(file).expect("it was written");
        keys.split_once(' ').expect("a host, then its key").1.trim().to_owned()
    };
    let first = known_hosts(&line);
    drop(server);

    let mut server = newcomer.runs_dev(&[]);
    let line = server.ready().await;
    assert_eq!(known_hosts(&line), first);
    assert_eq!(stdout(&paste(&format!("{line} 'cat note'"))), "kept\n");
}

#[tokio::test]
async fn ctrl_c_ends_it_and_every_process_it_started() {
    skip_unless!(!is_real(), "`bastion dev` brings its own cluster");
    let newcomer = Newcomer::arrives();
    let key = keygen(newcomer.folder.path(), "key", "ed25519");
    let mut server = newcomer.runs_dev(&["--user", &format!("alice={}.pub", key.display())]);
    let ready = server.ready().await;
    let ssh = || Ssh::to_dev(&ready, "alice").key(&key);
    ssh()
        .command(
            "setsid sleep 98660.1 >/dev/null 2>&1 </dev/null & (trap '' TERM HUP; sleep 98660.2) >/dev/null 2>&1 &",
        )
        .run()
        .await
        .exits(0);
    let session = ssh().command("echo up; sleep 98660.3").input(Input::Held).start();
    session.prints("up\n").await;
    let all = || ["98660.1", "98660.2", "98660.3"].map(processes_with_argument).concat();
    eventually("its processes", async || (all().len() >= 3).then_some(())).await;

    server.signal(Signal::INT);
    let status = server.ends_within(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}");
    eventually_within(Duration::from_secs(10), "no process left", async || all().is_empty().then_some(())).await;
    session.finish().await.fails();
}

#[tokio::test]
async fn a_second_one_on_the_same_data_says_why_it_cannot() {
    skip_unless!(!is_real(), "`bastion dev` brings its own cluster");
    let newcomer = Newcomer::arrives();
    let mut first = newcomer.runs_dev(&[]);
    first.ready().await;
    let mut second = newcomer.runs_dev(&[]);
    let status = second.ends_within(Duration::from_secs(20)).await;
    assert!(!status.success() && second.stdout().is_empty());
    assert!(!second.log().trim().is_empty());
}
