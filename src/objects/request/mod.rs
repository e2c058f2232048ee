//! `mp_request`: the request object, one a request and interpreter, reached through the request's lease.

mod actions;
mod attributes;
mod body;
mod methods;

use super::exchange::{Exchange, RequestLease, lease_of};
use super::refused;
use super::server::Server;
use crate::embed::Cx;
use crate::embed::cell::Slot;
use crate::embed::class::{self, Attribute, Class, Method, Slots, This};
use crate::embed::text::Encoding;
use crate::httpd::lease::Held;
use crate::httpd::request::Request as Host;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use std::ffi::CStr;

/// A request. Owned by Python; what it needs of httpd it reaches through the lease, which the request's pool revokes.
pub(crate) struct Request {
    lease: RequestLease,
    /// Objects that keep their identity once they have been asked for, by `Kept`.
    kept: [Slot; KEPT],
}

const KEPT: usize = 10;

/// The places of `Request::kept`.
#[derive(Clone, Copy)]
enum Kept {
    Connection,
    Server,
    HeadersIn,
    HeadersOut,
    ErrHeadersOut,
    SubprocessEnv,
    Notes,
    Config,
    Options,
    HandlerList,
}

type Object<'py> = Bound<'py, PyAny>;

impl Class for Request {
    const NAME: &'static CStr = c"mp_request";
    const DOC: &'static CStr = c"An HTTP request (request_rec): what handlers are given.";
    const PLACE: usize = 0;
    const DICT: bool = true;
    const REUSED: bool = true;
    const ATTRIBUTES: &'static [Attribute<Self>] = attributes::ATTRIBUTES;
    const METHODS: &'static [Method<Self>] = methods::METHODS;

    /// It reads like a file, line by line, too.
    const SLOTS: Slots<Self> = Slots {
        iter: Some(|this| Ok(this.object())),
        next: Some(body::next),
        ..Slots::NONE
    };

    fn references(&self) -> &[Slot] {
        &self.kept
    }
}

/// The Python object of a request: the one there is, or a new one.
///
/// # Errors
/// MemoryError.
pub(crate) fn object<'py>(
    cx: Cx<'py>,
    held: &Held<'_, Exchange>,
    lease: &RequestLease,
) -> PyResult<Object<'py>> {
    if let Some(object) = held.value().object(cx) {
        return Ok(object);
    }
    let object = class::instance(
        cx,
        Request {
            lease: lease.clone(),
            kept: Default::default(),
        },
    )?;
    held.value().keep(cx, &object);
    Ok(object)
}

impl Request {
    /// How the request is reached.
    pub(crate) fn lease(&self) -> &RequestLease {
        &self.lease
    }
}

/// Could a new object for the same request stand in for this one? Nobody else refers to it (the caller has checked),
/// and it keeps nothing that somebody else may refer to or have changed.
pub(crate) fn is_unremarkable(object: &Bound<'_, PyAny>, cx: Cx<'_>) -> bool {
    let Some(request) = class::payload::<Request>(cx, object) else {
        return false;
    };
    let slot = |place: Kept| request.kept.get(place as usize);
    [Kept::Config, Kept::Options]
        .into_iter()
        .all(|place| slot(place).is_some_and(Slot::is_empty))
        && slot(Kept::Server).is_some_and(|server| class::is_unmarked::<Server>(cx, server))
}

/// An object that is made once and then kept.
pub(super) fn kept<'py>(
    places: &[Slot],
    cx: Cx<'py>,
    place: usize,
    make: impl FnOnce() -> PyResult<Object<'py>>,
) -> PyResult<Object<'py>> {
    let Some(slot) = places.get(place) else {
        return make();
    };
    if let Some(object) = slot.get(cx.py) {
        return Ok(object);
    }
    Ok(slot.fill(make()?))
}

impl<'py> This<'_, 'py, Request> {
    /// Holds the request for one operation.
    #[inline]
    fn hold(&self) -> PyResult<Held<'_, Exchange>> {
        self.lease.hold().map_err(refused)
    }

    fn kept(
        &self,
        place: Kept,
        make: impl FnOnce() -> PyResult<Object<'py>>,
    ) -> PyResult<Object<'py>> {
        kept(&self.kept, self.cx, place as usize, make)
    }

    fn none(&self) -> Object<'py> {
        self.cx.py.None().into_bound(self.cx.py)
    }

    /// A text field, as UTF-8 with surrogateescape.
    fn text(&self, field: for<'r> fn(Host<'r>) -> Option<&'r CStr>) -> PyResult<Object<'py>> {
        Encoding::Utf8.optional(self.cx.py, field(self.hold()?.request()))
    }

    /// A text field that HTTP carries as latin-1.
    fn latin1(&self, field: for<'r> fn(Host<'r>) -> Option<&'r CStr>) -> PyResult<Object<'py>> {
        Encoding::Latin1.optional(self.cx.py, field(self.hold()?.request()))
    }

    fn number(&self, field: fn(Host<'_>) -> i64) -> PyResult<Object<'py>> {
        field(self.hold()?.request()).into_bound_py_any(self.cx.py)
    }

    fn float(&self, field: fn(Host<'_>) -> f64) -> PyResult<Object<'py>> {
        field(self.hold()?.request()).into_bound_py_any(self.cx.py)
    }

    /// The object of a related request, or None.
    fn related(&self, field: for<'r> fn(Host<'r>) -> Option<Host<'r>>) -> PyResult<Object<'py>> {
        let held = self.hold()?;
        let Some(other) = field(held.request()) else {
            return Ok(self.none());
        };
        // It has the same turn: open while this one's phase runs, and ours for now.
        let lease = lease_of(other);
        object(self.cx, &lease.hold().map_err(refused)?, lease)
    }
}
