//! A TCP relay before an API server. Cut, it is to its clients an API server that went away.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Listens on an address of its own as long as it is open.
pub(crate) struct Gateway {
    address: SocketAddr,
    target: String,
    /// Dropping it closes the listener and everything that went through.
    open: Option<Open>,
}

type Open = (watch::Sender<Flow>, JoinHandle<()>);

/// What passes.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    BothWays,
    /// What clients ask, and no answer.
    Up,
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

    /// What clients ask goes on to arrive, and the answers wait here until it is cut, which is their end.
    pub(crate) fn withholds_answers(&self) {
        if let Some((flow, _)) = &self.open {
            flow.send_replace(Flow::Up);
        }
    }

    /// Connections break and new ones are refused.
    pub(crate) async fn cut(&mut self) {
        if let Some((flow, task)) = self.open.take() {
            drop(flow);
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

fn relay(listener: TcpListener, target: String) -> Open {
    let (flow, flows) = watch::channel(Flow::BothWays);
    let task = tokio::spawn(async move {
        loop {
            let client = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((client, _)) => client,
                    Err(_) => continue,
                },
                () = is_cut(flows.clone()) => return,
            };
            let (target, flows) = (target.clone(), flows.clone());
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(target).await else { return };
                tokio::select! {
                    _ = copy(client, server, &flows) => {}
                    () = is_cut(flows.clone()) => {}
                }
            });
        }
    });
    (flow, task)
}

async fn is_cut(mut flows: watch::Receiver<Flow>) {
    while flows.changed().await.is_ok() {}
}

async fn copy(mut client: TcpStream, mut server: TcpStream, flows: &watch::Receiver<Flow>) -> io::Result<()> {
    let ((mut asks, mut hears), (mut answers, mut is_asked)) = (client.split(), server.split());
    let up = async {
        tokio::io::copy(&mut asks, &mut is_asked).await?;
        is_asked.shutdown().await
    };
    let down = async {
        let (mut flows, mut buffer) = (flows.clone(), vec![0; 1 << 16]);
        loop {
            let length = answers.read(&mut buffer).await?;
            let passes = flows.wait_for(|flow| *flow == Flow::BothWays).await.is_ok();
            if !passes {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if length == 0 {
                return hears.shutdown().await;
            }
            hears.write_all(&buffer[..length]).await?;
        }
    };
    tokio::try_join!(up, down).map(drop)
}
