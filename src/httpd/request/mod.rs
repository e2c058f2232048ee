//! What httpd serves: requests, and the connections and servers that they belong to; who may use a request, and until when.

pub(crate) mod actions;
pub(crate) mod connection;
pub(crate) mod departure;
pub(crate) mod file;
mod handle;
pub(crate) mod header;
pub(crate) mod lease;
mod mime;
pub(crate) mod response_head;
pub(crate) mod root_locks;
pub(crate) mod section;
pub(crate) mod server;
mod stand_in;
pub(crate) mod turn;

pub(crate) use handle::Request;
