//! `mp_request`: the request object, one a request and interpreter, reached through the request's lease.

mod actions;
mod attributes;
mod body;
mod methods;

use super::exchange::{Exchange, RequestLease, lease_of};
use super::refused;
use super::server::Server;
use crate::embed::cell::Slot;
use crate::embed::class::{self, Attribute, Class, Method, Slots, This};
use crate::embed::text::{Encoding, Text};
use crate::embed::{self, Cx};
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

/// The Python object of a request: the one there is, or a new one. For the thread that serves it: where it is another one's
/// turn, it waits.
///
/// # Errors
/// RuntimeError where the request cannot be held; MemoryError.
pub(crate) fn object<'py>(cx: Cx<'py>, lease: &RequestLease) -> PyResult<Object<'py>> {
    object_by(cx, lease, || embed::acquire(cx.py, lease).map_err(refused))
}

/// The request is held for moments only, not while the object is made.
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
    // Whoever was quicker meanwhile has made the one that there is.
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
        let place = match what {
            Made::Config => Kept::Config,
            Made::Options => Kept::Options,
        };
        self.kept.get(place as usize)?.get(cx.py)
    }

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

    /// Looks at the request. Objects are made of what `look` gives (`Text`), when it has been let go: making one may have the
    /// collector run, and with it any code.
    #[inline]
    fn look<R: 'static>(
        &self,
        look: impl FnOnce(&Held<'_, Exchange>) -> R + 'static,
    ) -> PyResult<R> {
        Ok(look(&self.hold()?))
    }

    /// A text field, as UTF-8 with surrogateescape.
    fn text(&self, field: for<'r> fn(Host<'r>) -> Option<&'r CStr>) -> PyResult<Object<'py>> {
        self.decoded(Encoding::Utf8, field)
    }

    /// A text field that HTTP carries as latin-1.
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

    /// The object of a related request, or None.
    fn related(&self, field: for<'r> fn(Host<'r>) -> Option<Host<'r>>) -> PyResult<Object<'py>> {
        // It has the same turn: open while this one's phase runs.
        let lease =
            self.look(move |held| field(held.request()).map(|other| lease_of(other).clone()))?;
        let Some(lease) = lease else {
            return Ok(self.none());
        };
        object_by(self.cx, &lease, || lease.hold().map_err(refused))
    }
}
