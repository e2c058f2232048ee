//! The native module `_apache`: each interpreter that imports it makes one of its own (multi-phase initialisation, PEP 489).

use super::attach::called;
use super::class::Function;
use super::exception;
use super::interpreter::{self, Cx};
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;

/// Fills a new module with classes and constants.
pub(crate) type Populate = for<'py> fn(Cx<'py>, &Bound<'py, PyModule>) -> PyResult<()>;

struct Contents {
    functions: &'static [&'static [Function]],
    populate: Populate,
}

static CONTENTS: OnceLock<Contents> = OnceLock::new();

/// Makes `import _apache` work; to be called before Python starts.
pub(super) fn register(functions: &'static [&'static [Function]], populate: Populate) -> bool {
    let _ = CONTENTS.set(Contents {
        functions,
        populate,
    });
    // SAFETY: Python has not been started.
    unsafe { ffi::PyImport_AppendInittab(c"_apache".as_ptr(), Some(initialize)) == 0 }
}

struct Definition(UnsafeCell<ffi::PyModuleDef>);
// SAFETY: Python alone touches the definition, under its own locks.
unsafe impl Sync for Definition {}
// SAFETY: as above.
unsafe impl Send for Definition {}

unsafe extern "C" fn initialize() -> *mut ffi::PyObject {
    static DEFINITION: OnceLock<Definition> = OnceLock::new();
    let definition = DEFINITION.get_or_init(|| {
        let functions = CONTENTS
            .get()
            .map_or(&[][..], |contents| contents.functions);
        let methods: Vec<_> = functions
            .iter()
            .flat_map(|functions| functions.iter())
            .map(Function::definition)
            .chain([ffi::PyMethodDef::zeroed()])
            .collect();
        let slots: Vec<ffi::PyModuleDef_Slot> = vec![
            ffi::PyModuleDef_Slot {
                slot: ffi::Py_mod_exec,
                value: execute as *mut c_void,
            },
            #[cfg(Py_3_12)]
            ffi::PyModuleDef_Slot {
                slot: ffi::Py_mod_multiple_interpreters,
                value: ffi::Py_MOD_PER_INTERPRETER_GIL_SUPPORTED,
            },
            #[cfg(Py_3_13)]
            ffi::PyModuleDef_Slot {
                slot: ffi::Py_mod_gil,
                value: ffi::Py_MOD_GIL_NOT_USED,
            },
            ffi::PyModuleDef_Slot {
                slot: 0,
                value: null_mut(),
            },
        ];
        Definition(UnsafeCell::new(ffi::PyModuleDef {
            m_base: ffi::PyModuleDef_HEAD_INIT,
            m_name: c"_apache".as_ptr(),
            m_doc: c"Apache httpd, as mod_python's Python package sees it.".as_ptr(),
            m_size: interpreter::MODULE_STATE.cast_signed(),
            m_methods: methods.leak().as_mut_ptr(),
            m_slots: slots.leak().as_mut_ptr(),
            m_traverse: None,
            m_clear: None,
            m_free: None,
        }))
    });
    // SAFETY: a complete definition that lives for ever.
    unsafe { ffi::PyModuleDef_Init(definition.0.get()) }
}

unsafe extern "C" fn execute(module: *mut ffi::PyObject) -> c_int {
    // SAFETY: Python calls it attached.
    let Some(interpreter) = interpreter::current(unsafe { Python::assume_attached() }) else {
        // One of another maker's. Only the thread's own state for the first interpreter could be found by pyo3, and would be
        // waited for.
        // SAFETY: Python calls it attached; the text is a C string.
        unsafe {
            let text = c"_apache works only in the interpreters that httpd has made";
            ffi::PyErr_SetString(ffi::PyExc_SystemError, text.as_ptr());
        }
        return -1;
    };
    // SAFETY: Python calls it attached, with a new module whose state is zeroed (None).
    called(|py| unsafe {
        let result = guard("module", || {
            interpreter::mark_module(module, interpreter);
            let module = Bound::from_borrowed_ptr(py, module).cast_into::<PyModule>()?;
            let contents = CONTENTS
                .get()
                .ok_or_else(|| PySystemError::new_err("_apache has no contents"))?;
            (contents.populate)(Cx { py, interpreter }, &module)
        });
        match result {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                exception::restore(py, error);
                -1
            }
            Err(place) => {
                log::process(Level::Critical, &place);
                exception::restore(py, PySystemError::new_err(place));
                -1
            }
        }
    })
}
