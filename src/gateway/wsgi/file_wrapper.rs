//! `wsgi.file_wrapper(file, block_size=8192)`: a file that the server sends, and an iterable for middleware.

use crate::embed::cell::{Number, Ref, Slot};
use crate::embed::class::{self, Args, Class, Key, Method, Slots, This, method};
use crate::embed::{Cx, exception, text};
use crate::httpd::io::file_part::FilePart;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use std::ffi::CStr;

type Object<'py> = Bound<'py, PyAny>;

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
    const METHODS: &'static [Method<Self>] =
        &[method!(FileWrapper, c"close()", c"closes the file.", close)];
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

    fn key() -> &'static Key<Self> {
        static KEY: Key<FileWrapper> = Key::new();
        &KEY
    }

    fn references(&self, visit: &mut dyn FnMut(&Slot)) {
        self.file.iter().for_each(visit);
    }
}

/// Gives the class, which `environ` has under `wsgi.file_wrapper`.
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

fn close<'py>(this: This<'_, 'py, FileWrapper>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let file = this.file.first().and_then(|slot| slot.get(this.cx.py));
    if let Some(file) = file
        && let Some(close) = exception::attribute(&file, "close")?
    {
        close.call0()?;
    }
    this.cx.py.None().into_bound_py_any(this.cx.py)
}

/// Gives the file behind a wrapper, from its position on, where httpd can send it by its descriptor; None where it has to be read.
pub(super) fn part(cx: Cx<'_>, files: &Files, result: &Object<'_>) -> Option<FilePart> {
    // Iterating over an object of a subclass may give something else than the file's bytes.
    let class = exception::or_discard(cx.py, class(cx))?;
    if !result.get_type().is(&class) {
        return None;
    }
    let wrapper = class::payload::<FileWrapper>(cx, result)?;
    let file = wrapper.file.first().and_then(|slot| slot.get(cx.py))?;
    let file = exception::or_discard(cx.py, files.real(cx, &file)).flatten()?;
    let number = |method: &str| {
        let value = exception::or_discard(cx.py, file.call_method0(method))?;
        exception::or_discard(cx.py, class::integer(&value))
    };
    let readable = exception::or_discard(cx.py, file.call_method0("readable"))?;
    if !readable.is(pyo3::types::PyBool::new(cx.py, true)) {
        return None;
    }
    // What has been written may still be in Python's buffer.
    exception::or_discard(cx.py, file.call_method0("flush"))?;
    FilePart::new(i32::try_from(number("fileno")?).ok()?, number("tell")?)
}

/// The interpreter's classes of files, to compare with.
pub(super) struct Files {
    raw: Ref,
    reader: Ref,
    random: Ref,
    /// The class of methods of objects that are written in C, such as `file.read`.
    method: Ref,
}

impl Files {
    /// Finds the classes.
    ///
    /// # Errors
    /// What importing `_io` raises.
    pub(super) fn new(cx: Cx<'_>) -> PyResult<Files> {
        let io = cx.py.import("_io")?;
        let class = |name: &str| io.getattr(name).map(Ref::new);
        Ok(Files {
            raw: class("FileIO")?,
            reader: class("BufferedReader")?,
            random: class("BufferedRandom")?,
            method: Ref::new(io.getattr("open")?.get_type().into_any()),
        })
    }

    /// Finds the file whose bytes are what `file.read()` gives: `file` itself, if it is what `open(name, "rb")` makes, or the one
    /// that its `read` belongs to. None for others, even with a descriptor: reading them may give something else than the
    /// descriptor does (GzipFile).
    fn real<'py>(&self, cx: Cx<'py>, file: &Object<'py>) -> PyResult<Option<Object<'py>>> {
        if self.is_plain(cx, file)? {
            return Ok(Some(file.clone()));
        }
        if is_temporary(cx, file)? {
            let inner = file.getattr("file")?;
            return Ok(self.is_plain(cx, &inner)?.then_some(inner));
        }
        // `file.read` may be another file's own method (Django's File).
        let Some(read) = exception::attribute(file, "read")? else {
            return Ok(None);
        };
        if !is(cx, &read, &self.method) || !read.getattr("__name__")?.eq("read")? {
            return Ok(None);
        }
        let owner = read.getattr("__self__")?;
        Ok(self.is_plain(cx, &owner)?.then_some(owner))
    }

    /// Is it a raw file, or a buffer around one, without attributes that replace its methods?
    fn is_plain<'py>(&self, cx: Cx<'py>, file: &Object<'py>) -> PyResult<bool> {
        if is(cx, file, &self.raw) {
            return is_untouched(file);
        }
        if !is(cx, file, &self.reader) && !is(cx, file, &self.random) {
            return Ok(false);
        }
        let raw = file.getattr("raw")?;
        Ok(is(cx, &raw, &self.raw) && is_untouched(file)? && is_untouched(&raw)?)
    }
}

/// Is the object of exactly this class?
fn is(cx: Cx<'_>, object: &Object<'_>, class: &Ref) -> bool {
    object.get_type().is(class.bind(cx.py))
}

/// Has the object no attribute of its own by the name of one of its class?
fn is_untouched(object: &Object<'_>) -> PyResult<bool> {
    let (own, class) = (object.getattr("__dict__")?, object.get_type());
    for name in own.cast::<PyDict>()?.keys() {
        if has(class.as_any(), &text::lossy(name.cast::<PyString>()?))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has(object: &Object<'_>, name: &str) -> PyResult<bool> {
    exception::attribute(object, name).map(|found| found.is_some())
}

/// Is it what `tempfile.NamedTemporaryFile()` gives, and its `read` that of the file inside?
fn is_temporary<'py>(cx: Cx<'py>, file: &Object<'py>) -> PyResult<bool> {
    let class = file.get_type();
    if text::lossy(&class.name()?) != "_TemporaryFileWrapper" {
        return Ok(false);
    }
    let tempfile = cx.py.import("tempfile")?;
    let own = exception::attribute(tempfile.as_any(), "_TemporaryFileWrapper")?;
    Ok(own.is_some_and(|own| class.is(&own))
        && !has(class.as_any(), "read")?
        && !has(class.as_any(), "file")?
        && !file.getattr("__dict__")?.contains("read")?)
}
