//! `_cookie_set(req, name, value, attributes)`: a plain cookie goes out without an object that stands for it.

use crate::config::ModPython;
use crate::embed::class::{self, Args, integer};
use crate::embed::text;
use crate::embed::{Cx, exception};
use crate::exchange::Exchange;
use crate::httpd::request::header::is_name;
use crate::objects::refusal::hold;
use crate::objects::request::{Made, Request};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyString};
use std::cell::RefCell;
use std::ffi::CString;
use std::io::Write;

type Object<'py> = Bound<'py, PyAny>;

/// Attributes that are known here, in the order in which they are sent; how they are called there.
const ATTRIBUTES: [(&[u8], &[u8], Kind); 6] = [
    (b"path", b"Path", Kind::Text),
    (b"domain", b"Domain", Kind::Text),
    (b"secure", b"Secure", Kind::Flag),
    (b"max_age", b"Max-Age", Kind::Number),
    (b"samesite", b"SameSite", Kind::SameSite),
    (b"httponly", b"HttpOnly", Kind::Flag),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Number,
    SameSite,
}

/// `_cookie_set(req, name, value, attributes)`: has it been sent? Not where there is anything to encode, to refuse, or to look up.
pub(super) fn set<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let request = args.required(0)?;
    let known = class::payload::<Request>(cx, &request);
    let known = known.filter(|known| known.made(cx, Made::Options).is_none());
    let (name, value, attributes) = (args.required(1)?, args.required(2)?, args.required(3)?);
    let line = line(cx, &name, &value, attributes.cast::<PyDict>()?);
    let (Some(known), Some(line)) = (known, line.and_then(|line| CString::new(line).ok())) else {
        return false.into_bound_py_any(cx.py);
    };
    let held = hold(cx.py, known.lease())?;
    let request = held.request();
    let encoding = request
        .config::<ModPython>()
        .common
        .option(super::cookies::ENCODING);
    let tables = request.err_headers_out().zip(request.headers_out());
    let is_plain = encoding.is_none_or(str::is_empty);
    let Some((errors, headers)) = tables.filter(|_| is_plain) else {
        drop(held);
        return false.into_bound_py_any(cx.py);
    };
    Exchange::settle(cx.py, &held);
    if !errors.has(c"Set-Cookie") && !headers.has(c"Set-Cookie") {
        errors.add(c"Cache-Control", c"no-cache=\"set-cookie\"");
    }
    errors.add(c"Set-Cookie", &line);
    drop(held);
    true.into_bound_py_any(cx.py)
}

/// The header's value; None for what is not plain.
fn line(
    cx: Cx<'_>,
    name: &Object<'_>,
    value: &Object<'_>,
    given: &Bound<'_, PyDict>,
) -> Option<Vec<u8>> {
    let (name, value) = (plain(name)?, plain(value)?);
    if !is_name(&name) || !value.iter().all(|&byte| is_octet(byte)) {
        return None;
    }
    let shown: [RefCell<Option<Vec<u8>>>; ATTRIBUTES.len()] = Default::default();
    let done = given.locked_for_each(|key, attribute| {
        let found =
            attribute_of(cx, &key, &attribute).ok_or_else(|| PyTypeError::new_err("not plain"))?;
        if let (place, Some(text)) = found
            && let Some(shown) = shown.get(place)
        {
            shown.replace(Some(text));
        }
        Ok(())
    });
    exception::or_discard(cx.py, done)?;
    let mut line = [name.as_slice(), b"=", &value].concat();
    for text in shown.into_iter().filter_map(RefCell::into_inner) {
        line.extend(b"; ");
        line.extend(text);
    }
    Some(line)
}

/// Where an attribute stands, and its text, if it has any.
fn attribute_of(
    cx: Cx<'_>,
    key: &Object<'_>,
    value: &Object<'_>,
) -> Option<(usize, Option<Vec<u8>>)> {
    let key = key.cast_exact::<PyString>().ok().and_then(text::ascii)?;
    let place = ATTRIBUTES.iter().position(|(name, _, _)| *name == key)?;
    let &(_, shown, kind) = ATTRIBUTES.get(place)?;
    if value.is_none() {
        return Some((place, None));
    }
    let with = |value: &[u8]| Some((place, Some([shown, b"=", value].concat())));
    match kind {
        Kind::Flag => {
            let is_set = value.cast_exact::<PyBool>().ok()?.is_true();
            Some((place, is_set.then(|| shown.to_vec())))
        }
        Kind::Number => {
            value.cast_exact::<PyInt>().ok()?;
            let mut digits = Vec::new();
            _ = write!(digits, "{}", exception::or_discard(cx.py, integer(value))?);
            with(&digits)
        }
        Kind::SameSite => {
            let value = plain(value)?;
            let mut known = ["Lax", "Strict", "None"].into_iter();
            with(
                known
                    .find(|known| known.as_bytes().eq_ignore_ascii_case(&value))?
                    .as_bytes(),
            )
        }
        Kind::Text => {
            let value = plain(value)?;
            let can_stand = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b';';
            value.iter().all(can_stand).then(|| with(&value))?
        }
    }
}

/// The bytes of a `str` in ASCII, which nobody has made a class of their own of.
fn plain(text: &Object<'_>) -> Option<Vec<u8>> {
    text::ascii(text.cast_exact::<PyString>().ok()?).map(<[u8]>::to_vec)
}

/// A cookie-octet of RFC 6265, section 4.1.1.
fn is_octet(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~')
}
