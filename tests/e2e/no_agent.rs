//! DevServers whose pods have no agent: what does not work there says so.

use tempfile::TempDir;

use crate::harness::{Agent, Input, LIMIT, Server, Ssh, is_real, keygen, skip_unless, within};

/// A `bastion dev` that brings no agent into its pods.
pub(crate) struct Bare {
    _server: Server,
    ready: String,
    /// Gone after it.
    folder: TempDir,
}

impl Bare {
    async fn starts() -> Self {
        Self::starts_with(&[]).await
    }

    /// With these variables of environment.
    pub(crate) async fn starts_with(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let user = format!("alice={}.pub", keygen(folder.path(), "alice", "ed25519").display());
        std::fs::write(path("config"), "[operator]\nagent = { image = \"\", path = \"/none\" }\n").expect("it is ours");
        let (data, config) = (path("data"), path("config"));
        let all = ["dev", "--listen", "127.0.0.1:0", "--data", &data, "--config", &config, "--user", &user];
        let mut server = Server::start(&all, |command| {
            command.envs(environment.iter().copied());
        });
        let ready = server.ready().await;
        Self { _server: server, ready, folder }
    }

    pub(crate) fn ssh(&self) -> Ssh {
        Ssh::to_dev(&self.ready, "alice").key(&self.folder.path().join("alice"))
    }
}

#[tokio::test]
async fn what_cannot_work_without_an_agent_says_so_in_a_sentence() {
    skip_unless!(!is_real(), "it is about a cluster of its own");
    let bare = Bare::starts().await;
    // Whoever comes first is told what she waits for.
    bare.ssh().command("true").run().await.exits(0);
    bare.ssh().command("echo in").run().await.exits(0).prints("in\n").says_exactly("");
    for command in ["shells", "shells 1"] {
        bare.ssh().command(command).run().await.exits(255).says("this DevServer's pod has no agent").prints("");
    }
    let sftp = bare.ssh().argument("-s").command("sftp").input(Input::Nothing).run().await;
    sftp.exits(255).says("sftp, forwards and shells that last do not work here").prints("");

    let agent = Agent::start().await;
    agent.add(&bare.folder.path().join("alice"));
    let forwarding = Ssh::to_dev(&bare.ready, "alice").agent(agent.socket()).argument("-A");
    let forwarded = forwarding.command("echo \"[$SSH_AUTH_SOCK]\"").run().await;
    forwarded.exits(0).says("your ssh-agent is not forwarded: this DevServer's pod has no agent").prints("[]\n");

    let mut shell = bare.ssh().terminal(24, 200);
    shell.shows("this shell ends with its connection").await;
    shell.types("exit\r").await;
    shell.exits(0).await;
}

#[tokio::test]
async fn the_doctor_tells_that_there_is_no_agent() {
    skip_unless!(!is_real(), "it is about a cluster of its own");
    let bare = Bare::starts().await;
    bare.ssh().command("true").run().await.exits(0);
    let words: Vec<&str> = bare.ready.split_whitespace().collect();
    let port = words.iter().position(|word| *word == "-p").map(|at| words[at + 1]).expect("ssh is told the port");
    let (home, login) = (bare.folder.path().join("home"), format!("alice@127.0.0.1:{port}"));
    let (key, scp) = (bare.folder.path().join("alice"), bare.folder.path().join("nothing"));
    std::fs::create_dir_all(home.join(".ssh")).expect("the folder is ours");
    std::fs::write(&scp, "").expect("the folder is ours");
    let devctl = async |words: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_devctl"));
        command.args(words).env("HOME", &home).env("PATH", "/nonexistent").env_remove("XDG_CONFIG_HOME");
        command.env_remove("SSH_AUTH_SOCK").kill_on_drop(true).stdin(std::process::Stdio::null());
        let output = within(LIMIT, "the end of devctl", command.output()).await.expect("it was built");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let plain = |path: &std::path::Path| path.to_str().expect("a plain name").to_owned();
    let logged_in = devctl(&["login", "--accept-new", "--identity", &plain(&key), &login]).await;
    assert_eq!(logged_in.0, Some(0), "{logged_in:?}");
    let (status, report, _) = devctl(&["doctor"]).await;
    assert_eq!(status, Some(1), "{report}");
    for words in ["API server", "dev is running", "this DevServer's pod has no agent", "operator.agent"] {
        assert!(report.contains(words), "{words}: {report}");
    }
    // No more do files come and go.
    let (status, _, said) = devctl(&["cp", &plain(&scp), "dev:"]).await;
    assert!(status == Some(1) && said.contains("this DevServer's pod has no agent"), "{status:?} {said}");
}
