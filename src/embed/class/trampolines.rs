//! The `extern "C"` functions behind the classes: each finds its instance, runs a safe body under the guard, and turns
//! an error or a panic into the exception that is set.

use super::arguments::{Args, Named};
use super::declaration::{Attribute, Class, Instance, Object, This, allocate};
use super::signature::{self, Signature};
use crate::embed::cell::Slot;
use crate::embed::exception;
use crate::embed::interpreter::{self, Cx};
use crate::httpd::callback::summon;
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use pyo3::exceptions::{PySystemError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// Runs a body for Python: an error or a panic becomes the exception that is set, and `failure` the result.
fn run<R>(failure: R, body: impl for<'py> FnOnce(Python<'py>) -> PyResult<R>) -> R {
    // SAFETY: Python calls us attached.
    let py = unsafe { Python::assume_attached() };
    let result = guard("python", || body(py)).unwrap_or_else(|place| {
        log::process(Level::Critical, &place);
        Err(PySystemError::new_err(place))
    });
    result.unwrap_or_else(|error| {
        exception::restore(py, error);
        failure
    })
}

/// Runs a body on an instance that Python passes in.
///
/// # Safety
/// `object` is an instance of T's class, and its interpreter is attached.
unsafe fn on<T: Class, R>(
    object: *mut ffi::PyObject,
    failure: R,
    body: impl FnOnce(This<'_, '_, T>) -> PyResult<R>,
) -> R {
    // SAFETY: the caller's promise; the payload is dropped only by `deallocate`.
    unsafe {
        let instance = &*object.cast::<Instance<T>>();
        run(failure, |py| match instance.payload() {
            Some((interpreter, payload)) => body(This {
                cx: Cx { py, interpreter },
                payload,
                object,
            }),
            None => Err(PyTypeError::new_err("the object was not made by its class")),
        })
    }
}

fn give(result: Object<'_>) -> *mut ffi::PyObject {
    result.into_ptr()
}

pub(super) unsafe extern "C" fn call_method<T, S, F>(
    object: *mut ffi::PyObject,
    values: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject
where
    T: Class,
    S: Signature,
    F: for<'a, 'py> Fn(This<'a, 'py, T>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
{
    // SAFETY: Python calls a method with an instance of its class and `count` live arguments; F was given to `new`.
    unsafe {
        let (body, values) = (summon::<F>(), arguments(values, count));
        on::<T, _>(object, null_mut(), |this| {
            let args = Args {
                py: this.cx.py,
                values,
            };
            signature::check::<S>(values.len())?;
            body(this, args).map(give)
        })
    }
}

/// As `call_method`, of one without parameters: Python has checked that there are no arguments.
pub(super) unsafe extern "C" fn call_method_without<T, F>(
    object: *mut ffi::PyObject,
    _none: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(This<'a, 'py, T>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
{
    // SAFETY: Python calls a method with an instance of its class; F was given to `new`.
    unsafe {
        let body = summon::<F>();
        on::<T, _>(object, null_mut(), |this| {
            let args = Args {
                py: this.cx.py,
                values: &[],
            };
            body(this, args).map(give)
        })
    }
}

pub(super) unsafe extern "C" fn call_function<S, F>(
    module: *mut ffi::PyObject,
    values: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject
where
    S: Signature,
    F: for<'a, 'py> Fn(Cx<'py>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
{
    // SAFETY: Python calls a module's function with the module and `count` live arguments; F was given to `new`.
    unsafe {
        let (body, values) = (summon::<F>(), arguments(values, count));
        run(null_mut(), |py| {
            let interpreter = interpreter::of_module(module)
                .ok_or_else(|| PySystemError::new_err("_apache has no interpreter"))?;
            signature::check::<S>(values.len())?;
            body(Cx { py, interpreter }, Args { py, values }).map(give)
        })
    }
}

/// As `call_function`, of one without parameters.
pub(super) unsafe extern "C" fn call_function_without<F>(
    module: *mut ffi::PyObject,
    _none: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a, 'py> Fn(Cx<'py>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
{
    // SAFETY: Python calls a module's function with the module; F was given to `new`.
    unsafe {
        let body = summon::<F>();
        run(null_mut(), |py| {
            let interpreter = interpreter::of_module(module)
                .ok_or_else(|| PySystemError::new_err("_apache has no interpreter"))?;
            body(Cx { py, interpreter }, Args { py, values: &[] }).map(give)
        })
    }
}

unsafe fn arguments<'a>(
    values: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> &'a [*mut ffi::PyObject] {
    if values.is_null() {
        return &[];
    }
    // SAFETY: METH_FASTCALL passes an array of `count` arguments, or NULL and 0.
    unsafe { std::slice::from_raw_parts(values, count.cast_unsigned()) }
}

pub(super) unsafe extern "C" fn read_attribute<T: Class>(
    object: *mut ffi::PyObject,
    closure: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: the closure is the `Attribute<T>` that `define` put there.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            ((*closure.cast::<Attribute<T>>()).read)(this).map(give)
        })
    }
}

pub(super) unsafe extern "C" fn write_attribute<T: Class>(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    closure: *mut c_void,
) -> c_int {
    // SAFETY: as in `read_attribute`; the value is live, or NULL for `del`.
    unsafe {
        on::<T, _>(object, -1, |this| {
            let attribute = &*closure.cast::<Attribute<T>>();
            let Some(write) = attribute.write.filter(|_| !value.is_null()) else {
                let name = attribute.name.to_string_lossy();
                return Err(PyTypeError::new_err(format!(
                    "cannot delete the attribute {name:?}"
                )));
            };
            let value = Bound::from_borrowed_ptr(this.cx.py, value);
            write(this, &value).map(|()| 0)
        })
    }
}

pub(super) unsafe extern "C" fn new_instance<T: Class>(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls tp_new attached, with T's class or a subclass.
    unsafe {
        run(null_mut(), |py| {
            let interpreter = interpreter::current(py)
                .ok_or_else(|| PySystemError::new_err("no interpreter of mod_python"))?;
            let cx = Cx { py, interpreter };
            let new = T::SLOTS
                .new
                .ok_or_else(|| PyTypeError::new_err("cannot create instances"))?;
            allocate(cx, class, new(cx)?, call_instance::<T>).map(give)
        })
    }
}

pub(super) unsafe extern "C" fn init_instance<T: Class>(
    object: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: Python passes a tuple, and a dict or NULL.
    unsafe {
        on::<T, _>(object, -1, |this| {
            let py = this.cx.py;
            let args = Bound::from_borrowed_ptr(py, args).cast_into::<PyTuple>()?;
            let kwargs = if kwargs.is_null() {
                None
            } else {
                Some(Bound::from_borrowed_ptr(py, kwargs).cast_into::<PyDict>()?)
            };
            T::SLOTS
                .init
                .map_or(Ok(0), |init| init(this, &args, kwargs.as_ref()).map(|()| 0))
        })
    }
}

pub(super) unsafe extern "C" fn call_instance<T: Class>(
    object: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls an instance with its positional arguments, then the named ones, and a tuple of their names.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            let py = this.cx.py;
            let positional = usize::try_from(ffi::PyVectorcall_NARGS(count)).unwrap_or(0);
            let named = if names.is_null() {
                0
            } else {
                usize::try_from(ffi::PyTuple_Size(names)).unwrap_or(0)
            };
            let all = if values.is_null() {
                &[][..]
            } else {
                std::slice::from_raw_parts(values, positional + named)
            };
            let (values, others) = all.split_at_checked(positional).unwrap_or((all, &[]));
            let args = Args { py, values };
            let named = Named {
                py,
                names: (!names.is_null()).then(|| Bound::from_borrowed_ptr(py, names)),
                values: others,
            };
            required(T::SLOTS.call)?(this, args, named).map(give)
        })
    }
}

pub(super) unsafe extern "C" fn repr<T: Class>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python passes an instance.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            required(T::SLOTS.repr)?(this).map(give)
        })
    }
}

pub(super) unsafe extern "C" fn iter<T: Class>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python passes an instance.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            required(T::SLOTS.iter)?(this).map(give)
        })
    }
}

pub(super) unsafe extern "C" fn next<T: Class>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python passes an instance; NULL without an exception ends the iteration.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            Ok(required(T::SLOTS.next)?(this)?.map_or(null_mut(), give))
        })
    }
}

pub(super) unsafe extern "C" fn length<T: Class>(object: *mut ffi::PyObject) -> ffi::Py_ssize_t {
    // SAFETY: Python passes an instance.
    unsafe {
        on::<T, _>(object, -1, |this| {
            required(T::SLOTS.length)?(this).map(usize::cast_signed)
        })
    }
}

pub(super) unsafe extern "C" fn item<T: Class>(
    object: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python passes an instance and a live key.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            let key = Bound::from_borrowed_ptr(this.cx.py, key);
            required(T::SLOTS.item)?(this, &key).map(give)
        })
    }
}

pub(super) unsafe extern "C" fn place<T: Class>(
    object: *mut ffi::PyObject,
    place: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python passes an instance.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            let place = place.into_pyobject(this.cx.py)?.into_any();
            required(T::SLOTS.item)?(this, &place).map(give)
        })
    }
}

pub(super) unsafe extern "C" fn set_item<T: Class>(
    object: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: Python passes an instance, a live key, and a live value or NULL for `del`.
    unsafe {
        on::<T, _>(object, -1, |this| {
            let py = this.cx.py;
            let key = Bound::from_borrowed_ptr(py, key);
            let value = if value.is_null() {
                None
            } else {
                Some(Bound::from_borrowed_ptr(py, value))
            };
            required(T::SLOTS.set_item)?(this, &key, value.as_ref()).map(|()| 0)
        })
    }
}

pub(super) unsafe extern "C" fn contains<T: Class>(
    object: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: Python passes an instance and a live key.
    unsafe {
        on::<T, _>(object, -1, |this| {
            let key = Bound::from_borrowed_ptr(this.cx.py, key);
            required(T::SLOTS.contains)?(this, &key).map(c_int::from)
        })
    }
}

pub(super) unsafe extern "C" fn compare<T: Class>(
    object: *mut ffi::PyObject,
    other: *mut ffi::PyObject,
    operation: c_int,
) -> *mut ffi::PyObject {
    // SAFETY: Python passes an instance and a live object.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            let py = this.cx.py;
            let other = Bound::from_borrowed_ptr(py, other);
            let equal = match operation {
                ffi::Py_EQ | ffi::Py_NE => required(T::SLOTS.equals)?(this, &other)?,
                _ => None,
            };
            let answer = equal.map(|equal| equal == (operation == ffi::Py_EQ));
            let object = match answer {
                Some(true) => ffi::Py_True(),
                Some(false) => ffi::Py_False(),
                None => ffi::Py_NotImplemented(),
            };
            Ok(give(Bound::from_borrowed_ptr(py, object)))
        })
    }
}

fn required<F>(function: Option<F>) -> PyResult<F> {
    function.ok_or_else(|| PyTypeError::new_err("the operation is not supported"))
}

unsafe extern "C" {
    /// Py_TRASHCAN_BEGIN and Py_TRASHCAN_END around `body`: of objects that keep one another, the later ones wait for the
    /// earlier ones instead of going deeper and deeper into the stack.
    fn mp_trashcan(
        object: *mut ffi::PyObject,
        deallocate: unsafe extern "C" fn(*mut ffi::PyObject),
        body: unsafe extern "C" fn(*mut ffi::PyObject),
    );
}

pub(super) unsafe extern "C" fn deallocate<T: Class>(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        mp_trashcan(object, deallocate::<T>, free::<T>);
    }
}

unsafe extern "C" fn free<T: Class>(object: *mut ffi::PyObject) {
    // SAFETY: untracked, and the last reference is gone; the payload goes first, then the memory, then the type's reference.
    unsafe {
        let class = ffi::Py_TYPE(object);
        let instance = object.cast::<Instance<T>>();
        let payload = (*instance).empty();
        if let Err(place) = guard("deallocate", move || drop(payload)) {
            log::process(Level::Critical, &place);
        }
        ffi::Py_CLEAR(&raw mut (*instance).dict);
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

pub(super) unsafe extern "C" fn traverse<T: Class>(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: the collector passes an instance; only pointers are read, nothing is touched.
    unsafe {
        let instance = &*object.cast::<Instance<T>>();
        let mut result = 0;
        let mut seen = |pointer: *mut ffi::PyObject| {
            if result == 0 && !pointer.is_null() {
                result = visit(pointer, argument);
            }
        };
        if let Some((_, payload)) = instance.payload() {
            payload.references(&mut |slot| seen(slot.as_ptr()));
        }
        seen(ffi::Py_TYPE(object).cast());
        seen(instance.dict);
        result
    }
}

pub(super) unsafe extern "C" fn clear<T: Class>(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: the collector passes an instance that only a cycle keeps alive.
    unsafe {
        let instance = object.cast::<Instance<T>>();
        if let Some((_, payload)) = (*instance).payload() {
            payload.references(&mut Slot::clear);
        }
        ffi::Py_CLEAR(&raw mut (*instance).dict);
        0
    }
}
