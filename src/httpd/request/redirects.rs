//! Internal redirects, and what httpd needs of redirections.

use crate::httpd::apr::table::Table;
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::CStr;
use std::iter::successors;

impl<'r> Request<'r> {
    /// Runs another request in this one's place (ap_internal_redirect). May block, and runs hooks.
    pub(crate) fn internal_redirect(self, uri: &CStr) {
        self.ensure_location(self.status());
        // SAFETY: a live request; httpd copies the URI.
        unsafe {
            sys::ap_internal_redirect(self.pool().c_string(uri.to_bytes()).as_ptr(), self.as_ptr())
        }
    }

    /// Gives an empty Location to a redirect over HTTP/0.9 that has none: httpd follows a NULL pointer otherwise, since such an
    /// answer has no headers. Also to the requests that this one was redirected from, to which httpd goes back when the page of an
    /// error fails, too. `status` is what this one is going to be answered with.
    pub(crate) fn ensure_location(self, status: i64) {
        let is_redirect = |status: i64| (300..400).contains(&status);
        let has = |table: Option<Table<'_>>| {
            table.is_some_and(|table| table.first(c"Location").is_some())
        };
        for request in successors(Some(self), |request| request.prev()) {
            let wants_one = request.assbackwards() != 0
                && (is_redirect(request.status()) || request == self && is_redirect(status));
            if wants_one
                && !has(request.headers_out())
                && !has(request.err_headers_out())
                && let Some(table) = request.err_headers_out()
            {
                table.set(c"Location", c"");
            }
        }
    }
}
