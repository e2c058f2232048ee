//! What is said before an answer: 103, Early Hints (RFC 8297).

use crate::httpd::io::Aborted;
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::c_char;

impl Request<'_> {
    /// Can a client be told something before the answer? HTTP/1.0 knows no such thing, and a part of a page has no answer of its own.
    pub(crate) fn can_hint(self) -> bool {
        // SAFETY: a live request; the address is compared only.
        self.proto_num() >= 1001 && unsafe { (*self.as_ptr()).main.is_null() }
    }

    /// Sends status 103 with these headers, which have been checked, and flushes; nothing where a client cannot be told. Before any of the
    /// answer has been given to httpd. May block.
    ///
    /// # Errors
    /// Aborted when the client is gone.
    pub(crate) fn send_hint<'h>(
        self,
        headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<(), Aborted> {
        if !self.can_hint() {
            return Ok(());
        }
        let copy = |text: &[u8]| self.pool().c_string(text).as_ptr();
        // SAFETY: a live request, which has its own status and headers again before anybody else looks at it; all texts lie in its pool.
        unsafe {
            let request = self.as_ptr();
            let own = (
                (*request).status,
                (*request).status_line,
                (*request).headers_out,
                (*request).expecting_100,
            );
            let table = sys::apr_table_make((*request).pool, 4);
            for (name, value) in headers {
                sys::apr_table_addn(table, copy(name), copy(value));
            }
            (*request).status = EARLY_HINTS;
            (*request).status_line = LINE;
            (*request).headers_out = table;
            sys::ap_send_interim_response(request, 1);
            ((*request).status, (*request).status_line) = (own.0, own.1);
            (*request).headers_out = own.2;
            // A client that waits for 100 goes on doing so; older versions of httpd 2.4 take this for it.
            (*request).expecting_100 = own.3;
        }
        match self.connection().aborted() {
            true => Err(Aborted),
            false => Ok(()),
        }
    }
}

const EARLY_HINTS: i32 = 103;
const LINE: *const c_char = c"103 Early Hints".as_ptr();
