//! `_record_pack(record)` and `_record_unpack(data)`: what a session keeps as JSON, where that is plain. What is not (other types,
//! half characters, numbers beyond 64 bits, deep nesting) is None, and Python's own to do.

use crate::embed::Cx;
use crate::embed::class::{Args, integer};
use crate::embed::exception;
use crate::embed::text;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};
use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write;

type Object<'py> = Bound<'py, PyAny>;

/// What begins the data of a record in JSON.
const MARK: u8 = b'J';
/// The only key of an object that stands for something JSON does not have.
const TAG: &[u8] = b"!";
/// Levels of lists and objects.
const DEEPEST: usize = 20;

/// `_record_pack(record)`: as json.dumps writes it without spaces, behind the mark.
pub(super) fn pack<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let record = args.required(0)?;
    let mut out = Vec::with_capacity(512);
    out.push(MARK);
    if record.is_exact_instance_of::<PyDict>() && write(cx, &record, &mut out, DEEPEST) {
        return Ok(PyBytes::new(cx.py, &out).into_any());
    }
    Ok(cx.py.None().into_bound(cx.py))
}

/// Writes a value; false for one that is not plain. Where it is, nothing runs any Python code meanwhile.
fn write(cx: Cx<'_>, value: &Object<'_>, out: &mut Vec<u8>, deeper: usize) -> bool {
    if let Ok(text) = value.cast_exact::<PyString>() {
        return write_text(cx, text, out);
    }
    if value.is_none() {
        out.extend(b"null");
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        out.extend(if flag.is_true() {
            &b"true"[..]
        } else {
            b"false"
        });
    } else if value.is_exact_instance_of::<PyInt>() {
        let Some(number) = exception::or_discard(cx.py, integer(value)) else {
            return false;
        };
        _ = write!(out, "{number}");
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        let number = number.value();
        // Between these both languages write the shortest digits that mean the number, and no exponent. Where two are as near, the
        // last one may be another.
        if number != 0.0 && !(1e-3..1e15).contains(&number.abs()) {
            return false;
        }
        _ = write!(out, "{number:?}");
    } else if deeper == 0 {
        return false;
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        out.push(b'[');
        for (place, item) in list.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            if !write(cx, &item, out, deeper - 1) {
                return false;
            }
        }
        out.push(b']');
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        return write_dict(cx, dict, out, deeper - 1);
    } else {
        return false;
    }
    true
}

fn write_dict(cx: Cx<'_>, dict: &Bound<'_, PyDict>, out: &mut Vec<u8>, deeper: usize) -> bool {
    out.push(b'{');
    let state = RefCell::new((&mut *out, false));
    let done = dict.locked_for_each(|key, value| {
        let mut state = state.borrow_mut();
        let (out, is_further) = &mut *state;
        if *is_further {
            out.push(b',');
        }
        *is_further = true;
        let Ok(key) = key.cast_exact::<PyString>() else {
            return Err(unlike());
        };
        let is_written = text::ascii(key) != Some(TAG) && write_text(cx, key, out);
        out.push(b':');
        // An error ends this at once: what has been raised and let go of may have run anything, which may have changed the dict.
        if is_written && write(cx, &value, out, deeper) {
            Ok(())
        } else {
            Err(unlike())
        }
    });
    out.push(b'}');
    exception::or_discard(cx.py, done).is_some()
}

fn unlike() -> PyErr {
    PyTypeError::new_err("not plain")
}

/// Writes a `str` in quotes, in ASCII alone; false where it holds half a character.
fn write_text(cx: Cx<'_>, text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    out.push(b'"');
    match text::ascii(text) {
        Some(bytes) if bytes.iter().all(|&byte| plain(byte)) => out.extend(bytes),
        _ => {
            let Some(text) = exception::or_discard(cx.py, text.to_str()) else {
                return false;
            };
            let mut units = [0; 2];
            for character in text.chars() {
                match character {
                    '"' => out.extend(br#"\""#),
                    '\\' => out.extend(br"\\"),
                    '\n' => out.extend(br"\n"),
                    '\r' => out.extend(br"\r"),
                    '\t' => out.extend(br"\t"),
                    '\x08' => out.extend(br"\b"),
                    '\x0c' => out.extend(br"\f"),
                    ' '..='~' => _ = write!(out, "{character}"),
                    _ => {
                        for unit in character.encode_utf16(&mut units) {
                            _ = write!(out, "\\u{unit:04x}");
                        }
                    }
                }
            }
        }
    }
    out.push(b'"');
    true
}

/// `_record_unpack(data)`: the record in what `pack` has written, or something else has that knows JSON.
pub(super) fn unpack<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let data = args.required(0)?;
    let none = || cx.py.None().into_bound(cx.py);
    let Ok(data) = data.cast::<PyBytes>() else {
        return Ok(none());
    };
    let Some(rest) = data.as_bytes().strip_prefix(&[MARK]) else {
        return Ok(none());
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return Ok(none());
    };
    let mut reader = Reader { cx, text, place: 0 };
    reader.space();
    let found = match reader.peek() {
        Some(b'{') => reader.value(DEEPEST)?,
        _ => None,
    };
    reader.space();
    Ok(found
        .filter(|_| reader.place == text.len())
        .unwrap_or_else(none))
}

/// JSON that is read from the left. What it gives None for may be wrong, or be too much for it.
struct Reader<'a, 'py> {
    cx: Cx<'py>,
    text: &'a str,
    place: usize,
}

impl<'a, 'py> Reader<'a, 'py> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.place..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn space(&mut self) {
        let rest = self.rest().iter();
        self.place += rest
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            .count();
    }

    fn take(&mut self, wanted: &[u8]) -> bool {
        let is_there = self.rest().starts_with(wanted);
        self.place += if is_there { wanted.len() } else { 0 };
        is_there
    }

    fn value(&mut self, deeper: usize) -> PyResult<Option<Object<'py>>> {
        let py = self.cx.py;
        match self.peek() {
            Some(b'"') => {
                let text = self.string();
                text.map(|text| text.as_ref().into_bound_py_any(py))
                    .transpose()
            }
            Some(b'{') if deeper > 0 => self.object(deeper - 1),
            Some(b'[') if deeper > 0 => self.array(deeper - 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take(b"true") => Ok(Some(true.into_bound_py_any(py)?)),
            _ if self.take(b"false") => Ok(Some(false.into_bound_py_any(py)?)),
            _ if self.take(b"null") => Ok(Some(py.None().into_bound(py))),
            _ => Ok(None),
        }
    }

    fn object(&mut self, deeper: usize) -> PyResult<Option<Object<'py>>> {
        let dict = PyDict::new(self.cx.py);
        self.place += 1;
        self.space();
        if self.take(b"}") {
            return Ok(Some(dict.into_any()));
        }
        loop {
            let key = match self.peek() {
                Some(b'"') => self.string(),
                _ => None,
            };
            let Some(key) = key.filter(|key| key.as_bytes() != TAG) else {
                return Ok(None);
            };
            self.space();
            if !self.take(b":") {
                return Ok(None);
            }
            self.space();
            let Some(value) = self.value(deeper)? else {
                return Ok(None);
            };
            dict.set_item(key.as_ref(), value)?;
            self.space();
            if self.take(b"}") {
                return Ok(Some(dict.into_any()));
            }
            if !self.take(b",") {
                return Ok(None);
            }
            self.space();
        }
    }

    fn array(&mut self, deeper: usize) -> PyResult<Option<Object<'py>>> {
        let list = PyList::empty(self.cx.py);
        self.place += 1;
        self.space();
        if self.take(b"]") {
            return Ok(Some(list.into_any()));
        }
        loop {
            let Some(value) = self.value(deeper)? else {
                return Ok(None);
            };
            list.append(value)?;
            self.space();
            if self.take(b"]") {
                return Ok(Some(list.into_any()));
            }
            if !self.take(b",") {
                return Ok(None);
            }
            self.space();
        }
    }

    fn number(&mut self) -> PyResult<Option<Object<'py>>> {
        let (rest, py) = (self.rest(), self.cx.py);
        let digits = |from: usize| {
            let rest = rest.get(from..).unwrap_or_default().iter();
            rest.take_while(|byte| byte.is_ascii_digit()).count()
        };
        let first = usize::from(rest.first() == Some(&b'-'));
        let whole = first + digits(first);
        let is_number = match rest.get(first..whole) {
            Some(b"0") => true,
            Some([first, ..]) => *first != b'0',
            _ => false,
        };
        let mut end = whole;
        if rest.get(end) == Some(&b'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
        }
        if matches!(rest.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
            let count = digits(end + 1 + sign);
            end += if count > 0 { 1 + sign + count } else { 0 };
        }
        let text = self.text.get(self.place..self.place + end);
        let Some(text) = text.filter(|_| is_number) else {
            return Ok(None);
        };
        self.place += end;
        if end == whole {
            let number = text.parse::<i64>().ok();
            return number
                .map(|number| number.into_bound_py_any(py))
                .transpose();
        }
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number
            .map(|number| number.into_bound_py_any(py))
            .transpose()
    }

    /// A text in quotes, of which the first is next; None for one that holds half a character.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.place += 1;
        let end = |rest: &[u8]| {
            let stops = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < b' ';
            rest.iter().position(stops)
        };
        let piece = self.text.get(self.place..self.place + end(self.rest())?)?;
        self.place += piece.len();
        if self.take(b"\"") {
            return Some(piece.into());
        }
        let mut text = piece.to_owned();
        loop {
            if self.take(b"\"") {
                return Some(text.into());
            }
            if !self.take(b"\\") {
                return None;
            }
            let escape = self.peek()?;
            self.place += 1;
            text.push(match escape {
                b'"' | b'\\' | b'/' => char::from(escape),
                b'b' => '\x08',
                b'f' => '\x0c',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.escaped()?,
                _ => return None,
            });
            let piece = self.text.get(self.place..self.place + end(self.rest())?)?;
            self.place += piece.len();
            text.push_str(piece);
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(u32::from(first));
        }
        if !self.take(b"\\u") {
            return None;
        }
        let second = self.unit()?;
        char::decode_utf16([first, second]).next()?.ok()
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.place..self.place + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.place += 4;
        u16::from_str_radix(digits, 16).ok()
    }
}
