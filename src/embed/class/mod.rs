//! The class builder: a Python class is a table of attributes and methods over a Rust payload.
//!
//! Classes are heap types made in each interpreter (PyType_FromSpec); pyo3's `#[pyclass]` would share one
//! static type among all. `trampolines` holds the only `extern "C"` code that Python calls, each guarded.

mod arguments;
mod reuse;
pub(crate) mod signature;
mod trampolines;

use crate::httpd::callback::assert_no_data;
pub(crate) use arguments::{Args, Named, integer, is_sequence};
use reuse::Spare;
pub(crate) use reuse::{is_plain, is_unmarked, recycle};
pub(crate) use signature::{function, method, signature};

use super::cell::{Ref, Slot};
use super::interpreter::{Cx, Interpreter, PerInterpreter};
use crate::httpd::faults;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use signature::Signature;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::null_mut;

/// A Python class whose instances carry a `Self`. It is Sync: handlers hand objects to threads of theirs, and an interpreter may
/// be without a lock (PEP 703).
pub(crate) trait Class: Sized + Send + Sync + 'static {
    /// Its name; `__module__` is builtins.
    const NAME: &'static CStr;
    const DOC: &'static CStr;
    /// Do instances take arbitrary attributes?
    const DICT: bool = false;
    /// Is an instance kept for the next one (`recycle`)?
    const REUSED: bool = false;
    const ATTRIBUTES: &'static [Attribute<Self>] = &[];
    const METHODS: &'static [Method<Self>] = &[];
    const SLOTS: Slots<Self> = Slots::NONE;

    /// A static of its own, under which each interpreter keeps the class.
    fn key() -> &'static Key<Self>;

    /// The references to Python objects that the garbage collector must know.
    fn references(&self) -> &[Slot] {
        &[]
    }
}

type Object<'py> = Bound<'py, PyAny>;

/// Where each interpreter keeps T's class, which is made at first use. Nothing else can lie there: only `define::<T>` makes what
/// is kept, so that an instance of the class that is found has a `T`, whichever key a class gives.
pub(crate) struct Key<T>(PerInterpreter<Made<T>>);

/// T's class in an interpreter.
struct Made<T> {
    class: Ref,
    spare: Spare,
    kind: PhantomData<fn(T) -> T>,
}

impl<T: Class> Key<T> {
    pub(crate) const fn new() -> Key<T> {
        Key(PerInterpreter::new())
    }

    #[inline]
    fn made(&self, cx: Cx<'_>) -> PyResult<&'static Made<T>> {
        self.0.get(cx, || define(cx))
    }

    /// The class, where there is one: without it there are no instances either.
    #[inline]
    fn found(&self, cx: Cx<'_>) -> Option<&'static Made<T>> {
        self.0.find(cx.interpreter)
    }
}

impl<T> Made<T> {
    #[inline]
    fn class(&self) -> *mut ffi::PyTypeObject {
        self.class.as_ptr().cast()
    }
}

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
    definition: ffi::PyMethodDef,
    class: PhantomData<fn(T)>,
}

impl<T: Class> Method<T> {
    /// By `method!`.
    pub(crate) const fn new<S: Signature, F>(_body: F) -> Method<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
    {
        const { assert_no_data::<F>() };
        Method {
            definition: method_definition(S::NAME, S::DOC, trampolines::call_method::<T, S, F>),
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
    /// Is it a sequence: are `length` and `item` those of a tuple, so that iteration goes by places?
    pub(crate) sequence: bool,
    /// Calls an instance (PEP 590).
    pub(crate) call: Option<
        for<'a, 'py> fn(This<'a, 'py, T>, Args<'a, 'py>, Named<'a, 'py>) -> PyResult<Object<'py>>,
    >,
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
        sequence: false,
        call: None,
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

    /// A method of the instance, as its attribute of that name, without looking it up (PyCFunction_NewEx).
    ///
    /// # Errors
    /// MemoryError.
    pub(crate) fn method(&self, method: &'static Method<T>) -> PyResult<Object<'py>> {
        let definition = std::ptr::from_ref(&method.definition).cast_mut();
        // SAFETY: the definition is never written to, and the function keeps the instance.
        unsafe {
            let function = ffi::PyCFunction_NewEx(definition, self.object, null_mut());
            Bound::from_owned_ptr_or_err(self.cx.py, function)
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
    /// By `function!`.
    pub(crate) const fn new<S: Signature, F>(_body: F) -> Function
    where
        F: for<'a, 'py> Fn(Cx<'py>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
    {
        const { assert_no_data::<F>() };
        Function {
            name: S::NAME,
            doc: S::DOC,
            call: trampolines::call_function::<S, F>,
        }
    }

    pub(super) fn definition(&self) -> ffi::PyMethodDef {
        method_definition(self.name, self.doc, self.call)
    }
}

/// What Python's memory manager gives for an instance. Zeroed, as it is given, it has no payload.
#[repr(C)]
struct Instance<T> {
    head: ffi::PyObject,
    dict: *mut ffi::PyObject,
    /// For classes whose instances can be called.
    call: Option<ffi::vectorcallfunc>,
    /// Whose it is: the payload is there if this is.
    interpreter: Option<&'static Interpreter>,
    payload: MaybeUninit<T>,
}

impl<T> Instance<T> {
    /// None while it is being made, for one that its class has not made, and for a spare.
    #[inline]
    fn payload(&self) -> Option<(&'static Interpreter, &T)> {
        let interpreter = self.interpreter?;
        // SAFETY: `fill` has written it, and `empty` has not been called since.
        Some((interpreter, unsafe { self.payload.assume_init_ref() }))
    }

    /// Gives an empty instance its payload.
    fn fill(&mut self, interpreter: &'static Interpreter, payload: T) {
        self.payload.write(payload);
        self.interpreter = Some(interpreter);
    }

    /// Takes the payload away.
    fn empty(&mut self) -> Option<T> {
        self.interpreter.take()?;
        // SAFETY: `fill` has written it, and nobody else takes it.
        Some(unsafe { self.payload.assume_init_read() })
    }
}

/// Makes the class in an interpreter.
///
/// # Errors
/// What Python raises.
fn define<T: Class>(cx: Cx<'_>) -> PyResult<Made<T>> {
    let attributes: Vec<ffi::PyGetSetDef> = T::ATTRIBUTES
        .iter()
        .map(|attribute| ffi::PyGetSetDef {
            name: attribute.name.as_ptr(),
            get: Some(trampolines::read_attribute::<T>),
            set: attribute
                .write
                .map(|_| trampolines::write_attribute::<T> as ffi::setter),
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
        .map(|method| method.definition)
        .chain([ffi::PyMethodDef::zeroed()])
        .collect();
    // Python copies these into the type.
    let mut members = T::DICT
        .then(|| ffi::PyMemberDef {
            name: c"__dictoffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: std::mem::offset_of!(Instance<T>, dict).cast_signed(),
            flags: ffi::Py_READONLY,
            doc: std::ptr::null(),
        })
        .into_iter()
        .chain(T::SLOTS.call.is_some().then(|| ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: std::mem::offset_of!(Instance<T>, call).cast_signed(),
            flags: ffi::Py_READONLY,
            doc: std::ptr::null(),
        }))
        // SAFETY: an empty entry ends the table.
        .chain([unsafe { std::mem::zeroed() }])
        .collect::<Vec<_>>();
    // The type refers to its tables for as long as it lives, which is as long as the interpreter: for ever.
    let mut slots = vec![
        slot(ffi::Py_tp_doc, T::DOC.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_getset, attributes.leak().as_mut_ptr().cast()),
        slot(ffi::Py_tp_methods, methods.leak().as_mut_ptr().cast()),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(
            ffi::Py_tp_dealloc,
            trampolines::deallocate::<T> as *mut c_void,
        ),
        slot(
            ffi::Py_tp_traverse,
            trampolines::traverse::<T> as *mut c_void,
        ),
        slot(ffi::Py_tp_clear, trampolines::clear::<T> as *mut c_void),
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
        trampolines::new_instance::<T> as *mut c_void,
    );
    add(
        special.init.is_some(),
        ffi::Py_tp_init,
        trampolines::init_instance::<T> as *mut c_void,
    );
    add(
        special.call.is_some(),
        ffi::Py_tp_call,
        ffi::PyVectorcall_Call as *mut c_void,
    );
    add(
        special.repr.is_some(),
        ffi::Py_tp_repr,
        trampolines::repr::<T> as *mut c_void,
    );
    add(
        special.iter.is_some(),
        ffi::Py_tp_iter,
        trampolines::iter::<T> as *mut c_void,
    );
    add(
        special.next.is_some(),
        ffi::Py_tp_iternext,
        trampolines::next::<T> as *mut c_void,
    );
    add(
        special.length.is_some(),
        ffi::Py_mp_length,
        trampolines::length::<T> as *mut c_void,
    );
    add(
        special.item.is_some(),
        ffi::Py_mp_subscript,
        trampolines::item::<T> as *mut c_void,
    );
    add(
        special.set_item.is_some(),
        ffi::Py_mp_ass_subscript,
        trampolines::set_item::<T> as *mut c_void,
    );
    add(
        special.sequence,
        ffi::Py_sq_length,
        trampolines::length::<T> as *mut c_void,
    );
    add(
        special.sequence,
        ffi::Py_sq_item,
        trampolines::place::<T> as *mut c_void,
    );
    add(
        special.contains.is_some(),
        ffi::Py_sq_contains,
        trampolines::contains::<T> as *mut c_void,
    );
    add(
        special.equals.is_some(),
        ffi::Py_tp_richcompare,
        trampolines::compare::<T> as *mut c_void,
    );
    add(
        special.equals.is_some(),
        ffi::Py_tp_hash,
        ffi::PyObject_HashNotImplemented as *mut c_void,
    );
    slots.push(slot(0, null_mut()));
    let mut flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
    if special.call.is_some() {
        flags |= HAVE_VECTORCALL;
    }
    #[cfg(Py_3_10)]
    if special.new.is_none() {
        flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    }
    let mut spec = ffi::PyType_Spec {
        name: c"builtins.object".as_ptr(),
        basicsize: c_int::try_from(size_of::<Instance<T>>()).unwrap_or(c_int::MAX),
        itemsize: 0,
        flags: u32::try_from(flags).unwrap_or_default(),
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: a complete specification; Python copies what it keeps of it, but for the leaked tables.
    unsafe {
        let class = ffi::PyType_FromSpec(&raw mut spec);
        let class = Bound::from_owned_ptr_or_err(cx.py, class)?;
        #[cfg(not(Py_3_10))]
        if special.new.is_none() {
            (*class.as_ptr().cast::<ffi::PyTypeObject>()).tp_new = None;
        }
        // A name without a module would be warned about; with one, `str(type)` would show it.
        let name = PyString::new(cx.py, &T::NAME.to_string_lossy());
        class.setattr("__name__", &name)?;
        class.setattr("__qualname__", &name)?;
        let kind = class.as_ptr().cast::<ffi::PyTypeObject>();
        (*kind).tp_name = T::NAME.as_ptr();
        // As classes of C are: a method that a handler puts in another one's place would be there for all sites.
        #[cfg(Py_3_10)]
        {
            make_immutable(kind);
            ffi::PyType_Modified(kind);
        }
        Ok(Made {
            class: Ref::new(class),
            spare: Spare::default(),
            kind: PhantomData,
        })
    }
}

/// # Safety
/// A class that nobody else has seen yet.
#[cfg(Py_3_10)]
unsafe fn make_immutable(class: *mut ffi::PyTypeObject) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        {
            (*class).tp_flags |= ffi::Py_TPFLAGS_IMMUTABLETYPE;
        }
        #[cfg(Py_GIL_DISABLED)]
        (*class).tp_flags.fetch_or(
            ffi::Py_TPFLAGS_IMMUTABLETYPE as _,
            std::sync::atomic::Ordering::Relaxed,
        );
    }
}

/// Makes an instance with a payload.
///
/// # Errors
/// MemoryError.
pub(crate) fn instance<'py, T: Class>(cx: Cx<'py>, mut payload: T) -> PyResult<Object<'py>> {
    if T::REUSED && !faults::strike("instance") {
        match reuse::again(cx, payload) {
            Ok(object) => return Ok(object),
            Err(unused) => payload = unused,
        }
    }
    let made = T::key().made(cx)?;
    // SAFETY: a class that `define::<T>` made in this interpreter.
    unsafe { allocate(cx, made.class(), payload) }
}

/// The class itself.
///
/// # Errors
/// MemoryError.
pub(crate) fn class_of<T: Class>(cx: Cx<'_>) -> PyResult<Object<'_>> {
    Ok(T::key().made(cx)?.class.bind(cx.py))
}

/// An instance as its methods see it.
///
/// # Errors
/// TypeError for an object of another class.
pub(crate) fn this<'a, 'py, T: Class>(
    cx: Cx<'py>,
    object: &'a Object<'py>,
) -> PyResult<This<'a, 'py, T>> {
    let payload = payload::<T>(cx, object)
        .ok_or_else(|| pyo3::exceptions::PyTypeError::new_err("the object is of another class"))?;
    Ok(This {
        cx,
        payload,
        object: object.as_ptr(),
    })
}

/// The payload of an instance of `T`'s class or of a subclass.
pub(crate) fn payload<'a, T: Class>(cx: Cx<'_>, object: &'a Object<'_>) -> Option<&'a T> {
    let made = T::key().found(cx)?;
    // SAFETY: instances of the class have this layout, and keep their payload while they live.
    unsafe {
        if ffi::PyObject_TypeCheck(object.as_ptr(), made.class()) == 0 {
            return None;
        }
        let instance = &*object.as_ptr().cast::<Instance<T>>();
        instance.payload().map(|(_, payload)| payload)
    }
}

unsafe fn allocate<'py, T: Class>(
    cx: Cx<'py>,
    class: *mut ffi::PyTypeObject,
    payload: T,
) -> PyResult<Object<'py>> {
    // SAFETY: PyType_GenericAlloc gives zeroed memory of the type's size, a valid `Instance` without payload.
    unsafe {
        let object = if faults::strike("instance") {
            ffi::PyErr_NoMemory()
        } else {
            ffi::PyType_GenericAlloc(class, 0)
        };
        if object.is_null() {
            return Err(PyErr::fetch(cx.py));
        }
        let instance = object.cast::<Instance<T>>();
        if T::SLOTS.call.is_some() {
            (&raw mut (*instance).call).write(Some(trampolines::call_instance::<T>));
        }
        (*instance).fill(cx.interpreter, payload);
        Ok(Bound::from_owned_ptr(cx.py, object))
    }
}

/// Py_TPFLAGS_HAVE_VECTORCALL: pyo3 names it for some versions only.
const HAVE_VECTORCALL: std::ffi::c_ulong = 1 << 11;

fn slot(slot: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot {
        slot,
        pfunc: function,
    }
}

const fn method_definition(
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
