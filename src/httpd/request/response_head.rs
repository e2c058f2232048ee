//! What an adapter such as WSGI asks httpd about a request, and how it sets the head of an answer.

use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

impl<'r> Request<'r> {
    /// Gives the server's name, by UseCanonicalName; an IPv6 address in brackets (ap_get_server_name_for_url). May block where
    /// `looks_up_its_name`.
    pub(crate) fn server_name(self) -> Option<&'r CStr> {
        // SAFETY: a live request; the name lies in its pool or the configuration.
        unsafe { crate::httpd::text(sys::ap_get_server_name_for_url(self.as_ptr())) }
    }

    /// Is the server's name looked up in the DNS (UseCanonicalName DNS)? That is done once for each connection.
    pub(crate) fn looks_up_its_name(self) -> bool {
        let dns = sys::USE_CANONICAL_NAME_DNS.cast_unsigned();
        self.core_config()
            .is_some_and(|core| core.use_canonical_name() == dns)
    }

    /// Is the port that of the configuration or the connection (UseCanonicalName, UseCanonicalPhysicalPort On), and not the one
    /// that the client has named?
    pub(crate) fn port_is_configured(self) -> bool {
        let on = sys::USE_CANONICAL_NAME_ON.cast_unsigned();
        let physical = sys::USE_CANONICAL_PHYS_PORT_ON.cast_unsigned();
        self.core_config().is_some_and(|core| {
            core.use_canonical_name() == on || core.use_canonical_phys_port() == physical
        })
    }

    /// Gives the server's port, by UseCanonicalPhysicalPort (ap_get_server_port).
    pub(crate) fn server_port(self) -> u16 {
        // SAFETY: a live request.
        unsafe { sys::ap_get_server_port(self.as_ptr()) }
    }

    /// `http` or `https` (ap_http_scheme).
    pub(crate) fn scheme(self) -> Option<&'r CStr> {
        // SAFETY: a live request; the text is a constant of a module's.
        unsafe { crate::httpd::text(sys::ap_run_http_scheme(self.as_ptr())) }
    }

    /// The part of the URI that mod_alias or mod_userdir has mapped to a directory (ap_context_prefix).
    pub(crate) fn context_prefix(self) -> Option<&'r CStr> {
        // SAFETY: a live request; the text lies in its pool.
        unsafe { crate::httpd::text(sys::ap_context_prefix(self.as_ptr())) }
    }

    /// That directory (ap_context_document_root).
    pub(crate) fn context_document_root(self) -> Option<&'r CStr> {
        // SAFETY: as above.
        unsafe { crate::httpd::text(sys::ap_context_document_root(self.as_ptr())) }
    }

    /// Gives the request that the client has sent, which internal redirects have led from to this one.
    pub(crate) fn original(self) -> Request<'r> {
        let mut request = self;
        while let Some(before) = request.prev() {
            request = before;
        }
        request
    }

    /// May applications see Authorization (CGIPassAuth On)?
    pub(crate) fn passes_authorization(self) -> bool {
        self.core_config()
            .is_some_and(|core| core.cgi_pass_auth() == sys::AP_CGI_PASS_AUTH_ON.cast_unsigned())
    }

    /// Gives the line about the server that httpd puts below its own pages; empty unless ServerSignature is on (ap_psignature).
    pub(crate) fn signature(self) -> Option<&'r CStr> {
        // SAFETY: a live request; the text is a constant or lies in its pool.
        unsafe { crate::httpd::text(sys::ap_psignature(c"".as_ptr(), self.as_ptr())) }
    }

    /// Gives what REDIRECT_URL says of this request to one that it was redirected to: its path, or its URL (QualifyRedirectURL On).
    pub(crate) fn redirect_url(self) -> Option<&'r CStr> {
        let on = sys::AP_CORE_CONFIG_ON.cast_unsigned();
        let path = self.uri()?;
        let qualified = self
            .core_config()
            .is_some_and(|core| core.qualify_redirect_url() == on);
        if qualified {
            return self.construct_url(path.to_bytes());
        }
        Some(path)
    }

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

    /// Removes Range. Only GET has ranges (RFC 9110, 14.2), and an application may want none: httpd would answer 416 or 206
    /// although the application has acted on the whole request.
    fn without_ranges(self) {
        // SAFETY: a live request's list of filters; the one that is removed is not looked at again.
        unsafe {
            let mut filter = (*self.as_ptr()).output_filters;
            while let Some(this) = filter.as_ref() {
                let name = crate::httpd::text((*this.frec).name);
                if name.is_some_and(|name| name.to_bytes().eq_ignore_ascii_case(b"byterange")) {
                    sys::ap_remove_output_filter(filter);
                    return;
                }
                filter = this.next;
            }
        }
    }
}

/// Gives httpd's name, as the Server header has it by ServerTokens (ap_get_server_banner).
pub(crate) fn server_banner() -> Option<&'static CStr> {
    // SAFETY: set when the configuration is read; not freed while a child lives.
    unsafe { crate::httpd::text(sys::ap_get_server_banner()) }
}

/// Gives httpd's status line for a code, such as `200 OK` (ap_get_status_line); None for codes that it does not know.
pub(crate) fn status_line(code: c_int) -> Option<&'static CStr> {
    // SAFETY: a constant; for an unknown code, that of 500.
    let line = unsafe { crate::httpd::text(sys::ap_get_status_line(code)) };
    line.filter(|line| line.to_bytes().starts_with(code.to_string().as_bytes()))
}

/// An answer's status and headers, which have been checked and not yet been given to httpd. They lie in the request's pool; used
/// while its lease is held.
pub(crate) struct Head {
    status: c_int,
    line: NonNull<std::ffi::c_char>,
    content_type: Option<NonNull<std::ffi::c_char>>,
    length: Option<i64>,
    /// May httpd answer with a range of the body? Not where the application says `Accept-Ranges: none`.
    ranges: bool,
    headers: Option<NonNull<sys::apr_table_t>>,
}

// SAFETY: reached through the lease, by one thread at a time.
unsafe impl Send for Head {}
// SAFETY: as above.
unsafe impl Sync for Head {}

impl Head {
    /// Makes a head with a status line, such as `404 Not Found`.
    pub(crate) fn new(request: Request<'_>, status: c_int, line: &[u8]) -> Head {
        Head {
            status,
            line: pointer(request, line),
            content_type: None,
            length: None,
            ranges: true,
            headers: None,
        }
    }

    /// Adds a header, beside others of the same name.
    pub(crate) fn add(&mut self, request: Request<'_>, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"content-type") {
            self.content_type = Some(pointer(request, value));
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.length = crate::httpd::request::header::length(value);
        } else {
            if name.eq_ignore_ascii_case(b"accept-ranges") {
                self.ranges = !value.trim_ascii().eq_ignore_ascii_case(b"none");
            }
            // SAFETY: the table and the copies lie in the request's pool.
            unsafe {
                let table = *self.headers.get_or_insert_with(|| {
                    NonNull::new_unchecked(sys::apr_table_make((*request.as_ptr()).pool, 10))
                });
                sys::apr_table_addn(
                    table.as_ptr(),
                    pointer(request, name).as_ptr(),
                    pointer(request, value).as_ptr(),
                );
            }
        }
    }

    pub(crate) fn status(&self) -> c_int {
        self.status
    }

    /// Gives the Content-Length, if there is one.
    pub(crate) fn length(&self) -> Option<i64> {
        self.length
    }

    /// Sets status and headers of the request.
    pub(crate) fn install(&self, request: Request<'_>) {
        let is_get = request.method_number() == i64::from(sys::M_GET) && !request.header_only();
        if !is_get || !self.ranges {
            request.without_ranges();
        }
        // SAFETY: a live request, in whose pool everything lies; nothing is copied again.
        unsafe {
            (*request.as_ptr()).status = self.status;
            (*request.as_ptr()).status_line = self.line.as_ptr();
            if let Some(kind) = self.content_type {
                sys::ap_set_content_type(request.as_ptr(), kind.as_ptr());
            }
            if let Some(length) = self.length {
                sys::ap_set_content_length(request.as_ptr(), length);
            }
            if let Some(table) = self.headers {
                let array = &*sys::apr_table_elts(table.as_ptr());
                let entries = array.elts.cast::<sys::apr_table_entry_t>();
                for place in 0..usize::try_from(array.nelts).unwrap_or(0) {
                    let entry = entries.add(place);
                    sys::apr_table_addn(
                        (*request.as_ptr()).headers_out,
                        (*entry).key,
                        (*entry).val,
                    );
                }
            }
        }
    }
}

fn pointer(request: Request<'_>, text: &[u8]) -> NonNull<std::ffi::c_char> {
    let copy = request.pool().c_string(text).as_ptr().cast_mut();
    // SAFETY: a C string's address.
    unsafe { NonNull::new_unchecked(copy) }
}
