//! What a server object carries, and how one is made.

use crate::embed::{Cx, class};
use crate::exchange::RequestLease;
use crate::httpd::request::server::Server as ServerRec;
use crate::objects::logging::log_for;
use crate::objects::refusal::refused;
use pyo3::prelude::*;

type Object<'py> = Bound<'py, PyAny>;

/// A server. One that was made for a request can be used as long as that request.
pub(crate) enum Server {
    /// One of httpd's list, which lives as long as the child.
    Listed(ServerRec<'static>),
    /// One that another module has made for one request, in its pool. It is reached through that request.
    OfRequest(RequestLease),
}

/// Makes the Python object of one of httpd's servers; None where there is none.
///
/// # Errors
/// MemoryError.
pub(crate) fn listed<'py>(cx: Cx<'py>, server: Option<ServerRec<'_>>) -> PyResult<Object<'py>> {
    match server.and_then(ServerRec::in_child) {
        Some(server) => class::instance(cx, Server::Listed(server)),
        None => Ok(cx.py.None().into_bound(cx.py)),
    }
}

/// Makes the Python object of the server that answers a request.
///
/// # Errors
/// RuntimeError when the request cannot be held; MemoryError.
pub(crate) fn of_request<'py>(cx: Cx<'py>, lease: &RequestLease) -> PyResult<Object<'py>> {
    let server = lease.hold().map_err(refused)?.request().server().in_child();
    let server = server.map_or_else(|| Server::OfRequest(lease.clone()), Server::Listed);
    class::instance(cx, server)
}

impl Server {
    /// Calls `body` with the server. Python objects are made afterwards, of the copies that it gives (`Text`), when the request
    /// that it was reached through is held no more.
    ///
    /// # Errors
    /// RuntimeError when it is a request's and that cannot be held.
    pub(in crate::objects) fn with<R: 'static>(
        &self,
        body: impl FnOnce(ServerRec<'_>) -> R + 'static,
    ) -> PyResult<R> {
        Ok(match self {
            Server::Listed(server) => body(*server),
            Server::OfRequest(lease) => body(lease.hold().map_err(refused)?.request().server()),
        })
    }

    /// The server, where it is one of httpd's list.
    pub(in crate::objects) fn listed(&self) -> Option<ServerRec<'static>> {
        match self {
            Server::Listed(server) => Some(*server),
            Server::OfRequest(_) => None,
        }
    }

    /// Writes to the server's log; detached, since the log may be a pipe that is full.
    ///
    /// # Errors
    /// As for `with`.
    pub(in crate::objects) fn log(&self, cx: Cx<'_>, level: i32, message: &[u8]) -> PyResult<()> {
        let write = |server| log_for(cx, Some(server), level, message);
        match self {
            Server::Listed(server) => write(*server),
            Server::OfRequest(lease) => write(lease.hold().map_err(refused)?.request().server()),
        }
        Ok(())
    }
}
