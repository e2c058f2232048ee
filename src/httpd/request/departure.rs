//! How much of an answer has left, and how it ends where the rest cannot follow.

use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::CStr;
use std::iter::successors;

/// How much of an answer has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    Nothing,
    /// Its head, at least.
    Begun,
    Complete,
}

/// An output filter's name.
const NO_ERROR_PAGE: &CStr = c"MOD_PYTHON_NO_ERROR_PAGE";

/// Registers the filter that `refuse_error_pages` adds.
pub(crate) fn register() {
    // SAFETY: httpd copies the name; the function lives as long as the process.
    unsafe {
        sys::ap_register_output_filter(
            NO_ERROR_PAGE.as_ptr(),
            Some(refuse),
            None,
            sys::ap_filter_type_AP_FTYPE_PROTOCOL,
        );
    }
}

impl<'r> Request<'r> {
    /// Has the answer's head left already, with this request or with one that has led to it?
    pub(crate) fn has_begun_to_leave(self) -> bool {
        let outer = |request: &Request<'r>| request.main().or_else(|| request.prev());
        successors(Some(self), outer).any(|request| request.sent_bodyct() != 0)
    }

    /// The request that the internal redirects of this one have led to, or itself: the answer passes its filters. Another's
    /// would answer anew, with an error's page.
    pub(crate) fn last(self) -> Request<'r> {
        let mut last = self;
        while let Some(next) = last.next() {
            last = next;
        }
        last
    }

    /// How much of the answer has left: of this request's, or of that which an internal redirect of its own gives. `told` is
    /// the status with which something was given on, if so: httpd does not count a head without a body.
    pub(crate) fn departure(self, told: Option<i64>) -> Departure {
        if self.eos_sent() != 0 {
            Departure::Complete
        } else if self.last().has_begun_to_leave()
            || told.is_some_and(|told| self.is_head_only(told))
        {
            Departure::Begun
        } else {
            Departure::Nothing
        }
    }

    /// Has an answer with this status no body?
    pub(crate) fn is_head_only(self, status: i64) -> bool {
        self.header_only() || matches!(status, 100..=199 | 204 | 304)
    }

    /// Has a part of the answer left with a request that has led to this one?
    pub(crate) fn follows_a_part(self) -> bool {
        self.prev().is_some_and(Request::has_begun_to_leave)
    }

    /// A part of the answer has left with the status `told`, and httpd, or another request, goes on with it: an error's
    /// page from there would look like the rest of it, so the answer breaks off instead.
    pub(crate) fn refuse_error_pages(self, told: i64) {
        // SAFETY: the filters of a live request.
        let is_there = unsafe {
            let first = (*self.as_ptr()).proto_output_filters.as_ref();
            successors(first, |filter| filter.next.as_ref()).any(|filter| {
                filter.frec.as_ref().is_some_and(|record| {
                    crate::httpd::text(record.name).is_some_and(|name| name == NO_ERROR_PAGE)
                })
            })
        };
        if is_there {
            return;
        }
        let told = self.pool().store(told);
        // SAFETY: a live request and connection; the context lies in the request's pool.
        unsafe {
            let context = std::ptr::from_mut(told).cast();
            let connection = (*self.as_ptr()).connection;
            sys::ap_add_output_filter(NO_ERROR_PAGE.as_ptr(), context, self.as_ptr(), connection);
        }
    }

    /// Breaks the connection, so that the client can tell that the answer is not complete: what has been sent has no
    /// proper end, and nothing follows. Nothing where it is complete, from whomever. May block.
    pub(crate) fn break_off(self) {
        if self.eos_sent() == 0 {
            // SAFETY: a live request's filters.
            unsafe { self.break_from((*self.as_ptr()).output_filters) }
        }
    }

    /// # Safety
    /// `filters` are filters of the request's, or NULL.
    unsafe fn break_from(self, filters: *mut sys::ap_filter_t) {
        // SAFETY: a live request and connection; the brigade lies in the request's pool. The error bucket tells the chunk
        // filter, and HTTP/2, that the end must not be sent.
        unsafe {
            let connection = (*self.as_ptr()).connection;
            let allocator = (*connection).bucket_alloc;
            let brigade = sys::apr_brigade_create((*self.as_ptr()).pool, allocator);
            let error = sys::ap_bucket_error_create(
                sys::HTTP_BAD_GATEWAY,
                std::ptr::null(),
                (*self.as_ptr()).pool,
                allocator,
            );
            crate::httpd::apr::brigade::append(brigade, error);
            crate::httpd::apr::brigade::append(brigade, sys::apr_bucket_flush_create(allocator));
            sys::ap_pass_brigade(filters, brigade);
            sys::apr_brigade_destroy(brigade);
        }
        self.give_up();
    }

    /// Nothing more is sent on the connection, and it is closed.
    fn give_up(self) {
        // SAFETY: a live request and its connection.
        unsafe {
            let connection = (*self.as_ptr()).connection;
            (*connection).keepalive = sys::ap_conn_keepalive_e_AP_CONN_CLOSE;
            (*connection).aborted = 1;
        }
    }
}

/// Lets everything pass but the page of an error.
unsafe extern "C" fn refuse(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> sys::apr_status_t {
    // SAFETY: httpd passes a live filter, whose request is the one that is answered now; the context is what was added.
    unsafe {
        let error = Request::from_raw((*filter).r).filter(|request| {
            let status = request.status();
            status >= 400 && (*filter).ctx.cast::<i64>().as_ref() != Some(&status)
        });
        let Some(request) = error else {
            return sys::ap_pass_brigade((*filter).next, brigade);
        };
        sys::apr_brigade_cleanup(brigade.cast());
        let broken = guard("late error", || {
            if request.connection().aborted() {
                return;
            }
            let text = format!(
                "the page of the error {} comes too late, when a part of the answer has left; the answer is broken off",
                request.status()
            );
            log::entry(request, Level::Error, &text);
            request.break_from((*filter).next);
        });
        if let Err(place) = broken {
            log::entry(request, Level::Critical, &place);
            request.give_up();
        }
        libc::ECONNABORTED
    }
}
