//! `_session_read` and `_session_write`: the files of FileSession, each in one operation that lets other threads run. `_is_sid`.

use crate::embed::Cx;
use crate::embed::class::Args;
use crate::embed::text::{self, Encoding};
use crate::httpd::io::session_file::{self, Failure, What};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::ffi::CString;

type Object<'py> = Bound<'py, PyAny>;

/// `_session_read(place, sid, touch, refusal)`.
pub(super) fn read<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let (place, sid) = names(&args)?;
    let touch = args.required(2)?.is_truthy()?;
    let found = cx.detached(
        (place.as_c_str(), sid.as_c_str(), touch),
        |(place, sid, touch)| session_file::read(place, sid, touch),
    );
    match found {
        Ok(Some(data)) => Ok(PyBytes::new(cx.py, &data).into_any()),
        Ok(None) => Ok(cx.py.None().into_bound(cx.py)),
        Err(failure) => Err(raised(&failure, &args.required(3)?)),
    }
}

/// `_session_write(place, sid, data, refusal)`.
pub(super) fn write<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let (place, sid) = names(&args)?;
    let data = args.required(2)?;
    // Nobody can change them meanwhile.
    let data = data
        .cast::<PyBytes>()
        .map_err(|_| PyTypeError::new_err("a session's data are bytes"))?;
    let written = cx.detached(
        (place.as_c_str(), sid.as_c_str(), data.as_bytes()),
        |(place, sid, data)| session_file::write(place, sid, data),
    );
    match written {
        Ok(()) => Ok(cx.py.None().into_bound(cx.py)),
        Err(failure) => Err(raised(&failure, &args.required(3)?)),
    }
}

/// `_is_sid(text)`: 32 hexadecimal digits in lower case?
pub(super) fn is_sid<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let text = args.required(0)?;
    let digits = text.cast::<PyString>().ok().and_then(text::ascii);
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_sid = digits.is_some_and(|digits| digits.len() == 32 && digits.iter().all(is_digit));
    is_sid.into_bound_py_any(cx.py)
}

fn names(args: &Args<'_, '_>) -> PyResult<(CString, CString)> {
    let place = Encoding::Utf8.encode(&args.required(0)?)?;
    Ok((place, Encoding::Utf8.encode(&args.required(1)?)?))
}

fn raised(failure: &Failure, refusal: &Object<'_>) -> PyErr {
    let shown = |name: &CString| name.to_string_lossy().into_owned();
    let error = match failure {
        Failure::NotAlone(name, what) => refusal
            .call1((shown(name), *what == What::Directory))
            .map(PyErr::from_value),
        Failure::System(name, error) => {
            let number = error.raw_os_error().unwrap_or(libc::EIO);
            Ok(PyOSError::new_err((number, message(number), shown(name))))
        }
    };
    error.unwrap_or_else(|error| error)
}

/// What the system calls an error, without the number that Rust adds.
fn message(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    let end = text.rfind(" (os error").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_owned()
}
