//! Who asks, as whom the cluster is asked, and where the answer goes.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::api::{DevServer, names};
use crate::plain::plain;
use crate::watch::{self, Guard};
use crate::workspace::{Shared, Usage};

/// Whoever asks.
pub struct Caller {
    /// A client that acts as her, and may no more than she may.
    pub client: kube::Client,
    /// Where her DevServers are.
    pub namespace: String,
    /// The DevServer that is meant where none is named.
    pub devserver: Option<String>,
    /// Whether she named that one, as `ssh alice+mydev@bastion` does.
    pub chosen: bool,
    pub streams: Streams,
    /// What the API's objects do not tell.
    pub beyond: Arc<dyn Beyond>,
}

/// What is known of her DevServers beyond the API's objects, by whoever answers.
pub trait Beyond: Send + Sync {
    /// How the DevServer `name` is used, and was in the last hour, by its pod; else why that is not known.
    fn usage<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Usage, String>>;

    /// The DevServers of others that are shared with her, in no order; none where that is not known.
    fn shared(&self) -> Option<Vec<Shared>>;

    /// Where the cluster is, for whoever asks it by herself: there is nobody between to look at what is wrong with it.
    fn server(&self) -> Option<&str> {
        None
    }

    /// Options of `devctl` without which somebody else would be asked.
    fn options(&self) -> &str {
        ""
    }

    /// The line that vouches for DevServers by these patterns of hosts (sshd(8)); none where nobody does.
    fn known_hosts_line(&self, patterns: &str) -> Option<String>;
}

/// Where she reads and types.
pub struct Streams {
    pub output: mpsc::Sender<Piece>,
    /// What she types, or what her program sends, line by line. It ends with the input.
    pub lines: mpsc::Receiver<String>,
    /// The width of her terminal; none where there is no terminal.
    pub columns: Arc<dyn Fn() -> Option<u16> + Send + Sync>,
    /// Whether it shows colours, and she wants them.
    pub colour: bool,
    /// Cancelled by Ctrl-C.
    pub interrupted: CancellationToken,
}

/// A piece of what is written.
#[derive(Debug)]
pub enum Piece {
    Stdout(Bytes),
    Stderr(Bytes),
    /// What somebody typed on a terminal that does not show it by itself.
    Typed(Bytes),
}

impl Caller {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Writes to stdout. Whoever does not listen any more is told nothing.
    pub(super) async fn print(&self, text: &str) {
        self.print_bytes(Bytes::copy_from_slice(text.as_bytes())).await;
    }

    pub(super) async fn print_bytes(&self, bytes: Bytes) {
        let _ = self.streams.output.send(Piece::Stdout(bytes)).await;
    }

    pub(super) async fn err(&self, text: &str) {
        let _ = self.streams.output.send(Piece::Stderr(Bytes::copy_from_slice(text.as_bytes()))).await;
    }

    /// Writes a line to stderr.
    pub(super) async fn say(&self, line: &str) {
        self.err(&format!("{}\n", self.advice(line))).await;
    }

    /// Words of ours, with the commands in them as she has to type them.
    pub(super) fn advice(&self, text: &str) -> String {
        advice(text, self.beyond.options())
    }

    pub(super) fn columns(&self) -> Option<u16> {
        (self.streams.columns)()
    }

    /// Whether there is somebody to ask.
    pub(super) fn is_on_terminal(&self) -> bool {
        self.columns().is_some()
    }

    /// Asks for a line; none at the end of the input.
    pub(super) async fn ask(&mut self, question: &str) -> Result<Option<String>, Error> {
        self.err(question).await;
        let answer = self.line().await;
        if answer.is_err() {
            // Behind the question.
            self.err("\n").await;
        }
        Ok(answer?.map(|line| line.trim().to_owned()))
    }

    /// The next line that is sent; none at the end of the input.
    pub(super) async fn line(&mut self) -> Result<Option<String>, Error> {
        tokio::select! {
            biased;
            () = self.streams.interrupted.cancelled() => Err(Error::interrupted()),
            line = self.streams.lines.recv() => Ok(line),
        }
    }

    /// Asks whether to go on, where there is somebody to ask; fails if she says no.
    pub(super) async fn confirm(&mut self, question: &str, assumed: bool) -> Result<(), Error> {
        if assumed || !self.is_on_terminal() {
            return Ok(());
        }
        match self.ask(&format!("{question} [y/N] ")).await? {
            Some(answer) if ["y", "yes"].contains(&answer.to_lowercase().as_str()) => Ok(()),
            _ => Err(Error::failed("nothing was changed")),
        }
    }

    /// The same before something is lost for good: where there is nobody to ask, nobody's silence is a yes.
    pub(super) async fn confirm_loss(&mut self, question: &str, assumed: bool) -> Result<(), Error> {
        if !assumed && !self.is_on_terminal() {
            return Err(Error::usage(format!("{question} There is no terminal to ask on: `--yes` says so")));
        }
        self.confirm(question, assumed).await
    }

    /// The name that `given` is, or the one that is meant where none is given.
    pub(super) fn name(&self, given: Option<String>) -> Result<String, Error> {
        given
            .or_else(|| self.devserver.clone())
            .ok_or_else(|| Error::usage("name a DevServer; `devctl list` shows which there are"))
    }

    /// As [`Self::name`], for what is not done to a DevServer that she did not name.
    pub(super) fn chosen_name(&self, given: Option<String>) -> Result<String, Error> {
        let chosen = self.devserver.clone().filter(|_| self.chosen);
        given.or(chosen).ok_or_else(|| Error::usage("name a DevServer; `devctl list` shows which there are"))
    }

    /// What is in her namespace.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The objects of `api`, without those that cannot be read: of these she is told.
    pub(super) async fn readable<K>(&self, api: Api<Guard<K>>) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let (readable, others) = watch::list(api).await.map_err(Error::of_api)?;
        for (name, why) in others {
            let (kind, name, why) = (K::kind(&()), plain(&name), plain(&why));
            self.say(&format!("{kind} `{name}` cannot be read and is left out: {why}")).await;
        }
        Ok(readable)
    }

    /// Her DevServers, by name.
    pub(super) async fn devservers(&self) -> Result<Vec<DevServer>, Error> {
        let mut items = self.readable::<DevServer>(self.api()).await?;
        items.sort_by_key(ResourceExt::name_any);
        Ok(items)
    }

    /// Her DevServer `name`.
    pub(super) async fn devserver(&self, name: &str) -> Result<DevServer, Error> {
        // A name goes into a URL.
        let found = match names::is_devserver_name(name) {
            true => self.api::<DevServer>().get_opt(name).await.map_err(Error::of_api)?,
            false => None,
        };
        match found {
            Some(server) => Ok(server),
            None => Err(self.no_devserver(name).await),
        }
    }

    /// That she has none at all.
    pub(super) async fn say_none(&self) {
        match names::user_of(&self.namespace) {
            Some(_) => self.say("You have no DevServers; `devctl create NAME` makes one.").await,
            None => self.say(&format!("There are no DevServers: {}.", self.nobodys())).await,
        }
    }

    /// An administrator may ask about any namespace.
    fn nobodys(&self) -> String {
        format!("namespace {} is not a user's; `--namespace dev-alice` is alice's", plain(&self.namespace))
    }

    /// That she has none of that name, and which she has.
    pub(super) async fn no_devserver(&self, name: &str) -> Error {
        let name = plain(name);
        match self.devservers().await {
            Ok(others) if others.is_empty() => match names::user_of(&self.namespace) {
                Some(_) => Error::not_found(format!(
                    "you have no DevServer `{name}`, and no other; `devctl create {name}` makes one"
                )),
                None => Error::not_found(format!("there is no DevServer `{name}`: {}", self.nobodys())),
            },
            Ok(others) => {
                let others: Vec<String> = others.iter().map(ResourceExt::name_any).collect();
                Error::not_found(format!("you have no DevServer `{name}`; you have: {}", others.join(", ")))
            }
            Err(error) => error,
        }
    }

    /// Changes her DevServer `name` by a merge patch.
    pub(super) async fn patch(&self, name: &str, patch: Value) -> Result<DevServer, Error> {
        if !names::is_devserver_name(name) {
            return Err(self.no_devserver(name).await);
        }
        let parameters = PatchParams { field_manager: Some(super::NAME.to_owned()), ..PatchParams::default() };
        match self.api::<DevServer>().patch(name, &parameters, &Patch::Merge(patch)).await {
            Ok(server) => Ok(server),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(self.no_devserver(name).await),
            Err(error) => Err(Error::of_api(error)),
        }
    }
}

/// `text` with `options` in each `devctl` command that it names.
pub(super) fn advice(text: &str, options: &str) -> String {
    match options {
        "" => text.to_owned(),
        options => text.replace("`devctl ", &format!("`devctl {options} ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_as_it_has_to_be_typed() {
        let text = "`x` runs; `devctl ssh x` enters it, `devctl why x` looks";
        assert_eq!(advice(text, ""), text);
        let asked = "`x` runs; `devctl --context lab ssh x` enters it, `devctl --context lab why x` looks";
        assert_eq!(advice(text, "--context lab"), asked);
    }
}
