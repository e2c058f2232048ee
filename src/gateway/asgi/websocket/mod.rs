//! WebSockets (RFC 6455, RFC 7692) over HTTP/1.1, and over HTTP/2 (RFC 8441), of which mod_http2 makes the same: the worker of the request
//! keeps its connection, and does all input and output.
//!
//! Frames are read and written here, and not by a crate: those that there are bring an executor of their own, or do not compress, and
//! none checks a text as it arrives. Only the compression itself is a crate's.

mod channel;
mod deflate;
mod frames;
mod handshake;
mod socket;
mod stream;
mod talk;
mod utf8;
mod work;
mod worker;

pub(crate) use handshake::is_asked_for;
pub(super) use worker::prepare;
