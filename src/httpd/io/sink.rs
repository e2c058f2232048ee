//! Reading a body so that httpd does not answer meanwhile.
//!
//! When httpd's input filters refuse a body (too large, a broken chunk), they answer by themselves: they send an error and the
//! answer's end through the output filters at once, even if the handler has written a part of an answer. While a body is read
//! here, a filter in front of all others takes that error, and the reader is told its status.

use crate::httpd::apr::brigade::{first, sentinel};
use crate::httpd::guard::guard;
use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::ffi::c_int;
use std::ptr::null_mut;

/// A filter in front of a request's output filters, which lets nothing pass; and what has to be put back afterwards, since
/// ap_pass_brigade remembers that the answer's end has been sent.
struct Sink {
    filter: sys::ap_filter_t,
    /// The request, and its eos_sent, which says so, as it was before.
    ends: (*mut sys::request_rec, c_int),
    /// The same of those that it was redirected from.
    other_ends: Vec<(*mut sys::request_rec, c_int)>,
}

impl Sink {
    /// # Safety
    /// A live request; record and number live as long as the sink.
    unsafe fn new(
        request: *mut sys::request_rec,
        record: *mut sys::ap_filter_rec_t,
        refused: *mut c_int,
    ) -> Sink {
        // SAFETY: the caller's promise; a request lives as long as those that it was redirected to.
        unsafe {
            let end = |request: *mut sys::request_rec| (request, (*request).eos_sent);
            let from = |request: &*mut sys::request_rec| {
                Some((**request).prev).filter(|prev| !prev.is_null())
            };
            Sink {
                filter: sys::ap_filter_t {
                    frec: record,
                    ctx: refused.cast(),
                    next: (*request).output_filters,
                    r: request,
                    c: (*request).connection,
                },
                ends: end(request),
                other_ends: std::iter::successors(from(&request), from)
                    .map(end)
                    .collect(),
            }
        }
    }

    /// # Safety
    /// As for `new`; it stays where it is until it is taken out.
    unsafe fn put(&mut self) {
        // SAFETY: the caller's promise.
        unsafe { (*self.filter.r).output_filters = &raw mut self.filter };
    }

    /// Takes it out of the chain, in which others may have been added or removed meanwhile.
    ///
    /// # Safety
    /// As for `new`, and its request is still there.
    unsafe fn take_out(&mut self) {
        let this = &raw mut self.filter;
        // SAFETY: the caller's promise; the chain is that of a live request.
        unsafe {
            let mut place = &raw mut (*self.filter.r).output_filters;
            while !(*place).is_null() && *place != this {
                place = &raw mut (**place).next;
            }
            if !(*place).is_null() {
                *place = (*this).next;
            }
            for &(request, eos_sent) in self.other_ends.iter().chain([&self.ends]) {
                (*request).eos_sent = eos_sent;
            }
        }
    }
}

/// Calls `read`, which reads the body of a request. Gives what it returns, and the status with which the body was refused, if it
/// was.
pub(in crate::httpd) fn reading(
    request: Request<'_>,
    read: impl FnOnce() -> c_int,
) -> (c_int, Option<Status>) {
    let mut refused: c_int = 0;
    let number = &raw mut refused;
    // The lowest type: filters that are added meanwhile come behind it.
    let mut record = sys::ap_filter_rec_t {
        name: c"mod_python_sink".as_ptr(),
        filter_func: sys::ap_filter_func {
            out_func: Some(swallow),
        },
        filter_init_func: None,
        next: null_mut(),
        providers: null_mut(),
        ftype: 0,
        debug: 0,
        proto_flags: 0,
    };
    // SAFETY: the filters of a live request; each sink stays where it is until it has been taken out, below.
    unsafe {
        let mut sink = Sink::new(request.as_ptr(), &raw mut record, number);
        sink.put();
        // The input filters may belong to requests that this one was redirected from or to.
        let mut others: Vec<Box<Sink>> = Vec::new();
        let mut filter = (*request.as_ptr()).input_filters;
        while let Some(this) = filter.as_ref() {
            filter = this.next;
            let known = |one: &Sink| one.filter.r == this.r;
            if this.r.is_null() || known(&sink) || others.iter().any(|one| known(one)) {
                continue;
            }
            others.push(Box::new(Sink::new(this.r, &raw mut record, number)));
            if let Some(other) = others.last_mut() {
                other.put();
            }
        }
        let status = read();
        others.iter_mut().rev().for_each(|other| other.take_out());
        sink.take_out();
        let refused = *number;
        (status, (refused != 0).then_some(Status(refused)))
    }
}

unsafe extern "C" fn swallow(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> sys::apr_status_t {
    // SAFETY: the context is the number in `reading`, which is waiting for us; the buckets are looked at while they are there.
    let done = guard("sink", || unsafe {
        let mut bucket = first(brigade);
        while bucket != sentinel(brigade) {
            if std::ptr::eq((*bucket).type_, &raw const sys::ap_bucket_type_error) {
                *(*filter).ctx.cast::<c_int>() =
                    (*(*bucket).data.cast::<sys::ap_bucket_error>()).status;
            }
            bucket = (*bucket).link.next;
        }
        sys::apr_brigade_cleanup(brigade.cast());
    });
    if let Err(panic) = done {
        crate::httpd::log::process(crate::httpd::log::Level::Critical, &panic);
        // SAFETY: as above. The body has been refused, even if the status could not be read.
        unsafe { *(*filter).ctx.cast::<c_int>() = 500 };
    }
    sys::AP_FILTER_ERROR
}
