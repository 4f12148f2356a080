//! A TCP relay before an API server. Cut, it is to its clients an API server that went away.

use std::net::SocketAddr;
use std::path::Path;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Listens on an address of its own as long as it is open.
pub(crate) struct Gateway {
    address: SocketAddr,
    target: String,
    /// Dropping it closes the listener and everything that went through.
    open: Option<(watch::Sender<()>, JoinHandle<()>)>,
}

impl Gateway {
    /// A gateway to the API server of `kubeconfig`.
    pub(crate) async fn to(kubeconfig: &Path) -> Self {
        let target = authority_of(&read(kubeconfig));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let open = Some(relay(listener, target.clone()));
        Self { address, target, open }
    }

    /// A copy of `kubeconfig` that goes through here.
    pub(crate) fn rewrite(&self, kubeconfig: &Path) -> String {
        read(kubeconfig).replace(&self.target, &self.address.to_string())
    }

    /// Connections break and new ones are refused.
    pub(crate) async fn cut(&mut self) {
        if let Some((stop, task)) = self.open.take() {
            drop(stop);
            task.await.expect("the relay does not panic");
        }
    }

    pub(crate) async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the address is ours");
        self.open = Some(relay(listener, self.target.clone()));
    }
}

fn read(kubeconfig: &Path) -> String {
    std::fs::read_to_string(kubeconfig).expect("the kubeconfig is there")
}

/// HOST:PORT of the server that it names.
fn authority_of(kubeconfig: &str) -> String {
    let (_, rest) = kubeconfig.split_once("://").expect("it names a server");
    let end = rest.find(['/', '"', '\'', ',', '}', '\n', ' ']).unwrap_or(rest.len());
    rest[..end].to_owned()
}

fn relay(listener: TcpListener, target: String) -> (watch::Sender<()>, JoinHandle<()>) {
    let (stop, mut stopped) = watch::channel(());
    let task = tokio::spawn(async move {
        loop {
            let mut client = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((client, _)) => client,
                    Err(_) => continue,
                },
                _ = stopped.changed() => return,
            };
            let (target, mut stopped) = (target.clone(), stopped.clone());
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(target).await else { return };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, 1 << 16, 1 << 16) => {}
                    _ = stopped.changed() => {}
                }
            });
        }
    });
    (stop, task)
}
