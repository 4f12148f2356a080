//! `devctl --context …`: an administrator asks the cluster with her kubeconfig, and enters pods as kubectl would.

use std::process::Stdio;

use bastion::api::{DevServer, Phase};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::shell::works_and_exits_with_7;
use super::{DEVCTL, Desk, brings_back_all_of_it};
use crate::forwards::shouts;
use crate::harness::{
    Finished, LIMIT, Product, Terminal, User, eventually, free_port, has_agents, skip_unless, within,
};

/// A desk with a kubeconfig, whose context is called `ours`, and alice's namespace in mind.
pub(super) struct Office {
    pub(super) desk: Desk,
    namespace: String,
}

impl Office {
    pub(super) fn of(product: &Product, user: &User) -> Self {
        let desk = Desk::new(user, product.front());
        let config = std::fs::read_to_string(product.kubeconfig()).expect("it is there");
        let mut config: Value = serde_saphyr::from_str(&config).expect("it is YAML");
        let current = config["current-context"].take();
        let contexts = config["contexts"].as_array_mut().expect("it is a list");
        let context = contexts.iter_mut().find(|context| context["name"] == current).expect("it is one of them");
        context["name"] = "ours".into();
        desk.laptop.write(".kube/config", config.to_string());
        Self { desk, namespace: user.namespace() }
    }

    fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [&["--context", "ours", "--namespace", &self.namespace], words].concat()
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.desk.command(&self.words(words));
        command.env_remove("KUBECONFIG");
        command
    }

    pub(super) async fn devctl(&self, words: &[&str]) -> Finished {
        Desk::finish(self.command(words)).await
    }

    pub(super) fn terminal(&self, words: &[&str]) -> Terminal {
        self.desk.runs_at_a_terminal("env", &[&["-u", "KUBECONFIG", DEVCTL], &self.words(words)[..]].concat())
    }
}

/// With alice's DevServer running.
async fn at_the_office() -> (User, Office) {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let office = Office::of(&product, &alice);
    (alice, office)
}

#[tokio::test]
async fn an_administrator_asks_the_cluster() {
    let (alice, office) = at_the_office().await;
    let asked = async |words: &[&str]| office.devctl(words).await;
    asked(&["list", "-o", "name"]).await.exits(0).prints("dev\n");
    asked(&["describe", "nope"]).await.exits(3).says("nope");
    asked(&["doctor"]).await.exits(2).says("--context");
    asked(&["exec", "--help"]).await.exits(0).says_exactly("");
    asked(&["exec", "dev"]).await.exits(2).prints("").says("WORD");
    for verb in ["idle", "why", "describe"] {
        asked(&[verb, "dev", "-o", "name"]).await.exits(0).prints("dev\n");
        let told = asked(&[verb, "dev", "-o", "json"]).await;
        let told: Value = serde_json::from_str(&told.exits(0).text()).expect("it is JSON");
        assert_eq!(told["metadata"]["name"], "dev", "{verb}");
    }
    for (name, format, printed) in [("one", "name", "one\n"), ("two", "yaml", "apiVersion: devserver.io/v1\n")] {
        alice.add_devserver(name).await;
        let told = asked(&["delete", name, "--yes", "-o", format]).await;
        assert!(told.exits(0).says("is deleted").text().starts_with(printed), "{}", told.text());
    }
    let mut nobodys = office.desk.command(&["list", "--context", "ours", "-n", "default"]);
    nobodys.env_remove("KUBECONFIG");
    Desk::finish(nobodys).await.exits(0).prints("").says("namespace default is not a user's");
    let elsewhere = office.desk.devctl(&["list", "--context", "theirs"]).await;
    elsewhere.exits(1).prints("").says("theirs").says("kubectl config get-contexts");
}

#[tokio::test]
async fn pods_tell_an_administrator_how_they_are_used() {
    skip_unless!(has_agents(), "the pods have no agent");
    let (_alice, office) = at_the_office().await;
    let idle = office.devctl(&["idle", "dev"]).await.exits(0).text();
    assert!(idle.contains("When idle:") && idle.contains("\nkeystrokes "), "{idle}");
    // A pod that is slow to answer is not waited for.
    eventually("what its programs take", async || {
        let top = office.devctl(&["top", "-o", "json"]).await.exits(0).says_exactly("").text();
        let top: Value = serde_json::from_str(&top).expect("it is JSON");
        top["devServers"][0]["cpu"].is_number().then_some(())
    })
    .await;
}

#[tokio::test]
async fn programs_run_with_their_input_output_and_exit_status() {
    let (alice, office) = at_the_office().await;
    let script = "printf '%s|' \"$@\"; echo beside >&2; exit 7";
    let ended = office.devctl(&["exec", "dev", "--", "sh", "-c", script, "sh", "a  b", "$HOME", "-n"]).await;
    ended.exits(7).prints("a  b|$HOME|-n|").says_exactly("beside\n");
    office.devctl(&["ssh", "dev", "--", "cd /; echo $HOME; pwd"]).await.exits(0).says_exactly("");
    let home = alice.ssh("echo $HOME").run().await.text();
    office.devctl(&["ssh", "dev", "echo", "$HOME"]).await.exits(0).prints(&home);

    // Large, both ways, and half-closed.
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    office.desk.laptop.write("large", &bytes);
    let mut through = office.command(&["exec", "dev", "--", "cat"]);
    through.stdin(std::fs::File::open(office.desk.laptop.path("large")).expect("it is there"));
    Desk::finish(through).await.exits(0).prints_bytes(&bytes);

    // Options may stand behind the verb; a DevServer may be named with its owner.
    let whole = format!("dev.{}", alice.name());
    let mut behind = office.desk.command(&["exec", "--context=ours", &whole, "--", "echo", "-n", "in"]);
    behind.env_remove("KUBECONFIG");
    Desk::finish(behind).await.exits(0).prints("in");

    office.devctl(&["exec", "nope", "--", "true"]).await.exits(255).prints("").says("no DevServer `nope`");
    office.devctl(&["exec", "../x", "--", "true"]).await.exits(255).prints("").says("no DevServer");
    office.devctl(&["ssh"]).await.exits(2).prints("").says("name a DevServer").says("devctl --context ours");
}

#[tokio::test]
async fn a_terminal_there_is_as_one_here() {
    let (alice, office) = at_the_office().await;
    let mut shell = office.terminal(&["ssh", "dev"]);
    works_and_exits_with_7(&mut shell).await;
    shell.exits(7).await;
    if has_agents() {
        alice.ssh("shells").run().await.exits(0).prints("No shells.\n");
    }
}

#[tokio::test]
async fn what_runs_ends_with_whoever_began_it() {
    let (alice, office) = at_the_office().await;
    let seconds = "98441.7";
    for signal in ["INT", "TERM"] {
        // One word, as it is counted by.
        let mut command = office.command(&["ssh", "dev", "--", &format!("exec sleep {seconds}")]);
        let child = command.stdin(Stdio::piped()).spawn().expect("it was built");
        eventually("its process", async || (alice.counts_processes(seconds).await == 1).then_some(())).await;
        let pid = child.id().expect("it runs").to_string();
        office.desk.laptop.run("kill", &[&format!("-{signal}"), &pid]).await.exits(0);
        let output = within(LIMIT, "its end", child.wait_with_output()).await;
        let status = if signal == "INT" { 130 } else { 143 };
        assert_eq!(output.expect("it is our child").status.code(), Some(status), "{signal}");
        eventually("no process", async || (alice.counts_processes(seconds).await == 0).then_some(())).await;
    }
}

#[tokio::test]
async fn one_that_is_suspended_is_resumed() {
    let (alice, office) = at_the_office().await;
    let suspended = json!({"spec": {"lifecycle": {"suspended": true}}});
    let servers = alice.api::<DevServer>();
    servers.patch("dev", &PatchParams::default(), &Patch::Merge(suspended)).await.expect("it is there");
    eventually("it is suspended", async || {
        let status = alice.has::<DevServer>("dev").await.status?;
        (status.phase == Phase::Suspended).then_some(())
    })
    .await;
    let ended = office.devctl(&["exec", "dev", "--", "echo", "awake"]).await;
    ended.exits(0).prints("awake\n").says("waiting for the operator");
}

#[tokio::test]
async fn ports_and_files_go_by_the_pods_agent() {
    skip_unless!(has_agents(), "pods without the agent forward nothing");
    let (alice, office) = at_the_office().await;
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    office.desk.laptop.write("folder/file", &bytes);
    office.devctl(&["cp", "-r", "folder", "dev:"]).await.exits(0).prints("");
    office.devctl(&["cp", "dev:folder/file", "back"]).await.exits(0).prints("");
    assert!(office.desk.laptop.holds("back", &bytes));
    office.devctl(&["cp", ":folder/file", "back"]).await.exits(2).says("name a DevServer");

    let (here, there) = (free_port(), free_port());
    let server = shouts(&alice, &there.to_string()).await;
    let mut forward = office.command(&["forward", "dev", &format!("{here}:{there}")]);
    let mut child = forward.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it was built");
    brings_back_all_of_it(here).await;
    child.kill().await.expect("it is our child");
    server.kill().await;
}

/// A cluster that says no to execs, and yes to all else: stands before the one of the tests.
#[tokio::test]
async fn a_missing_right_is_named_with_what_to_ask_for() {
    let (alice, office) = at_the_office().await;
    let server: Value = serde_json::to_value(alice.has::<DevServer>("dev").await).expect("it is an object");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there are ports");
    let url = format!("http://{}", listener.local_addr().expect("it has one"));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = vec![0; 65_536];
            let n = tokio::io::AsyncReadExt::read(&mut socket, &mut asked).await.unwrap_or(0);
            let is_exec =
                String::from_utf8_lossy(&asked[..n]).lines().next().is_some_and(|line| line.contains("/exec?"));
            let forbidden = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": "pods \"dev\" is forbidden: User \"eve\" cannot create resource \"pods/exec\""});
            let (status, body) = if is_exec { ("403 Forbidden", &forbidden) } else { ("200 OK", &server) };
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "eve", "user": {"token": "x"}}],
        "contexts": [{"name": "ours", "context": {"cluster": "c", "user": "eve"}}],
    });
    office.desk.laptop.write(".kube/config", config.to_string());
    let refused = office.devctl(&["exec", "dev", "--", "true"]).await;
    refused.exits(255).prints("").says("does not let you exec into pods").says("kubectl auth can-i create pods/exec");
    office.desk.laptop.write(".kube/config", config.to_string().replace(&url, "http://127.0.0.1:9"));
    office
        .devctl(&["exec", "dev", "--", "true"])
        .await
        .exits(255)
        .prints("")
        .says("failed to ask http://127.0.0.1:9")
        .says("refused");
}
