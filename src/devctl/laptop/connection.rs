//! One SSH connection to the bastion, up to a login.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::Algorithm;
use russh::{Preferred, SshId};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::authenticate::authenticate;
use super::bastion::Bastion;
use super::failure::Failure;
use super::host_key::{Judge, Seen, Unknown};
use super::identities::{Agent, Identities, agent_socket};

/// A connection that is logged in.
pub(super) struct Connection {
    pub(super) handle: Handle<Judge>,
    _proxy: Option<Proxy>,
}

/// A connection whose other end is who it should be. Who we are is not said yet.
pub(super) struct Greeted {
    handle: Handle<Judge>,
    pub(super) seen: Seen,
    proxy: Option<Proxy>,
}

/// The bytes between here and the bastion, and the program that carries them if it is not ourselves.
pub(super) struct Dialled {
    stream: Box<dyn Stream>,
    proxy: Option<Proxy>,
}

/// A program that is hung up with its connection, as ssh(1) does: it may have others of its own to end.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let process = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let _ = process.map(|process| kill_process(process, Signal::HUP));
    }
}

const CONNECT: Duration = Duration::from_secs(15);
/// For the key exchange, when nobody is asked anything meanwhile.
const GREET: Duration = Duration::from_secs(30);
/// That may wait for whoever reads our output, of 32 KiB at most.
const PACKETS: usize = 4096;
/// A laptop that slept should know soon.
const KEEPALIVE: Duration = Duration::from_secs(30);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects and logs in.
pub(super) async fn open(bastion: &Bastion, unknown: Unknown) -> Result<Connection, Failure> {
    greet(bastion, unknown).await?.log_in(bastion).await
}

/// Connects, and makes sure of the host key.
pub(super) async fn greet(bastion: &Bastion, unknown: Unknown) -> Result<Greeted, Failure> {
    greet_on(dial(bastion).await?, bastion, unknown).await
}

pub(super) async fn greet_on(dialled: Dialled, bastion: &Bastion, unknown: Unknown) -> Result<Greeted, Failure> {
    let known = bastion.known_hosts()?;
    let preferred = preferred(known.algorithms(), known.has_authority());
    let config = client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-devctl_", env!("CARGO_PKG_VERSION")))),
        preferred,
        keepalive_interval: Some(KEEPALIVE),
        nodelay: true,
        // When it is full, the connection stands still, and answers no keepalive.
        channel_buffer_size: PACKETS,
        ..client::Config::default()
    };
    let Dialled { stream, proxy } = dialled;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let judge = Judge { bastion: bastion.clone(), known, unknown, seen: seen.clone() };
    let connect = client::connect_stream(Arc::new(config), stream, judge);
    let connected = match unknown {
        Unknown::Ask => connect.await,
        Unknown::Refuse | Unknown::Accept => match timeout(GREET, connect).await {
            Ok(connected) => connected,
            Err(_) => {
                let message = format!("{} accepted the connection, but did not answer", bastion.display());
                return Err(Failure::new(message).cure("is that the port of an SSH server?").no_connection());
            }
        },
    };
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match connected {
        Ok(handle) => Ok(Greeted { handle, seen, proxy }),
        // Whatever went wrong, it was before there was a host key to judge.
        Err(failure) if seen.fingerprint.is_none() => {
            let message = format!("{} does not speak SSH with us: {}", bastion.display(), failure.into_parts().0);
            let cure = match proxy {
                Some(_) => "does the ProxyJump or ProxyCommand of ~/.ssh/config work? `ssh -v HOST` shows",
                None => {
                    "is that the port of an SSH server? After too many failed logins a bastion refuses your address for some \
                     minutes: wait, and try again"
                }
            };
            Err(Failure::new(message).cure(cure).no_connection())
        }
        Err(failure) => Err(failure),
    }
}

impl Greeted {
    pub(super) async fn log_in(mut self, bastion: &Bastion) -> Result<Connection, Failure> {
        let mut agent = reach_agent(bastion).await;
        if let (Ok(Some(agent)), Some(binding)) = (&mut agent, self.handle.agent_session_binding()) {
            // For keys that may only be used towards some hosts. Agents other than OpenSSH's do not know it.
            let _ = agent.bind_session(binding, false).await;
        }
        let found = identities(bastion, &mut agent).await;
        authenticate(&mut self.handle, bastion, found, agent.ok().flatten()).await?;
        Ok(Connection { handle: self.handle, _proxy: self.proxy })
    }
}

/// The agent, if one is configured; else at which socket it does not answer, and why.
pub(super) async fn reach_agent(bastion: &Bastion) -> Result<Option<Agent>, (PathBuf, String)> {
    let Some(socket) = agent_socket(bastion) else { return Ok(None) };
    match UnixStream::connect(&socket).await {
        Ok(stream) => Ok(Some(Agent::connect(stream))),
        Err(error) => Err((socket, error.to_string())),
    }
}

/// What there is to log in with.
pub(super) async fn identities(bastion: &Bastion, agent: &mut Result<Option<Agent>, (PathBuf, String)>) -> Identities {
    let agent = agent.as_mut().map(Option::as_mut).map_err(|error| error.clone());
    Identities::find(bastion, agent).await
}

/// Key exchange and ciphers of today; of host keys, those first that can be checked.
fn preferred(known: Vec<Algorithm>, has_authority: bool) -> Preferred {
    let usual = Preferred::DEFAULT;
    let further = usual.key.iter().filter(|algorithm| !known.contains(algorithm) && !is_sha1(algorithm)).cloned();
    let key: Vec<Algorithm> = known.iter().cloned().chain(further).collect();
    let certificates = if has_authority { key.clone() } else { Vec::new() };
    Preferred { key: key.into(), host_key_certificates: certificates.into(), ..usual }
}

fn is_sha1(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa)
}

/// Connects, and says nothing yet.
pub(super) async fn dial(bastion: &Bastion) -> Result<Dialled, Failure> {
    if let Some(mut command) = proxy(bastion) {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let failed = |error: io::Error| {
            Failure::new(format!("failed to start the proxy of {}: {program}: {error}", bastion.display()))
                .cure("`ssh -G HOST` tells which ProxyJump or ProxyCommand is set; ProxyJump needs OpenSSH's ssh")
                .no_connection()
        };
        if bastion.quiet {
            command.stderr(Stdio::null());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        return Ok(Dialled { stream: Box::new(tokio::io::join(output, input)), proxy: Some(Proxy(child)) });
    }
    let stream = connect(&bastion.host, bastion.port).await?;
    let _ = stream.set_nodelay(true);
    Ok(Dialled { stream: Box::new(stream), proxy: None })
}

/// Whether something else connects, which may know other names and ways.
pub(super) fn is_proxied(bastion: &Bastion) -> bool {
    proxy(bastion).is_some()
}

/// As ssh_config(5) has ProxyCommand and ProxyJump.
fn proxy(bastion: &Bastion) -> Option<Command> {
    let is_set = |value: &&String| !value.eq_ignore_ascii_case("none");
    if let Some(command) = bastion.config.proxy_command.as_ref().filter(is_set) {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec {}", bastion.fill(command)));
        return Some(shell);
    }
    let jumps = bastion.fill(bastion.config.proxy_jump.as_ref().filter(is_set)?);
    let mut ssh = Command::new("ssh");
    if bastion.quiet {
        ssh.args(["-o", "BatchMode=yes"]);
    }
    let last = match jumps.rsplit_once(',') {
        Some((others, last)) => {
            ssh.arg("-J").arg(others);
            last
        }
        None => &jumps,
    };
    let last = last.strip_prefix("ssh://").unwrap_or(last);
    ssh.arg("-W").arg(format!("[{}]:{}", bastion.host, bastion.port)).arg(format!("ssh://{last}"));
    Some(ssh)
}

/// Connects to the first address that answers.
async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let mut refused = None;
    for address in resolve(host, port).await? {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => refused = Some((address, error.to_string())),
            Err(_) => refused = Some((address, format!("no answer within {} s", CONNECT.as_secs()))),
        }
    }
    let (address, why) = refused.map_or((host.to_owned(), "no address".to_owned()), |(a, why)| (a.to_string(), why));
    Err(Failure::new(format!("failed to connect to {address}: {why}"))
        .cure("is the port right, and does it take a VPN to get there? `devctl login [USER@]HOST[:PORT]` sets another")
        .no_connection())
}

pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, Failure> {
    match lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(Failure::new(format!("the name {host} does not resolve: {error}"))
            .cure("is it spelled right, and does it take a VPN? `devctl login [USER@]HOST[:PORT]` sets another")
            .no_connection()),
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::{EcdsaCurve, HashAlg};

    use super::*;

    #[test]
    fn known_kinds_of_host_key_come_first_and_sha1_never() {
        let ecdsa = Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 };
        let offered = preferred(vec![ecdsa.clone()], false);
        assert_eq!(offered.key[0], ecdsa);
        assert!(offered.key.contains(&Algorithm::Ed25519));
        assert!(offered.key.contains(&Algorithm::Rsa { hash: Some(HashAlg::Sha512) }));
        assert!(!offered.key.iter().any(is_sha1) && offered.host_key_certificates.is_empty());
        assert!(preferred(Vec::new(), true).host_key_certificates.contains(&Algorithm::Ed25519));
    }
}
