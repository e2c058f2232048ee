//! The request's body before it is read: what httpd says of it.

use crate::httpd::io::sink;
use crate::httpd::request::handle::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;

impl<'r> Request<'r> {
    /// Has httpd check Transfer-Encoding and Content-Length, before the body is read for the first time (ap_setup_client_block).
    ///
    /// # Errors
    /// The status with which httpd refuses the body: 501, 413, 400.
    pub(crate) fn check_body(self) -> Result<(), Status> {
        // SAFETY: a live request.
        let status = unsafe {
            if (*self.as_ptr()).read_length != 0 {
                return Ok(());
            }
            sys::ap_setup_client_block(self.as_ptr(), sys::REQUEST_CHUNKED_DECHUNK)
        };
        if status == Status::OK.0 {
            Ok(())
        } else {
            Err(Status(status))
        }
    }

    /// Is there an input filter that may change the request's body?
    pub(crate) fn has_content_filters(self) -> bool {
        // SAFETY: a live request; the addresses are compared only.
        unsafe { (*self.as_ptr()).input_filters != (*self.as_ptr()).proto_input_filters }
    }

    /// Reads the request's body and forgets it (ap_discard_request_body). May block.
    pub(crate) fn discard_body(self) -> Status {
        // SAFETY: a live request.
        let (status, refused) = sink::reading(self, || unsafe {
            sys::ap_discard_request_body(self.as_ptr())
        });
        refused.unwrap_or(Status(status))
    }
}
