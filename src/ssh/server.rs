//! Accepts connections, within limits, until it drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use super::allowance::Allowances;
use super::authority::Authority;
use super::client::Client;
use super::context::{Context, Drain};
use super::host_key::HostKeys;
use super::limits::{Startup, Startups};
use super::penalties::Penalties;
use super::{Answer, Authenticate, Config, Run, proxy_protocol, serve};
use crate::telemetry::{LoginResult, chain, metrics};

/// The SSH server.
pub struct Server {
    context: Arc<Context>,
    host_keys: HostKeys,
    startups: Startups,
}

/// Between failed accepts: file descriptors run out for a while, and a busy loop would not free any.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// A load balancer sends its header at once.
const PROXY_HEADER: Duration = Duration::from_secs(5);
/// What is cut ends at once.
const SETTLE: Duration = Duration::from_secs(5);

impl Server {
    pub fn new(
        config: Config,
        host_keys: HostKeys,
        authority: Arc<Authority>,
        authenticate: Arc<dyn Authenticate>,
        run: Arc<dyn Run>,
        answer: Arc<dyn Answer>,
    ) -> Self {
        let startups = Startups::new(config.max_startups, config.max_startups_per_source);
        let context = Arc::new(Context {
            drain: Drain::new(config.drain_timeout),
            allowances: Allowances::new(&config),
            penalties: Penalties::new(config.penalties.clone()),
            config,
            authenticate,
            run,
            answer,
            authority,
            tasks: TaskTracker::new(),
        });
        Self { context, host_keys, startups }
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
                    warn!(error = chain(&error), "failed to accept a connection");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
        drop(listener);
        server.context.drain.begin();
        connections.close();
        server.context.tasks.close();
        let open = connections.len();
        let patience = server.context.config.drain_timeout;
        info!(open, timeout = ?patience, "draining");
        let deadline = Instant::now() + patience;
        if timeout_at(deadline, connections.wait()).await.is_err() {
            warn!(open = connections.len(), "the drain's time is up; cutting what is left");
            cut.cancel();
            settle(&connections, "connections", deadline).await;
        }
        settle(&server.context.tasks, "sessions", deadline).await;
    }

    /// Learns whose connection it is.
    async fn greet(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, cut: CancellationToken) {
        let trusted = &self.context.config.proxy_protocol_from;
        let address = match trusted.iter().any(|network| network.contains(&peer.ip().to_canonical())) {
            false => peer,
            true => match timeout(PROXY_HEADER, proxy_protocol::read_client(&mut stream)).await {
                Ok(Ok(client)) => client.unwrap_or(peer),
                Ok(Err(error)) => {
                    return info!(%peer, error = chain(&error), "refused a connection without a good PROXY header");
                }
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
            debug!(error = chain(&error), "failed to set socket options");
        }
        metrics().connections.inc();
        metrics().open_connections.inc();
        let server = stream.local_addr().unwrap_or(self.context.config.listen);
        let client = Client { address, server, outer: None, gave_way: CancellationToken::new() };
        serve::connection(self.context.clone(), self.host_keys.clone(), stream, client, Some(startup), cut).await;
        metrics().open_connections.dec();
    }
}

/// Waits for what was cut or has nothing left to serve. What comes after a drain must not depend on it.
async fn settle(tasks: &TaskTracker, what: &str, deadline: Instant) {
    let deadline = deadline.max(Instant::now() + SETTLE);
    if timeout_at(deadline, tasks.wait()).await.is_err() {
        warn!(left = tasks.len(), "{what} do not end; leaving them behind");
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
