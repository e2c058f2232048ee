//! What the streams' thread asks of a stream.

use super::bell::Rope;
use crate::embed::in_flight::Away;
use crate::exchange::{Exchange, RequestLease};
use crate::httpd::io::poll::Interest;
use crate::httpd::request::lease::StayOpen;
use crate::httpd::request::suspended::Suspended;
use std::time::Instant;

/// A request that goes on without its worker. Used by one thread at a time.
pub(crate) trait Stream: Send {
    fn lease(&self) -> &RequestLease;

    /// Takes what calls it, when something else than its client has something for it.
    fn begin(&mut self, rope: Rope);

    /// Does what can be done at once. Detached, and never waits. Has its client, which it waits for, given a sign?
    fn step(&mut self, is_stirred: bool) -> Step;

    /// The child is to end now: says good-bye, as far as that can be done at once.
    fn part(&mut self);

    /// Is called once when nothing more is to be done: tells the application so.
    fn leave(&mut self);

    /// Is called once behind that, in a thread that may wait, before the request ends.
    fn end(self: Box<Self>);
}

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is more to do; others have their turn in between.
    Again,
    Wait(Wants),
    End,
}

/// What a stream waits for, beside being called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wants {
    /// What of its client.
    pub(crate) client: Interest,
    /// When it has to be looked at in any case.
    pub(crate) due: Option<Instant>,
}

/// A stream whose connection is the streams' thread's.
pub(super) struct Taken {
    pub(super) stream: Box<dyn Stream>,
    pub(super) suspended: Suspended,
    pub(super) open: StayOpen<Exchange>,
    /// It could not be handed over as a whole: all that is left is to end it.
    pub(super) is_lost: bool,
    /// Shows it to others, until its request has ended.
    pub(super) _away: Option<Away>,
}
