//! Whose connection one is, and what it may yet have open.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::standing::Standing;
use crate::workspace::Target;

/// Whose connection another one is within, and where that one leads.
#[derive(Clone)]
pub(super) struct Outer {
    pub(super) user: String,
    pub(super) target: Target,
    /// How many connections there are around it.
    pub(super) depth: usize,
    pub(super) standing: Standing,
}

/// Whose connection it is.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    /// Where it reached us.
    pub(super) server: SocketAddr,
    /// The connection that this one is within.
    pub(super) outer: Option<Outer>,
}

/// What one connection may yet have open.
#[derive(Clone)]
pub(super) struct Slots {
    pub(super) sessions: Arc<Semaphore>,
    pub(super) forwards: Arc<Semaphore>,
}
