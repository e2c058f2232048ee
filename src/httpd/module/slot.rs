//! The module's place in httpd's configuration vectors.

use crate::httpd::sys;
use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering};

static INDEX: AtomicI32 = AtomicI32::new(-1);

/// Notes the index that httpd has given the module.
pub(super) fn note_index(index: i32) {
    INDEX.store(index, Ordering::Relaxed);
}

/// Our place in httpd's configuration vectors and log levels (APLOG_MODULE_INDEX).
pub(in crate::httpd) fn index() -> i32 {
    INDEX.load(Ordering::Relaxed)
}

/// Our entry of a configuration vector (ap_get_module_config).
///
/// # Safety
/// `vector` is a live configuration vector.
pub(in crate::httpd) unsafe fn slot(vector: *mut sys::ap_conf_vector_t) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { slot_at(vector, index()) }
}

/// A module's entry of a configuration vector, by its index.
///
/// # Safety
/// `vector` is a live configuration vector, `index` that of a loaded module.
pub(in crate::httpd) unsafe fn slot_at(
    vector: *mut sys::ap_conf_vector_t,
    index: i32,
) -> *mut c_void {
    // SAFETY: a vector has an entry for every loaded module; this is what httpd's own macro does.
    unsafe {
        *vector
            .cast::<*mut c_void>()
            .add(index.cast_unsigned() as usize)
    }
}

/// Sets our entry of a configuration vector (ap_set_module_config).
///
/// # Safety
/// As for `slot`, and what is stored fits what `slot`'s callers expect.
pub(in crate::httpd) unsafe fn set_slot(vector: *mut sys::ap_conf_vector_t, value: *mut c_void) {
    // SAFETY: as in `slot`.
    unsafe {
        *vector
            .cast::<*mut c_void>()
            .add(index().cast_unsigned() as usize) = value
    }
}
