//! Sockets that listen in the pod for somebody at the other end of the carrier.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::task::AbortOnDropHandle;

use super::{Socket, resolve};
use crate::agent::open_files;
use crate::agent::place;
use crate::agent::request::{Accepted, Address, Listen, Origin, Response};
use crate::carrier::{Carrier, Message, Stream, json};

const BACKLOG: i32 = 128;
/// After a failure to accept: no files left, say.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Listens until the other side ends `stream`. Each connection becomes a stream of `carrier`.
pub(in crate::agent) async fn listen(request: Listen, carrier: &Carrier, stream: Stream) {
    let Stream { sender, mut receiver } = stream;
    let bound = match &request.address {
        Address::Tcp { host, port } => bind_tcp(host, *port).await,
        Address::Unix(path) => bind_unix(Path::new(path)).map(|listener| (vec![listener], 0)),
    };
    let (listeners, port) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            let _ = sender.send(Message::control(&Response::NotStarted(error.to_string())));
            return;
        }
    };
    let _accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| AbortOnDropHandle::new(tokio::spawn(accept(listener, always(request.listener, carrier)))))
        .collect();
    let _ = sender.send(Message::control(&Response::Listening(port)));
    while receiver.receive().await.is_some() {}
}

/// A folder of a session's own, that nobody else can enter; gone with it.
pub(super) struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Among temporary files; in a container that is read-only there may be room beside the agent alone.
    pub(super) fn new() -> io::Result<Self> {
        let name = format!("ssh-{:016x}", rand::random::<u64>());
        let make = |place: PathBuf| {
            let folder = place.join(&name);
            fs::DirBuilder::new().mode(0o700).create(&folder).map(|()| Self(folder))
        };
        make(std::env::temp_dir()).or_else(|why| make(place::folder().ok_or(why)?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: RemoveFile },
}

/// Removes a socket's file, unless another has its place by now.
pub(super) struct RemoveFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for RemoveFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Who gets each connection: always the same.
fn always(listener: u64, carrier: &Carrier) -> impl Fn() -> Option<(u64, Carrier)> + Send + 'static {
    let carrier = carrier.clone();
    move || Some((listener, carrier.clone()))
}

/// Hands each connection to the listener that `lead` tells; closes it if that tells none.
pub(super) async fn accept(listener: Listener, lead: impl Fn() -> Option<(u64, Carrier)> + Send) {
    loop {
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(socket, peer)| {
                let _ = socket.set_nodelay(true);
                (Socket::Tcp(socket), Origin { host: peer.ip().to_canonical().to_string(), port: peer.port() })
            }),
            Listener::Unix { listener, .. } => {
                listener.accept().await.map(|(socket, _)| (Socket::Unix(socket), Origin::default()))
            }
        };
        match accepted {
            // Closed at once: who is in goes on, and others can come in.
            Ok(_) if open_files::room().is_err() => {}
            Ok((socket, origin)) => {
                let Some((listener, carrier)) = lead() else { continue };
                let stream = carrier.open(json(&Accepted { listener, origin }));
                // Beyond the listener's end: as with sshd, what was connected stays so.
                tokio::spawn(socket.copy(stream));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Binds the port on each address that `host` means; one of them has to work.
async fn bind_tcp(host: &str, port: u16) -> io::Result<(Vec<Listener>, u16)> {
    let addresses: Vec<IpAddr> = match host {
        "" | "*" => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        host => resolve::addresses(host).await?,
    };
    let (mut listeners, mut port) = (Vec::new(), port);
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match bind(SocketAddr::new(address, port)) {
            Ok(listener) => {
                port = listener.local_addr()?.port(); // The same for the other family.
                listeners.push(Listener::Tcp(listener));
            }
            // A pod without IPv6, for one; but a port in use is in use.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => failed = error,
        }
    }
    if listeners.is_empty() { Err(failed) } else { Ok((listeners, port)) }
}

pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// As sshd does, nothing that is there is replaced, and nobody else may connect.
pub(super) fn bind_unix(path: &Path) -> io::Result<Listener> {
    let listener = UnixListener::bind(path)?;
    let file = RemoveFile { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() };
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(Listener::Unix { listener, _file: file })
}
