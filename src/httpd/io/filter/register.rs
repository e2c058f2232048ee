//! Registers filters with httpd, and adds them to requests.

use super::input::input;
use super::names;
use super::output::{OUTPUTS, Output, output};
use super::own::{Handler, Own, Verdict};
use crate::httpd::callback::assert_no_data;
use crate::httpd::io::{facing, unwaited};
use crate::httpd::request::Request;
use crate::httpd::{sys, text};
use std::ffi::CStr;

/// Registers an output filter (ap_register_output_filter). Can mod_filter tell it from others?
pub(crate) fn register_output<F: Handler>(name: &CStr, _handler: F) -> bool {
    const { assert_no_data::<F>() };
    let own = names::place(name).and_then(|place| OUTPUTS::<F>::ALL.get(place).copied());
    let function = own.unwrap_or(output::<F, { names::MOST }> as Output);
    // SAFETY: httpd copies the name; the function lives as long as the process.
    unsafe {
        sys::ap_register_output_filter(
            name.as_ptr(),
            Some(function),
            None,
            sys::ap_filter_type_AP_FTYPE_RESOURCE,
        );
    }
    own.is_some()
}

/// Registers an input filter (ap_register_input_filter).
pub(crate) fn register_input<F: Handler>(name: &CStr, _handler: F) {
    const { assert_no_data::<F>() };
    // SAFETY: as above.
    unsafe {
        sys::ap_register_input_filter(
            name.as_ptr(),
            Some(input::<F>),
            None,
            sys::ap_filter_type_AP_FTYPE_RESOURCE,
        );
    }
}

impl Request<'_> {
    /// Does nothing on the answer's way wait for anything but the socket? So httpd's own filters do, and compression.
    pub(crate) fn has_plain_way_out(self) -> bool {
        // SAFETY: a live request, whose chain of filters lives as long, and the names of what is registered.
        unsafe {
            let first = (*self.as_ptr()).output_filters.cast_const().as_ref();
            let next = |filter: &&sys::ap_filter_t| filter.next.cast_const().as_ref();
            std::iter::successors(first, next).all(|filter| {
                let name = filter.frec.as_ref().and_then(|record| text(record.name));
                name.is_some_and(|name| {
                    let is_it = |plain: &&[u8]| plain.eq_ignore_ascii_case(name.to_bytes());
                    PLAIN.iter().any(is_it) && !names::is_known(name)
                })
            })
        }
    }

    /// Does anything but the protocol stand on the answer's way, which may look at what the answer is made of?
    pub(crate) fn is_answer_filtered(self) -> bool {
        // SAFETY: a live request, whose chain of filters is sorted by type and lives as long.
        unsafe {
            let first = (*self.as_ptr()).output_filters.cast_const().as_ref();
            let record = first.and_then(|filter| filter.frec.cast_const().as_ref());
            record.is_some_and(|record| record.ftype < sys::ap_filter_type_AP_FTYPE_PROTOCOL)
        }
    }

    /// Would a filter of that name, added to this sub-request, stand in the chain that the whole page passes? It would be used
    /// after its memory, the sub-request's, has gone: a sub-request ends before the page that it is a part of.
    pub(crate) fn would_outlive_itself(self, name: &CStr, input: bool) -> bool {
        if self.main().is_none() {
            return false;
        }
        // SAFETY: httpd looks the name up; its records live as long as the configuration.
        let record = unsafe {
            match input {
                true => sys::ap_get_input_filter_handle(name.as_ptr()).as_ref(),
                false => sys::ap_get_output_filter_handle(name.as_ptr()).as_ref(),
            }
        };
        record.is_some_and(|record| {
            (sys::ap_filter_type_AP_FTYPE_PROTOCOL..sys::ap_filter_type_AP_FTYPE_CONNECTION)
                .contains(&record.ftype)
        })
    }

    /// Adds a filter by name, in front of others of its type; httpd warns where there is none of that name (ap_add_output_filter).
    pub(crate) fn add_output_filter(self, name: &CStr) {
        // SAFETY: a live request and connection; the name is only looked up.
        unsafe {
            sys::ap_add_output_filter(
                name.as_ptr(),
                std::ptr::null_mut(),
                self.as_ptr(),
                (*self.as_ptr()).connection,
            );
        }
    }

    /// Adds an input filter by name (ap_add_input_filter).
    pub(crate) fn add_input_filter(self, name: &CStr) {
        // SAFETY: as above.
        unsafe {
            sys::ap_add_input_filter(
                name.as_ptr(),
                std::ptr::null_mut(),
                self.as_ptr(),
                (*self.as_ptr()).connection,
            );
        }
    }

    /// How many filters there are on a way, those of the connection and of requests around this one among them. httpd's filters
    /// call one another: each takes its part of the stack.
    pub(crate) fn filters(self, input: bool) -> usize {
        // SAFETY: a live request, whose chain of filters lives as long.
        unsafe {
            let first = if input {
                (*self.as_ptr()).input_filters
            } else {
                (*self.as_ptr()).output_filters
            };
            let next = |filter: &&sys::ap_filter_t| filter.next.cast_const().as_ref();
            std::iter::successors(first.cast_const().as_ref(), next).count()
        }
    }

    /// Adds the filter `generic` under a name of this request's own.
    pub(crate) fn add_named_filter(self, generic: &CStr, name: &CStr, input: bool) {
        let own = self.pool().store(Own {
            name: self.pool().c_string(name.to_bytes()).as_ptr(),
            verdict: Verdict::Kept,
        });
        // SAFETY: a live request and connection; the context lies in the request's pool.
        unsafe {
            let (context, connection) =
                (std::ptr::from_mut(own).cast(), (*self.as_ptr()).connection);
            if input {
                sys::ap_add_input_filter(generic.as_ptr(), context, self.as_ptr(), connection);
            } else {
                sys::ap_add_output_filter(generic.as_ptr(), context, self.as_ptr(), connection);
            }
        }
    }
}

/// The filters that wait for nothing.
const PLAIN: [&[u8]; 15] = [
    // So little as is told so it lets pass at once.
    facing::OUTPUT.to_bytes(),
    // These look at the end of a request, or set headers (mod_reqtimeout, mod_headers).
    b"reqtimeout",
    b"fixup_headers_out",
    b"fixup_headers_err",
    unwaited::NAME.to_bytes(),
    b"chunk",
    b"core",
    b"http_header",
    b"content_length",
    b"byterange",
    b"http_outerror",
    b"ssl/tls filter",
    b"ssl/tls coalescing filter",
    b"bytype:deflate",
    b"deflate",
];
