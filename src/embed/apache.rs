//! The module `mod_python.apache` of an interpreter: what this part asks of the Python package, it asks through it.

use super::cell::Ref;
use super::interpreter::{Cx, Interpreter, PerInterpreter};
use super::{exception, package};
use pyo3::exceptions::PySystemError;
use pyo3::prelude::*;

struct Apache {
    module: Ref,
    /// `SERVER_RETURN`, the exception.
    server_return: Ref,
    /// `RequestTimeout`, which the watcher raises.
    request_timeout: Ref,
}

static APACHE: PerInterpreter<Apache> = PerInterpreter::new();

/// Imports it and has it prepare the interpreter, which is ready then.
///
/// # Errors
/// What Python raises.
pub(super) fn start(cx: Cx<'_>) -> PyResult<()> {
    let start = || -> PyResult<Apache> {
        let module = cx.py.import("mod_python.apache")?;
        module
            .getattr("_start")?
            .call1((cx.interpreter.name(), package::VERSION))?;
        Ok(Apache {
            server_return: Ref::new(module.getattr("SERVER_RETURN")?),
            request_timeout: Ref::new(module.getattr("RequestTimeout")?),
            module: Ref::new(module.into_any()),
        })
    };
    APACHE.get(cx, start).map(drop)
}

pub(super) fn is_ready(interpreter: &'static Interpreter) -> bool {
    APACHE.find(interpreter).is_some()
}

impl<'py> Cx<'py> {
    /// The module `mod_python.apache`.
    ///
    /// # Errors
    /// SystemError before the interpreter is ready.
    pub(crate) fn apache(self) -> PyResult<Bound<'py, PyAny>> {
        let apache = APACHE.find(self.interpreter);
        apache
            .map(|apache| apache.module.bind(self.py))
            .ok_or_else(|| PySystemError::new_err("mod_python.apache is not ready"))
    }

    /// The class `apache.RequestTimeout`.
    ///
    /// # Errors
    /// SystemError before the interpreter is ready.
    pub(crate) fn request_timeout(self) -> PyResult<Bound<'py, PyAny>> {
        let apache = APACHE.find(self.interpreter);
        apache
            .map(|apache| apache.request_timeout.bind(self.py))
            .ok_or_else(|| PySystemError::new_err("mod_python.apache is not ready"))
    }

    /// Is this an `apache.RequestTimeout`?
    pub(crate) fn is_request_timeout(self, raised: &Bound<'py, PyAny>) -> bool {
        APACHE.find(self.interpreter).is_some_and(|apache| {
            exception::is_instance(raised, &apache.request_timeout.bind(self.py))
        })
    }

    /// Is this an `apache.SERVER_RETURN`?
    pub(crate) fn is_server_return(self, raised: &Bound<'py, PyAny>) -> bool {
        APACHE.find(self.interpreter).is_some_and(|apache| {
            exception::is_instance(raised, &apache.server_return.bind(self.py))
        })
    }
}
