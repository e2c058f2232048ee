//! Validators of the answer, and conditions of the request (RFC 9110, 13).

use crate::httpd::request::handle::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;

impl<'r> Request<'r> {
    /// Compares the request's conditions (If-Match and so on) with the resource: OK, or 304 or 412 (ap_meets_conditions).
    pub(crate) fn meets_conditions(self) -> Status {
        // SAFETY: a live request.
        Status(unsafe { sys::ap_meets_conditions(self.as_ptr()) })
    }

    /// Sets ETag by the file and the time (ap_set_etag).
    pub(crate) fn set_etag(self) {
        // SAFETY: a live request.
        unsafe { sys::ap_set_etag(self.as_ptr()) }
    }

    /// Sets Last-Modified by `mtime` (ap_set_last_modified).
    pub(crate) fn set_last_modified(self) {
        // SAFETY: a live request.
        unsafe { sys::ap_set_last_modified(self.as_ptr()) }
    }

    /// Raises `mtime` (microseconds since the epoch) if it is earlier (ap_update_mtime).
    pub(crate) fn update_mtime(self, time: i64) {
        // SAFETY: a live request.
        unsafe { sys::ap_update_mtime(self.as_ptr(), time) }
    }
}
