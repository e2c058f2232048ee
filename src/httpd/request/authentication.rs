//! Who asks: what httpd knows of the user.

use crate::httpd::request::handle::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::ffi::{CStr, c_char};

impl<'r> Request<'r> {
    /// AuthType here (ap_auth_type).
    pub(crate) fn auth_type(self) -> Option<&'r CStr> {
        // SAFETY: a live request; the string is the configuration's, or in the request's pool where it is an expression.
        unsafe { crate::httpd::text(sys::ap_auth_type(self.as_ptr())) }
    }

    /// AuthName here (ap_auth_name).
    pub(crate) fn auth_name(self) -> Option<&'r CStr> {
        // SAFETY: as above.
        unsafe { crate::httpd::text(sys::ap_auth_name(self.as_ptr())) }
    }

    /// The password of HTTP Basic authentication; also sets `user` (ap_get_basic_auth_pw).
    pub(crate) fn basic_auth_password(self) -> Option<&'r CStr> {
        let mut password: *const c_char = std::ptr::null();
        // SAFETY: a live request; the password lies in its pool.
        unsafe {
            if sys::ap_get_basic_auth_pw(self.as_ptr(), &raw mut password) == Status::OK.0 {
                crate::httpd::text(password)
            } else {
                None
            }
        }
    }

    /// Adds the challenge that belongs to a 401 (ap_note_auth_failure).
    pub(crate) fn note_auth_failure(self) {
        // SAFETY: a live request.
        unsafe { sys::ap_note_auth_failure(self.as_ptr()) }
    }

    /// May applications see Authorization (CGIPassAuth On)?
    pub(crate) fn passes_authorization(self) -> bool {
        if let Some(handed) = self.handed() {
            return handed.passes_authorization;
        }
        self.core_config()
            .is_some_and(|core| core.cgi_pass_auth() == sys::AP_CGI_PASS_AUTH_ON.cast_unsigned())
    }
}
