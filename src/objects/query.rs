//! `_apache.parse_qs` and `parse_qsl`: a query string, or a form in the same encoding, as names and values.

use crate::embed::Cx;
use crate::embed::class::Args;
use crate::embed::text::Encoding;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use std::borrow::Cow;

type Object<'py> = Bound<'py, PyAny>;

pub(super) fn parse_qs<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let found = PyDict::new(cx.py);
    parse(cx, &args, |name, value| match found.get_item(&name)? {
        Some(values) => values.cast::<PyList>()?.append(value),
        None => found.set_item(name, PyList::new(cx.py, [value])?),
    })?;
    Ok(found.into_any())
}

pub(super) fn parse_qsl<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let found = PyList::empty(cx.py);
    parse(cx, &args, |name, value| found.append((name, value)))?;
    Ok(found.into_any())
}

/// Text gives text (UTF-8, what is not becomes U+FFFD), bytes give bytes.
fn parse<'py>(
    cx: Cx<'py>,
    args: &Args<'_, 'py>,
    mut take: impl FnMut(Object<'py>, Object<'py>) -> PyResult<()>,
) -> PyResult<()> {
    let query = args.required(0)?;
    let keep_blank = args.get(1).map_or(Ok(false), |keep| keep.is_truthy())?;
    let (bytes, as_text) = if let Ok(bytes) = query.cast::<PyBytes>() {
        (bytes.as_bytes().to_vec(), false)
    } else if query.is_instance_of::<PyString>() {
        (Encoding::Utf8.encode_bytes(&query)?, true)
    } else {
        return Err(PyTypeError::new_err("not an ISO-8859-1 string"));
    };
    let object = |part: Cow<'_, [u8]>| {
        if as_text {
            PyString::new(cx.py, &String::from_utf8_lossy(&part)).into_any()
        } else {
            PyBytes::new(cx.py, &part).into_any()
        }
    };
    for (name, value) in pairs(&bytes) {
        if !value.is_empty() || keep_blank {
            take(object(name), object(value))?;
        }
    }
    Ok(())
}

/// The fields between `&` and `;` as they were sent, those without a value among them.
pub(crate) fn parts(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = query.split(|&byte| byte == b'&' || byte == b';');
    parts.filter(|part| !part.is_empty())
}

fn pairs(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    parts(query).map(pair)
}

/// Name and value of a field, decoded. What has no `=` has an empty value.
pub(crate) fn pair(part: &[u8]) -> (Cow<'_, [u8]>, Cow<'_, [u8]>) {
    let equals = part.iter().position(|&byte| byte == b'=');
    let (name, value) = part.split_at(equals.unwrap_or(part.len()));
    (unescape(name), unescape(value.get(1..).unwrap_or_default()))
}

/// `+` is a space, `%xx` a byte; a `%` without two digits stays.
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'+') && !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut spaced = text.to_vec();
    for byte in &mut spaced {
        *byte = if *byte == b'+' { b' ' } else { *byte };
    }
    if !spaced.contains(&b'%') {
        return Cow::Owned(spaced);
    }
    let mut result = Vec::with_capacity(spaced.len());
    let mut pieces = spaced.split(|&byte| byte == b'%');
    result.extend_from_slice(pieces.next().unwrap_or_default());
    for piece in pieces {
        let plain = match escaped(piece) {
            Some(value) => {
                result.push(value);
                piece.get(2..).unwrap_or_default()
            }
            None => {
                result.push(b'%');
                piece
            }
        };
        result.extend_from_slice(plain);
    }
    Cow::Owned(result)
}

/// The byte that two digits stand for.
fn escaped(text: &[u8]) -> Option<u8> {
    let (high, low) = (text.first()?, text.get(1)?);
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// The value of a hexadecimal digit.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(query: &str) -> Vec<(String, String)> {
        let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
        pairs(query.as_bytes())
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    #[test]
    fn pairs_are_decoded() {
        let expected = [
            ("a", "1"),
            ("b", "x y"),
            ("c", "%zz%"),
            ("", "v"),
            ("d", "=/"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        assert_eq!(texts("a=1&b=x+y;c=%zz%&=v&&d==%2F"), expected);
        assert_eq!(&*unescape(b"%00%ff%4"), b"\0\xff%4");
    }

    /// As the same rules read when they are written down otherwise: part by part, from the end.
    fn check(query: &[u8]) {
        let found: Vec<_> = pairs(query).collect();
        let separators = query.iter().filter(|byte| b"&;".contains(byte)).count();
        assert!(found.len() <= separators + 1);
        let length: usize = found
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(length <= query.len());
        // Encoded again, and read again, they are the same.
        let encode =
            |text: &[u8]| -> String { text.iter().map(|byte| format!("%{byte:02x}")).collect() };
        let again: Vec<String> = found
            .iter()
            .map(|(name, value)| [encode(name), "=".into(), encode(value)].concat())
            .collect();
        let again = again.join("&");
        let reread: Vec<_> = pairs(again.as_bytes()).collect();
        assert_eq!(reread, found);
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("query", check);
    }
}
