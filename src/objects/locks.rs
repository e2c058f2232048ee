//! Locks in `_apache`: global ones, `_global_lock(server, key, index=-1)` and its like, and those that belong to a root
//! request, `_session_lock(req, key, seconds)` and `_session_unlock(req, key)`.

use super::refusal::{hold, refused};
use super::request::payload::Request;
use super::server::payload::Server;
use crate::embed::class::{self, Args};
use crate::embed::text::{self, Encoding};
use crate::embed::{Cx, Detachable, exception};
use crate::httpd::apr::key_locks::Lock;
use crate::httpd::apr::mutex;
use crate::httpd::request::lease;
use crate::httpd::request::root_locks::{self, Refusal, Root};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;

type Object<'py> = Bound<'py, PyAny>;

impl Detachable for Root {}
impl Detachable for Lock {}

/// `_session_lock(req, key, seconds)`: takes a lock for the request's root. The request itself is held only to find that: others
/// can use it while this thread waits.
pub(super) fn session_lock<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let milliseconds = milliseconds(&args.required(2)?)?;
    let (root, lock) = owner_and_lock(cx, &args)?;
    // Without a wait where it is free, as it mostly is: nobody else need run Python meanwhile.
    let taken = match root_locks::lock((root, lock, 0)) {
        Err(Refusal::Busy) if milliseconds != 0 => {
            cx.detached((root, lock, milliseconds), root_locks::lock)
        }
        tried => tried,
    };
    match taken {
        Ok(count) => count.into_bound_py_any(cx.py),
        Err(Refusal::Busy) => 0.into_bound_py_any(cx.py),
        Err(Refusal::Ended) => Err(refused(lease::Refusal::Expired)),
        Err(Refusal::Failed) => Err(PyOSError::new_err("the system gives no lock")),
    }
}

/// `_session_unlock(req, key)`: gives the lock back once.
pub(super) fn session_unlock<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let held = owner_and_lock(cx, &args)?;
    cx.detached(held, root_locks::unlock)
        .into_bound_py_any(cx.py)
}

fn owner_and_lock(cx: Cx<'_>, args: &Args<'_, '_>) -> PyResult<(Root, Lock)> {
    let lock = Lock::of(&bytes_of(&args.required(1)?)?);
    let request = args.required(0)?;
    let request = class::payload::<Request>(cx, &request)
        .ok_or_else(|| PyTypeError::new_err("First argument must be a request object"))?;
    let held = hold(cx.py, request.lease())?;
    Ok((root_locks::root_of(held.request()), lock))
}

/// Makes milliseconds of Python's seconds, rounded up; -1 (for ever) of a negative number.
fn milliseconds(seconds: &Object<'_>) -> PyResult<i64> {
    let seconds: f64 = seconds.extract()?;
    if seconds.is_nan() {
        return Err(PyValueError::new_err("seconds must be a number"));
    }
    if seconds < 0.0 {
        return Ok(-1);
    }
    // A year at most, so that the number cannot overflow.
    let milliseconds = (seconds.min(31_536_000.0) * 1000.0).ceil();
    #[expect(clippy::cast_possible_truncation, reason = "it is small and whole")]
    Ok(milliseconds as i64)
}

pub(super) fn lock<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let place = place(cx, &args)?;
    if cx.detached(place, mutex::lock) {
        Ok(cx.py.None().into_bound(cx.py))
    } else {
        Err(PyValueError::new_err("Failed to acquire global mutex lock"))
    }
}

pub(super) fn try_lock<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let place = place(cx, &args)?;
    match cx.detached(place, mutex::try_lock) {
        Some(taken) => taken.into_bound_py_any(cx.py),
        None => Err(PyValueError::new_err("Failed to acquire global mutex lock")),
    }
}

pub(super) fn unlock<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let place = place(cx, &args)?;
    if cx.detached(place, mutex::unlock) {
        Ok(cx.py.None().into_bound(cx.py))
    } else {
        Err(PyValueError::new_err("Failed to release global mutex lock"))
    }
}

/// `_global_held(server, key, index, function)`: gives the lock back whatever happens. Python code cannot promise that: an exception
/// may come between any two of its steps, of a recursion, a debugger, a signal or another thread.
pub(super) fn held<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let (place, function) = (place(cx, &args)?, args.required(3)?);
    if !cx.detached(place, mutex::lock) {
        return Err(PyValueError::new_err("Failed to acquire global mutex lock"));
    }
    let result = function.call0();
    if !cx.detached(place, mutex::unlock) && result.is_ok() {
        return Err(PyValueError::new_err("Failed to release global mutex lock"));
    }
    result
}

pub(super) fn place_of<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    mutex::place_of(&bytes_of(&args.required(0)?)?).into_bound_py_any(cx.py)
}

/// Which lock is meant: by its index, or by the key.
fn place(cx: Cx<'_>, args: &Args<'_, '_>) -> PyResult<usize> {
    if class::payload::<Server>(cx, &args.required(0)?).is_none() {
        return Err(PyTypeError::new_err(
            "First argument must be a server object",
        ));
    }
    let (key, index) = (args.required(1)?, args.integer_or(2, -1)?);
    if index == -1 {
        return Ok(mutex::place_of(&bytes_of(&key)?));
    }
    let place = usize::try_from(index).ok();
    place
        .filter(|&place| place < mutex::count())
        .ok_or_else(|| {
            PyValueError::new_err("Lock index is out of range for number of global mutex locks")
        })
}

/// Gives the bytes that tell one key from another: those of text and bytes, and those of `str(key)` for anything else.
fn bytes_of(key: &Object<'_>) -> PyResult<Vec<u8>> {
    match text::copy(key) {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            exception::discard(key.py(), error);
            Ok(Encoding::Utf8
                .encode(key.str()?.as_any())?
                .as_bytes()
                .to_vec())
        }
    }
}
