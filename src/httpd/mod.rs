//! The floor: safe handles on httpd and APR. Nothing above this folder sees a raw httpd pointer.
//!
//! It keeps these invariants: no panic crosses into C (`guard`), httpd's objects are borrowed handles with a lifetime, what
//! outlives a request has an expired lease at most, and text for the log is never a format.
#![expect(unsafe_code, reason = "this folder and `embed` are where C is called")]

pub(crate) mod apr;
pub(crate) mod callback;
pub(crate) mod clock;
pub(crate) mod faults;
pub(crate) mod fork;
pub(crate) mod guard;
pub(crate) mod io;
mod lines;
pub(crate) mod log;
pub(crate) mod module;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod status;

#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unnecessary_transmutes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    reason = "made by bindgen from httpd's headers"
)]
mod sys {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

use std::ffi::{CStr, c_char};

/// Borrows a C string of httpd's; None for NULL.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that stays unchanged for `'a`.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// The strings of an array (apr_array_header_t of char *).
///
/// # Safety
/// `array` is NULL or a live array of C strings that live for `'a`.
unsafe fn texts<'a>(array: *const sys::apr_array_header_t) -> Vec<&'a CStr> {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(array) = array.as_ref() else {
            return Vec::new();
        };
        let first = array.elts.cast::<*const c_char>();
        (0..usize::try_from(array.nelts).unwrap_or(0))
            .filter_map(|place| text(*first.add(place)))
            .collect()
    }
}

/// Weak, aborting `ap_*` symbols and the real APR, so that unit tests link without httpd.
#[cfg(test)]
mod test_link {
    #[link(name = "httpd_stubs", kind = "static")]
    #[link(name = "apr-1")]
    #[link(name = "aprutil-1")]
    unsafe extern "C" {}
}
