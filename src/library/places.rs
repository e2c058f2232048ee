//! `_place(req)`: where the URL and the configuration have led to, as a key. `_signature(path)`: what tells a file from what it was.

use super::settings;
use crate::config::HANDLERS;
use crate::embed::Cx;
use crate::embed::class::{self, Args};
use crate::embed::text::Encoding;
use crate::exchange::Exchange;
use crate::httpd::request::lease::Held;
use crate::objects::refusal::hold;
use crate::objects::request::{Made, Request};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

type Object<'py> = Bound<'py, PyAny>;

/// `_place(req)`: everything that the publisher finds a page by, in one; None for what only looks like a request.
pub(super) fn place<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let request = args.required(0)?;
    let Some(known) = class::payload::<Request>(cx, &request) else {
        return Ok(cx.py.None().into_bound(cx.py));
    };
    let held = hold(cx.py, known.lease())?;
    let key = key_of(&held);
    drop(held);
    Ok(PyBytes::new(cx.py, &key).into_any())
}

/// `_page(req)`: allows the publisher's methods; is the request's one of them, what `_switches` says, and what `_place` does. None for
/// what only looks like a request, or has settings that a handler may have changed.
pub(super) fn page<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let request = args.required(0)?;
    let known = class::payload::<Request>(cx, &request);
    let Some(known) = known.filter(|known| known.made(cx, Made::Config).is_none()) else {
        return Ok(cx.py.None().into_bound(cx.py));
    };
    let held = hold(cx.py, known.lease())?;
    for method in METHODS {
        held.request().allow_method(method, false);
    }
    let is_known = held
        .request()
        .method()
        .is_some_and(|method| METHODS.contains(&method));
    let (debugs, reloads) = settings::of(held.request());
    let key = key_of(&held);
    drop(held);
    (is_known, debugs, reloads, PyBytes::new(cx.py, &key)).into_bound_py_any(cx.py)
}

/// The methods of the publisher.
const METHODS: [&CStr; 3] = [c"GET", c"POST", c"HEAD"];

fn key_of(held: &Held<'_, Exchange>) -> Vec<u8> {
    let (request, exchange) = (held.request(), held.value());
    let mut key = Key(Vec::with_capacity(256));
    key.add(request.filename().map(CStr::to_bytes));
    key.add(request.path_info().map(CStr::to_bytes));
    key.add(request.document_root().map(CStr::to_bytes));
    key.add(exchange.cursor.extension().as_deref().map(str::as_bytes));
    let entry = exchange.cursor.current(request);
    key.add(entry.and_then(|entry| entry.directory()).map(str::as_bytes));
    for extension in request.extensions_for(&HANDLERS) {
        key.add(Some(extension.as_bytes()));
    }
    key.0
}

/// Parts that cannot be taken for others: none of them holds a NUL.
struct Key(Vec<u8>);

impl Key {
    fn add(&mut self, part: Option<&[u8]>) {
        if let Some(part) = part {
            self.0.push(b'=');
            self.0.extend(part);
        }
        self.0.push(0);
    }
}

/// `_signature(path)`: None where there is no regular file.
pub(super) fn signature<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let path = Encoding::Utf8.encode(&args.required(0)?)?;
    let found = cx.detached(path.as_c_str(), |path| {
        let status = std::fs::metadata(OsStr::from_bytes(path.to_bytes())).ok()?;
        let time = i128::from(status.mtime()) * 1_000_000_000 + i128::from(status.mtime_nsec());
        status.is_file().then(|| {
            (
                i64::try_from(time).unwrap_or(0),
                status.size(),
                status.ino(),
            )
        })
    });
    found.into_bound_py_any(cx.py)
}
