//! The head of an answer that an adapter such as WSGI sets at once.

use crate::httpd::request::Request;
use crate::httpd::request::header;
use crate::httpd::sys;
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

impl<'r> Request<'r> {
    /// Removes Range. Only GET has ranges (RFC 9110, 14.2), and an application may want none: httpd would answer 416 or 206
    /// although the application has acted on the whole request.
    pub(crate) fn without_ranges(self) {
        // SAFETY: a live request's list of filters; the one that is removed is not looked at again.
        unsafe {
            let mut filter = (*self.as_ptr()).output_filters;
            while let Some(this) = filter.as_ref() {
                let name = crate::httpd::text((*this.frec).name);
                if name.is_some_and(|name| name.to_bytes().eq_ignore_ascii_case(b"byterange")) {
                    sys::ap_remove_output_filter(filter);
                    return;
                }
                filter = this.next;
            }
        }
    }
}

/// Gives httpd's status line for a code, such as `200 OK` (ap_get_status_line); None for codes that it does not know.
pub(crate) fn status_line(code: c_int) -> Option<&'static CStr> {
    // SAFETY: a constant; for an unknown code, that of 500.
    let line = unsafe { crate::httpd::text(sys::ap_get_status_line(code)) };
    line.filter(|line| line.to_bytes().starts_with(code.to_string().as_bytes()))
}

/// An answer's status and headers, which have been checked and not yet been given to httpd. They lie in the request's pool; used
/// while its lease is held.
pub(crate) struct Head {
    status: c_int,
    line: NonNull<std::ffi::c_char>,
    content_type: Option<NonNull<std::ffi::c_char>>,
    length: Option<i64>,
    /// May httpd answer with a range of the body? Not where the application says `Accept-Ranges: none`.
    ranges: bool,
    /// Does something follow the body (trailers), so that its length does not end the answer?
    is_open: bool,
    headers: Option<NonNull<sys::apr_table_t>>,
}

// SAFETY: reached through the lease, by one thread at a time.
unsafe impl Send for Head {}
// SAFETY: as above.
unsafe impl Sync for Head {}

impl Head {
    /// Makes a head with a status line, such as `404 Not Found`.
    pub(crate) fn new(request: Request<'_>, status: c_int, line: &[u8]) -> Head {
        Head {
            status,
            line: pointer(request, line),
            content_type: None,
            length: None,
            ranges: true,
            is_open: false,
            headers: None,
        }
    }

    /// Adds a header, beside others of the same name.
    pub(crate) fn add(&mut self, request: Request<'_>, name: &[u8], value: &[u8]) {
        if header::is_called(name, b"Content-Type") {
            self.content_type = Some(pointer(request, value));
        } else if header::is_called(name, b"Content-Length") {
            self.length = header::length(value);
        } else {
            if name.eq_ignore_ascii_case(b"accept-ranges") {
                self.ranges = !value.trim_ascii().eq_ignore_ascii_case(b"none");
            }
            // SAFETY: the table and the copies lie in the request's pool.
            unsafe {
                let table = *self.headers.get_or_insert_with(|| {
                    NonNull::new_unchecked(sys::apr_table_make((*request.as_ptr()).pool, 10))
                });
                sys::apr_table_addn(
                    table.as_ptr(),
                    pointer(request, name).as_ptr(),
                    pointer(request, value).as_ptr(),
                );
            }
        }
    }

    /// Something follows the body.
    pub(crate) fn keep_open(&mut self) {
        self.is_open = true;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(crate) fn status(&self) -> c_int {
        self.status
    }

    /// Gives the Content-Length, if there is one.
    pub(crate) fn length(&self) -> Option<i64> {
        self.length
    }

    /// Sets status and headers of the request.
    pub(crate) fn install(&self, request: Request<'_>) {
        let is_get = request.is_plain_get();
        if !is_get || !self.ranges {
            request.without_ranges();
        }
        // SAFETY: a live request, in whose pool everything lies; nothing is copied again.
        unsafe {
            (*request.as_ptr()).status = self.status;
            (*request.as_ptr()).status_line = self.line.as_ptr();
            if let Some(kind) = self.content_type {
                sys::ap_set_content_type(request.as_ptr(), kind.as_ptr());
            }
            if let Some(length) = self.length {
                sys::ap_set_content_length(request.as_ptr(), length);
            }
            if let Some(table) = self.headers {
                let array = &*sys::apr_table_elts(table.as_ptr());
                let entries = array.elts.cast::<sys::apr_table_entry_t>();
                for place in 0..usize::try_from(array.nelts).unwrap_or(0) {
                    let entry = entries.add(place);
                    sys::apr_table_addn(
                        (*request.as_ptr()).headers_out,
                        (*entry).key,
                        (*entry).val,
                    );
                }
            }
        }
    }
}

fn pointer(request: Request<'_>, text: &[u8]) -> NonNull<std::ffi::c_char> {
    let copy = request.pool().c_string(text).as_ptr().cast_mut();
    // SAFETY: a C string's address.
    unsafe { NonNull::new_unchecked(copy) }
}
