//! `devctl forward --context …`: connections that the pod's agent makes.

use bytes::Bytes;
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::arguments::{Cluster, Forward};
use super::super::failure::{Failure, INTERRUPTED};
use super::super::forward::{listen, serve};
use super::super::openssh;
use super::super::remote::PIECE;
use super::Pod;
use crate::carrier::{Message, Stream};
use crate::plain::plain;

/// Forwards until Ctrl-C.
pub(in super::super) async fn run(cluster: &Cluster, forward: &Forward) -> Result<u8, Failure> {
    let mut listeners = Vec::new();
    for ports in &forward.ports {
        listeners.push((listen(ports.local).await?, ports.remote));
    }
    let pod = Pod::open(cluster, Some(&forward.name)).await?;
    pod.needs_agent(&format!("`kubectl port-forward {} PORT` needs none", forward.name))?;
    for ports in &forward.ports {
        eprintln!("{}", openssh::forwards(ports, &forward.name));
    }
    let (pod_there, interrupted) = (&pod, tokio::signal::ctrl_c());
    let serve = listeners
        .into_iter()
        .map(|(listener, port)| serve(listener, async move |local, _| carry(pod_there, local, port).await));
    tokio::select! {
        _ = join_all(serve) => {}
        failure = pod.ended() => return Err(failure),
        _ = interrupted => {}
    }
    pod.leave().await;
    Ok(INTERRUPTED)
}

/// Copies both ways, each to its own end, until either side is gone.
async fn carry(pod: &Pod, mut local: TcpStream, port: u16) {
    let _ = local.set_nodelay(true);
    let Stream { sender, mut receiver } = match pod.connect(port).await {
        Ok(stream) => stream,
        Err(error) => return eprintln!("devctl: port {port}: {}", plain(&error.user_message())),
    };
    let (mut here, mut to_here) = local.split();
    let up = async {
        let mut buffer = vec![0; PIECE];
        while let n @ 1.. = here.read(&mut buffer).await.map_err(drop)? {
            sender.data(Bytes::copy_from_slice(&buffer[..n])).await.map_err(drop)?;
        }
        sender.send(Message::Eof).map_err(drop)
    };
    let down = async {
        loop {
            match receiver.receive().await.ok_or(())? {
                (Message::Data(data), _credit) => to_here.write_all(&data).await.map_err(drop)?,
                (Message::Eof, _) => return to_here.shutdown().await.map_err(drop),
                _ => {}
            }
        }
    };
    let _: Result<_, ()> = tokio::try_join!(up, down);
}
