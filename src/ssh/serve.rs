//! Serves one SSH connection over any byte stream, from its first byte to its last.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use russh::server::Handle;
use russh::{Disconnect, MethodKind, MethodSet, SshId, cipher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::SetOnce;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::client::{Client, Slots};
use super::connection::Connection;
use super::context::Context;
use super::host_key::HostKeys;
use super::limits::Startup;
use super::standing::Standing;
use super::throttle::Throttle;
use super::transport::{Peer, Transport};
use super::{Config, algorithms, version_exchange};
use crate::telemetry::chain;

const MIB: u64 = 1024 * 1024;
/// Between the last session's end, the farewell and the cut of a draining connection: for the last packets.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a connection ends that the server does not end.
const BY_CLIENT: &str = "the client ended it";
const GONE: &str = "the client is gone";

/// What of a refused client's algorithms is logged, in characters.
const MAX_NAMES: usize = 500;

/// How a server with these host keys speaks.
fn protocol(config: &Config, host_keys: HostKeys, ciphers: Vec<cipher::Name>) -> russh::server::Config {
    let HostKeys { keys, certificates } = host_keys;
    russh::server::Config {
        server_id: SshId::Standard(version_exchange::SERVER_ID.into()),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        keys,
        certificates,
        preferred: algorithms::preferred(ciphers, &config.macs),
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
    }
}

/// Serves `stream` to its end, which `cut` brings about at once. `startup` counts until somebody is logged in.
pub(super) async fn connection(
    context: Arc<Context>,
    host_keys: HostKeys,
    stream: impl AsyncRead + AsyncWrite + Peer + Send + Unpin + 'static,
    client: Client,
    startup: Option<Startup>,
    cut: CancellationToken,
) {
    let config = &context.config;
    let (slow_above, limit) = (config.spool_slow_above_mib * MIB, config.spool_limit_mib * MIB);
    let throttle = Throttle::new(slow_above, limit, context.allowances.rooms().clone());
    let (began, user, goodbye) = (Instant::now(), Arc::new(SetOnce::new()), SetOnce::new());
    let slots = Slots::new(config.max_sessions, config.max_forwards);
    let standing = Standing::default();
    let (gave_way, is_within) = (client.gave_way.clone(), client.outer.is_some());
    let (of_user, of_slots, of_standing, over) = (user.clone(), slots.clone(), standing.clone(), cut.clone());
    let handler = Connection::new(context.clone(), throttle.clone(), client, of_user, of_slots, of_standing, over);
    let transport = Transport::new(stream, cut.clone(), throttle);
    let connection = async {
        let (stream, ciphers) = version_exchange::exchange(transport, &config.ciphers).await?;
        let protocol = protocol(config, host_keys, ciphers);
        let mut running = russh::server::run_stream(Arc::new(protocol), stream, handler).await?;
        let handle = running.handle();
        tokio::select! {
            ended = &mut running => return ended,
            () = leave(&context, &slots, &handle, &goodbye) => {}
            () = turn_out(&standing, &slots, &handle, &goodbye) => {}
        }
        cut.cancel();
        running.await
    };
    let deadline = deadline(startup, config.login_grace_time, &user, &gave_way, &cut);
    tokio::pin!(connection, deadline);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = &mut deadline => connection.await,
    };
    cut.cancel();
    tell_end(ended, goodbye.get(), user.get(), is_within, began);
}

/// Tells how it ended, if somebody was logged in; and why a client did not get so far.
fn tell_end(
    ended: Result<(), russh::Error>,
    goodbye: Option<&String>,
    user: Option<&String>,
    is_within: bool,
    began: Instant,
) {
    let why = match ended {
        // Whatever its client did when it heard that.
        _ if goodbye.is_some() => goodbye.cloned().unwrap_or_default(),
        Ok(()) => BY_CLIENT.to_owned(),
        Err(russh::Error::NoCommonAlgo { kind, theirs, .. }) if user.is_none() => {
            let theirs: String = theirs.join(",").chars().take(MAX_NAMES).collect();
            return info!(?kind, theirs, "refused a client that shares no algorithm with us");
        }
        Err(russh::Error::KeepaliveTimeout) => "the client gave no sign of life".to_owned(),
        Err(russh::Error::IO(error)) => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => GONE.to_owned(),
            // Of one within another the channel is closed at once, whatever its client said last.
            ErrorKind::ConnectionAborted if is_within => BY_CLIENT.to_owned(),
            _ => error.to_string(),
        },
        // Names that the client sent may be in it.
        Err(error) => chain(&error).chars().take(MAX_NAMES).collect(),
    };
    match user {
        Some(user) => info!(user, why, duration = ?began.elapsed(), "connection ended"),
        None => debug!(why, "connection ended"),
    }
}

/// A drain ends connections that run nothing, now or later, and so ends what has had too many channels. Returns when
/// the last words were said.
async fn leave(context: &Context, slots: &Slots, client: &Handle, goodbye: &SetOnce<String>) {
    let why = tokio::select! {
        () = context.drain.begun() => "the server goes down",
        () = slots.closing.worn_out() => "this connection has had too many channels: connect again",
    };
    let _nothing_new = slots.all_free(LAST_WORDS).await;
    say(goodbye, client, why).await;
}

/// Who may not be here any more is told so. Returns when the last words were said.
async fn turn_out(standing: &Standing, slots: &Slots, client: &Handle, goodbye: &SetOnce<String>) {
    let why = standing.ended().await;
    info!(why, "ending a connection: whoever logged in may not any more");
    // Sessions say why, and end.
    let _ = timeout(LAST_WORDS, slots.no_session()).await;
    sleep(LAST_WORDS).await;
    say(goodbye, client, why).await;
}

async fn say(goodbye: &SetOnce<String>, client: &Handle, why: &str) {
    let _ = goodbye.set(why.to_owned());
    let bye = client.disconnect(Disconnect::ByApplication, why.to_owned(), "en".into());
    let _ = timeout(LAST_WORDS, bye).await;
    sleep(LAST_WORDS).await;
}

/// Cuts the connection if nobody logs in, in time or before a newcomer needs the place.
async fn deadline(
    startup: Option<Startup>,
    login_grace_time: Duration,
    user: &SetOnce<String>,
    gave_way: &CancellationToken,
    cut: &CancellationToken,
) {
    let pushed_out = async {
        match &startup {
            Some(startup) => startup.lost().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = user.wait() => {}
        () = sleep(login_grace_time) => {
            debug!("no login within login_grace_time; cutting the connection");
            cut.cancel();
        }
        () = pushed_out => {
            info!("too many connections that have not logged in; cut one for a newcomer");
            gave_way.cancel();
            cut.cancel();
        }
    }
}
