//! `/livez`, `/readyz` and `/metrics`: for machines that ask and are gone. Whoever reaches the port may knock at it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{chain, metrics};
use crate::crowd::{Crowd, Place};

/// Connections at once. Of more, the oldest is cut: what a probe or a scraper has asked for it has by then.
const MAX_CONNECTIONS: usize = 64;
/// Between failed accepts.
const BACKOFF: Duration = Duration::from_millis(100);
/// What is under way at the end is given so long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a client may take.
#[derive(Clone, Copy)]
struct Patience {
    /// To ask.
    ask: Duration,
    /// To ask and to take the answer.
    whole: Duration,
}

const PATIENCE: Patience = Patience { ask: Duration::from_secs(5), whole: Duration::from_secs(10) };

/// Answers on `listener` until `shutdown`. `ready` tells whether traffic should come.
pub async fn serve(listener: TcpListener, ready: Arc<dyn Fn() -> bool + Send + Sync>, shutdown: CancellationToken) {
    serve_patiently(listener, ready, shutdown, PATIENCE).await;
}

async fn serve_patiently(
    listener: TcpListener,
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
    shutdown: CancellationToken,
    patience: Patience,
) {
    let readyz = move || async move {
        if ready() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
    };
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text));
    let (crowd, mut connections) = (Crowd::new(MAX_CONNECTIONS), JoinSet::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(place) = crowd.push_in(peer.ip().to_canonical()) {
                    connections.spawn(answer(stream, router.clone(), place, patience));
                }
            }
            Err(error) => {
                warn!(error = chain(&error), "failed to accept a connection to telemetry");
                sleep(BACKOFF).await;
            }
        }
    }
    let _ = timeout(LAST_WORDS, async { while connections.join_next().await.is_some() {} }).await;
}

/// Answers one request.
async fn answer(stream: TcpStream, router: Router, place: Place, patience: Patience) {
    let service = service_fn(move |request| router.clone().oneshot(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.ask)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            debug!(error = chain(&error), "a connection to telemetry broke");
        },
        () = sleep(patience.whole) => {}
        () = place.lost() => {}
    }
}

async fn text() -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    metrics()
        .encode()
        .map(|text| ([(header::CONTENT_TYPE, OPEN_METRICS)], text))
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    /// Longer than anything here takes.
    const LONG: Duration = Duration::from_secs(600);

    async fn start(patience: Patience) -> (SocketAddr, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = serve_patiently(listener, Arc::new(|| true), CancellationToken::new(), patience);
        (address, AbortOnDropHandle::new(tokio::spawn(served)))
    }

    async fn ask(address: SocketAddr, request: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        (stream, answer)
    }

    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_out() {
        let (address, _served) = start(Patience { ask: LONG, whole: LONG }).await;
        let mut silent = Vec::new();
        for _ in 0..4 * MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let (_, answer) = ask(address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
        // It had to go for that.
        let mut rest = Vec::new();
        assert!(matches!(silent[0].read_to_end(&mut rest).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn who_does_not_come_to_the_point_is_cut_off() {
        let (address, _served) = start(Patience { ask: Duration::from_millis(50), whole: LONG }).await;
        let (_, answer) = ask(address, "GET /livez HTT").await;
        assert!(!answer.contains(" 200 "), "{answer}");
        let (address, _served) = start(Patience { ask: LONG, whole: Duration::from_millis(50) }).await;
        let (_, answer) = ask(address, "GET /metrics HTT").await;
        assert_eq!(answer, "");
    }
}
