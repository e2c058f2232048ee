//! `mp_request`: the request object. Each request has one in each interpreter that takes part in it.

mod actions;
mod attributes;
mod body;
mod methods;

use super::refused;
use super::server::Server;
use crate::embed::cell::Slot;
use crate::embed::class::{self, Attribute, Class, Key, Method, Slots, This};
use crate::embed::text::{Encoding, Text};
use crate::embed::{self, Cx};
use crate::exchange::{Exchange, RequestLease, lease_of};
use crate::httpd::request::Request as Host;
use crate::httpd::request::lease::Held;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use std::ffi::CStr;

/// A request. Owned by Python; what it needs of httpd it reaches through the lease, which the request's pool revokes.
pub(crate) struct Request {
    lease: RequestLease,
    /// Objects that are made when they are first asked for and then stay the same, by `Kept`.
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
    const DICT: bool = true;
    const REUSED: bool = true;
    const ATTRIBUTES: &'static [Attribute<Self>] = attributes::ATTRIBUTES;
    const METHODS: &'static [Method<Self>] = methods::METHODS;

    /// Iterating reads the request's body, line by line, as with a file.
    const SLOTS: Slots<Self> = Slots {
        iter: Some(|this| Ok(this.object())),
        next: Some(body::next),
        ..Slots::NONE
    };

    fn key() -> &'static Key<Self> {
        static KEY: Key<Request> = Key::new();
        &KEY
    }

    fn references(&self) -> &[Slot] {
        &self.kept
    }
}

/// Gives the Python object of a request: the one that there is, or a new one. Only for the thread that serves the request: it waits
/// while another thread uses it.
///
/// # Errors
/// RuntimeError where the request cannot be held; MemoryError.
pub(crate) fn object<'py>(cx: Cx<'py>, lease: &RequestLease) -> PyResult<Object<'py>> {
    object_by(cx, lease, || embed::acquire(cx.py, lease).map_err(refused))
}

/// As `object`; `hold` is called twice, so that the request is not held while the object is made.
fn object_by<'py, 'l>(
    cx: Cx<'py>,
    lease: &'l RequestLease,
    hold: impl Fn() -> PyResult<Held<'l, Exchange>>,
) -> PyResult<Object<'py>> {
    let found = hold()?.value().object(cx);
    if let Some(object) = found {
        return Ok(object);
    }
    let request = Request {
        lease: lease.clone(),
        kept: Default::default(),
    };
    let object = class::instance(cx, request)?;
    // Another thread may have made one meanwhile: then that is it.
    let held = hold()?;
    if let Some(first) = held.value().object(cx) {
        return Ok(first);
    }
    held.value().keep(cx, &object);
    Ok(object)
}

impl Request {
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
    let slot = |place: Kept| request.kept.get(place as usize);
    [Kept::Config, Kept::Options]
        .into_iter()
        .all(|place| slot(place).is_some_and(Slot::is_empty))
        && slot(Kept::Server).is_some_and(|server| class::is_unmarked::<Server>(cx, server))
}

/// Gives the object of a place, which is made once and then kept.
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

    /// Calls `look` with the request. Python objects are made afterwards, of the copies that it gives (`Text`): making one may run
    /// Python's garbage collector, and with it any code.
    #[inline]
    fn look<R: 'static>(
        &self,
        look: impl FnOnce(&Held<'_, Exchange>) -> R + 'static,
    ) -> PyResult<R> {
        Ok(look(&self.hold()?))
    }

    /// Gives a field's text, decoded as UTF-8 with surrogateescape.
    fn text(&self, field: for<'r> fn(Host<'r>) -> Option<&'r CStr>) -> PyResult<Object<'py>> {
        self.decoded(Encoding::Utf8, field)
    }

    /// Gives a field's text, decoded as latin-1, as HTTP carries it.
    fn latin1(&self, field: for<'r> fn(Host<'r>) -> Option<&'r CStr>) -> PyResult<Object<'py>> {
        self.decoded(Encoding::Latin1, field)
    }

    fn decoded(
        &self,
        encoding: Encoding,
        field: for<'r> fn(Host<'r>) -> Option<&'r CStr>,
    ) -> PyResult<Object<'py>> {
        let text = self.look(move |held| field(held.request()).map(Text::from))?;
        encoding.copied(self.cx.py, text.as_ref())
    }

    fn number(&self, field: fn(Host<'_>) -> i64) -> PyResult<Object<'py>> {
        let number = self.look(move |held| field(held.request()))?;
        number.into_bound_py_any(self.cx.py)
    }

    fn float(&self, field: fn(Host<'_>) -> f64) -> PyResult<Object<'py>> {
        let number = self.look(move |held| field(held.request()))?;
        number.into_bound_py_any(self.cx.py)
    }

    /// Gives the object of a related request, or None.
    fn related(&self, field: for<'r> fn(Host<'r>) -> Option<Host<'r>>) -> PyResult<Object<'py>> {
        // Both have the same turn (invariant 7), so the other one can be held while this one's phase runs.
        let lease =
            self.look(move |held| field(held.request()).map(|other| lease_of(other).clone()))?;
        let Some(lease) = lease else {
            return Ok(self.none());
        };
        object_by(self.cx, &lease, || lease.hold().map_err(refused))
    }
}
