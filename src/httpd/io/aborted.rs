//! Why output stops.

/// The client is gone, or a filter failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted;
