//! The server against russh's client on loopback, with tasks for programs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg};
use russh::{SendError, Signer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::config::PenaltiesConfig;
use super::{Answer, Answered, Authenticate, Config, HostKeySource, HostKeys, Run, Server};
use crate::carrier::Stream;
use crate::identity::{Credential, Identity, OwnedCredential, Permissions, Permits, Refusal};
use crate::workspace::{self, Address, Command, EchoWorkspaces, Listener, Process, Reader, Target};

/// Longer than anything here takes, and the end of what hangs.
const PATIENCE: Duration = Duration::from_secs(20);

impl Answer for EchoWorkspaces {
    fn answer(&self, _: &Identity, _: &Target, _: &str, _: &Command) -> Option<Answered> {
        None
    }
}

impl Run for EchoWorkspaces {
    fn start<'a>(
        &'a self,
        _: &'a Identity,
        target: &'a Target,
        command: &'a Command,
        _: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Process, workspace::Error>> {
        let missing = |name: &str| workspace::Error::NoSuchDevServer {
            user: "alice".into(),
            name: name.into(),
            existing: vec!["dev".into(), "gpu".into()],
        };
        Box::pin(async move {
            match target {
                Target::Named(name) if name != "gpu" => Err(missing(name)),
                Target::Shared { .. } => Err(missing(&target.to_string())),
                _ => Ok(Self::start(*self, command)),
            }
        })
    }

    fn connect<'a>(
        &'a self,
        _: &'a Identity,
        _: &'a Target,
        _: &'a Address,
    ) -> BoxFuture<'a, Result<Stream, workspace::Error>> {
        Box::pin(std::future::ready(Err(workspace::Error::NoAgent)))
    }

    fn listen<'a>(
        &'a self,
        _: &'a Identity,
        _: &'a Target,
        _: &'a Address,
    ) -> BoxFuture<'a, Result<Listener, workspace::Error>> {
        Box::pin(std::future::ready(Err(workspace::Error::NoAgent)))
    }

    fn devserver(&self, target: &Target) -> String {
        match target {
            Target::Default => "dev".to_owned(),
            Target::Named(name) | Target::Shared { name, .. } => name.clone(),
        }
    }

    fn has(&self, _: &Identity, target: &Target) -> bool {
        *target == Target::Named("gpu".to_owned())
    }

    fn withdrawn<'a>(&'a self, _: &'a Identity, _: &'a Target) -> BoxFuture<'a, String> {
        Box::pin(std::future::pending())
    }

    fn news(&self, _: &Identity, _: &Target, _: Reader) -> Vec<String> {
        Vec::new()
    }

    fn notices(&self, _: &Identity, _: &Target) -> futures::stream::BoxStream<'static, String> {
        futures::StreamExt::boxed(futures::stream::pending())
    }

    fn why_gone<'a>(&'a self, _: &'a Identity, _: &'a Target) -> BoxFuture<'a, Option<String>> {
        Box::pin(std::future::ready(None))
    }
}

/// Knows alice and her key, until it is taken away.
struct OneUser(PublicKey, Permissions, CancellationToken);

impl Authenticate for OneUser {
    fn welcome(&self, login: &str, key: &PublicKey, _: IpAddr) -> Result<(), Refusal> {
        if login == "alice" && *key == self.0 { Ok(()) } else { Err(Refusal::Unknown) }
    }

    fn learn<'a>(&'a self, _: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    fn resolve(&self, login: &str, credential: Credential<'_>, from: IpAddr) -> Result<Identity, Refusal> {
        let Credential::Key(key) = credential else { return Err(Refusal::UntrustedAuthority) };
        self.welcome(login, key, from)?;
        Ok(Identity::for_test("alice", self.1.clone()))
    }

    fn lapse<'a>(&'a self, _: &'a str, _: &'a OwnedCredential, _: IpAddr, _: &'a Identity) -> BoxFuture<'a, String> {
        Box::pin(async move {
            self.2.cancelled().await;
            "your key was removed".to_owned()
        })
    }
}

struct TestServer {
    address: SocketAddr,
    key: Arc<PrivateKey>,
    shutdown: CancellationToken,
    key_removed: CancellationToken,
    run: JoinHandle<()>,
}

struct AnyHost;

impl client::Handler for AnyHost {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

fn new_key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

fn config() -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        proxy_protocol_from: vec![],
        host_key: HostKeySource::File("unused".into()),
        further_host_keys: vec![],
        host_certificates: vec![],
        ciphers: vec![russh::cipher::AES_256_GCM],
        macs: vec![russh::mac::HMAC_SHA256_ETM],
        banner: None,
        login_grace_time: PATIENCE,
        max_startups: 100,
        max_startups_per_source: 100,
        penalties: PenaltiesConfig {
            auth_failed: Duration::from_secs(5),
            no_auth: Duration::ZERO,
            grace_exceeded: Duration::from_secs(10),
            min: Duration::from_secs(15),
            max: Duration::from_secs(600),
            max_sources: 100,
            exempt: vec![],
        },
        max_key_offers: 20,
        max_sessions: 10,
        allow_port_forwarding: true,
        allow_stream_local_forwarding: true,
        permit_open: Permits::ANY,
        permit_listen: Permits::ANY,
        allow_agent_forwarding: true,
        allow_x11_forwarding: true,
        max_forwards: 10,
        detached_shell_timeout: Duration::ZERO,
        keepalive_interval: Duration::from_secs(30),
        keepalive_count_max: 3,
        drain_timeout: Duration::from_secs(1),
        spool_directory: std::env::temp_dir(),
        spool_slow_above_mib: 64,
        spool_limit_mib: 128,
        spool_total_mib: 128,
    }
}

impl TestServer {
    async fn start(config: Config) -> Self {
        Self::permitting(config, Permissions::ALL).await
    }

    /// Where alice may do only so much.
    async fn permitting(config: Config, permissions: Permissions) -> Self {
        let listener = TcpListener::bind(config.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = Arc::new(new_key());
        let key_removed = CancellationToken::new();
        let user = OneUser(key.public_key().clone(), permissions, key_removed.clone());
        let host_keys = HostKeys { keys: vec![new_key()], certificates: vec![] };
        let server = Server::new(config, host_keys, Arc::new(user), Arc::new(EchoWorkspaces), Arc::new(EchoWorkspaces));
        let shutdown = CancellationToken::new();
        let run = tokio::spawn(server.run(listener, shutdown.clone()));
        Self { address, key, shutdown, key_removed, run }
    }

    async fn connect(&self) -> Handle<AnyHost> {
        client::connect(Arc::default(), self.address, AnyHost).await.unwrap()
    }

    async fn log_in(&self, name: &str) -> Handle<AnyHost> {
        let mut connection = self.connect().await;
        let key = PrivateKeyWithHashAlg::new(self.key.clone(), None);
        assert!(connection.authenticate_publickey(name, key).await.unwrap().success());
        connection
    }
}

async fn exec(connection: &Handle<AnyHost>, command: &str) -> Channel<Msg> {
    let channel = connection.channel_open_session().await.unwrap();
    channel.exec(false, command).await.unwrap();
    channel
}

/// What came until the close: stdout, stderr and the exit status.
async fn ended(mut channel: Channel<Msg>) -> (Vec<u8>, String, Option<u32>) {
    let (mut out, mut err, mut status) = (Vec::new(), Vec::new(), None);
    let read = async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    assert!(status.is_none(), "output after the exit status");
                    out.extend_from_slice(&data);
                }
                ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, read).await.expect("the channel ends");
    (out, String::from_utf8(err).unwrap(), status)
}

#[tokio::test]
async fn exec_reports_output_and_exit_status() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    assert_eq!(ended(exec(&alice, "exit 7").await).await, (vec![], String::new(), Some(7)));
    assert_eq!(ended(exec(&alice, "stderr oh").await).await, (vec![], "oh".into(), Some(0)));
    let cat = exec(&alice, "cat").await;
    cat.data(&b"hello"[..]).await.unwrap();
    cat.eof().await.unwrap();
    assert_eq!(ended(cat).await, (b"hello".to_vec(), String::new(), Some(0)));
}

#[tokio::test]
async fn a_signal_reaches_the_program_and_its_end_is_told_as_one() {
    let server = TestServer::start(config()).await;
    let mut cat = exec(&server.log_in("alice").await, "cat").await;
    cat.signal(russh::Sig::TERM).await.unwrap();
    let told = async {
        loop {
            match cat.wait().await.expect("it is told before the close") {
                ChannelMsg::ExitSignal { signal_name, core_dumped, .. } => return (signal_name, core_dumped),
                ChannelMsg::ExitStatus { .. } => panic!("a signal is no exit status"),
                _ => {}
            }
        }
    };
    let (name, core_dumped) = timeout(PATIENCE, told).await.expect("it ends");
    assert!(matches!(name, russh::Sig::TERM) && !core_dumped);
}

#[tokio::test]
async fn a_key_that_is_taken_away_ends_what_runs_and_the_connection() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let (one, other) = (exec(&alice, "stall").await, exec(&alice, "cat").await);
    server.key_removed.cancel();
    for channel in [one, other] {
        assert_eq!(ended(channel).await, (vec![], "bastion: your key was removed\n".into(), Some(255)));
    }
    let end = async {
        while !alice.is_closed() {
            assert!(alice.channel_open_session().await.is_err(), "nothing new is begun");
        }
    };
    timeout(PATIENCE, end).await.expect("the connection ends");
}

#[tokio::test]
async fn a_forced_command_runs_whatever_is_asked_for() {
    let permissions = Permissions { forced_command: Some("exit 9".into()), ..Permissions::ALL };
    let alice = TestServer::permitting(config(), permissions).await.log_in("alice").await;
    assert_eq!(ended(exec(&alice, "exit 1").await).await.2, Some(9));
    let shell = alice.channel_open_session().await.unwrap();
    shell.request_shell(false).await.unwrap();
    assert_eq!(ended(shell).await.2, Some(9));
}

#[tokio::test]
async fn a_terminal_that_is_not_permitted_is_refused_and_the_session_goes_on() {
    let permissions = Permissions { pty: false, ..Permissions::ALL };
    let alice = TestServer::permitting(config(), permissions).await.log_in("alice").await;
    let mut channel = alice.channel_open_session().await.unwrap();
    channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    assert!(matches!(timeout(PATIENCE, channel.wait()).await.unwrap(), Some(ChannelMsg::Failure)));
    channel.exec(false, "stderr apart").await.unwrap();
    assert_eq!(ended(channel).await, (vec![], "apart".into(), Some(0)));
}

#[tokio::test]
async fn a_display_that_cannot_be_forwarded_is_refused_or_told_of() {
    let restricted = Permissions { x11_forwarding: false, ..Permissions::ALL };
    let switched_off = Config { allow_x11_forwarding: false, ..config() };
    let cases = [
        (config(), Permissions::ALL, "00ff", Some("X11 is not forwarded, as this DevServer's pod has no agent")),
        (config(), Permissions::ALL, "no cookie", None),
        (config(), restricted, "00ff", None),
        (switched_off, Permissions::ALL, "00ff", None),
    ];
    for (config, permissions, cookie, told) in cases {
        let alice = TestServer::permitting(config, permissions).await.log_in("alice").await;
        let mut channel = alice.channel_open_session().await.unwrap();
        channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", cookie, 0).await.unwrap();
        let answer = timeout(PATIENCE, channel.wait()).await.unwrap();
        assert_eq!(matches!(answer, Some(ChannelMsg::Success)), told.is_some(), "{answer:?}");
        channel.exec(false, "exit 0").await.unwrap();
        let (_, err, status) = ended(channel).await;
        assert_eq!((err.contains(told.unwrap_or("X11")), status), (told.is_some(), Some(0)), "{err}");
    }
}

#[tokio::test]
async fn foreign_keys_and_unknown_users_are_refused_alike() {
    let server = TestServer::start(config()).await;
    let mut answers = Vec::new();
    for (name, key) in [("alice", Arc::new(new_key())), ("mallory", server.key.clone())] {
        let key = PrivateKeyWithHashAlg::new(key, None);
        match server.connect().await.authenticate_publickey(name, key).await.unwrap() {
            AuthResult::Failure { remaining_methods, .. } => answers.push(remaining_methods),
            AuthResult::Success => panic!("{name} got in"),
        }
    }
    assert_eq!(answers[0], answers[1]);
}

/// Signs with a key that is not the one it is asked for.
struct Forger(PrivateKey);

impl Signer for Forger {
    type Error = SendError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        let signature = self.0.try_sign(&to_sign).unwrap().encode_vec().unwrap();
        signature.encode(&mut to_sign).unwrap();
        Ok(to_sign)
    }
}

#[tokio::test]
async fn twenty_keys_may_be_offered_before_the_good_one() {
    let server = TestServer::start(config()).await;
    let mut connection = server.connect().await;
    for _ in 0..20 {
        let key = PrivateKeyWithHashAlg::new(Arc::new(new_key()), None);
        assert!(!connection.authenticate_publickey("alice", key).await.unwrap().success());
    }
    let key = PrivateKeyWithHashAlg::new(server.key.clone(), None);
    assert!(connection.authenticate_publickey("alice", key).await.unwrap().success());
}

#[tokio::test]
async fn three_bad_signatures_end_the_connection() {
    let server = TestServer::start(config()).await;
    let (public, good) = (server.key.public_key(), PrivateKeyWithHashAlg::new(server.key.clone(), None));
    for bad in 1..=3 {
        let mut connection = server.connect().await;
        for _ in 0..bad {
            let mut forger = Forger(new_key());
            let answer = connection.authenticate_publickey_with("alice", public.clone(), None, &mut forger).await;
            assert!(!answer.unwrap().success());
        }
        let answer = connection.authenticate_publickey("alice", good.clone()).await;
        assert_eq!(answer.is_ok_and(|answer| answer.success()), bad < 3, "after {bad}");
        assert_eq!(connection.is_closed(), bad == 3);
    }
}

#[tokio::test]
async fn a_missing_devserver_is_told_with_those_that_exist() {
    let server = TestServer::start(config()).await;
    let (out, err, status) = ended(exec(&server.log_in("alice+nope").await, "exit 0").await).await;
    assert_eq!((out.as_slice(), status), (&b""[..], Some(255)));
    assert_eq!(err, "bastion: you have no DevServer `nope`; you have: dev, gpu\n");
    assert_eq!(ended(exec(&server.log_in("alice+gpu").await, "exit 0").await).await.2, Some(0));
}

#[tokio::test]
async fn a_program_that_does_not_read_holds_up_nobody() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let stalled = exec(&alice, "stall").await;
    for _ in 0..40 {
        stalled.data_bytes(Bytes::from(vec![0; 1 << 20])).await.unwrap();
    }
    assert_eq!(ended(exec(&alice, "exit 3").await).await.2, Some(3));
}

#[tokio::test]
async fn an_amplifier_ends() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let channel = exec(&alice, "double").await;
    let (mut read, write) = channel.split();
    tokio::spawn(async move {
        for _ in 0..20 {
            write.data_bytes(Bytes::from(vec![1; 1 << 20])).await.unwrap();
        }
        write.eof().await.unwrap();
    });
    let mut received = 0;
    while let Some(message) = timeout(PATIENCE, read.wait()).await.unwrap() {
        if let ChannelMsg::Data { data } = message {
            received += data.len();
        }
    }
    assert_eq!(received, 40 << 20);
}

#[tokio::test]
async fn too_much_unread_input_ends_its_session_only() {
    let server = TestServer::start(Config { spool_slow_above_mib: 2, spool_limit_mib: 1, ..config() }).await;
    let alice = server.log_in("alice").await;
    let stalled = exec(&alice, "stall").await;
    stalled.data_bytes(Bytes::from(vec![0; 2 << 20])).await.unwrap();
    let (_, err, status) = ended(stalled).await;
    assert!(err.contains("does not read its input"), "{err}");
    assert_eq!(status, Some(255));
    assert_eq!(ended(exec(&alice, "exit 0").await).await.2, Some(0));
}

#[tokio::test]
async fn resizes_pass_while_input_is_held_up() {
    let server = TestServer::start(config()).await;
    let alice = server.log_in("alice").await;
    let mut channel = alice.channel_open_session().await.unwrap();
    channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    channel.exec(false, "size").await.unwrap();
    channel.data_bytes(Bytes::from(vec![0; 1 << 20])).await.unwrap();
    channel.window_change(132, 50, 0, 0).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"132x50\n") {
        if let Some(ChannelMsg::Data { data }) = timeout(PATIENCE, channel.wait()).await.unwrap() {
            seen.extend_from_slice(&data);
        }
    }
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_refused() {
    let server = TestServer::start(Config { max_sessions: 1, ..config() }).await;
    let alice = server.log_in("alice").await;
    let _first = exec(&alice, "stall").await;
    assert!(alice.channel_open_session().await.is_err());
}

#[tokio::test]
async fn who_does_not_log_in_is_cut_off() {
    let server = TestServer::start(Config { login_grace_time: Duration::from_millis(50), ..config() }).await;
    let mut silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let mut greeting = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut greeting);
    timeout(PATIENCE, read).await.expect("the server closes").ok();
    assert!(greeting.starts_with(b"SSH-2.0-bastion_"));
}

#[tokio::test]
async fn a_drain_waits_for_programs_and_tells_terminals() {
    let server = TestServer::start(Config { drain_timeout: PATIENCE, ..config() }).await;
    let alice = server.log_in("alice").await;
    let mut shell = alice.channel_open_session().await.unwrap();
    shell.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    shell.request_shell(false).await.unwrap();
    shell.data(&b"x"[..]).await.unwrap();
    let data = |message| match message {
        Some(ChannelMsg::Data { data }) => data,
        other => panic!("{other:?}"),
    };
    let next = async |shell: &mut Channel<Msg>| loop {
        match timeout(PATIENCE, shell.wait()).await.unwrap() {
            Some(ChannelMsg::WindowAdjusted { .. } | ChannelMsg::Success) => {}
            other => break data(other),
        }
    };
    assert_eq!(next(&mut shell).await, "x");
    server.shutdown.cancel();
    assert!(String::from_utf8_lossy(&next(&mut shell).await).contains("this server goes down"));
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
    shell.eof().await.unwrap();
    assert_eq!(ended(shell).await.2, Some(0));
    timeout(PATIENCE, server.run).await.expect("the drain ends").unwrap();
}
