//! `devctl doctor`, and what is wrong.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use bastion::api::DevServer;

use super::Desk;
use crate::harness::{Agent, Finished, Product, eventually, free_port, has_agents, keygen, public, skip_unless};

/// What the doctor told, step by step.
struct Report {
    finished: Finished,
    checks: Vec<Value>,
}

impl Report {
    async fn of(desk: &Desk, socket: Option<&std::path::Path>) -> Self {
        let mut command = desk.command(&["doctor", "-o", "json"]);
        command.envs(socket.map(|socket| ("SSH_AUTH_SOCK", socket)));
        Self::told_by(command).await
    }

    /// Of one DevServer.
    async fn on(desk: &Desk, name: &str) -> Self {
        Self::told_by(desk.command(&["doctor", name, "-o", "json"])).await
    }

    async fn told_by(command: tokio::process::Command) -> Self {
        let finished = Desk::finish(command).await;
        let checks = serde_json::from_str(&finished.text()).expect("it is JSON");
        Self { finished, checks }
    }

    fn says(&self, name: &str, state: &str, words: &[&str]) {
        let told = &self.finished.text();
        let check = self.checks.iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("nothing of {name} in {told}"));
        assert_eq!(check["state"], state, "{name}: {told}");
        for word in words {
            assert!(check.to_string().contains(word), "{word} of {name}: {told}");
        }
    }
}

#[tokio::test]
async fn each_fault_is_told_with_its_cure() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::of(&alice).await;
    let agent = Agent::start().await;
    let report = Report::of(&desk, Some(agent.socket())).await;
    report.says("ssh-agent", "note", &["holds no key", "ssh-add"]);
    report.says("login", "ok", &[]);
    report.says("clock", "ok", &[]);
    agent.add(alice.key());
    Report::of(&desk, Some(agent.socket())).await.says("ssh-agent", "ok", &["holds a key"]);
    let dead = desk.laptop.path("no-agent");
    Report::of(&desk, Some(&dead)).await.says("ssh-agent", "failed", &["does not answer", "SSH_AUTH_SOCK"]);

    let volumes = json!({"volumes": [{"claim": "nothing", "mountPath": "/data"}]});
    alice.add_devserver_with("dev", volumes).await;
    eventually("it is told what it waits for", async || {
        Report::of(&desk, None).await.finished.text().contains("there is no claim nothing").then_some(())
    })
    .await;
    Report::of(&desk, None).await.says("DevServer", "note", &["devctl why dev"]);

    let known = desk.read(".ssh/known_hosts");
    let other = public(&keygen(product.folder(), &format!("{}-other", alice.name()), "ed25519"));
    desk.laptop.write(".ssh/known_hosts", format!("[127.0.0.1]:{} {other}", product.front().port()));
    let report = Report::of(&desk, None).await;
    report.finished.exits(1);
    report.says("port", "ok", &[]);
    report.says("host key", "failed", &["HAS CHANGED", "ssh-keygen -R"]);
    desk.laptop.write(".ssh/known_hosts", known);

    let settings = desk.read(".config/devctl/config.toml");
    let port_is = |port: u16| settings.replace(&product.front().port().to_string(), &port.to_string());
    desk.laptop.write(".config/devctl/config.toml", port_is(free_port()));
    Report::of(&desk, None).await.says("port", "failed", &["refused", "devctl login"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    desk.laptop.write(".config/devctl/config.toml", port_is(listener.local_addr().expect("it is bound").port()));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let report = Report::of(&desk, None).await;
    report.finished.exits(1);
    report.says("host key", "failed", &["does not speak SSH", "is that the port of an SSH server"]);

    desk.laptop.write(".config/devctl/config.toml", "host = [");
    Report::of(&desk, None).await.says("settings", "failed", &["config.toml", "devctl login"]);
}

#[tokio::test]
async fn who_may_not_forward_is_told_of_the_rest_all_the_same() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let replica = product.serve(&["ssh.allow_port_forwarding=false"]).await;
    alice.is_known_at(&replica).await;
    let desk = Desk::new(&alice, &replica);
    desk.logs_in().await;
    let report = Report::of(&desk, None).await;
    report.finished.exits(0);
    report.says("forwarding", "note", &["may not forward"]);
    report.says("DevServer", "ok", &["dev is running"]);
}

#[tokio::test]
async fn the_doctor_names_what_is_wrong_and_its_cure() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::new(&alice, product.front());
    let report = async |words: &[&str]| {
        let finished = desk.devctl(words).await;
        let checks: Vec<Value> = serde_json::from_str(&finished.text()).expect("it is JSON");
        let state = move |name: &str| {
            let check = checks.iter().find(|check| check["name"] == name);
            check.map(|check| check["state"].as_str().expect("a word").to_owned()).unwrap_or_default()
        };
        (finished, state)
    };
    let doctor = ["doctor", "-o", "json"];
    let (finished, state) = report(&doctor).await;
    finished.exits(1);
    assert_eq!(state("settings"), "failed");

    desk.logs_in().await;
    let (finished, state) = report(&doctor).await;
    finished.exits(0);
    assert_eq!(finished.text().matches("\"settings\"").count(), 1);
    for name in ["settings", "DNS", "port", "host key", "server", "keys", "login", "forwarding"] {
        assert_eq!(state(name), "ok", "{name}: {}", finished.text());
    }
    assert_eq!(state("DevServer"), "note", "asking makes none: {}", finished.text());
    alice.is_running().await;
    let (finished, state) = report(&doctor).await;
    finished.exits(0);
    assert_eq!(state("DevServer"), "ok", "{}", finished.text());

    std::fs::remove_file(desk.laptop.path(".ssh/id_ed25519")).expect("it is there");
    let (finished, state) = report(&doctor).await;
    finished.exits(1);
    assert_eq!((state("host key"), state("keys"), state("login")), ("ok".into(), "failed".into(), "failed".into()));
    let settings = desk.read(".config/devctl/config.toml");
    desk.laptop.write(".config/devctl/config.toml", settings.replace("127.0.0.1", "nowhere.invalid"));
    desk.devctl(&["doctor"]).await.exits(1).says_exactly("");
    let (_, state) = report(&doctor).await;
    assert_eq!((state("DNS"), state("port")), ("failed".into(), String::new()));
}

#[tokio::test]
async fn a_devserver_is_looked_at_by_its_name() {
    let product = Product::shared().await;
    skip_unless!(has_agents(), "the pods have no agent");
    let alice = product.user("alice").await;
    alice.is_running().await;
    alice.has_another_running("second").await;
    let nope = json!({"metadata": {"name": "broken"}, "spec": {"flavor": "no-such-flavor"}});
    let broken: DevServer = serde_json::from_value(nope).expect("it is a DevServer");
    alice.api::<DevServer>().create(&Default::default(), &broken).await.expect("DevServers can be made");
    let desk = Desk::of(&alice).await;
    let report = Report::on(&desk, "second").await;
    report.finished.exits(0);
    report.says("API server", "ok", &[]);
    report.says("inner server", "ok", &["a certificate for second"]);
    report.says("DevServer", "ok", &["second is running"]);
    report.says("pod", "ok", &["sftp"]);
    let names = desk.devctl(&["doctor", "second", "-o", "name"]).await;
    assert!(names.exits(0).text().lines().any(|line| line == "inner server"), "{}", names.text());
    desk.devctl(&["doctor", "second", "-o", "yaml"]).await.exits(0).prints_line("- name: pod");

    let report = eventually("it failed", async || {
        let report = Report::on(&desk, "broken").await;
        report.finished.text().contains("is Failed").then_some(report)
    })
    .await;
    report.finished.exits(1);
    report.says("DevServer", "failed", &["no-such-flavor", "devctl why broken"]);
    let report = Report::on(&desk, "nope").await;
    report.finished.exits(1);
    report.says("DevServer", "failed", &["you have no DevServer nope", "devctl list"]);

    // What OpenSSH has been told of the server behind the bastion.
    desk.devctl(&["config", "ssh", "enable", "--yes"]).await.exits(0);
    Report::on(&desk, "second").await.says("inner server", "ok", &["which OpenSSH knows"]);
    let known = desk.read(".config/devctl/known_hosts");
    let other = public(&keygen(product.folder(), &format!("{}-authority", alice.name()), "ed25519"));
    let hosts: Vec<&str> = known.split_whitespace().take(2).collect();
    desk.laptop.write(".config/devctl/known_hosts", format!("{} {other}", hosts.join(" ")));
    let report = Report::on(&desk, "second").await;
    report.finished.exits(1);
    report.says("inner server", "failed", &["another authority", "devctl config ssh enable"]);
    std::fs::remove_file(desk.laptop.path(".config/devctl/known_hosts")).expect("it is there");
    let mut alone = desk.command(&["doctor", "-o", "json"]);
    alone.env("PATH", "/nonexistent");
    let report = Report::told_by(alone).await;
    report.finished.exits(1);
    report.says("ssh NAME.dev", "failed", &["known_hosts is missing", "devctl config ssh enable"]);
    report.says("OpenSSH", "note", &["not installed"]);
}

/// Another SSH server, that lets nobody in.
struct Other;

impl russh::server::Handler for Other {
    type Error = russh::Error;
}

#[tokio::test]
async fn what_is_no_bastion_is_called_so() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let desk = Desk::of(&alice).await;
    let settings = desk.read(".config/devctl/config.toml");
    let listens = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let settings = settings.replace(&product.front().port().to_string(), &port.to_string());
        desk.laptop.write(".config/devctl/config.toml", settings);
        (listener, port)
    };
    let (echo, _) = listens().await;
    let echoing = tokio::spawn(async move {
        while let Ok((stream, _)) = echo.accept().await {
            let (mut reader, mut writer) = stream.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut reader, &mut writer).await });
        }
    });
    let report = Report::of(&desk, None).await;
    report.finished.exits(1);
    report.says("host key", "failed", &["does not speak SSH", "is that the port of an SSH server"]);
    echoing.abort();

    let (listener, port) = listens().await;
    let key = keygen(product.folder(), &format!("{}-elsewhere", alice.name()), "ed25519");
    desk.laptop.write(".ssh/known_hosts", format!("[127.0.0.1]:{port} {}", public(&key)));
    let key = russh::keys::load_secret_key(&key, None).expect("ssh-keygen wrote it");
    let config = std::sync::Arc::new(russh::server::Config { keys: vec![key], ..Default::default() });
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let config = config.clone();
            tokio::spawn(async move {
                if let Ok(session) = russh::server::run_stream(config, stream, Other).await {
                    let _ = session.await;
                }
            });
        }
    });
    let report = Report::of(&desk, None).await;
    report.finished.exits(1);
    report.says("host key", "ok", &[]);
    report.says("server", "failed", &["it is not a bastion but SSH-2.0-", "devctl login"]);
    report.says("login", "failed", &["does not let"]);
    serving.abort();
}

#[tokio::test]
async fn a_cluster_that_is_away_is_told_from_a_bastion_that_is() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    alice.is_running().await;
    let (replica, mut gateway) = product.serve_behind_gateway(&[]).await;
    alice.is_known_at(&replica).await;
    let desk = Desk::new(&alice, &replica);
    desk.logs_in().await;
    Report::of(&desk, None).await.says("API server", "ok", &[]);
    gateway.cut().await;
    let report = Report::of(&desk, None).await;
    report.finished.exits(1);
    report.says("login", "ok", &[]);
    report.says("API server", "failed", &["administrator"]);
    gateway.mend().await;
}
