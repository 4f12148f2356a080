//! Accepts connections, within limits, until it drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::{Disconnect, MethodKind, MethodSet, SshId};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use super::algorithms;
use super::connection::Connection;
use super::context::{Context, Drain};
use super::limits::{Startup, Startups};
use super::penalties::Penalties;
use super::throttle::{Disk, Throttle};
use super::transport::Transport;
use super::{Authenticate, Config, Run, proxy_protocol};
use crate::telemetry::{LoginResult, metrics};

/// The SSH server.
pub struct Server {
    context: Arc<Context>,
    russh: Arc<russh::server::Config>,
    startups: Startups,
    disk: Arc<Disk>,
}

const MIB: u64 = 1024 * 1024;
/// Between failed accepts: file descriptors run out for a while, and a busy loop would not free any.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// A load balancer sends its header at once.
const PROXY_HEADER: Duration = Duration::from_secs(5);
/// Between the last session's end, the farewell and the cut of a draining connection: for the last packets.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Server {
    pub fn new(config: Config, host_key: PrivateKey, authenticate: Arc<dyn Authenticate>, run: Arc<dyn Run>) -> Self {
        let drain = Drain::new(config.drain_timeout);
        let russh = russh::server::Config {
            server_id: SshId::Standard(concat!("SSH-2.0-bastion_", env!("CARGO_PKG_VERSION")).into()),
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            keys: vec![host_key],
            preferred: algorithms::preferred(&config.ciphers),
            // Refusals that count: the first question for `none`, the offers, and what may fail after.
            max_auth_attempts: 1 + config.max_key_offers + 3,
            // Slept through for each refused key; enough to hide how long the look-up took.
            auth_rejection_time: Duration::from_millis(20),
            auth_rejection_time_initial: Some(Duration::ZERO),
            inactivity_timeout: None,
            keepalive_interval: Some(config.keepalive_interval),
            keepalive_max: config.keepalive_count_max,
            event_buffer_size: 32,
            ..russh::server::Config::default()
        };
        let startups = Startups::new(config.max_startups, config.max_startups_per_source);
        let disk = Disk::new(config.spool_total_mib * MIB);
        let penalties = Penalties::new(config.penalties.clone());
        let context = Arc::new(Context { config, authenticate, run, penalties, drain, tasks: TaskTracker::new() });
        Self { context, russh: Arc::new(russh), startups, disk }
    }

    /// Serves `listener` until `shutdown`, then drains: no new connections, a line to every terminal, and a deadline
    /// for what still runs.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let cut = CancellationToken::new();
        let connections = TaskTracker::new();
        let server = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(server.clone().greet(stream, peer, cut.child_token()));
                }
                Err(error) => {
                    warn!(%error, "failed to accept a connection");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
        drop(listener);
        server.context.drain.begin();
        connections.close();
        server.context.tasks.close();
        let open = connections.len();
        info!(open, timeout = ?server.context.config.drain_timeout, "draining");
        if timeout(server.context.config.drain_timeout, connections.wait()).await.is_err() {
            warn!(open = connections.len(), "the drain's time is up; cutting what is left");
            cut.cancel();
            connections.wait().await;
        }
        server.context.tasks.wait().await;
    }

    /// Learns whose connection it is.
    async fn greet(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, cut: CancellationToken) {
        let trusted = &self.context.config.proxy_protocol_from;
        let address = match trusted.iter().any(|network| network.contains(&peer.ip().to_canonical())) {
            false => peer,
            true => match timeout(PROXY_HEADER, proxy_protocol::read_client(&mut stream)).await {
                Ok(Ok(client)) => client.unwrap_or(peer),
                Ok(Err(error)) => return info!(%peer, %error, "refused a connection without a good PROXY header"),
                Err(_) => return info!(%peer, "refused a connection whose PROXY header did not come"),
            },
        };
        let span = info_span!("connection", client.addr = %address);
        self.admit(stream, address, cut).instrument(span).await;
    }

    async fn admit(&self, mut stream: TcpStream, address: SocketAddr, cut: CancellationToken) {
        if self.context.penalties.refuse(address.ip(), Instant::now()) {
            metrics().login(LoginResult::Throttled);
            info!("refused a connection from a penalised source");
            let _ = stream.write_all(b"Not allowed at this time\r\n").await;
            return;
        }
        match self.startups.admit(address.ip()) {
            Ok(startup) => self.serve(stream, address, startup, cut).await,
            Err(limit) => {
                metrics().login(LoginResult::Throttled);
                warn!(limit, "too many connections that have not logged in; refused one");
                // RFC 4253 §4.2 allows lines before the version string; ssh shows this one with -v.
                let _ = stream.write_all(b"Too many connections are logging in; try again in a moment\r\n").await;
            }
        }
    }

    async fn serve(&self, stream: TcpStream, address: SocketAddr, startup: Startup, cut: CancellationToken) {
        if let Err(error) = tune(&stream) {
            debug!(%error, "failed to set socket options");
        }
        metrics().connections.inc();
        metrics().open_connections.inc();
        let config = &self.context.config;
        let throttle =
            Throttle::new(config.spool_slow_above_mib * MIB, config.spool_limit_mib * MIB, self.disk.clone());
        let logged_in = CancellationToken::new();
        let sessions = Arc::new(Semaphore::new(config.max_sessions));
        let handler =
            Connection::new(self.context.clone(), throttle.clone(), address, logged_in.clone(), sessions.clone());
        let transport = Transport::new(stream, cut.clone(), throttle);
        let connection = async {
            let running = russh::server::run_stream(self.russh.clone(), transport, handler).await?;
            let handle = running.handle();
            let leave = async {
                // A drain ends connections that run nothing, now or later.
                self.context.drain.begun().await;
                let _ = sessions.acquire_many(config.max_sessions as u32).await;
                // OpenSSH reports 255 if it reads our good-bye together with an exit status. Left alone it goes by itself.
                sleep(LAST_WORDS).await;
                let bye = handle.disconnect(Disconnect::ByApplication, "the server goes down".into(), "en".into());
                let _ = timeout(LAST_WORDS, bye).await;
                sleep(LAST_WORDS).await;
                cut.cancel();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = running => ended,
                () = leave => Ok(()),
            }
        };
        let deadline = async {
            if timeout(config.login_grace_time, logged_in.cancelled()).await.is_err() {
                debug!("no login within login_grace_time; cutting the connection");
                cut.cancel();
            }
            drop(startup);
        };
        tokio::pin!(connection, deadline);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = &mut deadline => connection.await,
        };
        cut.cancel();
        match ended {
            Ok(()) => debug!("connection ended"),
            Err(error) => debug!(%error, "connection ended"),
        }
        metrics().open_connections.dec();
    }
}

/// Keystrokes do not wait for each other, and a peer that is gone is noticed while we write, which russh's keepalive
/// cannot.
fn tune(stream: &TcpStream) -> io::Result<()> {
    const PEER_GONE: Duration = Duration::from_secs(90);
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)),
    )?;
    socket.set_tcp_user_timeout(Some(PEER_GONE))
}
