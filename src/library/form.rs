//! `_form_fields(data, keep_blank_values, most, decode)`: an urlencoded form that is there as a whole.

use crate::config::ModPython;
use crate::embed::Cx;
use crate::embed::class::{self, Args};
use crate::embed::text::{self, Encoding, Text};
use crate::objects::query;
use crate::objects::refusal::hold;
use crate::objects::request::{Made, Request};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use std::ffi::CStr;

type Object<'py> = Bound<'py, PyAny>;

/// The field by which browsers say what charset a form is in.
const CHARSET: &[u8] = b"_charset_";

/// `_form_fields(data, keep_blank_values, most, decode)`: a tuple of the number of fields, a list of names and values, or None
/// where there are more than `most` (negative: any number), and whether all of that is text. With `decode` they are text (UTF-8), unless the form names a charset; a value that is
/// no UTF-8 stays bytes. Without, all of them are bytes.
pub(super) fn fields<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let data = args.required(0)?;
    let keep_blank = args.required(1)?.is_truthy()?;
    let most = usize::try_from(args.integer_or(2, -1)?).ok();
    let decode = args.required(3)?.is_truthy()?;
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return found(cx, bytes.as_bytes(), keep_blank, most, decode);
    }
    let Ok(text) = data.cast::<PyString>() else {
        return Err(PyTypeError::new_err("a form is bytes or str"));
    };
    match text::ascii(text) {
        Some(bytes) => found(cx, bytes, keep_blank, most, decode),
        None => found(
            cx,
            &Encoding::Utf8.encode_bytes(&data)?,
            keep_blank,
            most,
            decode,
        ),
    }
}

/// `_query_texts(req, keep_blank_values, most)`. It needs a closer look where an option says something about forms, a value is
/// no UTF-8, the form names a charset or has more than `most` fields.
pub(super) fn query_texts<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let none = || cx.py.None().into_bound(cx.py);
    let request = args.required(0)?;
    let keep_blank = args.required(1)?.is_truthy()?;
    let most = usize::try_from(args.integer_or(2, 0)?).unwrap_or(0);
    let Some(known) = class::payload::<Request>(cx, &request) else {
        return Ok(none());
    };
    if known.made(cx, Made::Options).is_some() {
        return Ok(none());
    }
    let query = {
        let held = hold(cx.py, known.lease())?;
        let host = held.request();
        let mut options = host.config::<ModPython>().common.options.iter();
        let start = |name: &str| {
            name.get(..OPTIONS.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(OPTIONS))
        };
        if host.method().map(CStr::to_bytes) == Some(b"POST")
            || options.any(|(name, _)| start(name))
        {
            return Ok(none());
        }
        host.args().map(Text::from)
    };
    let list = PyList::empty(cx.py);
    let query = query.as_ref().map(Text::bytes).unwrap_or_default();
    let parts: Vec<_> = query::parts(query).collect();
    if query.len() > LONG || parts.len() > most {
        return Ok(none());
    }
    for (name, value) in parts.into_iter().map(query::pair) {
        if value.is_empty() && !keep_blank {
            continue;
        }
        match (std::str::from_utf8(&name), std::str::from_utf8(&value)) {
            (Ok(name), Ok(value)) if name.as_bytes() != CHARSET => list.append((name, value))?,
            _ => return Ok(none()),
        }
    }
    Ok(list.into_any())
}

/// Bytes of a query that is looked at closer.
const LONG: usize = 65536;
/// What options about forms begin with.
const OPTIONS: &str = "mod_python.form.";

fn found<'py>(
    cx: Cx<'py>,
    data: &[u8],
    keep_blank: bool,
    most: Option<usize>,
    decode: bool,
) -> PyResult<Object<'py>> {
    let parts: Vec<_> = query::parts(data).collect();
    let count = parts.len();
    if most.is_some_and(|most| count > most) {
        return (count, cx.py.None(), false).into_bound_py_any(cx.py);
    }
    let pairs = parts.into_iter().map(query::pair);
    let pairs: Vec<_> = pairs
        .filter(|(_, value)| keep_blank || !value.is_empty())
        .collect();
    let decode = decode && !pairs.iter().any(|(name, _)| **name == *CHARSET);
    let (list, mut is_text) = (PyList::empty(cx.py), true);
    for (name, value) in pairs {
        if decode {
            let value = text_or_bytes(cx, &value)?;
            is_text &= value.is_instance_of::<PyString>();
            list.append((lossy(cx, &name)?, value))?;
        } else {
            is_text = false;
            list.append((PyBytes::new(cx.py, &name), PyBytes::new(cx.py, &value)))?;
        }
    }
    (count, list, is_text).into_bound_py_any(cx.py)
}

fn lossy<'py>(cx: Cx<'py>, bytes: &[u8]) -> PyResult<Object<'py>> {
    match text_or_bytes(cx, bytes)? {
        text if text.is_instance_of::<PyString>() => Ok(text),
        bytes => bytes.call_method1("decode", ("utf-8", "replace")),
    }
}

fn text_or_bytes<'py>(cx: Cx<'py>, bytes: &[u8]) -> PyResult<Object<'py>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PyString::new(cx.py, text).into_any()),
        Err(_) => Ok(PyBytes::new(cx.py, bytes).into_any()),
    }
}
