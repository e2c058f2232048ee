//! What a request's object carries, how one is made, and what its attributes and methods share.

use crate::embed::class::{self, This};
use crate::embed::text::{Encoding, Text};
use crate::embed::{self, Cx};
use crate::exchange::{Exchange, RequestLease, lease_of};
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::lease::{Held, Refusal};
use crate::objects::memo::{Copied, View, WithAttributes, memos};
use crate::objects::refusal::{hold, refused};
use crate::objects::server::payload::Server;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

/// A request. Owned by Python; what it needs of httpd it reaches through the lease, which the request's pool revokes.
pub(crate) struct Request {
    pub(super) lease: RequestLease,
    pub(super) memos: Memos,
}

memos! {
    /// The objects that a request's object gives, always the same ones.
    pub(super) struct Memos {
        connection: View,
        server: WithAttributes<Server>,
        headers_in: View,
        headers_out: View,
        err_headers_out: View,
        subprocess_env: View,
        notes: View,
        config: Copied,
        options: Copied,
        handler_list: View,
    }
}

pub(super) type Object<'py> = Bound<'py, PyAny>;

/// Gives the Python object of a request: the one that there is, or a new one. Only for the thread that serves the request: it waits
/// while another thread uses it.
///
/// # Errors
/// RuntimeError where the request cannot be held; MemoryError.
pub(crate) fn object<'py>(cx: Cx<'py>, lease: &RequestLease) -> PyResult<Object<'py>> {
    object_of_held(cx, lease, acquire(cx, lease)?)
}

/// As `object`, of a request that is held already.
///
/// # Errors
/// As for `object`.
pub(crate) fn object_of_held<'py>(
    cx: Cx<'py>,
    lease: &RequestLease,
    held: Held<'_, Exchange>,
) -> PyResult<Object<'py>> {
    object_by(cx, lease, held, || acquire(cx, lease))
}

/// As `object`, in any thread, and without waiting: while another thread uses the request, each call gives an object of its own.
///
/// # Errors
/// RuntimeError where the request has ended, or between its phases; MemoryError.
pub(crate) fn object_elsewhere<'py>(cx: Cx<'py>, lease: &RequestLease) -> PyResult<Object<'py>> {
    match hold(cx.py, lease) {
        Ok(held) => object_by(cx, lease, held, || hold(cx.py, lease)),
        Err(_) if lease.hold().err() == Some(Refusal::Busy) => {
            let request = Request {
                lease: lease.clone(),
                memos: Memos::default(),
            };
            class::instance(cx, request)
        }
        Err(error) => Err(error),
    }
}

fn acquire<'l>(cx: Cx<'_>, lease: &'l RequestLease) -> PyResult<Held<'l, Exchange>> {
    embed::acquire(cx.py, lease).map_err(refused)
}

/// As `object_of_held`; the request is not held while an object is made that Python has no memory for yet: that may run anything, so
/// `hold` is called for a second time.
fn object_by<'py, 'l>(
    cx: Cx<'py>,
    lease: &'l RequestLease,
    held: Held<'_, Exchange>,
    hold: impl FnOnce() -> PyResult<Held<'l, Exchange>>,
) -> PyResult<Object<'py>> {
    if let Some(object) = held.value().object(cx) {
        return Ok(object);
    }
    let request = Request {
        lease: lease.clone(),
        memos: Memos::default(),
    };
    let request = match class::from_spare(cx, request) {
        Ok(object) => {
            held.value().keep(cx, &object);
            return Ok(object);
        }
        Err(request) => request,
    };
    drop(held);
    let object = class::instance(cx, request)?;
    // Another thread may have made one meanwhile: then that is it.
    let held = hold()?;
    if let Some(first) = held.value().object(cx) {
        return Ok(first);
    }
    held.value().keep(cx, &object);
    Ok(object)
}

/// Tables of settings, which a handler can change once they have been made.
#[derive(Clone, Copy)]
pub(crate) enum Made {
    Config,
    Options,
}

impl Request {
    /// The table, if the request has been asked for it.
    pub(crate) fn made<'py>(&self, cx: Cx<'py>, what: Made) -> Option<Object<'py>> {
        let memo = match what {
            Made::Config => &self.memos.config,
            Made::Options => &self.memos.options,
        };
        memo.made(cx)
    }

    /// How the request is reached.
    pub(crate) fn lease(&self) -> &RequestLease {
        &self.lease
    }
}

/// May this object be emptied and used for another request, so that the next phase of this one gets a new object? The caller has
/// checked that nobody else refers to it; checked here is that nothing is lost which a handler has changed.
pub(crate) fn is_unremarkable(object: &Bound<'_, PyAny>, cx: Cx<'_>) -> bool {
    let Some(request) = class::payload::<Request>(cx, object) else {
        return false;
    };
    request.memos.are_as_made(cx)
}

impl<'py> This<'_, 'py, Request> {
    /// Holds the request for one operation, before which what is due leaves.
    #[inline]
    pub(super) fn hold(&self) -> PyResult<Held<'_, Exchange>> {
        let held = self.hold_as_it_is()?;
        Exchange::settle(self.cx.py, &held);
        Ok(held)
    }

    /// Holds it for an operation that neither changes nor shows what of the answer has left.
    #[inline]
    pub(super) fn hold_as_it_is(&self) -> PyResult<Held<'_, Exchange>> {
        hold(self.cx.py, &self.lease)
    }

    pub(super) fn none(&self) -> Object<'py> {
        self.cx.py.None().into_bound(self.cx.py)
    }

    /// Calls `look` with the request. Python objects are made afterwards, of the copies that it gives (`Text`): making one may run
    /// Python's garbage collector, and with it any code.
    #[inline]
    pub(super) fn look<R: 'static>(
        &self,
        look: impl FnOnce(&Held<'_, Exchange>) -> R + 'static,
    ) -> PyResult<R> {
        Ok(look(&self.hold_as_it_is()?))
    }

    /// Gives a field's text, decoded as UTF-8 with surrogateescape.
    pub(super) fn text(
        &self,
        field: for<'r> fn(RequestRec<'r>) -> Option<&'r CStr>,
    ) -> PyResult<Object<'py>> {
        self.decoded(Encoding::Utf8, field)
    }

    /// Gives a field's text, decoded as latin-1, as HTTP carries it.
    pub(super) fn latin1(
        &self,
        field: for<'r> fn(RequestRec<'r>) -> Option<&'r CStr>,
    ) -> PyResult<Object<'py>> {
        self.decoded(Encoding::Latin1, field)
    }

    pub(super) fn decoded(
        &self,
        encoding: Encoding,
        field: for<'r> fn(RequestRec<'r>) -> Option<&'r CStr>,
    ) -> PyResult<Object<'py>> {
        let text = self.look(move |held| field(held.request()).map(Text::from))?;
        encoding.copied(self.cx.py, text.as_ref())
    }

    pub(super) fn number(&self, field: fn(RequestRec<'_>) -> i64) -> PyResult<Object<'py>> {
        let number = self.look(move |held| field(held.request()))?;
        number.into_bound_py_any(self.cx.py)
    }

    /// Gives the request's address to C code, which nobody works beside from now on.
    pub(super) fn address(&self) -> PyResult<NonNull<c_void>> {
        let held = self.hold()?;
        Exchange::wait_no_more(self.cx.py, &held);
        Ok(held.request().address())
    }

    /// A number that shows what of the answer has left.
    pub(super) fn settled_number(&self, field: fn(RequestRec<'_>) -> i64) -> PyResult<Object<'py>> {
        drop(self.hold()?);
        self.number(field)
    }

    pub(super) fn float(&self, field: fn(RequestRec<'_>) -> f64) -> PyResult<Object<'py>> {
        let number = self.look(move |held| field(held.request()))?;
        number.into_bound_py_any(self.cx.py)
    }

    /// Gives the object of a related request, or None.
    pub(super) fn related(
        &self,
        field: for<'r> fn(RequestRec<'r>) -> Option<RequestRec<'r>>,
    ) -> PyResult<Object<'py>> {
        // Both have the same turn (invariant 7), so the other one can be held while this one's phase runs.
        let lease =
            self.look(move |held| field(held.request()).map(|other| lease_of(other).clone()))?;
        let Some(lease) = lease else {
            return Ok(self.none());
        };
        object_by(self.cx, &lease, hold(self.cx.py, &lease)?, || {
            hold(self.cx.py, &lease)
        })
    }
}
