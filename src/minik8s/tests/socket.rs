//! An exec's client that says and hears single frames.

use super::*;
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

pub(super) struct Socket(pub(super) WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>);

#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// None if the connection ended without one.
    pub(super) status: Option<Value>,
}

impl Output {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(super) fn code(&self) -> i32 {
        let status = self.status.as_ref().expect("a status was sent");
        match status["status"].as_str() {
            Some("Success") => 0,
            _ => {
                let code = &status["details"]["causes"][0]["message"];
                code.as_str().unwrap().parse().unwrap()
            }
        }
    }
}

impl Running {
    pub(super) async fn exec(&self, pod: &Pod, options: &str, command: &[&str]) -> kube::Result<Socket> {
        let mut query = options.to_owned();
        for word in command {
            query.push_str("&command=");
            for byte in word.bytes() {
                query.push_str(&format!("%{byte:02X}"));
            }
        }
        let request = http::Request::get(format!(
            "/api/v1/namespaces/{}/pods/{}/exec?{query}",
            pod.metadata.namespace.as_deref().unwrap(),
            pod.metadata.name.as_deref().unwrap(),
        ))
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Protocol", "v5.channel.k8s.io")
        .body(kube::client::Body::empty())
        .unwrap();
        let response = self.client.send(request).await?;
        if response.status() != 101 {
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(axum::body::Body::new(body), 1 << 20).await.unwrap();
            let status = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}: {body:?}", head.status));
            return Err(kube::Error::Api(status));
        }
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let upgraded = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        Ok(Socket(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await))
    }

    /// Runs a script without input and gives all it said.
    pub(super) async fn run(&self, pod: &Pod, script: &str) -> Output {
        let command = ["sh", "-c", script];
        let exec = self.exec(pod, "stdout=true&stderr=true", &command);
        exec.await.unwrap().rest().await
    }
}

impl Socket {
    pub(super) async fn send(&mut self, channel: u8, data: &[u8]) {
        let frame = [&[channel], data].concat();
        self.0.send(Message::Binary(frame.into())).await.unwrap();
    }

    pub(super) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match message.expect("something is said in time") {
                Some(Ok(Message::Binary(frame))) => return Some((frame[0], frame[1..].to_vec())),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// All output up to and with this text.
    pub(super) async fn until(&mut self, text: &str) -> String {
        let mut heard = String::new();
        while !heard.contains(text) {
            let (_, data) = self.next().await.unwrap_or_else(|| panic!("ended after {heard:?}"));
            heard.push_str(&String::from_utf8_lossy(&data));
        }
        heard
    }

    pub(super) async fn rest(mut self) -> Output {
        let mut output = Output::default();
        while let Some((channel, data)) = self.next().await {
            match channel {
                1 => output.stdout.extend(data),
                2 => output.stderr.extend(data),
                3 => output.status = Some(serde_json::from_slice(&data).unwrap()),
                other => panic!("nothing comes on channel {other}"),
            }
        }
        output
    }
}
