//! The accept loop: every connection ends with the server, so that none outlives it to serve what is no longer true.

use super::ApiServer;
use axum::body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};

pub(crate) async fn serve(server: Arc<ApiServer>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(server.clone(), stream);
                server.tasks.spawn(connection);
            }
            Err(error) => {
                // Out of file descriptors, most likely: some will come back.
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(server: Arc<ApiServer>, stream: TcpStream) {
    // Frames of an exec are small and answer each other.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.handle(request.map(Body::new)).await) }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
            }
        }
        () = server.shutdown.cancelled() => {}
    }
}
