//! Reading a body without an answer behind our back.
//!
//! When httpd's input filters refuse a body (too large, a broken chunk), they answer by themselves: an error and the
//! answer's end go to the output filters at once, whoever is in the middle of them. While we read, that way ends here, and
//! the status is told to who reads.

use crate::httpd::apr::brigade::{first, sentinel};
use crate::httpd::guard::guard;
use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::ffi::c_int;
use std::ptr::null_mut;

/// A filter that stands before a request's others, so that its answer goes nowhere, and what is to be put back: ap_pass_brigade sets
/// the flag of the answer's end.
struct Sink {
    filter: sys::ap_filter_t,
    /// Of the request and those that it was redirected from.
    ends: (*mut sys::request_rec, c_int),
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

    /// Takes it out from where it stands: others may have been added meanwhile, or have gone.
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

/// Calls `read`, which reads the body of a request, and says what it returns, and with which status the body was refused.
pub(in crate::httpd) fn reading(
    request: Request<'_>,
    read: impl FnOnce() -> c_int,
) -> (c_int, Option<Status>) {
    let mut refused: c_int = 0;
    let number = &raw mut refused;
    // Of the first kind that there is: whatever is added meanwhile comes behind it.
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
        // SAFETY: as above. What cannot be taken up is refused all the same.
        unsafe { *(*filter).ctx.cast::<c_int>() = 500 };
    }
    sys::AP_FILTER_ERROR
}
