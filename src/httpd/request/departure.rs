//! How much of an answer has left for the client, and how it is broken off where the rest cannot follow.

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
    /// At least its head has left.
    Begun,
    Complete,
}

/// The name of the output filter that `refuse_error_pages` adds.
const NO_ERROR_PAGE: &CStr = c"MOD_PYTHON_NO_ERROR_PAGE";

/// Registers that filter.
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
    /// Has the answer's head left, with this request, or with one that was redirected to it or that it is a part of?
    pub(crate) fn has_begun_to_leave(self) -> bool {
        let outer = |request: &Request<'r>| request.main().or_else(|| request.prev());
        successors(Some(self), outer).any(|request| request.sent_bodyct() != 0)
    }

    /// Gives the request that internal redirects of this one have led to, or itself. The answer passes the filters of that one:
    /// through those of another one a second answer would begin, such as an error's page.
    pub(crate) fn last(self) -> Request<'r> {
        let mut last = self;
        while let Some(next) = last.next() {
            last = next;
        }
        last
    }

    /// Finds out how much of the answer has left, by this request or by one that it was redirected to. `told` is the status with
    /// which something was given to httpd's filters, if so (`Output::told`): where there is no body, httpd does not know that the
    /// head has left.
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

    /// Has an answer to this request, with this status, no body?
    pub(crate) fn is_head_only(self, status: i64) -> bool {
        self.header_only() || matches!(status, 100..=199 | 204 | 304)
    }

    /// Has a part of the answer left with a request that was redirected to this one?
    pub(crate) fn follows_a_part(self) -> bool {
        self.prev().is_some_and(Request::has_begun_to_leave)
    }

    /// Has the answer broken off in place of an error's page. For a request whose answer has begun to leave with the status
    /// `told`, and which httpd, or another request, goes on with: the page would look like the rest of the answer.
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

    /// Breaks the answer off: it gets no proper end, and the connection is closed, so that the client can tell that a part is
    /// missing. Does nothing where the answer is complete. May block.
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

    /// Has httpd close the connection, and send nothing more on it.
    pub(crate) fn give_up(self) {
        // SAFETY: a live request and its connection.
        unsafe {
            let connection = (*self.as_ptr()).connection;
            (*connection).keepalive = sys::ap_conn_keepalive_e_AP_CONN_CLOSE;
            (*connection).aborted = 1;
        }
    }
}

/// The filter: lets everything pass but an error's page, in whose place it breaks the answer off.
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
