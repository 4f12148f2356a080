//! The Kubernetes exec protocol: one WebSocket, subprotocol `v5.channel.k8s.io` (KEP-4006).
//!
//! Frames are binary, the first byte names the channel. We own this rather than use kube's `AttachedProcess`,
//! which copies everything through 1 KiB pipes in one loop, so that a full stdout stops stdin and resizes.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::client::Body;
use serde::Serialize as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::{Error, TerminalSize};

/// Largest payload of a frame of stdin that a plain exec sends, in bytes.
pub(super) const MAX_PAYLOAD: usize = 32 * 1024;

/// What it may take until an exec is open, node and all. A connection to a host that is gone without a word is found
/// dead only by this, or by the kernel in a quarter of an hour.
pub(super) const ANSWERED: Duration = Duration::from_secs(20);

const PROTOCOL: &str = "v5.channel.k8s.io";
/// The channels, by Kubernetes' names for them.
pub(super) const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// What follows is the channel that ends.
const CLOSE: u8 = 255;
const MAX_STATUS: usize = 64 * 1024;

/// The open exec stream.
pub(super) type ExecStream = WebSocketStream<TokioIo<Upgraded>>;

/// What to run, where and as whom.
pub(super) struct ExecRequest<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub container: &'a str,
    /// The user name that the API server shall check and log, such as `system:serviceaccount:dev-alice:alice`; none for
    /// whose client it is.
    pub impersonate: Option<&'a str>,
    /// Whom that one acts for, if somebody else: the API server's audit log has it in the user agent.
    pub on_behalf_of: Option<&'a str>,
    pub command: &'a [&'a str],
    pub stdin: bool,
    pub tty: bool,
}

/// Opens the stream, as [`upgrade`] does.
pub(super) async fn open(client: &kube::Client, request: &ExecRequest<'_>) -> Result<ExecStream, Error> {
    let socket = upgrade(client, request).await?;
    Ok(WebSocketStream::from_raw_socket(socket, Role::Client, Some(web_socket())).await)
}

/// Opens the socket. The API server has checked the request when this returns; the program may yet fail to start,
/// which the status channel tells.
pub(super) async fn upgrade(client: &kube::Client, request: &ExecRequest<'_>) -> Result<TokioIo<Upgraded>, Error> {
    let response = client.send(request.to_http()?).await.map_err(Error::Api)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    if response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).is_none_or(|p| p != PROTOCOL) {
        return Err(Error::Protocol("the API server does not speak v5.channel.k8s.io (Kubernetes 1.30 or later does)"));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|e| Error::Lost(Box::new(e)))?;
    Ok(TokioIo::new(upgraded))
}

/// How it is read. tungstenite's defaults keep 128 KiB of read buffer for each stream. Its write buffer grows only when
/// frames are fed.
pub(super) fn web_socket() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(34 * 1024) // A whole frame.
        .write_buffer_size(64 * 1024)
        .max_write_buffer_size(256 * 1024)
        .max_frame_size(Some(1024 * 1024))
        .max_message_size(Some(1024 * 1024))
}

impl ExecRequest<'_> {
    fn to_http(&self) -> Result<Request<Body>, Error> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("container", self.container);
        for argument in self.command {
            query.append_pair("command", argument);
        }
        for (name, wanted) in [("stdin", self.stdin), ("stdout", true), ("stderr", !self.tty), ("tty", self.tty)] {
            if wanted {
                query.append_pair(name, "true");
            }
        }
        let uri = format!("/api/v1/namespaces/{}/pods/{}/exec?{}", self.namespace, self.pod, query.finish());
        let mut key = [0; 16];
        rand::fill(&mut key);
        let mut request = Request::get(uri).body(Body::empty()).map_err(|_| Error::CommandTooLong)?;
        *request.headers_mut() = HeaderMap::from_iter([
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL)),
            (header::SEC_WEBSOCKET_KEY, ascii(&BASE64_STANDARD.encode(key))),
            (header::USER_AGENT, ascii(&self.user_agent())),
        ]);
        if let Some(user) = self.impersonate {
            request.headers_mut().insert("impersonate-user", ascii(user));
        }
        Ok(request)
    }

    fn user_agent(&self) -> String {
        let program = concat!("bastion/", env!("CARGO_PKG_VERSION"));
        self.on_behalf_of.map_or_else(|| program.to_owned(), |user| format!("{program} (for {user})"))
    }
}

fn ascii(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("base64 and Kubernetes names are ASCII")
}

/// The API server's reason not to upgrade, as it says it in a `Status` body.
async fn refusal(response: http::Response<Body>) -> Error {
    let code = response.status();
    let body = http_body_util::Limited::new(response.into_body(), MAX_STATUS);
    let status = match http_body_util::BodyExt::collect(body).await {
        Ok(body) => serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
        Err(_) => Status::default(),
    };
    match status.message {
        Some(message) => Error::Refused { code: code.as_u16(), message },
        // The API server says with a `Status` that there is no such pod. Without one it is what a kubelet says that has
        // just started and has not heard of its pods yet.
        None if code == StatusCode::NOT_FOUND => Error::Lost("the node does not know the pod yet".into()),
        None => Error::Refused { code: code.as_u16(), message: code.to_string() },
    }
}

/// What the other side sent.
#[derive(Debug)]
pub(super) enum Frame {
    Stdout(Bytes),
    Stderr(Bytes),
    /// How the program ended, or why it did not start. The last frame.
    Status(Box<Status>),
    /// Proof of life.
    Pong,
    /// Nothing of interest.
    Other,
}

impl Frame {
    /// Reads a message without copying its payload.
    pub(super) fn parse(message: Message) -> Result<Self, Error> {
        let mut data = match message {
            Message::Binary(data) => data,
            Message::Pong(_) => return Ok(Self::Pong),
            _ => return Ok(Self::Other),
        };
        if data.is_empty() {
            return Err(Error::Protocol("an exec frame without a channel"));
        }
        let payload = data.split_off(1);
        match data[0] {
            STDOUT => Ok(Self::Stdout(payload)),
            STDERR => Ok(Self::Stderr(payload)),
            ERROR => serde_json::from_slice(&payload)
                .map(|status| Self::Status(Box::new(status)))
                .map_err(|_| Error::Protocol("an exec status that is not a Status object")),
            _ => Ok(Self::Other),
        }
    }
}

/// A frame of stdin. The caller cuts: the API server reads a frame whole.
pub(super) fn stdin(payload: &[u8]) -> Message {
    let mut frame = BytesMut::with_capacity(1 + payload.len());
    frame.put_u8(STDIN);
    frame.extend_from_slice(payload);
    Message::Binary(frame.freeze())
}

/// Ends stdin and nothing else: v5's close signal.
pub(super) fn close_stdin() -> Message {
    Message::Binary(Bytes::from_static(&[CLOSE, STDIN]))
}

/// Tells the terminal's size.
pub(super) fn resize(size: TerminalSize) -> Message {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        width: u16,
        height: u16,
    }
    let mut frame = vec![RESIZE];
    let size = Size { width: size.columns, height: size.rows };
    size.serialize(&mut serde_json::Serializer::new(&mut frame)).expect("two numbers serialise");
    Message::Binary(frame.into())
}

/// Data that says nothing, to hold off the idle limit (pings do not): the server throws away what a client writes to
/// stdout.
pub(super) fn no_op() -> Message {
    Message::Binary(Bytes::from_static(&[STDOUT]))
}

/// The exit code that `status` tells, or why there is none.
pub(super) fn exit_code(status: &Status) -> Result<u32, Error> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|d| d.causes.as_deref()).unwrap_or_default();
    if status.reason.as_deref() == Some("NonZeroExitCode")
        && let Some(code) = causes.iter().find(|c| c.reason.as_deref() == Some("ExitCode"))
    {
        let code = code.message.as_deref().and_then(|code| code.parse().ok());
        return code.ok_or(Error::Protocol("an exit code that is not a number"));
    }
    Err(Error::NotStarted(status.message.clone().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(value: serde_json::Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn status_tells_the_exit_code() {
        assert_eq!(exit_code(&status(json!({"status": "Success"}))).unwrap(), 0);
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with non-zero exit code",
            "details": {"causes": [{"reason": "ExitCode", "message": "137"}]}});
        assert_eq!(exit_code(&status(failed)).unwrap(), 137);
        let unstarted = json!({"status": "Failure", "reason": "InternalError", "message": "no such file"});
        assert!(matches!(exit_code(&status(unstarted)), Err(Error::NotStarted(m)) if m == "no such file"));
    }

    #[tokio::test]
    async fn only_the_api_server_knows_that_a_pod_is_gone() {
        let answered = async |body: String| {
            refusal(http::Response::builder().status(404).body(Body::from(body.into_bytes())).unwrap()).await
        };
        let gone =
            answered(json!({"kind": "Status", "code": 404, "message": "pods \"dev\" not found"}).to_string()).await;
        assert!(gone.pod_is_gone() && !gone.is_outage(), "{gone}");
        let just_started = answered("pod does not exist".to_owned()).await;
        assert!(!just_started.pod_is_gone() && just_started.is_outage(), "{just_started}");
    }

    /// A login to a DevServer whose command keeps ending ended with these words of containerd's.
    #[test]
    fn a_container_that_has_just_ended_is_waited_for() {
        let says = |words: &str| {
            let message = format!("error executing command in container: failed to exec in container: {words}");
            Error::NotStarted(message).pod_is_gone()
        };
        assert!(says("container is in CONTAINER_EXITED state"));
        assert!(says("failed to create exec \"f9\": container not created: not found"));
        assert!(says("failed to load task: no running task found: task 65 not found: not found"));
        assert!(says("failed to create exec \"bc\": task f2 not found: not found"));
        assert!(says("OCI runtime exec failed: exec failed: cannot exec in a stopped container: unknown"));
        assert!(!says(
            "OCI runtime exec failed: exec failed: exec: \"sh\": executable file not found in $PATH: unknown"
        ));
    }

    #[test]
    fn garbage_frames_are_errors() {
        assert!(Frame::parse(Message::Binary(Bytes::new())).is_err());
        assert!(Frame::parse(Message::Binary(Bytes::from_static(b"\x03nonsense"))).is_err());
        assert!(
            matches!(Frame::parse(Message::Binary(Bytes::from_static(b"\x01hi"))), Ok(Frame::Stdout(b)) if b == "hi")
        );
        assert!(matches!(Frame::parse(Message::Binary(Bytes::from_static(b"\x09"))), Ok(Frame::Other)));
    }

    #[test]
    fn resize_is_json_on_channel_four() {
        let Message::Binary(frame) = resize(TerminalSize { columns: 80, rows: 24 }) else { panic!() };
        assert_eq!(&frame[..], b"\x04{\"Width\":80,\"Height\":24}");
    }
}
