//! Attaching an interpreter: `enter` is the only way to a `Python<'py>`.
//!
//! A thread keeps one thread state an interpreter, made at first use and attached again for each phase. Nothing here
//! calls `Python::attach`: it knows the main interpreter only.

use super::interpreter::{Cx, Interpreter};
use super::{main_thread, threads};
use crate::httpd::log::{self, Extra, Level};
use crate::httpd::request::Request;
use crate::httpd::request::lease::{Held, Lease, Refusal};
use crate::httpd::request::server::Server;
use crate::httpd::request::turn::{Opened, Turn};
use pyo3::Python;
use std::ffi::c_void;
use std::ptr::NonNull;

/// Runs `body` attached to `interpreter`, in this thread's state for it. May be nested; leaves things as they were.
///
/// # Errors
/// No memory for a thread state. `body` is then dropped detached: what releases objects must not own them.
#[inline]
pub(crate) fn enter<R>(
    interpreter: &'static Interpreter,
    body: impl for<'py> FnOnce(Cx<'py>) -> R,
) -> Result<R, String> {
    let state =
        threads::state_of(interpreter).ok_or("no memory for a thread state (PyThreadState_New)")?;
    let _attached = threads::Attached::new(state);
    Ok(told(|py| body(Cx { py, interpreter })))
}

/// Starts a thread that is attached to `interpreter` while `body` runs. It gets no signals: those are for httpd's own threads.
///
/// # Errors
/// When no thread can be had.
pub(crate) fn spawn(
    interpreter: &'static Interpreter,
    name: &str,
    body: impl for<'py> FnOnce(Cx<'py>) + Send + 'static,
) -> Result<(), String> {
    main_thread::spawn(name, move || {
        if let Err(reason) = enter(interpreter, body) {
            log::process(Level::Error, &reason);
        }
    })
}

/// Runs `body` in a thread that is attached already, and tells pyo3 so: it releases at once what is dropped then. What is
/// dropped while it does not know goes to a list of the whole process, whose objects another interpreter would release. The
/// build leaves that list out (`.cargo/config.toml`): such an object would be kept for ever, and test builds abort.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread is attached, and PyGILState_Ensure finds its state: it only counts"
)]
#[inline]
fn told<R>(body: impl for<'py> FnOnce(Python<'py>) -> R) -> R {
    // SAFETY: Python has been started, since the thread is attached.
    unsafe { Python::attach_unchecked(body) }
}

/// As `told`, in a thread that Python has called us in: inside `enter` pyo3 knows already.
pub(super) fn called<R>(body: impl for<'py> FnOnce(Python<'py>) -> R) -> R {
    if threads::is_inside() {
        // SAFETY: the caller is attached.
        body(unsafe { Python::assume_attached() })
    } else {
        told(body)
    }
}

/// A capsule (PyCapsule_New) with the address of one of httpd's structures and no name.
///
/// # Errors
/// MemoryError.
pub(crate) fn capsule(
    cx: Cx<'_>,
    address: NonNull<c_void>,
) -> pyo3::PyResult<pyo3::Bound<'_, pyo3::PyAny>> {
    // SAFETY: the pointer is not NULL and nothing is freed with the capsule.
    unsafe {
        let capsule = pyo3::ffi::PyCapsule_New(address.as_ptr(), std::ptr::null(), None);
        pyo3::Bound::from_owned_ptr_or_err(cx.py, capsule)
    }
}

/// What may be used while no interpreter is attached: nothing of Python.
pub(crate) trait Detachable {}

impl Detachable for () {}
impl Detachable for usize {}
impl Detachable for i32 {}
impl Detachable for i64 {}
impl Detachable for crate::httpd::request::server::Server<'_> {}
impl Detachable for &mut crate::httpd::io::output::Output {}
impl Detachable for [u8] {}
impl Detachable for str {}
impl Detachable for crate::httpd::request::connection::Connection<'_> {}
impl Detachable for &mut crate::httpd::io::connection::Wire {}
impl Detachable for std::ffi::CStr {}
impl<T: Detachable> Detachable for Option<T> {}
impl Detachable for Request<'_> {}
impl Detachable for crate::httpd::io::output::Brigade {}
impl Detachable for crate::httpd::io::file_part::FilePart {}
impl Detachable for bool {}
impl Detachable for Extra<'_> {}
impl<T: Detachable + ?Sized> Detachable for &T {}
impl Detachable for &mut crate::httpd::io::body::Input {}
impl Detachable for &mut crate::httpd::io::body::ReadBuf<'_> {}
impl Detachable for &mut crate::httpd::io::filter::Invocation {}
impl Detachable for crate::httpd::request::turn::Turn {}
impl<A: Detachable, B: Detachable> Detachable for (A, B) {}
impl<A: Detachable, B: Detachable, C: Detachable> Detachable for (A, B, C) {}

/// As `Cx::detached`.
pub(crate) fn detached<D: Detachable, R>(_py: Python<'_>, data: D, body: fn(D) -> R) -> R {
    let _detached = threads::Detached::new();
    body(data)
}

impl<'py> Cx<'py> {
    /// A phase begins to run Python for a request or connection, until what this gives is dropped (`Turn::open`).
    pub(crate) fn open(
        self,
        turn: &Turn,
        served: NonNull<c_void>,
    ) -> Opened<'_, impl Fn(&Turn) + use<'py>> {
        turn.open(served, move |turn| self.detached(turn, Turn::wait))
    }

    /// Writes to a request's error log, which may be a pipe that is full: detached.
    pub(crate) fn log(self, request: Request<'_>, level: Level, text: &str) {
        let entry = (level as i32, text.as_bytes(), self.extra());
        self.detached((request, entry), |(request, (level, text, extra))| {
            log::message(request, level, text, extra);
        });
    }

    /// Writes a message, or a traceback, to the main server's error log: detached.
    pub(crate) fn log_process(self, level: Level, text: &str) {
        self.log_lines_of_process(level, text, self.extra());
    }

    /// As `log_process`, with what the entry has as an object.
    pub(crate) fn log_lines_of_process(self, level: Level, text: &str, extra: Extra<'_>) {
        self.detached((level as i32, text, extra), |(level, text, extra)| {
            log::lines_of_process(level, text, extra);
        });
    }

    /// As `log_process`, for the server of a number (`Server::number`); where there is none, for the main one.
    pub(crate) fn log_lines_of_server(
        self,
        server: usize,
        level: Level,
        text: &str,
        extra: Extra<'_>,
    ) {
        let entry = (level as i32, text, extra);
        self.detached((server, entry), |(server, (level, text, extra))| {
            log::traceback(Server::of_number(server), level, text.as_bytes(), extra);
        });
    }

    /// What an entry of this interpreter has as an object.
    pub(crate) fn extra(self) -> Extra<'static> {
        Extra {
            interpreter: Some(self.interpreter.name()),
            ..Extra::default()
        }
    }

    /// Calls `body`, which may block, without the interpreter's lock (PyEval_SaveThread). It is a function pointer, and not a
    /// closure, so that it has nothing but the data that is given here.
    pub(crate) fn detached<D: Detachable, R>(self, data: D, body: fn(D) -> R) -> R {
        detached(self.py, data, body)
    }
}

/// Holds a lease for an attached thread that may wait: detached, while another one is in the middle of an operation.
///
/// # Errors
/// As for `Lease::acquire`.
#[inline]
pub(crate) fn acquire<'l, T>(_py: Python<'_>, lease: &'l Lease<T>) -> Result<Held<'l, T>, Refusal> {
    match lease.hold() {
        Ok(held) => Ok(held),
        Err(Refusal::Busy) => wait_for(lease),
        Err(refusal) => Err(refusal),
    }
}

#[cold]
#[inline(never)]
fn wait_for<T>(lease: &Lease<T>) -> Result<Held<'_, T>, Refusal> {
    let _detached = threads::Detached::new();
    lease.acquire()
}
