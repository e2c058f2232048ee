//! The messages that an application sends, as dicts; and the interned texts that they, and those it receives, are made of.

use crate::embed::cell::Ref;
use crate::embed::{Cx, PerInterpreter, dict, exception, text};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

type Object<'py> = Bound<'py, PyAny>;

macro_rules! keys {
    ($($name:ident $text:literal),* $(,)?) => {
        /// Interned texts.
        pub(super) struct Keys { $(pub(super) $name: Ref),* }

        impl Keys {
            fn new(cx: Cx<'_>) -> Keys {
                Keys { $($name: interned(cx, $text)),* }
            }
        }
    };
}

keys! {
    kind "type", status "status", headers "headers", body "body", more_body "more_body",
    path "path", links "links", info "info", trailers "trailers", more_trailers "more_trailers", request "http.request", disconnect "http.disconnect",
    bytes "bytes", text "text", code "code", reason "reason", subprotocol "subprotocol",
    connect "websocket.connect", received "websocket.receive", closed "websocket.disconnect",
}

/// Interns a text in this interpreter.
pub(super) fn interned(cx: Cx<'_>, text: &str) -> Ref {
    Ref::new(PyString::intern(cx.py, text).into_any())
}

static KEYS: PerInterpreter<Keys> = PerInterpreter::new();

/// This interpreter's.
pub(super) fn keys(cx: Cx<'_>) -> &'static Keys {
    let Ok(keys) = KEYS.get(cx, || Ok::<_, std::convert::Infallible>(Keys::new(cx)));
    keys
}

/// A message that an application sends.
pub(super) struct Message<'py> {
    cx: Cx<'py>,
    dict: Bound<'py, PyDict>,
    kind: Bound<'py, PyString>,
}

impl<'py> Message<'py> {
    /// # Errors
    /// TypeError where it is no dict with a `type`.
    pub(super) fn new(cx: Cx<'py>, message: Object<'py>) -> PyResult<Message<'py>> {
        let wrong = |what: &str| PyTypeError::new_err(format!("ASGI: {what}"));
        let dict = message
            .cast_into::<PyDict>()
            .map_err(|_| wrong("a message must be a dict"))?;
        let kind = dict::get(dict.as_any(), &keys(cx).kind.bind(cx.py))?;
        let kind = kind.ok_or_else(|| wrong("a message must have a type"))?;
        let kind = kind
            .cast_into::<PyString>()
            .map_err(|_| wrong("the type of a message must be a str"))?;
        Ok(Message { cx, dict, kind })
    }

    /// Its type; one that is no ASCII is none that we know.
    pub(super) fn kind(&self) -> &str {
        let ascii = text::ascii(&self.kind).and_then(|kind| std::str::from_utf8(kind).ok());
        ascii.unwrap_or("?")
    }

    /// What it has under a key; None where that is None, too.
    pub(super) fn get(&self, key: &Ref) -> PyResult<Option<Object<'py>>> {
        let found = dict::get(self.dict.as_any(), &key.bind(self.cx.py))?;
        Ok(found.filter(|value| !value.is_none()))
    }

    pub(super) fn flag(&self, key: &Ref) -> PyResult<bool> {
        self.get(key)?.map_or(Ok(false), |flag| flag.is_truthy())
    }

    fn wrong(&self, what: &str) -> PyErr {
        PyTypeError::new_err(format!("ASGI: {:?}: {what}", self.kind()))
    }

    /// The status of an answer.
    ///
    /// # Errors
    /// KeyError, TypeError.
    pub(super) fn status(&self) -> PyResult<i32> {
        let status = self
            .get(&keys(self.cx).status)?
            .ok_or_else(|| PyKeyError::new_err(format!("ASGI: {:?} has no status", self.kind())))?;
        // http.HTTPStatus is an int, too.
        status.extract::<i32>().map_err(|error| {
            exception::discard(self.cx.py, error);
            self.wrong("the status must be an int")
        })
    }

    /// The path of a file.
    ///
    /// # Errors
    /// KeyError, TypeError.
    pub(super) fn path(&self) -> PyResult<Object<'py>> {
        let path = self
            .get(&keys(self.cx).path)?
            .ok_or_else(|| PyKeyError::new_err(format!("ASGI: {:?} has no path", self.kind())))?;
        match path.is_instance_of::<PyString>() {
            true => Ok(path),
            false => Err(self.wrong("the path must be a str")),
        }
    }

    /// A text, where there is one.
    ///
    /// # Errors
    /// TypeError.
    pub(super) fn text(&self, key: &Ref) -> PyResult<Option<String>> {
        let Some(value) = self.get(key)? else {
            return Ok(None);
        };
        let value = value.cast_into::<PyString>();
        let value = value.map_err(|_| self.wrong("what must be a str is none"))?;
        Ok(Some(text::lossy(&value)))
    }

    /// Calls `each` with every link.
    ///
    /// # Errors
    /// KeyError, TypeError where they are not bytes; those of `each`.
    pub(super) fn links(&self, mut each: impl FnMut(&[u8]) -> PyResult<()>) -> PyResult<()> {
        let links = self
            .get(&keys(self.cx).links)?
            .ok_or_else(|| PyKeyError::new_err(format!("ASGI: {:?} has no links", self.kind())))?;
        let wrong = || self.wrong("the links must be an iterable of bytes");
        if links.is_instance_of::<PyBytes>() {
            return Err(wrong());
        }
        let all = links.try_iter().map_err(|error| {
            exception::discard(self.cx.py, error);
            wrong()
        })?;
        for link in all {
            each(link?.cast::<PyBytes>().map_err(|_| wrong())?.as_bytes())?;
        }
        Ok(())
    }

    /// Calls `each` with every header.
    ///
    /// # Errors
    /// TypeError where they are not pairs of bytes; those of `each`.
    pub(super) fn headers(
        &self,
        mut each: impl FnMut(&[u8], &[u8]) -> PyResult<()>,
    ) -> PyResult<()> {
        let cx = self.cx;
        let Some(headers) = self.get(&keys(cx).headers)? else {
            return Ok(());
        };
        let wrong = || self.wrong("the headers must be pairs of bytes (name, value)");
        let all = headers.try_iter().map_err(|error| {
            exception::discard(cx.py, error);
            wrong()
        })?;
        for header in all {
            let header = header?;
            let pair = match header.cast::<PyTuple>() {
                Ok(pair) => pair.clone(),
                Err(_) => PyTuple::new(cx.py, header.try_iter()?.collect::<PyResult<Vec<_>>>()?)?,
            };
            if pair.len() != 2 {
                return Err(wrong());
            }
            let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
            let bytes = (name.cast::<PyBytes>(), value.cast::<PyBytes>());
            let (Ok(name), Ok(value)) = bytes else {
                return Err(wrong());
            };
            each(name.as_bytes(), value.as_bytes())?;
        }
        Ok(())
    }
}
