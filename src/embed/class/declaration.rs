//! What a class declares, how an instance lies in memory, and how its payload is found.

use super::arguments::{Args, Named};
use crate::embed::cell::{Ref, Slot};
use crate::embed::interpreter::{Cx, Interpreter, PerInterpreter};
use crate::httpd::faults;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::null_mut;
use std::sync::Mutex;

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

    /// Visits the references to Python objects that the garbage collector must know.
    fn references(&self, _visit: &mut dyn FnMut(&Slot)) {}
}

pub(super) type Object<'py> = Bound<'py, PyAny>;

/// Where each interpreter keeps T's class, which is made at first use. Nothing else can lie there: only `define::<T>` makes what
/// is kept, so that an instance of the class that is found has a `T`, whichever key a class gives.
pub(crate) struct Key<T>(pub(super) PerInterpreter<Made<T>>);

/// T's class in an interpreter.
pub(super) struct Made<T> {
    pub(super) class: Ref,
    pub(super) spare: Spare,
    pub(super) kind: PhantomData<fn(T) -> T>,
}

impl<T: Class> Key<T> {
    pub(crate) const fn new() -> Key<T> {
        Key(PerInterpreter::new())
    }

    /// The class, where there is one: without it there are no instances either.
    #[inline]
    pub(super) fn found(&self, cx: Cx<'_>) -> Option<&'static Made<T>> {
        self.0.find(cx.interpreter)
    }
}

impl<T> Made<T> {
    #[inline]
    pub(super) fn class(&self) -> *mut ffi::PyTypeObject {
        self.class.as_ptr().cast()
    }
}

/// At most one emptied instance of a class (`reuse`). Owned by the interpreter; who finds the lock taken does without.
pub(super) type Spare = Mutex<Option<Ref>>;

/// A computed attribute.
pub(crate) struct Attribute<T> {
    pub(super) name: &'static CStr,
    pub(super) doc: &'static CStr,
    pub(super) read: for<'a, 'py> fn(This<'a, 'py, T>) -> PyResult<Object<'py>>,
    pub(super) write: Option<for<'a, 'py> fn(This<'a, 'py, T>, &Object<'py>) -> PyResult<()>>,
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

/// A method with positional arguments (METH_FASTCALL or METH_NOARGS).
pub(crate) struct Method<T> {
    pub(super) definition: ffi::PyMethodDef,
    pub(super) class: PhantomData<fn(T)>,
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
    pub(super) payload: &'a T,
    pub(super) object: *mut ffi::PyObject,
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

/// A function of a module, in the same way.
pub(crate) struct Function {
    pub(super) definition: ffi::PyMethodDef,
}

// SAFETY: the definition consists of constants, and is never written to.
unsafe impl Sync for Function {}

/// What Python's memory manager gives for an instance. Zeroed, as it is given, it has no payload.
#[repr(C)]
pub(super) struct Instance<T> {
    pub(super) head: ffi::PyObject,
    pub(super) dict: *mut ffi::PyObject,
    /// For classes whose instances can be called.
    pub(super) call: Option<ffi::vectorcallfunc>,
    /// Whose it is: the payload is there if this is.
    pub(super) interpreter: Option<&'static Interpreter>,
    pub(super) payload: MaybeUninit<T>,
}

impl<T> Instance<T> {
    /// None while it is being made, for one that its class has not made, and for a spare.
    #[inline]
    pub(super) fn payload(&self) -> Option<(&'static Interpreter, &T)> {
        let interpreter = self.interpreter?;
        // SAFETY: `fill` has written it, and `empty` has not been called since.
        Some((interpreter, unsafe { self.payload.assume_init_ref() }))
    }

    /// Gives an empty instance its payload.
    pub(super) fn fill(&mut self, interpreter: &'static Interpreter, payload: T) {
        self.payload.write(payload);
        self.interpreter = Some(interpreter);
    }

    /// Takes the payload away.
    pub(super) fn empty(&mut self) -> Option<T> {
        self.interpreter.take()?;
        // SAFETY: `fill` has written it, and nobody else takes it.
        Some(unsafe { self.payload.assume_init_read() })
    }
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
        .ok_or_else(|| PyTypeError::new_err("the object is of another class"))?;
    Ok(This {
        cx,
        payload,
        object: object.as_ptr(),
    })
}

/// The payload of an instance of `T`'s class or of a subclass.
pub(crate) fn payload<'a, T: Class>(cx: Cx<'_>, object: &'a Object<'_>) -> Option<&'a T> {
    let made = T::key().found(cx)?;
    // SAFETY: `define::<T>` made the class, so its instances, and those of its subclasses, have this layout; they keep their payload
    // while they live.
    unsafe {
        if ffi::PyObject_TypeCheck(object.as_ptr(), made.class()) == 0 {
            return None;
        }
        let instance = &*object.as_ptr().cast::<Instance<T>>();
        instance.payload().map(|(_, payload)| payload)
    }
}

/// Makes an instance of a class; `call` is what calls it, where instances can be called.
///
/// # Safety
/// T's class in the interpreter, or a subclass.
pub(super) unsafe fn allocate<'py, T: Class>(
    cx: Cx<'py>,
    class: *mut ffi::PyTypeObject,
    payload: T,
    call: ffi::vectorcallfunc,
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
            (&raw mut (*instance).call).write(Some(call));
        }
        (*instance).fill(cx.interpreter, payload);
        Ok(Bound::from_owned_ptr(cx.py, object))
    }
}
