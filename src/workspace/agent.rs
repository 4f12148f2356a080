//! A pod's agent, and what it is asked besides programs: connections that it makes and accepts, and how the pod is
//! used.

use tokio::sync::watch;
use tokio::time::Instant;

use super::Error;
use super::listeners::{Listener, Listeners};
use crate::agent::request::{Activity, Address, ENDING, Listen, Request, Response};
use crate::agent::usage::History;
use crate::carrier::{Carrier, Message, Receiver, Stream, json, parse};

/// A pod's agent.
#[derive(Clone)]
pub(super) struct Agent {
    pub(super) carrier: Carrier,
    /// Since when there is no link to it, or it does not answer.
    pub(super) broken_since: watch::Receiver<Option<Instant>>,
    pub(super) listeners: Listeners,
}

impl Agent {
    /// Connects to `address` from within the pod. The stream's data is the connection's; ending it closes that.
    pub(super) async fn connect(&self, address: &Address) -> Result<Stream, Error> {
        let mut stream = self.carrier.open(json(&Request::Connect(address.clone())));
        match answer(&self.carrier, &mut stream.receiver).await? {
            Response::Started => Ok(stream),
            _ => Err(Error::Protocol("news of a connection that cannot be")),
        }
    }

    /// Listens at `address` within the pod, until the listener is dropped.
    pub(super) async fn listen(&self, address: &Address) -> Result<Listener, Error> {
        let connections = self.listeners.register();
        let request = Request::Listen(Listen { address: address.clone(), listener: connections.listener() });
        let mut stream = self.carrier.open(json(&request));
        match answer(&self.carrier, &mut stream.receiver).await? {
            Response::Listening(port) => Ok(Listener::new(port, connections, stream)),
            _ => Err(Error::Protocol("news of a listener that cannot be")),
        }
    }

    /// How the pod was used in the last hour.
    pub(super) async fn history(&self) -> Result<History, Error> {
        let mut stream = self.carrier.open(json(&Request::History));
        match answer(&self.carrier, &mut stream.receiver).await? {
            Response::History(history) => Ok(history),
            _ => Err(Error::Protocol("news of a history that cannot be")),
        }
    }
}

/// How the pod is used that `carrier` leads to.
pub(super) async fn activity(carrier: &Carrier) -> Result<Activity, Error> {
    let mut stream = carrier.open(json(&Request::Activity));
    match answer(carrier, &mut stream.receiver).await? {
        Response::Activity(activity) => Ok(activity),
        _ => Err(Error::Protocol("news of an activity that cannot be")),
    }
}

async fn answer(carrier: &Carrier, receiver: &mut Receiver) -> Result<Response, Error> {
    match receiver.receive().await.map(|(message, _)| message) {
        Some(Message::Control(news)) => match parse(&news).map_err(Error::Carrier)? {
            Response::NotStarted(why) if why == ENDING => Err(Error::NotStarted(why)),
            Response::NotStarted(why) => Err(Error::Unreachable(why)),
            news => Ok(news),
        },
        Some(_) => Err(Error::Protocol("a connection that speaks before it began")),
        None => Err(unanswered(carrier, receiver)),
    }
}

/// Why a stream of `carrier` ended on which nothing was said: of what an agent does not know it drops the stream.
pub(super) fn unanswered(carrier: &Carrier, receiver: &Receiver) -> Error {
    match receiver.was_asked() {
        _ if carrier.is_closed() => Error::Lost("the carrier ended".into()),
        true => Error::OldAgent,
        false => Error::TooManyStreams,
    }
}
