//! `wsgi.file_wrapper(file, block_size=8192)`: a file that the server sends, and an iterable for middleware.

use super::Object;
use crate::embed::Cx;
use crate::embed::cell::{Number, Slot};
use crate::embed::class::{self, Args, Class, Method, Slots, This};
use crate::embed::exception;
use crate::httpd::body::file_size;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::ffi::CStr;

/// A file, or what reads like one.
pub(super) struct FileWrapper {
    file: [Slot; 1],
    block: Number,
}

const BLOCK: i64 = 8192;

impl Class for FileWrapper {
    const NAME: &'static CStr = c"mp_file_wrapper";
    const DOC: &'static CStr =
        c"FileWrapper(file, block_size=8192): sent by the server, if it is a real file (PEP 3333).";
    const PLACE: usize = 9;
    const METHODS: &'static [Method<Self>] =
        &[Method::new(c"close", c"close(): closes the file.", close)];
    const SLOTS: Slots<Self> = Slots {
        new: Some(|_| {
            Ok(FileWrapper {
                file: Default::default(),
                block: Number::new(BLOCK),
            })
        }),
        init: Some(init),
        iter: Some(|this| Ok(this.object())),
        next: Some(next),
        ..Slots::NONE
    };

    fn references(&self) -> &[Slot] {
        &self.file
    }
}

/// The class, as `environ` has it.
pub(super) fn class(cx: Cx<'_>) -> PyResult<Object<'_>> {
    class::class_of::<FileWrapper>(cx)
}

fn init<'py>(
    this: This<'_, 'py, FileWrapper>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<()> {
    let named = |name: &str| kwargs.map_or(Ok(None), |kwargs| kwargs.get_item(name));
    let file = match args.len() {
        0 => named("filelike")?.or(named("file")?),
        1 | 2 => Some(args.get_item(0)?),
        _ => None,
    };
    let file = file.ok_or_else(|| PyTypeError::new_err("file_wrapper(file, block_size=8192)"))?;
    let block = match args.len() {
        2 => Some(args.get_item(1)?),
        _ => named("block_size")?.or(named("blksize")?),
    };
    if let Some(block) = block {
        this.block.set(class::integer(&block)?.max(1));
    }
    let kept = this.file.first().map(|slot| slot.fill(file.clone()));
    match kept {
        Some(kept) if !kept.is(&file) => {
            Err(PyTypeError::new_err("the wrapper has a file already"))
        }
        _ => Ok(()),
    }
}

fn next<'py>(this: This<'_, 'py, FileWrapper>) -> PyResult<Option<Object<'py>>> {
    let file = this.file.first().and_then(|slot| slot.get(this.cx.py));
    let Some(file) = file else { return Ok(None) };
    let data = file.call_method1("read", (this.block.get(),))?;
    Ok(data.is_truthy()?.then_some(data))
}

fn close<'py>(this: This<'_, 'py, FileWrapper>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("close", 0..=0)?;
    let file = this.file.first().and_then(|slot| slot.get(this.cx.py));
    if let Some(file) = file
        && let Some(close) = exception::attribute(&file, "close")?
    {
        close.call0()?;
    }
    this.cx.py.None().into_bound_py_any(this.cx.py)
}

/// A part of a real file.
pub(super) struct Part {
    pub(super) descriptor: i32,
    pub(super) offset: i64,
    /// From there to the file's end.
    pub(super) length: i64,
}

/// The real file behind a wrapper, from where it stands; None where it must be read.
pub(super) fn part(cx: Cx<'_>, result: &Object<'_>) -> Option<Part> {
    let wrapper = class::payload::<FileWrapper>(cx, result)?;
    let file = wrapper.file.first().and_then(|slot| slot.get(cx.py))?;
    let number = |method: &str| {
        let value = exception::or_discard(cx.py, file.call_method0(method))?;
        exception::or_discard(cx.py, class::integer(&value))
    };
    if !is_plain(cx, &file) {
        return None;
    }
    let descriptor = i32::try_from(number("fileno")?).ok()?;
    let (size, offset) = (file_size(descriptor)?, number("tell")?);
    (0..=size).contains(&offset).then(|| Part {
        descriptor,
        offset,
        length: size - offset,
    })
}

/// Is this what `open(name, "rb")` gives, or a temporary file around it? Others have a descriptor, too, but give something
/// else than what lies behind it: text files, gzip's.
fn is_plain<'py>(cx: Cx<'py>, file: &Object<'py>) -> bool {
    let is = |object: &Object<'_>, name: &str| {
        let kind = object.get_type();
        let found = kind.module().and_then(|module| {
            Ok(module.to_string_lossy() == "_io" && kind.name()?.to_string_lossy() == name)
        });
        exception::or_discard(cx.py, found).unwrap_or(false)
    };
    let inner = attribute(cx, file, "file");
    let file = inner.as_ref().unwrap_or(file);
    let raw = attribute(cx, file, "raw");
    let buffered = is(file, "BufferedReader") || is(file, "BufferedRandom");
    is(file, "FileIO") || buffered && raw.is_some_and(|raw| is(&raw, "FileIO"))
}

fn attribute<'py>(cx: Cx<'py>, object: &Object<'py>, name: &str) -> Option<Object<'py>> {
    exception::or_discard(cx.py, exception::attribute(object, name)).flatten()
}
