//! `devctl` on a laptop: a home folder with nothing in it but a key, and the product.

mod administrator;
mod cluster;
mod colours;
mod completion;
mod copies;
mod credentials;
mod doctor;
mod faults;
mod hand_over;
mod proxies;
mod question;
mod shell;
mod strangers;

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::forwards::{connect, exchange, shouts};
use crate::harness::{Finished, Laptop, Product, Replica, Terminal, User, eventually, skip_unless, user, within};

const DEVCTL: &str = env!("CARGO_BIN_EXE_devctl");

/// A laptop.
struct Desk {
    laptop: Laptop,
    bastion: String,
}

impl Desk {
    /// A laptop that is logged in to the bastion that tests share.
    async fn of(user: &User) -> Self {
        let desk = Self::new(user, user.front());
        desk.logs_in().await;
        desk
    }

    /// One on which nothing of the bastion is known.
    fn new(user: &User, replica: &Replica) -> Self {
        let laptop = Laptop::new(user, replica);
        let desk = Self { laptop, bastion: format!("{}@127.0.0.1:{}", user.name(), replica.port()) };
        desk.laptop.write(".ssh/known_hosts", "");
        desk.laptop.write(".ssh/config", "");
        let key = desk.read("key");
        desk.laptop.write(".ssh/id_ed25519", key);
        desk
    }

    /// What bash is told after `devctl cp WORD` and a Tab.
    async fn completes(&self, word: &str) -> Finished {
        let mut command = self.command(&["--", "devctl", "cp", word]);
        command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2");
        Self::finish(command).await
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.laptop.path(name)).unwrap_or_default()
    }

    /// Without a terminal: whoever runs the tests may sit at one.
    fn command(&self, arguments: &[&str]) -> Command {
        let words = [&["--wait", DEVCTL], arguments].concat();
        let mut command = self.laptop.command("/usr/bin/setsid", &words);
        command.env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
        command
    }

    /// Lets OpenSSH log in: it looks for keys and known hosts in the home folder of passwd(5), whatever HOME says.
    fn openssh(&self) -> String {
        let (key, known) = (self.laptop.path("key"), self.laptop.path(".ssh/known_hosts"));
        format!(
            "Host *\n  IdentityFile {}\n  IdentityAgent none\n  UserKnownHostsFile {}\n  BatchMode yes\n",
            key.display(),
            known.display()
        )
    }

    async fn devctl(&self, arguments: &[&str]) -> Finished {
        Self::finish(self.command(arguments)).await
    }

    async fn finish(mut command: Command) -> Finished {
        let start = std::time::Instant::now();
        let child = command.spawn().expect("it was built");
        let output = within(crate::harness::LIMIT, "the end of devctl", child.wait_with_output()).await;
        Finished::of(output.expect("it is our child"), start.elapsed())
    }

    /// At a terminal of this laptop.
    fn terminal(&self, arguments: &[&str]) -> Terminal {
        self.runs_at_a_terminal(DEVCTL, arguments)
    }

    fn runs_at_a_terminal(&self, program: &str, arguments: &[&str]) -> Terminal {
        let mut command = pty_process::Command::new(program).args(arguments).current_dir(self.laptop.path(""));
        command = command.env("HOME", self.laptop.path("")).env("TERM", "xterm-256color").kill_on_drop(true);
        command = command.env_remove("XDG_CONFIG_HOME").env_remove("SSH_AUTH_SOCK").env_remove("NO_COLOR");
        Terminal::start(command, 30, 100)
    }

    async fn logs_in(&self) {
        self.devctl(&["login", "--accept-new", &self.bastion]).await.exits(0);
    }
}

#[tokio::test]
async fn a_login_makes_the_bastion_known() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::new(&alice, product.front());
    desk.devctl(&["list"]).await.exits(1).says("devctl login");

    let refused = desk.devctl(&["login", &desk.bastion]).await;
    refused.exits(255).says("is not known here").says("SHA256:").says("--accept-new");
    assert_eq!(desk.read(".ssh/known_hosts"), "");
    assert!(!desk.laptop.path(".config/devctl/config.toml").exists());

    let login = desk.devctl(&["login", "--accept-new", &desk.bastion]).await;
    login.exits(0).says("is known from now on");
    assert!(login.text().contains(alice.name()) && login.text().contains("devctl list"), "{}", login.text());
    let known = std::fs::read_to_string(product.front().known_hosts()).expect("it was written");
    let key = |line: &str| line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>();
    let keys: Vec<_> = desk.read(".ssh/known_hosts").lines().map(key).collect();
    assert!(known.lines().map(key).any(|line| line == keys[0]), "OpenSSH knows it, too: {keys:?}");
    desk.devctl(&["login", &desk.bastion]).await.exits(0).says_exactly("");
}

#[tokio::test]
async fn the_bastion_answers_verbs() {
    let alice = user("alice").await;
    alice.is_running().await;
    let desk = Desk::of(&alice).await;
    desk.devctl(&["list", "-o", "name"]).await.exits(0).prints("dev\n");
    let list = desk.devctl(&["list", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&list.text()).expect("it is JSON");
    assert_eq!(list["items"][0]["metadata"]["name"], "dev");
    desk.devctl(&["no-such-verb"]).await.exits(2).says("no-such-verb").prints("");
    desk.devctl(&["exec", "dev", "--", "sh", "-c", "echo \"$1\"; exit 7", "sh", "it's  here"])
        .await
        .exits(7)
        .prints("it's  here\n");
    // Whoever has read enough is no error.
    let script = format!("{DEVCTL} list | head -0");
    desk.laptop.run("sh", &["-c", &script]).await.exits(0).says_exactly("");
}

#[tokio::test]
async fn ssh_finds_devservers_by_their_names_and_forgets_them() {
    let alice = user("alice").await;
    alice.add_devserver("second").await;
    let desk = Desk::of(&alice).await;
    let before = "# mine\nHost elsewhere\n  Port 7";
    desk.laptop.write(".ssh/config", before);
    std::fs::set_permissions(desk.laptop.path(".ssh/config"), std::fs::Permissions::from_mode(0o640)).expect("ours");
    desk.devctl(&["config", "ssh", "show"])
        .await
        .exits(0)
        .prints("disabled: `devctl config ssh enable` makes `ssh NAME.dev` lead to your DevServers\n");
    for _ in 0..2 {
        desk.devctl(&["config", "ssh", "enable", "--yes"]).await.exits(0);
    }
    let config = desk.read(".ssh/config");
    assert!(config.starts_with("Include \"") && config.ends_with(before), "{config}");
    assert_eq!(config.matches("Include").count(), 1);
    let mode = std::fs::metadata(desk.laptop.path(".ssh/config")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let shown = desk.devctl(&["config", "ssh", "show"]).await;
    assert!(shown.text().contains("@cert-authority"), "{}", shown.text());

    desk.laptop.write(".ssh/config", format!("{config}\n{}", desk.openssh()));
    desk.laptop.run("ssh", &["second.dev", "echo in; exit 3"]).await.exits(3).prints("in\n");
    desk.laptop.run("ssh", &["dev.dev", "hostname >/dev/null; echo in"]).await.exits(0).prints("in\n");
    desk.laptop.write("file", "carried");
    desk.laptop.run("scp", &["-q", "file", "second.dev:copy"]).await.exits(0);
    desk.laptop.run("ssh", &["second.dev", "cat copy"]).await.prints("carried");
    desk.laptop.run("ssh", &["nope.dev", "true"]).await.exits(255).says("you have no DevServer `nope`");
    // Hosts of the Internet stay what they are.
    let elsewhere = desk.laptop.run("ssh", &["-G", "git.example.dev"]).await;
    assert!(!elsewhere.text().contains("proxyjump"), "{}", elsewhere.text());

    desk.laptop.write(".ssh/config", &config);
    desk.devctl(&["config", "ssh", "disable"]).await.exits(0);
    assert_eq!(desk.read(".ssh/config"), before);
    assert!(!desk.laptop.path(".config/devctl/ssh_config").exists());
    assert!(!desk.laptop.path(".config/devctl/known_hosts").exists());
}

#[tokio::test]
async fn openssh_takes_over_where_it_is_better() {
    let alice = user("alice").await;
    alice.add_devserver("second").await;
    let desk = Desk::of(&alice).await;
    desk.laptop.write(".ssh/config", desk.openssh());
    desk.devctl(&["ssh", "second", "--", "echo in; exit 3"]).await.exits(3).prints("in\n");
    desk.devctl(&["ssh", "second", "echo", "in"]).await.exits(0).prints("in\n");
    desk.laptop.write("file", "carried");
    desk.devctl(&["cp", "file", "second:copy"]).await.exits(0);
    desk.devctl(&["cp", "second:copy", "back"]).await.exits(0);
    assert_eq!(desk.read("back"), "carried");
    // Without it, devctl is an SSH client itself.
    let mut alone = desk.command(&["ssh", "second", "--", "cat copy; exit 4"]);
    alone.env("PATH", "/nonexistent");
    Desk::finish(alone).await.exits(4).prints("carried");
}

#[tokio::test]
async fn a_startup_script_is_a_file_of_the_laptop() {
    let alice = user("alice").await;
    let desk = Desk::of(&alice).await;
    let script = "#!/bin/sh\necho \"it's\" $HOME\n\techo done";
    desk.laptop.write("set up.sh", script);
    desk.devctl(&["create", "x", "--startup-script", "set up.sh"]).await.exits(0).says("`x` was created");
    let made: Value = serde_json::from_str(&desk.devctl(&["describe", "x", "-o", "json"]).await.text()).expect("JSON");
    assert_eq!(made["spec"]["startupScript"], script);
    let mut piped = desk.command(&["update", "x", "--startup-script", "-", "-o", "json"]);
    piped.stdin(std::fs::File::open(desk.laptop.path("key.pub")).expect("it is there"));
    let changed: Value = serde_json::from_str(&Desk::finish(piped).await.exits(0).text()).expect("it is JSON");
    assert_eq!(changed["spec"]["startupScript"], desk.read("key.pub"));
    desk.devctl(&["create", "y", "--startup-script", "nope.sh"]).await.exits(1).says("nope.sh");
}

/// `port` leads to who shouts back, again and again.
async fn brings_back_all_of_it(port: u16) {
    let text = b"all of it ".repeat(300_000);
    for _ in 0..2 {
        assert_eq!(exchange(connect(port).await, &text).await, text.to_ascii_uppercase());
    }
}

#[tokio::test]
async fn a_forward_makes_a_port_local() {
    skip_unless!(crate::harness::has_agents(), "pods without the agent forward nothing");
    let alice = user("alice").await;
    let desk = Desk::of(&alice).await;
    desk.laptop.write(".ssh/config", desk.openssh());
    alice.is_running().await;
    let port = crate::harness::free_port();
    let mut forward = desk.laptop.command(DEVCTL, &["forward", "dev", &format!("{port}:9")]);
    let mut child = forward.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it was built");
    eventually("the local port", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
    child.kill().await.expect("it is our child");

    // Without OpenSSH, devctl forwards itself.
    let (port, there) = (crate::harness::free_port(), crate::harness::free_port());
    let server = shouts(&alice, &there.to_string()).await;
    let busy = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there are ports");
    let busy = busy.local_addr().map(|address| (busy, address.port())).expect("it has one");
    let mut forward = desk.command(&["forward", "dev", &format!("{port}:{there}"), &format!("{}:{there}", busy.1)]);
    forward.env("PATH", "/nonexistent");
    Desk::finish(forward).await.exits(1).says(&format!("failed to listen on 127.0.0.1:{}", busy.1));
    let mut forward = desk.laptop.command(DEVCTL, &["forward", "dev", &format!("{port}:{there}")]);
    let forward = forward.env("PATH", "/nonexistent").stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = forward.spawn().expect("it was built");
    brings_back_all_of_it(port).await;
    child.kill().await.expect("it is our child");
    server.kill().await;
}

#[tokio::test]
async fn somebody_at_a_terminal_is_asked_and_sees_one() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let desk = Desk::new(&alice, product.front());
    let mut login = desk.terminal(&["login", &desk.bastion]);
    login.shows("Is it the one").await;
    login.types("no\r").await;
    login.exits(255).await;
    assert_eq!(desk.read(".ssh/known_hosts"), "");
    let mut login = desk.terminal(&["login", &desk.bastion]);
    login.shows("Is it the one").await;
    login.types("yes\r").await;
    login.shows("logged in to").await;
    login.exits(0).await;

    let wait = "stty size; until [ \"$(stty size)\" = \"40 90\" ]; do sleep 0.1; done; echo resized; read line; exit 6";
    let mut shell = desk.terminal(&["exec", "dev", "--", "sh", "-c", wait]);
    shell.shows_row("30 100").await;
    shell.resize(40, 90);
    shell.shows_row("resized").await;
    shell.types("\r").await;
    shell.exits(6).await;

    for verb in ["list", "top"] {
        let mut watch = desk.terminal(&[verb, "--watch"]);
        watch.shows("dev ").await;
        // The end of the input is not the end of the keyboard.
        watch.types("\x04").await;
        watch.types("\x03").await;
        watch.exits(130).await;
    }
}

#[test]
fn what_there_is_is_told_without_a_bastion() {
    let devctl = |arguments: &[&str]| {
        let mut command = std::process::Command::new(DEVCTL);
        command
            .args(arguments)
            .env("HOME", "/nonexistent")
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .expect("it was built")
    };
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    for words in [&["--help"][..], &["help"]] {
        let help = devctl(words);
        assert_eq!(help.status.code(), Some(0));
        for verb in ["login", "doctor", "list", "create", "Exit status"] {
            assert!(text(&help).contains(verb), "{verb} is not in {}", text(&help));
        }
    }
    assert!(text(&devctl(&["create", "--help"])).contains("--flavor"));
    assert!(text(&devctl(&["help", "login"])).contains("--accept-new"));
    assert_eq!(devctl(&[]).status.code(), Some(2));
    assert_eq!(devctl(&["login"]).status.code(), Some(2));
    assert_eq!(devctl(&["list"]).status.code(), Some(1));
    assert_eq!(text(&devctl(&["version"])), format!("devctl {}\n", env!("CARGO_PKG_VERSION")));
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    assert_eq!(devctl(&["man", folder.path().to_str().expect("plain")]).status.code(), Some(0));
    assert!(folder.path().join("devctl-login.1").exists() && folder.path().join("devctl-list.1").exists());
}
