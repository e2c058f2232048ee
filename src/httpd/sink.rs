//! Reading a body without an answer behind our back.
//!
//! When httpd's input filters refuse a body (too large, a broken chunk), they answer by themselves: an error and the
//! answer's end go to the output filters at once, whoever is in the middle of them. While we read, that way ends here, and
//! the status is told to who reads.

use super::brigade::{first, sentinel};
use super::guard::guard;
use super::request::Request;
use super::status::Status;
use super::sys;
use std::ffi::c_int;
use std::ptr::null_mut;

/// How many requests the input filters of one can belong to: it, and those that it was redirected from or to.
const MOST: usize = 8;

/// A request whose answer goes nowhere for now, and what it had.
#[derive(Clone, Copy)]
struct Diverted {
    request: *mut sys::request_rec,
    filters: *mut sys::ap_filter_t,
}

/// Calls `read`, which reads the body of a request, and says what it returns, and with which status the body was refused.
pub(super) fn reading(
    request: Request<'_>,
    read: impl FnOnce() -> c_int,
) -> (c_int, Option<Status>) {
    let mut refused: c_int = 0;
    let mut record = sys::ap_filter_rec_t {
        name: c"mod_python_sink".as_ptr(),
        filter_func: sys::ap_filter_func {
            out_func: Some(swallow),
        },
        filter_init_func: None,
        next: null_mut(),
        providers: null_mut(),
        ftype: sys::ap_filter_type_AP_FTYPE_RESOURCE,
        debug: 0,
        proto_flags: 0,
    };
    let mut diverted = [Diverted {
        request: null_mut(),
        filters: null_mut(),
    }; MOST];
    let mut count = 0;
    // SAFETY: the filters of a live request; the sink lives until everything has been put back, below. Where a request has been
    // given to the sink, its flag of the answer's end is put back, too: ap_pass_brigade sets it.
    unsafe {
        let mut sink = sys::ap_filter_t {
            frec: &raw mut record,
            ctx: (&raw mut refused).cast(),
            next: null_mut(),
            r: request.as_ptr(),
            c: (*request.as_ptr()).connection,
        };
        let mut filter = (*request.as_ptr()).input_filters;
        while let Some(this) = filter.as_ref() {
            filter = this.next;
            let known = this.r.is_null() || diverted.iter().any(|one| one.request == this.r);
            if let Some(place) = diverted.get_mut(count).filter(|_| !known) {
                *place = Diverted {
                    request: this.r,
                    filters: (*this.r).output_filters,
                };
                (*this.r).output_filters = &raw mut sink;
                count += 1;
            }
        }
        let ends = Ends::of(request);
        let status = read();
        for one in diverted.iter().take(count) {
            (*one.request).output_filters = one.filters;
        }
        ends.put_back();
        (status, (refused != 0).then_some(Status(refused)))
    }
}

/// Which of a request and those that it was redirected from have had their answer's end.
struct Ends([(*mut sys::request_rec, c_int); MOST]);

impl Ends {
    fn of(request: Request<'_>) -> Ends {
        let mut ends = [(null_mut(), 0); MOST];
        let mut next = Some(request);
        for place in &mut ends {
            let Some(one) = next else { break };
            // SAFETY: a live request.
            *place = (one.as_ptr(), unsafe { (*one.as_ptr()).eos_sent });
            next = one.prev();
        }
        Ends(ends)
    }

    fn put_back(self) {
        for (request, eos_sent) in self.0 {
            // SAFETY: NULL, or a request that lives as long as the one that it came from.
            if let Some(request) = unsafe { request.as_mut() } {
                request.eos_sent = eos_sent;
            }
        }
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
