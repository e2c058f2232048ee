//! ASGI 3.0: what `PythonHandler mod_python.asgi`, and PythonASGI, call.
//!
//! The application runs in its interpreter's event loop (`event_loop`), in a thread of its own; the worker that httpd has given the
//! request (`handler`) does everything that concerns httpd, and waits detached meanwhile. Between them lies the request's `channel`.
//! Mostly the worker has never been attached (`apart`).

mod apart;
mod channel;
mod conversation;
mod departed;
mod event_loop;
mod gateway;
mod handler;
mod http;
mod inbox;
mod messages;
mod options;
mod parts;
mod scope;
mod tls;
mod websocket;

pub(crate) use apart::{Apart, Failed, apart};
pub(super) use event_loop::START;
pub(crate) use gateway::GATEWAY;
pub(super) use handler::{HANDLER, answer};
pub(crate) use websocket::is_asked_for as is_websocket;
