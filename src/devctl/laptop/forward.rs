//! `devctl forward` where OpenSSH is not installed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use russh::ChannelOpenFailure;
use tokio::io::{self, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::arguments::{Forward, Ports};
use super::bastion::Bastion;
use super::connection::{self, Connection};
use super::failure::Failure;
use super::host_key::Unknown;
use super::{openssh, remote};

/// Between looks at whether the connection is still there, and after a port took no connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Forwards until Ctrl-C, or until the bastion is gone.
pub(super) async fn run(bastion: &Bastion, forward: &Forward) -> Result<u8, Failure> {
    let login = openssh::login(bastion, Some(&forward.name))?;
    let mut listeners = Vec::new();
    for ports in &forward.ports {
        listeners.push((listen(ports.local).await?, ports.remote));
    }
    let bastion = Bastion { login, ..bastion.clone() };
    let connection = connection::open(&bastion, Unknown::Refuse).await?;
    for ports in &forward.ports {
        eprintln!("{}", openssh::forwards(ports, &forward.name));
    }
    let there = &connection;
    let serve = listeners
        .into_iter()
        .map(|(listener, port)| serve(listener, async move |local, from| carry(there, local, from, port).await));
    tokio::select! {
        _ = join_all(serve) => {}
        () = closed(&connection) => {}
    }
    Err(remote::lost())
}

pub(super) async fn listen(port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        let other = Ports { local: port.checked_add(1).unwrap_or(1024), remote: port };
        Failure::new(format!("failed to listen on 127.0.0.1:{port}: {error}")).cure(format!(
            "another port of this machine may do: `devctl forward NAME {}:{}`",
            other.local, other.remote
        ))
    })
}

async fn closed(connection: &Connection) {
    while !connection.handle.is_closed() {
        sleep(PAUSE).await;
    }
}

/// Takes connections, each of which is carried for itself.
pub(super) async fn serve(listener: TcpListener, carry: impl AsyncFn(TcpStream, SocketAddr)) {
    let mut carried = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((local, from)) => carried.push(carry(local, from)),
                // Too many are open; some will end.
                Err(_) => sleep(PAUSE).await,
            },
            Some(()) = carried.next() => {}
        }
    }
}

/// Copies both ways, each to its own end.
async fn carry(connection: &Connection, mut local: TcpStream, from: SocketAddr, port: u16) {
    let _ = local.set_nodelay(true);
    let (ip, origin) = (from.ip().to_string(), from.port().into());
    let opened = connection.handle.channel_open_direct_tcpip("localhost", port.into(), ip, origin).await;
    let channel = match opened {
        Ok(channel) => channel,
        Err(error) => return eprintln!("devctl: port {port}: {}", why_not(&error)),
    };
    let (mut reader, half) = channel.split();
    let (mut here, mut to_here) = local.split();
    let (mut there, mut to_there) = (reader.make_reader(), half.make_writer());
    let up = async {
        io::copy(&mut here, &mut to_there).await?;
        to_there.shutdown().await
    };
    let down = async {
        io::copy(&mut there, &mut to_here).await?;
        to_here.shutdown().await
    };
    let _ = tokio::try_join!(up, down);
    let _ = half.close().await;
}

fn why_not(error: &russh::Error) -> String {
    match error {
        russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed) => "nothing answers there".to_owned(),
        russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited) => {
            "you may not forward to it; ask your administrator".to_owned()
        }
        other => other.to_string(),
    }
}
