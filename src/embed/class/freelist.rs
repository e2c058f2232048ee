//! Instances that are used again: making one for each request, and the collector's work for it, would be felt.

use super::declaration::{Class, Instance, Made};
use crate::embed::cell::{Ref, Slot};
use crate::embed::interpreter::Cx;
use crate::httpd::faults;
use pyo3::ffi;
use pyo3::prelude::*;

/// Could nobody tell a new instance from this one? No one else refers to it, and it has neither attributes nor a class of
/// its own.
pub(crate) fn is_plain<T: Class>(cx: Cx<'_>, object: &Ref) -> bool {
    let class = T::key().found(cx).map(Made::class);
    // SAFETY: a live instance of T's class, at least as it was made.
    unsafe {
        object.is_unique(cx.py)
            && Some(ffi::Py_TYPE(object.as_ptr())) == class
            && (*object.as_ptr().cast::<Instance<T>>()).dict.is_null()
    }
}

/// Is what a slot holds as it was made, and nobody else's? So is nothing.
pub(crate) fn is_unmarked<T: Class>(cx: Cx<'_>, slot: &Slot) -> bool {
    let Some(object) = slot.get(cx.py) else {
        return true;
    };
    let class = T::key().found(cx).map(Made::class);
    // SAFETY: a live object, of T's class where that is what it says. The slot has one reference, and we another.
    unsafe {
        !cfg!(Py_GIL_DISABLED)
            && ffi::Py_REFCNT(object.as_ptr()) == 2
            && Some(ffi::Py_TYPE(object.as_ptr())) == class
            && (*object.as_ptr().cast::<Instance<T>>()).dict.is_null()
    }
}

/// Drops a plain instance's payload, and keeps the instance for the next `instance()`.
pub(crate) fn recycle<T: Class>(cx: Cx<'_>, object: Ref) {
    const { assert!(T::REUSED) };
    if !is_plain::<T>(cx, &object) {
        return;
    }
    // SAFETY: nobody else can be inside the payload: ours is the only reference.
    drop(unsafe { (*object.as_ptr().cast::<Instance<T>>()).empty() });
    let made = T::key().found(cx);
    if let Some(mut spare) = made.and_then(|made| made.spare.try_lock().ok()) {
        // Outside the lock, should there be one.
        let before = spare.replace(object);
        drop(spare);
        drop(before);
    }
}

/// Gives the spare instance, with a payload; the payload again where there is none. Nothing of Python's runs meanwhile.
pub(crate) fn from_spare<T: Class>(cx: Cx<'_>, payload: T) -> Result<Bound<'_, PyAny>, T> {
    if !T::REUSED || faults::strike("instance") {
        return Err(payload);
    }
    let made = T::key().found(cx);
    let spare = made.and_then(|made| made.spare.try_lock().ok());
    // The collector may have shown it to somebody: then it stays where it is until another one takes its place.
    let Some(object) = spare.and_then(|mut spare| spare.take_if(|spare| is_plain::<T>(cx, spare)))
    else {
        return Err(payload);
    };
    // SAFETY: an emptied instance of T's class, and ours is the only reference.
    unsafe { (*object.as_ptr().cast::<Instance<T>>()).fill(cx.interpreter, payload) };
    Ok(object.into_bound(cx.py))
}
