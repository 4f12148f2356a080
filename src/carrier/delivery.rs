//! What comes from the other side, which may send whatever it likes: each frame is taken in little time, and what is
//! kept of it is bounded.

use std::sync::Arc;

use super::frame::{Body, Frame, Message};
use super::inbox::Refused;
use super::state::{GONE, MAX_STREAMS, State, window_of};
use super::{Error, Opened, Shared};

impl State {
    /// Takes a frame that came; returns the stream that it opens.
    pub(super) fn receive(&mut self, shared: &Arc<Shared>, frame: Frame) -> Result<Option<Opened>, Error> {
        let Frame { stream: id, body } = frame;
        match body {
            Body::Hello(_) => return Err(Error::Protocol("a second hello")),
            Body::Ping => {
                self.tells_all = true;
                self.pong = true;
            }
            Body::Pong => {}
            Body::Acknowledge(told) if told == GONE && id == 0 => return Err(self.hear_farewell()),
            Body::Acknowledge(told) => {
                if told == GONE {
                    self.forget(id);
                } else if let Some(entry) = self.streams.get_mut(&id) {
                    entry.acknowledge(told)?;
                    if entry.unwritten().is_some() {
                        self.make_ready(id);
                    }
                    self.forget_if_over(id);
                }
            }
            Body::Message(Message::Open(request)) => {
                if !self.is_theirs(id) || id == 0 {
                    return Err(Error::Protocol("a stream with a number of ours"));
                }
                if self.takes_nothing_in() {
                    return Ok(None);
                }
                if id <= self.newest {
                    self.tell_gone(id)?; // A repetition: the stream has come and gone.
                    return Ok(None);
                }
                if self.streams.len() >= MAX_STREAMS {
                    return Err(Error::Protocol("too many streams"));
                }
                self.newest = id;
                return Ok(Some((request, self.insert(shared, id, 1, MAX_STREAMS))));
            }
            Body::Message(message) => self.deliver(id, message)?,
        }
        Ok(None)
    }

    fn deliver(&mut self, id: u32, message: Message) -> Result<(), Error> {
        let streams = self.streams.len();
        let Some(entry) = self.streams.get_mut(&id) else {
            return self.tell_gone(id);
        };
        let floor = if entry.is_terminal {
            self.share.terminal_floor(streams, self.terminals)
        } else {
            self.share.floor(streams)
        };
        let weight = message.weight() as u64;
        entry.arrived.messages += 1;
        entry.arrived_bytes += weight;
        if entry.unread() > window_of(self.side) as u64 {
            return Err(Error::Protocol("more data than the window allows"));
        }
        if message == Message::End {
            entry.ended_there = true;
            entry.inbound = None;
            entry.window.close();
        } else if let Err(refused) = entry.inbound.as_ref().map_or(Err(Refused::Left), |inbound| inbound.push(message))
        {
            entry.arrived.bytes += weight; // Nobody reads it.
            if refused == Refused::Full {
                entry.break_off();
            }
        } else if floor.is_some_and(|floor| entry.exceeds(floor)) {
            entry.discard();
        }
        if entry.is_due(self.own_window) {
            self.make_ready(id);
        }
        Ok(())
    }

    fn tell_gone(&mut self, id: u32) -> Result<(), Error> {
        self.gone.insert(id);
        match self.gone.len() {
            ..=MAX_STREAMS => Ok(()),
            _ => Err(Error::Protocol("messages of too many streams that are over")),
        }
    }
}
