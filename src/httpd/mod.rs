//! The floor: safe handles on httpd and APR. Nothing above this folder sees a raw httpd pointer.
//!
//! Invariants kept here: no panic crosses into C (`guard`), host objects are borrowed handles with a
//! lifetime, a request outlives its handle only as an expired lease, text for the log is never a format.
#![expect(unsafe_code, reason = "this folder and `embed` are where C is called")]

pub(crate) mod actions;
pub(crate) mod body;
mod brigade;
pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod departure;
pub(crate) mod faults;
pub(crate) mod file;
pub(crate) mod file_part;
pub(crate) mod filter;
pub(crate) mod gateway;
pub(crate) mod guard;
pub(crate) mod header;
pub(crate) mod hooks;
pub(crate) mod include;
pub(crate) mod key_locks;
pub(crate) mod lease;
pub(crate) mod log;
mod mime;
pub(crate) mod module;
pub(crate) mod mutex;
pub(crate) mod pattern;
pub(crate) mod pool;
pub(crate) mod reach;
pub(crate) mod request;
pub(crate) mod root_locks;
pub(crate) mod section;
pub(crate) mod server;
pub(crate) mod session_file;
mod sink;
pub(crate) mod stand_in;
pub(crate) mod status;
pub(crate) mod streams;
pub(crate) mod table;
pub(crate) mod turn;
pub(crate) mod wire;
pub(crate) mod zst;

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

/// A C string that httpd owns, as a slice; None for NULL.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that stays unchanged for `'a`.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// Weak, aborting `ap_*` symbols and the real APR, so that unit tests link without httpd.
#[cfg(test)]
mod test_link {
    #[link(name = "httpd_stubs", kind = "static")]
    #[link(name = "apr-1")]
    #[link(name = "aprutil-1")]
    unsafe extern "C" {}
}
