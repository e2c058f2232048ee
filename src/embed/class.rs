//! The class builder: a Python class is a table of attributes and methods over a Rust payload.
//!
//! Classes are heap types made in each interpreter (PyType_FromModuleAndSpec); pyo3's `#[pyclass]` would share one
//! static type among all. The trampolines here are the only `extern "C"` code that Python calls, each guarded.

use super::cell::{Ref, Slot};
use super::interpreters::Interpreter;
use super::{Cx, exception};
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::zst::{assert_no_data, summon};
use pyo3::exceptions::{PySystemError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ops::{Deref, RangeInclusive};
use std::ptr::null_mut;

/// A Python class whose instances carry a `Self`.
pub(crate) trait Class: Sized + 'static {
    /// Such as `builtins.mp_table`: the part before the dot is `__module__`.
    const NAME: &'static CStr;
    const DOC: &'static CStr;
    /// Its place among the interpreter's classes.
    const PLACE: usize;
    /// Do instances take arbitrary attributes?
    const DICT: bool = false;
    const ATTRIBUTES: &'static [Attribute<Self>] = &[];
    const METHODS: &'static [Method<Self>] = &[];
    const SLOTS: Slots<Self> = Slots::NONE;

    /// The references to Python objects that the garbage collector must know.
    fn references(&self) -> &[Slot] {
        &[]
    }
}

type Object<'py> = Bound<'py, PyAny>;

/// A computed attribute.
pub(crate) struct Attribute<T> {
    name: &'static CStr,
    doc: &'static CStr,
    read: for<'a, 'py> fn(This<'a, 'py, T>) -> PyResult<Object<'py>>,
    write: Option<for<'a, 'py> fn(This<'a, 'py, T>, &Object<'py>) -> PyResult<()>>,
}

impl<T> Attribute<T> {
    /// Assigning to it is an AttributeError.
    pub(crate) const fn read_only(
        name: &'static CStr,
        doc: &'static CStr,
        read: for<'a, 'py> fn(This<'a, 'py, T>) -> PyResult<Object<'py>>,
    ) -> Attribute<T> {
        Attribute {
            name,
            doc,
            read,
            write: None,
        }
    }

    pub(crate) const fn new(
        name: &'static CStr,
        doc: &'static CStr,
        read: for<'a, 'py> fn(This<'a, 'py, T>) -> PyResult<Object<'py>>,
        write: for<'a, 'py> fn(This<'a, 'py, T>, &Object<'py>) -> PyResult<()>,
    ) -> Attribute<T> {
        Attribute {
            name,
            doc,
            read,
            write: Some(write),
        }
    }
}

/// A method with positional arguments (METH_FASTCALL).
pub(crate) struct Method<T> {
    name: &'static CStr,
    doc: &'static CStr,
    call: ffi::PyCFunctionFast,
    class: PhantomData<fn(T)>,
}

impl<T: Class> Method<T> {
    pub(crate) const fn new<F>(name: &'static CStr, doc: &'static CStr, _body: F) -> Method<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
    {
        const { assert_no_data::<F>() };
        Method {
            name,
            doc,
            call: call_method::<T, F>,
            class: PhantomData,
        }
    }
}

/// The special methods a class may have.
pub(crate) struct Slots<T> {
    /// Makes an empty payload; without it, Python cannot make instances.
    pub(crate) new: Option<for<'py> fn(Cx<'py>) -> PyResult<T>>,
    pub(crate) init: Option<
        for<'a, 'py> fn(
            This<'a, 'py, T>,
            &Bound<'py, PyTuple>,
            Option<&Bound<'py, PyDict>>,
        ) -> PyResult<()>,
    >,
    pub(crate) repr: Option<for<'a, 'py> fn(This<'a, 'py, T>) -> PyResult<Object<'py>>>,
    pub(crate) iter: Option<for<'a, 'py> fn(This<'a, 'py, T>) -> PyResult<Object<'py>>>,
    pub(crate) next: Option<for<'a, 'py> fn(This<'a, 'py, T>) -> PyResult<Option<Object<'py>>>>,
    pub(crate) length: Option<for<'a, 'py> fn(This<'a, 'py, T>) -> PyResult<usize>>,
    pub(crate) item:
        Option<for<'a, 'py> fn(This<'a, 'py, T>, &Object<'py>) -> PyResult<Object<'py>>>,
    /// Sets the item, or deletes it (None).
    pub(crate) set_item: Option<
        for<'a, 'py> fn(This<'a, 'py, T>, &Object<'py>, Option<&Object<'py>>) -> PyResult<()>,
    >,
    pub(crate) contains: Option<for<'a, 'py> fn(This<'a, 'py, T>, &Object<'py>) -> PyResult<bool>>,
    /// Compares by `==` (true) or `!=`; None is NotImplemented. Makes instances unhashable.
    pub(crate) equals:
        Option<for<'a, 'py> fn(This<'a, 'py, T>, &Object<'py>) -> PyResult<Option<bool>>>,
}

impl<T> Slots<T> {
    pub(crate) const NONE: Slots<T> = Slots {
        new: None,
        init: None,
        repr: None,
        iter: None,
        next: None,
        length: None,
        item: None,
        set_item: None,
        contains: None,
        equals: None,
    };
}

/// `self` in the body of a method or attribute.
pub(crate) struct This<'a, 'py, T> {
    pub(crate) cx: Cx<'py>,
    payload: &'a T,
    object: *mut ffi::PyObject,
}

impl<T> Deref for This<'_, '_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.payload
    }
}

impl<'py, T> This<'_, 'py, T> {
    /// The instance as an object.
    pub(crate) fn object(&self) -> Object<'py> {
        // SAFETY: Python keeps the instance alive during the call.
        unsafe { Bound::from_borrowed_ptr(self.cx.py, self.object) }
    }
}

/// Positional arguments.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a, 'py> {
    py: Python<'py>,
    values: &'a [*mut ffi::PyObject],
}

impl<'py> Args<'_, 'py> {
    /// Checks how many there are.
    ///
    /// # Errors
    /// TypeError.
    pub(crate) fn count(&self, name: &str, allowed: RangeInclusive<usize>) -> PyResult<()> {
        if allowed.contains(&self.values.len()) {
            return Ok(());
        }
        let (least, most) = (*allowed.start(), *allowed.end());
        let expected = if least == most {
            format!("{most}")
        } else {
            format!("{least} to {most}")
        };
        let given = self.values.len();
        Err(PyTypeError::new_err(format!(
            "{name}() takes {expected} positional arguments but {given} were given"
        )))
    }

    /// The argument at a place, if it was given.
    pub(crate) fn get(&self, place: usize) -> Option<Object<'py>> {
        // SAFETY: the caller of the method keeps its arguments alive.
        self.values
            .get(place)
            .map(|&value| unsafe { Bound::from_borrowed_ptr(self.py, value) })
    }

    /// The argument at a place.
    ///
    /// # Errors
    /// TypeError where it is missing.
    pub(crate) fn required(&self, place: usize) -> PyResult<Object<'py>> {
        self.get(place)
            .ok_or_else(|| PyTypeError::new_err("a required argument is missing"))
    }

    /// An integer argument, or a default.
    ///
    /// # Errors
    /// TypeError, OverflowError.
    pub(crate) fn integer_or(&self, place: usize, default: i64) -> PyResult<i64> {
        self.get(place).map_or(Ok(default), |value| integer(&value))
    }
}

/// An integer as C code takes it (`int`, `bool`, `__index__`).
///
/// # Errors
/// TypeError, OverflowError.
pub(crate) fn integer(value: &Object<'_>) -> PyResult<i64> {
    // SAFETY: a live object; -1 with an error set means failure.
    unsafe {
        let number = ffi::PyNumber_Index(value.as_ptr());
        if number.is_null() {
            return Err(PyErr::fetch(value.py()));
        }
        let result = ffi::PyLong_AsLongLong(number);
        ffi::Py_DECREF(number);
        if result == -1 && !ffi::PyErr_Occurred().is_null() {
            Err(PyErr::fetch(value.py()))
        } else {
            Ok(result)
        }
    }
}

/// A function of a module (METH_FASTCALL).
pub(crate) struct Function {
    name: &'static CStr,
    doc: &'static CStr,
    call: ffi::PyCFunctionFast,
}

impl Function {
    pub(crate) const fn new<F>(name: &'static CStr, doc: &'static CStr, _body: F) -> Function
    where
        F: for<'a, 'py> Fn(Cx<'py>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
    {
        const { assert_no_data::<F>() };
        Function {
            name,
            doc,
            call: call_function::<F>,
        }
    }

    pub(super) fn definition(&self) -> ffi::PyMethodDef {
        method_definition(self.name, self.doc, self.call)
    }
}

/// What Python's memory manager gives for an instance.
#[repr(C)]
struct Instance<T> {
    head: ffi::PyObject,
    dict: *mut ffi::PyObject,
    interpreter: Option<&'static Interpreter>,
    /// None only while an instance is being made.
    payload: Option<T>,
}

/// Makes the class in an interpreter.
///
/// # Errors
/// What Python raises.
pub(crate) fn define<'py, T: Class>(
    cx: Cx<'py>,
    module: &Bound<'py, PyModule>,
) -> PyResult<Object<'py>> {
    let attributes: Vec<ffi::PyGetSetDef> = T::ATTRIBUTES
        .iter()
        .map(|attribute| ffi::PyGetSetDef {
            name: attribute.name.as_ptr(),
            get: Some(read_attribute::<T>),
            set: attribute.write.map(|_| write_attribute::<T> as ffi::setter),
            doc: attribute.doc.as_ptr(),
            closure: std::ptr::from_ref(attribute).cast_mut().cast(),
        })
        .chain(T::DICT.then(|| ffi::PyGetSetDef {
            name: c"__dict__".as_ptr(),
            get: Some(ffi::PyObject_GenericGetDict),
            set: Some(ffi::PyObject_GenericSetDict),
            doc: std::ptr::null(),
            closure: null_mut(),
        }))
        // SAFETY: an empty entry ends the table.
        .chain([unsafe { std::mem::zeroed() }])
        .collect();
    let methods: Vec<ffi::PyMethodDef> = T::METHODS
        .iter()
        .map(|method| method_definition(method.name, method.doc, method.call))
        .chain([ffi::PyMethodDef::zeroed()])
        .collect();
    let members = T::DICT
        .then(|| ffi::PyMemberDef {
            name: c"__dictoffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: std::mem::offset_of!(Instance<T>, dict).cast_signed(),
            flags: ffi::Py_READONLY,
            doc: std::ptr::null(),
        })
        .into_iter()
        // SAFETY: an empty entry ends the table.
        .chain([unsafe { std::mem::zeroed() }])
        .collect::<Vec<_>>();
    // The type refers to its tables for as long as it lives, which is as long as the interpreter: for ever.
    let mut slots = vec![
        slot(ffi::Py_tp_doc, T::DOC.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_getset, attributes.leak().as_mut_ptr().cast()),
        slot(ffi::Py_tp_methods, methods.leak().as_mut_ptr().cast()),
        slot(ffi::Py_tp_members, members.leak().as_mut_ptr().cast()),
        slot(ffi::Py_tp_dealloc, deallocate::<T> as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse::<T> as *mut c_void),
        slot(ffi::Py_tp_clear, clear::<T> as *mut c_void),
    ];
    let special = &T::SLOTS;
    let mut add = |wanted: bool, id: c_int, function: *mut c_void| {
        if wanted {
            slots.push(slot(id, function));
        }
    };
    add(
        special.new.is_some(),
        ffi::Py_tp_new,
        new_instance::<T> as *mut c_void,
    );
    add(
        special.init.is_some(),
        ffi::Py_tp_init,
        init_instance::<T> as *mut c_void,
    );
    add(
        special.repr.is_some(),
        ffi::Py_tp_repr,
        repr::<T> as *mut c_void,
    );
    add(
        special.iter.is_some(),
        ffi::Py_tp_iter,
        iter::<T> as *mut c_void,
    );
    add(
        special.next.is_some(),
        ffi::Py_tp_iternext,
        next::<T> as *mut c_void,
    );
    add(
        special.length.is_some(),
        ffi::Py_mp_length,
        length::<T> as *mut c_void,
    );
    add(
        special.item.is_some(),
        ffi::Py_mp_subscript,
        item::<T> as *mut c_void,
    );
    add(
        special.set_item.is_some(),
        ffi::Py_mp_ass_subscript,
        set_item::<T> as *mut c_void,
    );
    add(
        special.contains.is_some(),
        ffi::Py_sq_contains,
        contains::<T> as *mut c_void,
    );
    add(
        special.equals.is_some(),
        ffi::Py_tp_richcompare,
        compare::<T> as *mut c_void,
    );
    add(
        special.equals.is_some(),
        ffi::Py_tp_hash,
        ffi::PyObject_HashNotImplemented as *mut c_void,
    );
    slots.push(slot(0, null_mut()));
    let mut flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
    #[cfg(Py_3_10)]
    if special.new.is_none() {
        flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    }
    let mut spec = ffi::PyType_Spec {
        name: T::NAME.as_ptr(),
        basicsize: c_int::try_from(size_of::<Instance<T>>()).unwrap_or(c_int::MAX),
        itemsize: 0,
        flags: u32::try_from(flags).unwrap_or_default(),
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: a complete specification; Python copies what it keeps of it, but for the leaked tables.
    unsafe {
        let class = ffi::PyType_FromModuleAndSpec(module.as_ptr(), &raw mut spec, null_mut());
        let class = Bound::from_owned_ptr_or_err(cx.py, class)?;
        #[cfg(not(Py_3_10))]
        if special.new.is_none() {
            (*class.as_ptr().cast::<ffi::PyTypeObject>()).tp_new = None;
        }
        Ok(class)
    }
}

/// Makes an instance with a payload.
///
/// # Errors
/// MemoryError.
pub(crate) fn instance<'py, T: Class>(cx: Cx<'py>, payload: T) -> PyResult<Object<'py>> {
    let class = cx.interpreter.class(T::PLACE)?;
    // SAFETY: a class that `define::<T>` made in this interpreter.
    unsafe { allocate(cx, class, payload) }
}

/// The payload of an instance of `T`'s class or of a subclass.
pub(crate) fn payload<'a, T: Class>(cx: Cx<'_>, object: &'a Object<'_>) -> Option<&'a T> {
    let class = cx
        .interpreter
        .class(T::PLACE)
        .map_err(|error| exception::discard(cx.py, error))
        .ok()?;
    // SAFETY: instances of the class have this layout, and keep their payload while they live.
    unsafe {
        if ffi::PyObject_TypeCheck(object.as_ptr(), class) == 0 {
            return None;
        }
        (*object.as_ptr().cast::<Instance<T>>()).payload.as_ref()
    }
}

/// Has anybody set an attribute on this instance?
pub(crate) fn has_attributes<T: Class>(object: &Ref, _py: Python<'_>) -> bool {
    // SAFETY: a live instance of T's class.
    unsafe { !(*object.as_ptr().cast::<Instance<T>>()).dict.is_null() }
}

unsafe fn allocate<'py, T: Class>(
    cx: Cx<'py>,
    class: *mut ffi::PyTypeObject,
    payload: T,
) -> PyResult<Object<'py>> {
    // SAFETY: PyType_GenericAlloc gives zeroed memory of the type's size, a valid `Instance` without payload:
    // `write` must not drop the zeroed Option.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class, 0);
        if object.is_null() {
            return Err(PyErr::fetch(cx.py));
        }
        let instance = object.cast::<Instance<T>>();
        (&raw mut (*instance).interpreter).write(Some(cx.interpreter));
        (&raw mut (*instance).payload).write(Some(payload));
        Ok(Bound::from_owned_ptr(cx.py, object))
    }
}

fn slot(slot: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot {
        slot,
        pfunc: function,
    }
}

fn method_definition(
    name: &'static CStr,
    doc: &'static CStr,
    call: ffi::PyCFunctionFast,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFast: call,
        },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: doc.as_ptr(),
    }
}

/// Runs a body for Python: an error or a panic becomes the exception that is set, and `failure` the result.
fn run<R>(py: Python<'_>, failure: R, body: impl FnOnce() -> PyResult<R>) -> R {
    let result = guard(body).unwrap_or_else(|place| {
        log::process(Level::Critical, &place);
        Err(PySystemError::new_err(place))
    });
    result.unwrap_or_else(|error| {
        error.restore(py);
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
        let py = Python::assume_attached();
        let instance = &*object.cast::<Instance<T>>();
        run(py, failure, || {
            match (instance.interpreter, &instance.payload) {
                (Some(interpreter), Some(payload)) => body(This {
                    cx: Cx { py, interpreter },
                    payload,
                    object,
                }),
                _ => Err(PyTypeError::new_err("the object was not made by its class")),
            }
        })
    }
}

fn give(result: Object<'_>) -> *mut ffi::PyObject {
    result.into_ptr()
}

unsafe extern "C" fn call_method<T, F>(
    object: *mut ffi::PyObject,
    values: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject
where
    T: Class,
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
            body(this, args).map(give)
        })
    }
}

unsafe extern "C" fn call_function<F>(
    module: *mut ffi::PyObject,
    values: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject
where
    F: for<'a, 'py> Fn(Cx<'py>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
{
    // SAFETY: Python calls a module's function with the module and `count` live arguments; F was given to `new`.
    unsafe {
        let (body, values, py) = (
            summon::<F>(),
            arguments(values, count),
            Python::assume_attached(),
        );
        run(py, null_mut(), || {
            let interpreter = super::module::interpreter_of(module)
                .ok_or_else(|| PySystemError::new_err("_apache has no interpreter"))?;
            body(Cx { py, interpreter }, Args { py, values }).map(give)
        })
    }
}

unsafe fn arguments<'a>(
    values: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> &'a [*mut ffi::PyObject] {
    // SAFETY: METH_FASTCALL passes an array of `count` arguments, or NULL and 0.
    if values.is_null() {
        &[]
    } else {
        unsafe { std::slice::from_raw_parts(values, count.cast_unsigned()) }
    }
}

unsafe extern "C" fn read_attribute<T: Class>(
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

unsafe extern "C" fn write_attribute<T: Class>(
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

unsafe extern "C" fn new_instance<T: Class>(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls tp_new attached, with T's class or a subclass.
    unsafe {
        let py = Python::assume_attached();
        run(py, null_mut(), || {
            let interpreter = Interpreter::current()
                .ok_or_else(|| PySystemError::new_err("no interpreter of mod_python"))?;
            let cx = Cx { py, interpreter };
            let new = T::SLOTS
                .new
                .ok_or_else(|| PyTypeError::new_err("cannot create instances"))?;
            allocate(cx, class, new(cx)?).map(give)
        })
    }
}

unsafe extern "C" fn init_instance<T: Class>(
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

unsafe extern "C" fn repr<T: Class>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python passes an instance.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            required(T::SLOTS.repr)?(this).map(give)
        })
    }
}

unsafe extern "C" fn iter<T: Class>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python passes an instance.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            required(T::SLOTS.iter)?(this).map(give)
        })
    }
}

unsafe extern "C" fn next<T: Class>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python passes an instance; NULL without an exception ends the iteration.
    unsafe {
        on::<T, _>(object, null_mut(), |this| {
            Ok(required(T::SLOTS.next)?(this)?.map_or(null_mut(), give))
        })
    }
}

unsafe extern "C" fn length<T: Class>(object: *mut ffi::PyObject) -> ffi::Py_ssize_t {
    // SAFETY: Python passes an instance.
    unsafe {
        on::<T, _>(object, -1, |this| {
            required(T::SLOTS.length)?(this).map(usize::cast_signed)
        })
    }
}

unsafe extern "C" fn item<T: Class>(
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

unsafe extern "C" fn set_item<T: Class>(
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

unsafe extern "C" fn contains<T: Class>(
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

unsafe extern "C" fn compare<T: Class>(
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

unsafe extern "C" fn deallocate<T: Class>(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone; the payload goes first, then the memory, then the type's reference.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let class = ffi::Py_TYPE(object);
        let instance = object.cast::<Instance<T>>();
        let payload = (*instance).payload.take();
        if let Err(place) = guard(move || drop(payload)) {
            log::process(Level::Critical, &place);
        }
        ffi::Py_CLEAR(&raw mut (*instance).dict);
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn traverse<T: Class>(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: the collector passes an instance; only pointers are read, nothing is touched.
    unsafe {
        let instance = &*object.cast::<Instance<T>>();
        let references = instance.payload.as_ref().map_or(&[][..], T::references);
        let own = [ffi::Py_TYPE(object).cast(), instance.dict];
        for pointer in references.iter().map(Slot::as_ptr).chain(own) {
            if !pointer.is_null() {
                let result = visit(pointer, argument);
                if result != 0 {
                    return result;
                }
            }
        }
        0
    }
}

unsafe extern "C" fn clear<T: Class>(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: the collector passes an instance that only a cycle keeps alive.
    unsafe {
        let instance = object.cast::<Instance<T>>();
        if let Some(payload) = &(*instance).payload {
            payload.references().iter().for_each(Slot::clear);
        }
        ffi::Py_CLEAR(&raw mut (*instance).dict);
        0
    }
}
