//! One bastion that listens: that of `bastion dev`, or a `bastion serve` of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::Server;
use super::cluster::{free_port, text, variables};
use super::wait::eventually;

pub(crate) struct Replica {
    port: u16,
    telemetry: u16,
    known_hosts: PathBuf,
    /// None: it is part of `bastion dev`.
    server: Option<Server>,
}

impl Replica {
    /// The one that `bastion dev` has within.
    pub(super) fn within(port: u16, telemetry: u16, known_hosts: PathBuf) -> Self {
        Self { port, telemetry, known_hosts, server: None }
    }

    /// `bastion serve` on the cluster of `kubeconfig`; `settings` are such as `ssh.max_sessions=2`.
    pub(super) async fn start(kubeconfig: &Path, namespace: &str, folder: &Path, settings: &[&str]) -> Self {
        let telemetry = free_port();
        let config = folder.join(format!("serve-{telemetry}.toml"));
        let lines = format!(
            "[ssh]\nlisten = \"127.0.0.1:0\"\nhost_key = {{ secret = \"host-key\" }}\n\
             [telemetry]\nlisten = \"127.0.0.1:{telemetry}\"\n"
        );
        std::fs::write(&config, lines).expect("the folder is ours");
        let mut server = Server::start(&["serve", "--config", text(&config)], |command| {
            command.env("KUBECONFIG", kubeconfig).env("POD_NAMESPACE", namespace).envs(variables(settings));
        });
        let ready = server.ready().await;
        let address = ready.strip_prefix("listening on ").and_then(|address| address.parse::<SocketAddr>().ok());
        let port = address.unwrap_or_else(|| panic!("no address in {ready:?}")).port();
        let known_hosts = folder.join(format!("known_hosts-{port}"));
        std::fs::write(&known_hosts, host_keys(port).await).expect("the folder is ours");
        Self { port, telemetry, known_hosts, server: Some(server) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn known_hosts(&self) -> &Path {
        &self.known_hosts
    }

    /// Its process, where it has one of its own.
    pub(crate) fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("it is a `bastion serve`")
    }

    pub(crate) fn log(&self) -> String {
        self.server.as_ref().expect("it is a `bastion serve`").log()
    }

    /// Its host keys, as `known_hosts` has them, without the port.
    pub(crate) fn host_key(&self) -> String {
        let keys = std::fs::read_to_string(&self.known_hosts).expect("it was written");
        keys.split_once(' ').expect("a host, then its key").1.to_owned()
    }

    /// What it answers over HTTP: status and body.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.telemetry)).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let status = answer.split_whitespace().nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }
}

async fn host_keys(port: u16) -> String {
    let port = port.to_string();
    // A server that is busy with other logins may have kept it waiting for longer than its patience.
    eventually("ssh-keyscan sees a host key", async || {
        let output = Command::new("ssh-keyscan").args(["-T", "60", "-t", "ed25519", "-p", &port, "127.0.0.1"]).output();
        let keys = output.await.expect("OpenSSH is installed").stdout;
        (!keys.is_empty()).then(|| String::from_utf8(keys).expect("keys are text"))
    })
    .await
}
