//! Sending without waiting for the client, on connections that have left their worker.
//!
//! At a flush bucket httpd's last filter waits until the client has taken everything. So a filter in front of it takes these buckets
//! out, when all others have done what they ask for (compression, TLS), and what the client does not take at once stays in the last
//! filter until `push` goes on with it.

use crate::httpd::apr::brigade::{destroy, first, is_empty, sentinel, unlink};
use crate::httpd::io::Aborted;
use crate::httpd::request::Request;
use crate::httpd::request::connection::Connection;
use crate::httpd::sys;
use std::ffi::CStr;
use std::ptr::null_mut;

pub(in crate::httpd) const NAME: &CStr = c"MOD_PYTHON_UNWAITED";

/// How much may be written before `push`: of more in its memory httpd's filter sends a part, however long that takes (64 KB).
pub(crate) const MOST: usize = 16384;

/// What FlushMaxThreshold has to be at least, so that this is so: what TLS adds is counted, too.
pub(crate) const LEAST_THRESHOLD: usize = MOST + 1024;

/// Registers the filter.
pub(crate) fn register() {
    // SAFETY: httpd copies the name; the function lives as long as the process.
    unsafe {
        sys::ap_register_output_filter(
            NAME.as_ptr(),
            Some(let_nobody_wait),
            None,
            sys::ap_filter_type_AP_FTYPE_NETWORK - 1,
        );
    }
}

impl Request<'_> {
    /// Has nobody wait for the client from now on.
    pub(crate) fn wait_no_more(self) {
        // SAFETY: a live request and its connection. With the request, so that its own filters are joined to this one.
        unsafe {
            let connection = (*self.as_ptr()).connection;
            sys::ap_add_output_filter(NAME.as_ptr(), null_mut(), self.as_ptr(), connection);
        }
    }
}

impl Connection<'_> {
    /// Sends what is left in httpd's filters, as much as the client's side takes at once. Is there more?
    ///
    /// # Errors
    /// Aborted.
    pub(crate) fn push(self) -> Result<bool, Aborted> {
        // SAFETY: a live connection, whose last filter is httpd's own: it takes no brigade for what it has kept, as from the MPM.
        let status = unsafe {
            let mut last = (*self.as_ptr()).output_filters;
            while !(*last).next.is_null() {
                last = (*last).next;
            }
            match (*(*last).frec).filter_func.out_func {
                Some(send) => send(last, null_mut()),
                None => 0,
            }
        };
        if status != 0 || self.aborted() {
            return Err(Aborted);
        }
        Ok(self.keeps_output())
    }
}

/// The filter.
unsafe extern "C" fn let_nobody_wait(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> sys::apr_status_t {
    // SAFETY: httpd passes a live filter and brigade; a bucket is taken out before it is destroyed.
    unsafe {
        if brigade.is_null() {
            return sys::ap_pass_brigade((*filter).next, brigade);
        }
        let end = sentinel(brigade);
        let mut bucket = first(brigade);
        while bucket != end {
            let next = (*bucket).link.next;
            if std::ptr::eq((*bucket).type_, &raw const sys::apr_bucket_type_flush) {
                unlink(bucket);
                destroy(bucket);
            }
            bucket = next;
        }
        if is_empty(brigade) {
            return 0;
        }
        sys::ap_pass_brigade((*filter).next, brigade)
    }
}
