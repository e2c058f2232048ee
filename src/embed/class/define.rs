//! Making a class in an interpreter, and instances of it.

use super::arguments::Args;
use super::declaration::{Class, Function, Instance, Made, Method, Object, Spare, This, allocate};
use super::signature::Signature;
use super::{freelist, trampolines};
use crate::embed::cell::Ref;
use crate::embed::interpreter::Cx;
use crate::httpd::callback::assert_no_data;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::null_mut;

/// Makes an instance with a payload.
///
/// # Errors
/// MemoryError.
pub(crate) fn instance<'py, T: Class>(cx: Cx<'py>, payload: T) -> PyResult<Object<'py>> {
    let payload = match freelist::from_spare(cx, payload) {
        Ok(object) => return Ok(object),
        Err(payload) => payload,
    };
    let made = made::<T>(cx)?;
    // SAFETY: a class that `define::<T>` made in this interpreter.
    unsafe { allocate(cx, made.class(), payload, trampolines::call_instance::<T>) }
}

/// The class itself.
///
/// # Errors
/// MemoryError.
pub(crate) fn class_of<T: Class>(cx: Cx<'_>) -> PyResult<Object<'_>> {
    Ok(made::<T>(cx)?.class.bind(cx.py))
}

impl<T: Class> Method<T> {
    /// By `method!`.
    pub(crate) const fn new<S: Signature, F>(_body: F) -> Method<T>
    where
        F: for<'a, 'py> Fn(This<'a, 'py, T>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
    {
        const { assert_no_data::<F>() };
        Method {
            definition: definition::<S>(
                trampolines::call_method::<T, S, F>,
                trampolines::call_method_without::<T, F>,
            ),
            class: PhantomData,
        }
    }
}

impl Function {
    /// By `function!`.
    pub(crate) const fn new<S: Signature, F>(_body: F) -> Function
    where
        F: for<'a, 'py> Fn(Cx<'py>, Args<'a, 'py>) -> PyResult<Object<'py>> + Copy,
    {
        const { assert_no_data::<F>() };
        Function {
            definition: definition::<S>(
                trampolines::call_function::<S, F>,
                trampolines::call_function_without::<F>,
            ),
        }
    }

    pub(in crate::embed) fn definition(&self) -> ffi::PyMethodDef {
        self.definition
    }
}

/// The class in the interpreter; it is made at first use.
#[inline]
fn made<T: Class>(cx: Cx<'_>) -> PyResult<&'static Made<T>> {
    T::key().0.get(cx, || define(cx))
}

/// Makes the class in an interpreter. It refers to its tables for as long as it lives, which is as long as the interpreter: for
/// ever, so they are leaked.
///
/// # Errors
/// What Python raises.
fn define<T: Class>(cx: Cx<'_>) -> PyResult<Made<T>> {
    // Python copies these.
    let mut members = members::<T>();
    let mut slots = slots::<T>();
    slots.extend([
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(0, null_mut()),
    ]);
    let mut flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
    if T::SLOTS.call.is_some() {
        flags |= HAVE_VECTORCALL;
    }
    #[cfg(Py_3_10)]
    if T::SLOTS.new.is_none() {
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
        if T::SLOTS.new.is_none() {
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

/// The slots of the type, but for its members.
fn slots<T: Class>() -> Vec<ffi::PyType_Slot> {
    let special = &T::SLOTS;
    let mut slots = vec![
        slot(ffi::Py_tp_doc, T::DOC.as_ptr().cast_mut().cast()),
        slot(
            ffi::Py_tp_getset,
            attributes::<T>().leak().as_mut_ptr().cast(),
        ),
        slot(
            ffi::Py_tp_methods,
            methods::<T>().leak().as_mut_ptr().cast(),
        ),
    ];
    let mut add = |wanted: bool, id: c_int, function: *mut c_void| {
        if wanted {
            slots.push(slot(id, function));
        }
    };
    // Where the class has it: the slot, and the trampoline for it.
    macro_rules! rows {
        ($($wanted:expr => $slot:ident $trampoline:ident;)*) => {
            $(add($wanted, ffi::$slot, trampolines::$trampoline::<T> as *mut c_void);)*
        };
    }
    rows! {
        true => Py_tp_dealloc deallocate;
        true => Py_tp_traverse traverse;
        true => Py_tp_clear clear;
        special.new.is_some() => Py_tp_new new_instance;
        special.init.is_some() => Py_tp_init init_instance;
        special.repr.is_some() => Py_tp_repr repr;
        special.iter.is_some() => Py_tp_iter iter;
        special.next.is_some() => Py_tp_iternext next;
        special.length.is_some() => Py_mp_length length;
        special.item.is_some() => Py_mp_subscript item;
        special.set_item.is_some() => Py_mp_ass_subscript set_item;
        special.sequence => Py_sq_length length;
        special.sequence => Py_sq_item place;
        special.contains.is_some() => Py_sq_contains contains;
        special.equals.is_some() => Py_tp_richcompare compare;
    }
    let (call, unhashable) = (special.call.is_some(), special.equals.is_some());
    add(call, ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void);
    let no_hash = ffi::PyObject_HashNotImplemented as *mut c_void;
    add(unhashable, ffi::Py_tp_hash, no_hash);
    slots
}

fn attributes<T: Class>() -> Vec<ffi::PyGetSetDef> {
    let attributes = T::ATTRIBUTES.iter().map(|attribute| ffi::PyGetSetDef {
        name: attribute.name.as_ptr(),
        get: Some(trampolines::read_attribute::<T>),
        set: attribute
            .write
            .map(|_| trampolines::write_attribute::<T> as ffi::setter),
        doc: attribute.doc.as_ptr(),
        closure: std::ptr::from_ref(attribute).cast_mut().cast(),
    });
    let dict = T::DICT.then(|| ffi::PyGetSetDef {
        name: c"__dict__".as_ptr(),
        get: Some(ffi::PyObject_GenericGetDict),
        set: Some(ffi::PyObject_GenericSetDict),
        doc: std::ptr::null(),
        closure: null_mut(),
    });
    // SAFETY: an empty entry ends the table.
    let end = unsafe { std::mem::zeroed() };
    attributes.chain(dict).chain([end]).collect()
}

fn methods<T: Class>() -> Vec<ffi::PyMethodDef> {
    let methods = T::METHODS.iter().map(|method| method.definition);
    methods.chain([ffi::PyMethodDef::zeroed()]).collect()
}

/// Where Python finds an instance's `__dict__`, and what calls it.
fn members<T: Class>() -> Vec<ffi::PyMemberDef> {
    let member = |name: &'static CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset.cast_signed(),
        flags: ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    let (dict, call) = (
        std::mem::offset_of!(Instance<T>, dict),
        std::mem::offset_of!(Instance<T>, call),
    );
    let dict = T::DICT.then(|| member(c"__dictoffset__", dict));
    let call = T::SLOTS.call.map(|_| member(c"__vectorcalloffset__", call));
    // SAFETY: an empty entry ends the table.
    let end = unsafe { std::mem::zeroed() };
    dict.into_iter().chain(call).chain([end]).collect()
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

/// Py_TPFLAGS_HAVE_VECTORCALL: pyo3 names it for some versions only.
const HAVE_VECTORCALL: std::ffi::c_ulong = 1 << 11;

fn slot(slot: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot {
        slot,
        pfunc: function,
    }
}

/// Without parameters it is METH_NOARGS: that is quicker, and where CPython 3.11 to 3.13 has specialised a call of METH_FASTCALL for
/// instances, `method()` with the class in an instance's place reads an argument that is not there (gh-131998).
const fn definition<S: Signature>(
    call: ffi::PyCFunctionFast,
    call_without: ffi::PyCFunction,
) -> ffi::PyMethodDef {
    let (ml_meth, ml_flags) = if S::PARSED.has_parameters() {
        (
            ffi::PyMethodDefPointer {
                PyCFunctionFast: call,
            },
            ffi::METH_FASTCALL,
        )
    } else {
        (
            ffi::PyMethodDefPointer {
                PyCFunction: call_without,
            },
            ffi::METH_NOARGS,
        )
    };
    ffi::PyMethodDef {
        ml_name: S::NAME.as_ptr(),
        ml_meth,
        ml_flags,
        ml_doc: S::DOC.as_ptr(),
    }
}
