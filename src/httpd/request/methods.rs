//! The methods and languages that a resource has (Allow, Content-Language).

use crate::httpd::request::handle::Request;
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_int};

impl<'r> Request<'r> {
    /// Does the client ask for a tunnel to another host (CONNECT)? Its target is a host and a port: httpd makes a URI of that
    /// which names nothing. A WebSocket over HTTP/2 is no such request: mod_http2 makes it a GET.
    pub(crate) fn wants_tunnel(self) -> bool {
        self.method_number() == i64::from(sys::M_CONNECT)
    }

    /// Adds a method to those that Allow lists; `reset` removes the others (ap_allow_methods).
    pub(crate) fn allow_method(self, method: &CStr, reset: bool) {
        // SAFETY: a live request; the variable arguments are C strings, ended by NULL.
        unsafe {
            let none: *const c_char = std::ptr::null();
            let method = self.pool().c_string(method.to_bytes()).as_ptr();
            sys::ap_allow_methods(self.as_ptr(), c_int::from(reset), method, none);
        }
    }

    /// Lists the extension methods that are allowed.
    pub(crate) fn allowed_methods(self) -> Vec<&'r CStr> {
        // SAFETY: a live request and its method list.
        unsafe {
            let list = (*self.as_ptr()).allowed_methods;
            list.as_ref()
                .map(|list| crate::httpd::texts(list.method_list))
                .unwrap_or_default()
        }
    }

    pub(crate) fn allowed_xmethods(self) -> Vec<&'r CStr> {
        // SAFETY: a live request whose arrays live as long.
        unsafe { crate::httpd::texts((*self.as_ptr()).allowed_xmethods) }
    }

    pub(crate) fn content_languages(self) -> Vec<&'r CStr> {
        // SAFETY: as above.
        unsafe { crate::httpd::texts((*self.as_ptr()).content_languages) }
    }
}
