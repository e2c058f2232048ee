//! What httpd serves: requests, and the connections and servers that they belong to; who may use a request, and until when.

pub(crate) mod addresses;
pub(crate) mod authentication;
mod conditions;
pub(crate) mod connection;
mod content;
mod cookie_fields;
pub(crate) mod departure;
pub(crate) mod file;
pub(crate) mod handed;
mod handle;
pub(crate) mod header;
mod interim;
pub(crate) mod lease;
mod methods;
mod mime;
mod redirects;
pub(crate) mod response_head;
pub(crate) mod root_locks;
pub(crate) mod section;
pub(crate) mod server;
mod stand_in;
pub(crate) mod suspended;
pub(crate) mod times;
mod trailers;
pub(crate) mod turn;

pub(crate) use handle::Request;
