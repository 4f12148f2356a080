//! What the client asks on one connection.
//!
//! russh calls these inside its session loop: they reply and spawn, and never wait for the network. Only a login may
//! wait a moment for keys: nothing else happens on its connection yet.

use futures::FutureExt;
use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session as Replies, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::Connection;
use crate::identity::Credential;
use crate::ssh::client::Client;
use crate::ssh::destination::Destination;
use crate::ssh::forward::{self, Asked};
use crate::ssh::jump::Jump;
use crate::ssh::logged_in::LoggedIn;
use crate::ssh::request::{Request, SFTP, terminal_size};
use crate::ssh::session::Session;
use crate::telemetry::{LoginResult, metrics};
use crate::workspace::{Address, Program, Target};

/// The longest name of a host, and longer than the path of any socket, in bytes. A client may send a thousand times as
/// many, which would be kept for as long as what it names.
const MAX_NAME: usize = 255;

impl Handler for Connection {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.context.config.banner.clone())
    }

    async fn auth_none(&mut self, user_name: &str) -> Result<Auth, Self::Error> {
        self.login.name(user_name);
        Ok(Auth::reject())
    }

    async fn auth_publickey_offered(
        &mut self,
        user_name: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        if self.login.is_exhausted() {
            return Err(russh::Error::Disconnect);
        }
        Ok(self.login.welcome(user_name, offer.public_key, offer.algorithm).await)
    }

    async fn auth_publickey(&mut self, user_name: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.login.prove(user_name, Credential::Key(key.public_key)).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        user_name: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        Ok(self.login.prove(user_name, Credential::Certificate(certificate)).await)
    }

    async fn auth_succeeded(&mut self, replies: &mut Replies) -> Result<(), Self::Error> {
        if let Err(why) = self.take_place() {
            metrics().login(LoginResult::Throttled);
            return replies.disconnect(Disconnect::TooManyConnections, &why, "en");
        }
        self.login.count();
        self.watching = self.watch().map(|watch| AbortOnDropHandle::new(tokio::spawn(watch)));
        if let Some((identity, _)) = self.login.succeeded() {
            let _ = self.user.set(identity.user().to_owned());
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        let Some(logged_in) = self.logged_in() else {
            return Ok(()); // Dropped, the handle refuses, as prohibited. russh asks of nobody who is not logged in.
        };
        let slot = logged_in.session_slot();
        let (begin, command) = oneshot::channel();
        if slot.is_some() {
            let request = Request::new(logged_in.identity.permissions(), &self.context.config, begin);
            self.requests.insert(channel.id(), request);
        }
        let Client { address, server, .. } = self.client;
        let session = Session { logged_in, client: replies.handle(), address, server };
        self.spawn(async move {
            match slot {
                Some(_slot) => {
                    reply.accept().await;
                    session.run(channel, command).await;
                }
                None => {
                    let user = session.logged_in.identity.user();
                    info!(user, "refused a session: its user or connection has or had too many channels open");
                    reply.reject(ChannelOpenFailure::ResourceShortage).await;
                }
            }
        });
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Replies,
    ) -> Result<(), Self::Error> {
        let (Some(address), Ok(port)) = (self.sound(tcp(host, port)), u16::try_from(port)) else { return Ok(()) };
        let Some(logged_in) = self.admitted(Asked::Connect(&address)) else { return Ok(()) };
        let LoggedIn { context, identity, target, .. } = &logged_in;
        let is_hers = |target: &Target| context.run.has(identity, target);
        match Destination::of(host, port, identity.user(), target, is_hers) {
            Destination::Server(target) => {
                let jump = Jump { logged_in, target, client: self.client.clone() };
                // Boxed: it holds a connection like this one.
                self.spawn(jump.serve(channel, reply).boxed());
            }
            Destination::Address(target, address) => {
                self.spawn(async move { logged_in.connect(&target, &address, channel, reply).await });
            }
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Replies,
    ) -> Result<(), Self::Error> {
        let Some(address) = self.sound(unix(path)) else { return Ok(()) };
        if let Some(logged_in) = self.admitted(Asked::Connect(&address)) {
            let target = logged_in.target.clone();
            self.spawn(async move { logged_in.connect(&target, &address, channel, reply).await });
        }
        Ok(())
    }

    async fn tcpip_forward(&mut self, host: &str, port: &mut u32, replies: &mut Replies) -> Result<bool, Self::Error> {
        let Some(address) = self.sound(tcp(host, *port)) else { return Ok(false) };
        let listening = self.listen(address, replies.handle()).await;
        if let Some(bound) = listening {
            *port = bound.into();
        }
        Ok(listening.is_some())
    }

    async fn cancel_tcpip_forward(&mut self, host: &str, port: u32, _: &mut Replies) -> Result<bool, Self::Error> {
        Ok(tcp(host, port).is_some_and(|address| self.listeners.end(&address)))
    }

    async fn streamlocal_forward(&mut self, path: &str, replies: &mut Replies) -> Result<bool, Self::Error> {
        let Some(address) = self.sound(unix(path)) else { return Ok(false) };
        Ok(self.listen(address, replies.handle()).await.is_some())
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _: &mut Replies) -> Result<bool, Self::Error> {
        Ok(unix(path).is_some_and(|address| self.listeners.end(&address)))
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Replies) -> Result<(), Self::Error> {
        self.requests.remove(&channel);
        Ok(())
    }

    async fn agent_request(&mut self, channel: ChannelId, _: &mut Replies) -> Result<bool, Self::Error> {
        let logged_in = self.logged_in();
        let Some(request) = self.requests.get_mut(&channel) else { return Ok(false) };
        request.ssh_agent = self.span.in_scope(|| logged_in.is_some_and(|logged_in| logged_in.admits_ssh_agent()));
        Ok(request.ssh_agent)
    }

    #[allow(clippy::too_many_arguments, reason = "russh's signature")]
    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        modes: &[(Pty, u32)],
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        let permitted = self.requests.contains_key(&channel) && self.admits_terminal();
        let request = self.requests.get_mut(&channel).filter(|_| permitted);
        let set = request.map(|request| request.set_terminal(term, terminal_size(columns, rows), modes));
        Self::answer(channel, set.is_some(), replies)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &mut Replies,
    ) -> Result<(), Self::Error> {
        // Later ones are the session's part.
        if let Some(request) = self.requests.get_mut(&channel) {
            request.resize(terminal_size(columns, rows));
        }
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        let accept = &self.context.config.accept_env;
        let request = self.requests.get_mut(&channel);
        Self::answer(channel, request.is_some_and(|request| request.set_variable(accept, name, value)), replies)
    }

    async fn shell_request(&mut self, channel: ChannelId, replies: &mut Replies) -> Result<(), Self::Error> {
        self.begin(channel, Program::Shell, replies)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        match self.keep(line) {
            Some(line) => self.begin(channel, Program::Command(line), replies),
            None => replies.channel_failure(channel),
        }
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        match name {
            SFTP => self.begin(channel, Program::Sftp, replies),
            _ => replies.channel_failure(channel),
        }
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        single_connection: bool,
        protocol: &str,
        cookie: &str,
        screen: u32,
        replies: &mut Replies,
    ) -> Result<(), Self::Error> {
        let permitted = self.tell(|| self.logged_in().is_some_and(|logged_in| logged_in.admits_x11()));
        let display = forward::x11(single_connection, protocol, cookie, screen).filter(|_| permitted);
        let request = self.requests.get_mut(&channel);
        let granted = request.is_some_and(|request| {
            request.x11 = display;
            request.x11.is_some()
        });
        Self::answer(channel, granted, replies)
    }
}

/// A port is 16 bits wide, whatever the wire has room for.
fn tcp(host: &str, port: u32) -> Option<Address> {
    let port = u16::try_from(port).ok().filter(|_| host.len() <= MAX_NAME)?;
    Some(Address::Tcp { host: host.to_owned(), port })
}

fn unix(path: &str) -> Option<Address> {
    (path.len() <= MAX_NAME).then(|| Address::Unix(path.to_owned()))
}
