//! A TCP relay before a bastion, that begins each connection with something of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::task::AbortOnDropHandle;

use super::{Replica, Ssh};

/// Relays until it is dropped.
pub(crate) struct LoadBalancer {
    port: u16,
    _relay: AbortOnDropHandle<()>,
}

impl LoadBalancer {
    /// Connects to `replica` from the loopback address `source`, and sends `header` first.
    pub(crate) async fn start(replica: &Replica, source: Ipv4Addr, header: &[u8]) -> Self {
        let target = SocketAddr::from(([127, 0, 0, 1], replica.port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let header: Arc<[u8]> = header.into();
        let relay = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let header = header.clone();
                tokio::spawn(async move {
                    let socket = TcpSocket::new_v4().expect("there are sockets");
                    socket.bind((source, 0).into()).expect("it is a loopback address");
                    let Ok(mut server) = socket.connect(target).await else { return };
                    if server.write_all(&header).await.is_ok() {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port, _relay: AbortOnDropHandle::new(relay) }
    }

    /// Logs in to `replica` through here.
    pub(crate) fn ssh(&self, replica: &Replica, login: &str) -> Ssh {
        Ssh::through(self.port, replica, login)
    }
}
