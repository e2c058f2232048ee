//! What the module keeps for one request, behind its lease: body and output, the handlers' cursor, what Python has added, and
//! the request's objects.

pub(crate) mod account;
mod cleanups;
mod cursor;
mod filters;
mod moments;
mod release;
mod rescue;
mod soon;
mod state;
mod way_out;

pub(crate) use cleanups::Cleanup;
pub(crate) use cursor::Outer;
pub(crate) use state::{Exchange, RequestLease, lease_of};
pub(crate) use way_out::write_failed;
