//! Text and bytes between httpd and Python.
//!
//! Two encodings: latin-1 for what HTTP carries in headers, and UTF-8 with surrogateescape (PEP 383) for paths,
//! URIs and configuration, so that any byte a client sends goes in and comes out unchanged and nothing fails.

use super::cell::Ref;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::ffi::{CStr, CString, c_char};
use std::ptr::null;

/// How Python's text becomes httpd's bytes, and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Latin1,
    Utf8,
}

impl Encoding {
    /// Decodes bytes of httpd's as `str`. Any bytes can be decoded.
    ///
    /// # Errors
    /// MemoryError.
    pub(crate) fn decode<'py>(self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let (data, length) = (bytes.as_ptr().cast::<c_char>(), bytes.len().cast_signed());
        // SAFETY: a readable range; both return a new reference or NULL with an error set.
        unsafe {
            let text = match self {
                Encoding::Latin1 => ffi::PyUnicode_DecodeLatin1(data, length, null()),
                Encoding::Utf8 => {
                    ffi::PyUnicode_DecodeUTF8(data, length, c"surrogateescape".as_ptr())
                }
            };
            Bound::from_owned_ptr_or_err(py, text)
        }
    }

    /// Decodes a C string of httpd's as `str`; NULL is None.
    ///
    /// # Errors
    /// MemoryError.
    pub(crate) fn optional<'py>(
        self,
        py: Python<'py>,
        text: Option<&CStr>,
    ) -> PyResult<Bound<'py, PyAny>> {
        text.map_or_else(
            || Ok(py.None().into_bound(py)),
            |text| self.decode(py, text.to_bytes()),
        )
    }

    /// As `optional`, for a copy of httpd's text.
    ///
    /// # Errors
    /// MemoryError.
    pub(crate) fn copied<'py>(
        self,
        py: Python<'py>,
        text: Option<&Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        text.map_or_else(
            || Ok(py.None().into_bound(py)),
            |text| self.decode(py, text.bytes()),
        )
    }

    /// Encodes `str`, or takes `bytes` as they are, and makes a C string of it.
    ///
    /// # Errors
    /// TypeError for other types, ValueError for what the encoding cannot express and for NUL.
    pub(crate) fn encode(self, value: &Bound<'_, PyAny>) -> PyResult<CString> {
        let bytes = self.with(value, |bytes| Ok(bytes.to_vec()))?;
        CString::new(bytes).map_err(|_| PyValueError::new_err("embedded null character"))
    }

    /// Calls `body` with `str`, encoded, or with `bytes` as they are; without a copy where that is possible.
    ///
    /// # Errors
    /// TypeError for other types, ValueError for what the encoding cannot express; what `body` returns.
    pub(crate) fn with<R>(
        self,
        value: &Bound<'_, PyAny>,
        body: impl FnOnce(&[u8]) -> PyResult<R>,
    ) -> PyResult<R> {
        if let Ok(text) = value.cast::<PyString>() {
            return match ascii(text) {
                Some(bytes) => body(bytes),
                None => body(&self.encode_text(text)?),
            };
        }
        match value.cast::<PyBytes>() {
            Ok(bytes) => body(bytes.as_bytes()),
            Err(_) => Err(PyTypeError::new_err("not an ISO-8859-1 string")),
        }
    }

    /// Encodes `str`; NUL may be in it.
    ///
    /// # Errors
    /// TypeError, ValueError.
    pub(crate) fn encode_bytes(self, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
        self.encode_text(value.cast::<PyString>()?)
    }

    fn encode_text(self, text: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
        // ASCII is the same in both encodings.
        if let Some(bytes) = ascii(text) {
            return Ok(bytes.to_vec());
        }
        // SAFETY: an attached `str`; NULL comes with an error set, which `from_owned_ptr_or_err` takes over.
        let encoded = unsafe {
            let (encoding, errors) = match self {
                Encoding::Latin1 => (c"latin-1", c"strict"),
                Encoding::Utf8 => (c"utf-8", c"surrogateescape"),
            };
            let bytes =
                ffi::PyUnicode_AsEncodedString(text.as_ptr(), encoding.as_ptr(), errors.as_ptr());
            if bytes.is_null() {
                ffi::PyErr_Clear();
                let error = if self == Encoding::Latin1 {
                    "not an ISO-8859-1 string"
                } else {
                    "a character that UTF-8 cannot express"
                };
                return Err(PyValueError::new_err(error));
            }
            Bound::from_owned_ptr(text.py(), bytes)
        };
        Ok(encoded
            .cast_into::<PyBytes>()
            .map(|bytes| bytes.as_bytes().to_vec())
            .unwrap_or_default())
    }
}

/// A copy of a text of httpd's. It is taken while the request that the text belongs to is held, and decoded when that is held no
/// more: making a Python object may run the garbage collector, and that the `__del__` of any object. Short ones need no heap memory.
pub(crate) enum Text {
    Near([u8; NEAR], u8),
    Far(Box<[u8]>),
}

const NEAR: usize = 126;

impl Text {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Text::Near(bytes, length) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Text::Far(bytes) => bytes,
        }
    }
}

impl From<&CStr> for Text {
    #[inline]
    fn from(text: &CStr) -> Text {
        let bytes = text.to_bytes();
        let mut near = [0; NEAR];
        match (near.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(bytes);
                Text::Near(near, length)
            }
            _ => Text::Far(bytes.into()),
        }
    }
}

/// Gives the bytes of a `str` that is all ASCII, without a copy; None of any other.
pub(crate) fn ascii<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    // SAFETY: an attached `str`, whose data lie in the object itself, a byte a character.
    #[cfg(not(Py_3_14))]
    unsafe {
        let text = text.as_ptr();
        if ffi::PyUnicode_IS_COMPACT_ASCII(text) != 0 {
            let length = ffi::PyUnicode_GET_LENGTH(text).cast_unsigned();
            let data = ffi::PyUnicode_DATA(text).cast::<u8>();
            return Some(std::slice::from_raw_parts(data, length));
        }
    }
    let mut length = 0;
    // SAFETY: an attached `str`; its UTF-8 form is kept by the object. As many bytes as characters means ASCII.
    unsafe {
        let bytes = ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut length);
        if bytes.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        (length == ffi::PyUnicode_GetLength(text.as_ptr()))
            .then(|| std::slice::from_raw_parts(bytes.cast::<u8>(), length.cast_unsigned()))
    }
}

/// Makes a `String` of a `str`, to be shown. Bytes of httpd's that are no UTF-8 (surrogateescape) become U+FFFD; other lone
/// surrogates are written as `\\ud800`, so that none of the text is lost.
pub(crate) fn lossy(text: &Bound<'_, PyString>) -> String {
    String::from_utf8_lossy(&shown_bytes(text)).into_owned()
}

/// Encodes a `str` as UTF-8, for people to read.
fn shown_bytes(text: &Bound<'_, PyString>) -> Vec<u8> {
    if let Some(bytes) = super::exception::or_discard(text.py(), Encoding::Utf8.encode_text(text)) {
        return bytes;
    }
    // SAFETY: an attached `str`; NULL comes with an error set, which goes.
    let bytes = unsafe {
        let (encoding, errors) = (c"utf-8".as_ptr(), c"backslashreplace".as_ptr());
        let bytes = ffi::PyUnicode_AsEncodedString(text.as_ptr(), encoding, errors);
        if bytes.is_null() {
            ffi::PyErr_Clear();
        }
        Bound::from_owned_ptr_or_opt(text.py(), bytes)
    };
    let bytes = bytes.and_then(|bytes| bytes.cast_into::<PyBytes>().ok());
    bytes.map_or_else(
        || b"(no memory for a text)".to_vec(),
        |bytes| bytes.as_bytes().to_vec(),
    )
}

/// Copies a message for the log, `str` or a bytes-like object. As `copy`, but any `str` will do.
///
/// # Errors
/// TypeError for other types.
pub(crate) fn message(data: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    match data.cast::<PyString>() {
        Ok(text) => Ok(shown_bytes(text)),
        Err(_) => copy(data),
    }
}

/// A `str`, and where its bytes lie if it is all ASCII: to see quickly whether a text of httpd's is the same. Kept where a `Ref` may
/// be.
pub(crate) struct Known {
    text: Ref,
    /// NULL where it is not ASCII.
    bytes: *const u8,
    length: usize,
}

// SAFETY: the bytes of a `str` never change, and live as long as it, which the reference sees to; for that, see `Ref`.
unsafe impl Send for Known {}
// SAFETY: as above.
unsafe impl Sync for Known {}

impl Known {
    pub(crate) fn new(text: &Bound<'_, PyString>) -> Known {
        let bytes = ascii(text);
        Known {
            bytes: bytes.map_or(std::ptr::null(), <[u8]>::as_ptr),
            length: bytes.map_or(0, <[u8]>::len),
            text: Ref::new(text.clone().into_any()),
        }
    }

    /// Is the text all ASCII, and these its bytes? One that is not ASCII is not compared: false.
    #[inline]
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        // SAFETY: the text's bytes, see above.
        self.length == bytes.len()
            && !self.bytes.is_null()
            && unsafe { std::slice::from_raw_parts(self.bytes, self.length) } == bytes
    }

    pub(crate) fn bind<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.text.bind(py)
    }
}

/// Calls `body` with the bytes of `data`: `str` as UTF-8, bytes-like objects as they are.
///
/// # Errors
/// TypeError for other types; what `body` returns.
pub(crate) fn with_bytes<R>(
    data: &Bound<'_, PyAny>,
    body: impl FnOnce(&[u8]) -> PyResult<R>,
) -> PyResult<R> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return body(bytes.as_bytes());
    }
    if let Ok(text) = data.cast::<PyString>() {
        if let Some(bytes) = ascii(text) {
            return body(bytes);
        }
        let mut length = 0;
        // SAFETY: an attached `str`; the UTF-8 form is kept by the object, which outlives `body`.
        let bytes = unsafe {
            let bytes = ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut length);
            if bytes.is_null() {
                // It has lone surrogates: those that stand for bytes of httpd's (surrogateescape) become these bytes again.
                ffi::PyErr_Clear();
                return body(&Encoding::Utf8.encode_text(text)?);
            }
            std::slice::from_raw_parts(bytes.cast::<u8>(), length.cast_unsigned())
        };
        return body(bytes);
    }
    Buffer::of(data)?.with(body)
}

/// Copies the bytes of `data`, as `with_bytes` gives them, for use while no interpreter is attached.
///
/// # Errors
/// TypeError for other types.
pub(crate) fn copy(data: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    with_bytes(data, |bytes| Ok(bytes.to_vec()))
}

/// A contiguous view on a bytes-like object (PEP 3118).
struct Buffer(Box<ffi::Py_buffer>);

impl Buffer {
    fn of(data: &Bound<'_, PyAny>) -> PyResult<Buffer> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: fills the view or sets an error.
        if unsafe { ffi::PyObject_GetBuffer(data.as_ptr(), &raw mut *view, ffi::PyBUF_SIMPLE) } != 0
        {
            // SAFETY: attached.
            unsafe { ffi::PyErr_Clear() };
            let kind = data.get_type().name().map(|name| name.to_string());
            let kind = super::exception::or_discard(data.py(), kind).unwrap_or_default();
            return Err(PyTypeError::new_err(format!(
                "a str or a bytes-like object is required, not '{kind}'"
            )));
        }
        Ok(Buffer(view))
    }

    fn with<R>(self, body: impl FnOnce(&[u8]) -> PyResult<R>) -> PyResult<R> {
        if self.0.len == 0 {
            return body(&[]);
        }
        // SAFETY: PyBUF_SIMPLE gives `len` contiguous bytes; the exporter keeps them while the view lives. They are
        // copied by `body` while the interpreter is attached.
        body(unsafe {
            std::slice::from_raw_parts(self.0.buf.cast::<u8>(), self.0.len.cast_unsigned())
        })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the view was filled by PyObject_GetBuffer.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.0) }
    }
}
