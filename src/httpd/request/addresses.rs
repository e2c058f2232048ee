//! Names, addresses and URLs: by which the request has come, who sends it, what it was mapped by.

use crate::httpd::request::connection;
use crate::httpd::request::handle::Request;
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_int};

impl<'r> Request<'r> {
    /// Gives the server's name, by UseCanonicalName; an IPv6 address in brackets (ap_get_server_name_for_url). May block where
    /// `looks_up_its_name`.
    pub(crate) fn server_name(self) -> Option<&'r CStr> {
        if let Some(handed) = self.handed() {
            return handed.server_name;
        }
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
        if let Some(handed) = self.handed() {
            return handed.server_port;
        }
        // SAFETY: a live request.
        unsafe { sys::ap_get_server_port(self.as_ptr()) }
    }

    /// `http` or `https` (ap_http_scheme).
    pub(crate) fn scheme(self) -> Option<&'r CStr> {
        // SAFETY: a live request; the text is a constant of a module's.
        unsafe { crate::httpd::text(sys::ap_run_http_scheme(self.as_ptr())) }
    }

    /// Did the request come over TLS, as mod_ssl says? No without mod_ssl.
    pub(crate) fn is_https(self) -> bool {
        if let Some(handed) = self.handed() {
            return handed.scheme == c"https";
        }
        type IsHttps = unsafe extern "C" fn(*mut sys::conn_rec) -> c_int;
        // SAFETY: mod_ssl registers a function of this type under this name.
        unsafe {
            let function = sys::apr_dynamic_fn_retrieve(c"ssl_is_https".as_ptr());
            function.is_some_and(|function| {
                std::mem::transmute::<unsafe extern "C" fn(), IsHttps>(function)(
                    (*self.as_ptr()).connection,
                ) != 0
            })
        }
    }

    /// As `ssl_variable`, for what stays the same for all requests of a connection: it is asked for once. A stream of HTTP/2 is a
    /// connection of its own here, since the other streams run in other threads.
    pub(crate) fn ssl_variable_of_connection(self, name: &CStr) -> Option<&'r CStr> {
        if self.handed().is_some() {
            return self.ssl_variable(name);
        }
        // SAFETY: a live request and its connection, which this thread serves; copies lie in the connection's pool.
        unsafe {
            let notes = (*(*self.as_ptr()).connection).notes;
            if let Some(known) = crate::httpd::text(sys::apr_table_get(notes, name.as_ptr())) {
                return Some(known);
            }
            let found = self.ssl_variable(name)?;
            sys::apr_table_set(notes, name.as_ptr(), found.as_ptr());
            Some(found)
        }
    }

    /// Gives a variable of mod_ssl's; None without that.
    pub(crate) fn ssl_variable(self, name: &CStr) -> Option<&'r CStr> {
        if let Some(handed) = self.handed() {
            let told = handed.tls.first(name);
            return told.or_else(|| self.subprocess_env()?.first(name));
        }
        type Lookup = unsafe extern "C" fn(
            *mut sys::apr_pool_t,
            *mut sys::server_rec,
            *mut sys::conn_rec,
            *mut sys::request_rec,
            *mut c_char,
        ) -> *mut c_char;
        // SAFETY: mod_ssl registers a function of this type under this name; its answer lies in the request's pool.
        unsafe {
            let function = sys::apr_dynamic_fn_retrieve(c"ssl_var_lookup".as_ptr())?;
            let lookup = std::mem::transmute::<unsafe extern "C" fn(), Lookup>(function);
            let name = self.pool().c_string(name.to_bytes()).as_ptr().cast_mut();
            let (server, connection) = ((*self.as_ptr()).server, (*self.as_ptr()).connection);
            crate::httpd::text(lookup(
                self.pool().as_ptr(),
                server,
                connection,
                self.as_ptr(),
                name,
            ))
        }
    }

    /// (scheme, hostinfo, user, password, hostname, port, path, query, fragment) of the request's URI.
    pub(crate) fn parsed_uri(self) -> ([Option<&'r CStr>; 8], Option<u16>) {
        // SAFETY: strings in the request's pool.
        unsafe {
            let uri = &(*self.as_ptr()).parsed_uri;
            let texts = [
                uri.scheme,
                uri.hostinfo,
                uri.user,
                uri.password,
                uri.hostname,
                uri.path,
                uri.query,
                uri.fragment,
            ];
            (
                texts.map(|text| crate::httpd::text(text)),
                (!uri.port_str.is_null()).then_some(uri.port),
            )
        }
    }

    /// `scheme://host[:port]uri` (ap_construct_url).
    pub(crate) fn construct_url(self, uri: &[u8]) -> Option<&'r CStr> {
        if let Some(handed) = self.handed() {
            let standard = if handed.scheme == c"https" { 443 } else { 80 };
            let port = match handed.server_port {
                port if port == standard => String::new(),
                port => format!(":{port}"),
            };
            let name = handed.server_name.unwrap_or_default();
            let (scheme, name) = (handed.scheme.to_bytes(), name.to_bytes());
            let parts = [scheme, b"://", name, port.as_bytes(), uri];
            return Some(self.pool().c_string(&parts.concat()));
        }
        // SAFETY: a live request; the result lies in its pool.
        unsafe {
            crate::httpd::text(sys::ap_construct_url(
                self.pool().as_ptr(),
                self.pool().c_string(uri).as_ptr(),
                self.as_ptr(),
            ))
        }
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

    /// The document root (ap_document_root).
    pub(crate) fn document_root(self) -> Option<&'r CStr> {
        // SAFETY: a live request; the string belongs to the configuration.
        unsafe { crate::httpd::text(sys::ap_document_root(self.as_ptr())) }
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

    /// The user agent's address: the connection's, or the one mod_remoteip found.
    pub(crate) fn useragent_addr(self) -> (Option<&'r CStr>, u16) {
        // SAFETY: an address in the request's or the connection's pool.
        (self.useragent_ip(), unsafe {
            connection::port((*self.as_ptr()).useragent_addr)
        })
    }

    /// Gives the client's name or address (ap_get_useragent_host), and whether it is an address. May block.
    pub(crate) fn remote_host(self, kind: c_int) -> (Option<&'r CStr>, bool) {
        let mut is_ip = 0;
        // SAFETY: a live request; the name lies in the connection's pool.
        let host = unsafe {
            crate::httpd::text(sys::ap_get_useragent_host(
                self.as_ptr(),
                kind,
                &raw mut is_ip,
            ))
        };
        (host, is_ip != 0)
    }

    /// Gives ServerAdmin.
    pub(crate) fn server_admin(self) -> Option<&'r CStr> {
        match self.handed() {
            Some(handed) => handed.admin,
            None => self.server().server_admin(),
        }
    }

    /// Gives the line about the server that httpd puts below its own pages; empty unless ServerSignature is on (ap_psignature).
    pub(crate) fn signature(self) -> Option<&'r CStr> {
        if let Some(handed) = self.handed() {
            return Some(handed.signature);
        }
        // SAFETY: a live request; the text is a constant or lies in its pool.
        unsafe { crate::httpd::text(sys::ap_psignature(c"".as_ptr(), self.as_ptr())) }
    }
}

/// Gives httpd's name, as the Server header has it by ServerTokens (ap_get_server_banner).
pub(crate) fn server_banner() -> Option<&'static CStr> {
    // SAFETY: set when the configuration is read; not freed while a child lives.
    unsafe { crate::httpd::text(sys::ap_get_server_banner()) }
}
