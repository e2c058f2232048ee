//! Daemons: applications and handlers that run in a private httpd of their own, which this httpd, the front, passes requests to.

pub(crate) mod keep;
pub(crate) mod kept;
pub(crate) mod ready;
pub(crate) mod states;
mod wanted;
