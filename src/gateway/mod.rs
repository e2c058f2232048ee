//! Applications behind requests: which one answers, what it may answer, and what becomes of an answer that fails.
//!
//! What is so for an application of any kind is in this folder's files, which name none of its sub-folders; each of these is a
//! gateway, with what its own interface asks for.

mod answer;
mod application;
pub(crate) mod asgi;
mod call;
mod headers;
mod memory;
pub(crate) mod mounts;
mod origin;
mod request_body;
mod request_headers;
pub(crate) mod wsgi;

pub(crate) use asgi::{Apart, Failed, apart};

use crate::config::Common;
use crate::config::gateways::Gateway;
use crate::config::limit::Answerer;
use crate::embed::Cx;
use crate::embed::class::Function;
use crate::httpd::status::Status;
use call::Call;
use pyo3::prelude::*;

/// Answers a request.
type Answering = for<'py> fn(&Call<'py>, &Bound<'py, PyAny>) -> PyResult<Status>;

macro_rules! gateways {
    ($($folder:ident),* $(,)?) => {
        /// What their handlers and options are called.
        pub(crate) static GATEWAYS: &[&Gateway] = &[$(&$folder::GATEWAY),*];

        /// Their handlers, as `_apache` offers them, and what else it has of them.
        pub(crate) static FUNCTIONS: &[Function] = &[$($folder::HANDLER,)* asgi::START];

        static ANSWERING: &[(&Gateway, Answering)] = &[$((&$folder::GATEWAY, $folder::answer)),*];
    };
}

// The table of gateways.
gateways! {
    wsgi, asgi,
}

/// Which limits count for the handler of that name (`Entry::key`), where it is a gateway's.
pub(crate) fn answerer(key: &str) -> Option<Answerer> {
    let known = ANSWERING.iter().find(|(gateway, _)| gateway.key == key);
    known.map(|(gateway, _)| gateway.answerer)
}

/// Can requests for the handler of that name (`Entry::key`) be answered without attaching an interpreter in their threads? Not where they
/// are to be done by a time, which is looked after where they are attached.
pub(crate) fn may_be_apart(key: &str, common: &Common<'_>) -> bool {
    key == asgi::GATEWAY.key && common.limit(Answerer::Asgi).is_none()
}

/// Answers a request as the handler of that name (`Entry::key`) does, without a look at Python's module of it; None where it is no
/// gateway's. SUSPENDED where `may_leave` says that the request may go on without its worker, and it does.
pub(crate) fn answer<'py>(
    cx: Cx<'py>,
    key: &str,
    request: &Bound<'py, PyAny>,
    may_leave: bool,
) -> Option<PyResult<Status>> {
    let (gateway, answering) = ANSWERING.iter().find(|(gateway, _)| gateway.key == key)?;
    Some(Call::serve(cx, gateway, request, may_leave, *answering))
}
