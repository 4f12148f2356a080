//! `pods/exec` over WebSocket: the request, its checks and its upgrade.

mod stdin;
mod stream;

use super::{
    ApiServer, Refusal, container_of,
    route::{Query, Route},
};
use crate::minik8s::{
    kubelet::{ExecRequest, StartError},
    object,
};
use axum::{body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use stream::Stream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

/// The client is gone, or has been silent for too long.
#[derive(Debug)]
struct Lost;

/// The subprotocols, the better first; only v5 can close stdin.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

pub(super) fn exec(
    server: &ApiServer,
    route: &Route,
    query: &Query,
    mut request: Request<Body>,
) -> Result<Response, Refusal> {
    let pod = super::read::get(&server.store, route)?;
    let container = container_of(&pod, query.get("container"))?;
    let wanted = ExecRequest {
        command: query.all("command").map(str::to_owned).collect(),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        tty: query.flag("tty"),
    };
    check(&pod, &container, &wanted)?;
    let (accept, protocol) = handshake(request.headers())?;

    let upgrade = hyper::upgrade::on(&mut request);
    let (kubelet, uid) = (server.kubelet.clone(), object::uid(&pod).to_owned());
    let (idle, shutdown) = (server.exec_idle_timeout, server.shutdown.clone());
    server.tasks.spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "an exec was not upgraded");
                return;
            }
        };
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        let stream = Stream::new(socket, idle);
        let run = async {
            let stream = stream.open(&wanted).await?;
            match kubelet.exec(&uid, &container, &wanted) {
                Ok(exec) => stream.run(exec).await,
                Err(error) => stream.close(&start_failure(&wanted, &error)).await,
            }
        };
        tokio::select! {
            _ = run => {}
            () = shutdown.cancelled() => {}
        }
    });

    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(Body::empty())
        .map_err(|error| Refusal::internal(error.to_string()))
}

fn check(pod: &Value, container: &str, wanted: &ExecRequest) -> Result<(), Refusal> {
    let phase = object::text(&pod["status"]["phase"]);
    let name = object::name(pod);
    if object::text(&pod["spec"]["nodeName"]).is_empty() {
        let message = format!("pod {name} does not have a host assigned");
        return Err(Refusal::bad_request(message));
    }
    if matches!(phase, "Succeeded" | "Failed") {
        let message = format!("cannot exec into a container in a completed pod; current phase is {phase}");
        return Err(Refusal::bad_request(message));
    }
    if wanted.command.is_empty() {
        let message = "you must specify at least 1 command for the pod";
        return Err(Refusal::bad_request(message));
    }
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        let message = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(Refusal::bad_request(message));
    }
    let running = object::list(&pod["status"]["containerStatuses"])
        .iter()
        .any(|status| status["name"] == container && status["state"]["running"].is_object());
    if !running {
        let message = format!("unable to upgrade connection: container not found (\"{container}\")");
        return Err(Refusal::internal(message));
    }
    Ok(())
}

/// What the handshake answers: the accepted key and the chosen subprotocol.
fn handshake(headers: &HeaderMap) -> Result<(String, &'static str), Refusal> {
    let text = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    if !text(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(Refusal::bad_request("Upgrade request required: only WebSocket is served"));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Refusal::bad_request("the WebSocket handshake has no key"))?;
    let offered: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let protocol = PROTOCOLS.into_iter().find(|protocol| offered.contains(protocol)).ok_or_else(|| {
        let message = format!("unable to upgrade: none of {offered:?} is served, {PROTOCOLS:?} are");
        Refusal::bad_request(message)
    })?;
    Ok((derive_accept_key(key.as_bytes()), protocol))
}

fn start_failure(wanted: &ExecRequest, error: &StartError) -> Value {
    let program = wanted.command.first().map(String::as_str).unwrap_or_default();
    json!({
        "metadata": {},
        "status": "Failure",
        "reason": "InternalError",
        "message": format!(
            "Internal error occurred: error executing command in container: failed to exec in container: \
             failed to start exec \"{program}\": OCI runtime exec failed: exec failed: unable to start container process: {error}"
        ),
        "details": {"causes": [{"message": format!("error executing command in container: {error}")}]},
        "code": 500,
    })
}
