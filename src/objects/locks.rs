//! Global locks in `_apache`: `_global_lock(server, key, index=-1)` and its like.

use super::server::Server;
use crate::embed::class::{self, Args};
use crate::embed::text::{self, Encoding};
use crate::embed::{Cx, exception};
use crate::httpd::mutex;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

type Object<'py> = Bound<'py, PyAny>;

pub(super) fn lock<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let place = place(cx, &args, "_global_lock")?;
    if cx.detached(place, mutex::lock) {
        Ok(cx.py.None().into_bound(cx.py))
    } else {
        Err(PyValueError::new_err("Failed to acquire global mutex lock"))
    }
}

pub(super) fn try_lock<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let place = place(cx, &args, "_global_trylock")?;
    match cx.detached(place, mutex::try_lock) {
        Some(taken) => taken.into_bound_py_any(cx.py),
        None => Err(PyValueError::new_err("Failed to acquire global mutex lock")),
    }
}

pub(super) fn unlock<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let place = place(cx, &args, "_global_unlock")?;
    if cx.detached(place, mutex::unlock) {
        Ok(cx.py.None().into_bound(cx.py))
    } else {
        Err(PyValueError::new_err("Failed to release global mutex lock"))
    }
}

pub(super) fn place_of<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("_global_place", 1..=1)?;
    mutex::place_of(&bytes_of(&args.required(0)?)?).into_bound_py_any(cx.py)
}

/// Which lock is meant: by its index, or by the key.
fn place(cx: Cx<'_>, args: &Args<'_, '_>, name: &str) -> PyResult<usize> {
    args.count(name, 2..=3)?;
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

/// What a key is told by: text and bytes themselves, the text of anything else.
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
