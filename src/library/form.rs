//! Urlencoded forms that are there as a whole: `_form_fields`, `_query_texts`, and the fields of them, `_text_fields`.

use crate::config::ModPython;
use crate::embed::class::{self, Args};
use crate::embed::text::{self, Encoding, Text};
use crate::embed::{Cx, blank};
use crate::httpd::apr::table::same;
use crate::httpd::request::Request as Host;
use crate::objects::query;
use crate::objects::refusal::hold;
use crate::objects::request::{Made, Request};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
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

/// `_query_texts(req, keep_blank_values, most, block)`. It needs a closer look where an option says something about forms, a value
/// is no UTF-8, the form names a charset or has more than `most` fields. A body is read here where it is urlencoded: where its first
/// `block` bytes are not all of it, or need that look, they are given.
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
    let (query, has_body) = {
        let held = hold(cx.py, known.lease())?;
        let host = held.request();
        let mut options = host.config::<ModPython>().common.options.iter();
        let start = |name: &str| {
            name.get(..OPTIONS.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(OPTIONS))
        };
        let has_body = host.method().map(CStr::to_bytes) == Some(b"POST");
        if options.any(|(name, _)| start(name)) || (has_body && !is_encoded(host)) {
            return Ok(none());
        }
        (host.args().map(Text::from), has_body)
    };
    let query = query.as_ref().map(Text::bytes).unwrap_or_default();
    if query.len() > LONG {
        return Ok(none());
    }
    let list = PyList::empty(cx.py);
    if !has_body {
        let is_plain = add_texts(&list, &[query], keep_blank, most)?;
        return Ok(if is_plain { list.into_any() } else { none() });
    }
    let size = usize::try_from(args.integer_or(3, 0)?).unwrap_or(0);
    let block = request.call_method1("read", (size,))?;
    let Ok(body) = block.cast::<PyBytes>() else {
        return Ok(block);
    };
    let body = body.as_bytes();
    let is_plain = body.len() < size && add_texts(&list, &[query, body], keep_blank, most)?;
    Ok(if is_plain { list.into_any() } else { block })
}

/// Is the body what a form without a content type is, and nothing else said of it?
fn is_encoded(request: Host<'_>) -> bool {
    let table = request.headers_in();
    let mut sent = table
        .into_iter()
        .flat_map(|table| table.entries())
        .filter(|(name, _)| same(name, c"content-type"))
        .map(|(_, value)| value.map(CStr::to_bytes).unwrap_or_default());
    let first = sent.next().unwrap_or_default();
    let is_ours = |rest: &[u8]| rest.is_empty() || rest.eq_ignore_ascii_case(b"; charset=utf-8");
    let is_encoded = first.is_empty() || first.strip_prefix(ENCODED).is_some_and(is_ours);
    is_encoded && sent.next().is_none()
}

/// Adds the names and values of a form; false where that needs a closer look.
fn add_texts(
    list: &Bound<'_, PyList>,
    pieces: &[&[u8]],
    keep_blank: bool,
    most: usize,
) -> PyResult<bool> {
    let parts: Vec<_> = pieces
        .iter()
        .flat_map(|piece| query::parts(piece))
        .collect();
    if parts.len() > most {
        return Ok(false);
    }
    for (name, value) in parts.into_iter().map(query::pair) {
        if value.is_empty() && !keep_blank {
            continue;
        }
        match (std::str::from_utf8(&name), std::str::from_utf8(&value)) {
            (Ok(name), Ok(value)) if name.as_bytes() != CHARSET => list.append((name, value))?,
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// `_text_fields(texts, name, class, attribute)`: the fields of a name, as instances of a class that is called with the text alone, with
/// their names in that attribute.
pub(super) fn text_fields<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let (texts, wanted) = (args.required(0)?, args.required(1)?);
    let (class, attribute) = (args.required(2)?, args.required(3)?);
    let made = PyList::empty(cx.py);
    for pair in texts.cast::<PyList>()? {
        let pair = pair.cast_into::<PyTuple>()?;
        let name = pair.get_item(0)?;
        if name.eq(&wanted)? {
            let field = class.call1((pair.get_item(1)?,))?;
            blank::set(&field, &attribute, &name)?;
            made.append(field)?;
        }
    }
    Ok(made.into_any())
}

/// The content type of a form that says nothing else.
const ENCODED: &[u8] = b"application/x-www-form-urlencoded";
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
