//! `_cookie_pairs(text)`: what a Cookie header holds, before anything is decoded. `_cookies_sent`, `_cookie_value`: the same of a
//! request's, where nothing has to be decoded and no option says how.

use crate::config::ModPython;
use crate::embed::class::{self, Args};
use crate::embed::{Cx, blank, text};
use crate::httpd::apr::table::same;
use crate::objects::refusal::hold;
use crate::objects::request::{Made, Request};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use std::ffi::CStr;

type Object<'py> = Bound<'py, PyAny>;

/// `_cookie_pairs(text)`. What is not ASCII has other kinds of space, which Python knows: None.
pub(super) fn pairs<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let text = args.required(0)?;
    let text = text
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err("a Cookie header is a str"))?;
    let Some(bytes) = text::ascii(text) else {
        return Ok(cx.py.None().into_bound(cx.py));
    };
    let list = PyList::empty(cx.py);
    for (name, value) in Pairs(trimmed(bytes)) {
        let text =
            |part: &[u8]| PyString::new(cx.py, std::str::from_utf8(part).unwrap_or_default());
        list.append((text(name), text(value)))?;
    }
    Ok(list.into_any())
}

/// `_cookies_sent(req, class, names)`: cookies by name, as instances of a class, with a dict, the name and the value as the
/// attributes of these names; None for what needs a closer look.
pub(super) fn sent<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let (class, names) = (args.required(1)?, args.required(2)?);
    let names = names.cast::<PyTuple>()?;
    let (data, name, value) = (names.get_item(0)?, names.get_item(1)?, names.get_item(2)?);
    let Some(header) = plain_header(cx, &args.required(0)?)? else {
        return Ok(cx.py.None().into_bound(cx.py));
    };
    let found = PyDict::new(cx.py);
    for (key, sent) in plain_pairs(&header) {
        let (key, cookie) = (PyString::new(cx.py, key), blank::instance(&class)?);
        blank::set(&cookie, &data, PyDict::new(cx.py).as_any())?;
        blank::set(&cookie, &name, key.as_any())?;
        blank::set(&cookie, &value, PyString::new(cx.py, sent).as_any())?;
        found.set_item(key, cookie)?;
    }
    Ok(found.into_any())
}

/// `_cookie_value(req, name)`: the value of the last cookie of that name, None without one; False for what needs a closer look.
pub(super) fn value<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let wanted = args.required(1)?;
    let wanted = wanted.cast::<PyString>()?;
    let header = plain_header(cx, &args.required(0)?)?;
    let (Some(header), Some(wanted)) = (header, text::ascii(wanted)) else {
        return false.into_bound_py_any(cx.py);
    };
    let found = plain_pairs(&header).filter(|(name, _)| name.as_bytes() == wanted);
    found
        .last()
        .map(|(_, value)| value)
        .into_bound_py_any(cx.py)
}

/// A request's Cookie headers, as one; None where an option says how values are encoded, or there is something to decode.
fn plain_header(cx: Cx<'_>, request: &Object<'_>) -> PyResult<Option<String>> {
    let known = class::payload::<Request>(cx, request);
    let Some(known) = known.filter(|known| known.made(cx, Made::Options).is_none()) else {
        return Ok(None);
    };
    let held = hold(cx.py, known.lease())?;
    let request = held.request();
    let encoding = request.config::<ModPython>().common.option(ENCODING);
    if encoding.is_some_and(|encoding| !encoding.is_empty()) {
        return Ok(None);
    }
    let entries = request
        .headers_in()
        .into_iter()
        .flat_map(|table| table.entries());
    let mut header = Vec::new();
    for (_, value) in entries.filter(|(name, _)| same(name, c"cookie")) {
        if !header.is_empty() {
            header.extend(b"; ");
        }
        header.extend(value.map(CStr::to_bytes).unwrap_or_default());
    }
    let header = String::from_utf8(header).ok();
    Ok(header.filter(|header| header.is_ascii() && !header.contains('"')))
}

/// The option that says how values are encoded.
pub(super) const ENCODING: &str = "mod_python.cookie.encoding";

/// Names and values of a header in ASCII; names that begin with `$` are none of cookies (RFC 2109).
fn plain_pairs(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let text = |part| std::str::from_utf8(part).unwrap_or_default();
    let pairs =
        Pairs(trimmed(header.as_bytes())).map(move |(name, value)| (text(name), text(value)));
    pairs.filter(|(name, _)| !name.starts_with('$'))
}

/// What `str.isspace` says of ASCII.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | 0x1c..=0x1f | b' ')
}

/// Without what separates at the beginning.
fn trimmed(text: &[u8]) -> &[u8] {
    let first = text
        .iter()
        .position(|byte| !b", \t\r\n\x0c\x0b;=".contains(byte));
    first
        .and_then(|first| text.get(first..))
        .unwrap_or_default()
}

/// Names and values: `name = value;`, where a value may stand in double quotes, which hide a semicolon.
struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // A separator that is left stands for nothing.
        self.skip(|byte| byte == b';' || byte == b'=' || is_space(byte));
        let name = self.take(|byte| byte != b';' && byte != b'=' && !is_space(byte));
        if name.is_empty() {
            return None;
        }
        self.skip(is_space);
        if let [b'=', rest @ ..] = self.0 {
            self.0 = rest;
        }
        self.skip(is_space);
        let value = match quoted(self.0) {
            Some(length) => {
                let (value, rest) = self.0.split_at_checked(length).unwrap_or_default();
                self.0 = rest;
                value
            }
            None => self.take(|byte| byte != b';'),
        };
        self.skip(|byte| matches!(byte, b',' | b';' | b'=') || is_space(byte));
        Some((name, value))
    }
}

impl<'a> Pairs<'a> {
    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| !wanted(byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }

    fn skip(&mut self, unwanted: impl Fn(u8) -> bool) {
        self.take(unwanted);
    }
}

/// How long the text in double quotes is that begins here, quotes included.
fn quoted(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        return None;
    }
    let mut place = 1;
    loop {
        match text.get(place)? {
            b'"' => return Some(place + 1),
            b'\\' => {
                // It hides what follows, whatever that is; there must be something.
                text.get(place + 1)?;
                place += 2;
            }
            _ => place += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(header: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Pairs(trimmed(header.as_bytes()))
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    #[test]
    fn pairs_are_found() {
        let expected = [
            ("a", "1"),
            ("b", "\"x;\\\"y\""),
            ("c", ""),
            ("d", "e f"),
            ("g", "\"open"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        assert_eq!(
            texts(" ;a=1; b = \"x;\\\"y\" ,; c;d=e f;;g=\"open"),
            expected
        );
        assert_eq!(texts(""), []);
        assert_eq!(texts("\"\\"), [("\"\\".into(), String::new())]);
    }

    /// Every byte stands in a name, in a value, or separates.
    fn check(header: &[u8]) {
        let Ok(header) = std::str::from_utf8(header) else {
            return;
        };
        let length: usize = texts(header)
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(length <= header.len());
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("cookie", check);
    }
}
