//! One WebSocket, as its worker sees it, and how its part ends.

use super::super::options::Limits;
use super::channel::Channel;
use super::handshake::Asked;
use crate::embed::Detachable;
use crate::exchange::{Exchange, RequestLease};
use crate::gateway::answer::Answer;
use crate::httpd::io::Aborted;
use crate::httpd::request::lease::Held;

/// How the worker's part has ended, where it is not that all has been said.
pub(super) enum Ending {
    Refused,
    Gone,
    Wrong(String),
    /// The application has ended; was the WebSocket open?
    Over(bool),
}

impl From<Aborted> for Ending {
    fn from(_: Aborted) -> Ending {
        Ending::Gone
    }
}

/// One WebSocket, as its worker sees it. Nothing of Python is in it.
pub(super) struct Work<'a> {
    pub(super) lease: &'a RequestLease,
    pub(super) answer: &'a Answer,
    pub(super) channel: &'a Channel,
    pub(super) asked: &'a Asked,
    pub(super) limits: &'a Limits,
}

impl Detachable for Work<'_> {}

impl Work<'_> {
    pub(super) fn hold(&self) -> Result<Held<'_, Exchange>, Ending> {
        let gone = |_| Ending::Wrong("the request has ended".into());
        self.lease.acquire().map_err(gone)
    }
}
