//! What a handler can have httpd do with its request: conditions, validators, redirects, filters.

use crate::httpd::apr::pool::Pool;
use crate::httpd::apr::table::Table;
use crate::httpd::io::sink;
use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_int};
use std::iter::successors;

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

    /// Reads the request's body and forgets it (ap_discard_request_body). May block.
    pub(crate) fn discard_body(self) -> Status {
        // SAFETY: a live request.
        let (status, refused) = sink::reading(self, || unsafe {
            sys::ap_discard_request_body(self.as_ptr())
        });
        refused.unwrap_or(Status(status))
    }

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

    /// Would a filter of that name, added to this sub-request, stand in the chain that the whole page passes? It would be used
    /// after its memory, the sub-request's, has gone: a sub-request ends before the page that it is a part of.
    pub(crate) fn would_outlive_itself(self, name: &CStr, input: bool) -> bool {
        if self.main().is_none() {
            return false;
        }
        // SAFETY: httpd looks the name up; its records live as long as the configuration.
        let record = unsafe {
            match input {
                true => sys::ap_get_input_filter_handle(name.as_ptr()).as_ref(),
                false => sys::ap_get_output_filter_handle(name.as_ptr()).as_ref(),
            }
        };
        record.is_some_and(|record| {
            (sys::ap_filter_type_AP_FTYPE_PROTOCOL..sys::ap_filter_type_AP_FTYPE_CONNECTION)
                .contains(&record.ftype)
        })
    }

    /// Adds a filter by name, in front of others of its type; httpd warns where there is none of that name (ap_add_output_filter).
    pub(crate) fn add_output_filter(self, name: &CStr) {
        // SAFETY: a live request and connection; the name is only looked up.
        unsafe {
            sys::ap_add_output_filter(
                name.as_ptr(),
                std::ptr::null_mut(),
                self.as_ptr(),
                (*self.as_ptr()).connection,
            );
        }
    }

    /// Adds an input filter by name (ap_add_input_filter).
    pub(crate) fn add_input_filter(self, name: &CStr) {
        // SAFETY: as above.
        unsafe {
            sys::ap_add_input_filter(
                name.as_ptr(),
                std::ptr::null_mut(),
                self.as_ptr(),
                (*self.as_ptr()).connection,
            );
        }
    }

    /// Did the request come over TLS, as mod_ssl says? No without mod_ssl.
    pub(crate) fn is_https(self) -> bool {
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

    /// Gives a variable of mod_ssl's; None without that.
    pub(crate) fn ssl_variable(self, name: &CStr) -> Option<&'r CStr> {
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
}

macro_rules! set_numbers {
    ($($setter:ident $name:ident),* $(,)?) => {
        impl Request<'_> {
            $(
                /// Sets the field of this name of request_rec.
                pub(crate) fn $setter(self, value: c_int) {
                    // SAFETY: a live request.
                    unsafe { (*self.as_ptr()).$name = value }
                }
            )*
        }
    };
}

set_numbers! {
    set_proxyreq proxyreq, set_chunked chunked, set_no_cache no_cache, set_no_local_copy no_local_copy,
    set_used_path_info used_path_info,
}

/// A path made canonical, with a slash at its end (apr_filepath_merge with APR_FILEPATH_TRUENAME).
pub(crate) fn canonical_directory<'p>(pool: Pool<'p>, path: &CStr) -> Option<&'p CStr> {
    let mut merged = std::ptr::null_mut();
    // SAFETY: both strings are live; the answer lies in the pool.
    unsafe {
        let flags = sys::APR_FILEPATH_TRUENAME | sys::APR_FILEPATH_NOTRELATIVE;
        if sys::apr_filepath_merge(
            &raw mut merged,
            std::ptr::null(),
            path.as_ptr(),
            flags,
            pool.as_ptr(),
        ) != 0
        {
            return None;
        }
        crate::httpd::text(sys::ap_make_full_path(pool.as_ptr(), merged, c"".as_ptr()))
    }
}

/// Calls `directive` for each directive of the configuration as it was read, with its name, arguments, and what was made of those
/// inside it (ap_conftree).
pub(crate) fn configuration_tree<T>(
    directive: &mut dyn FnMut(&CStr, &CStr, Option<Vec<T>>) -> T,
) -> Vec<T> {
    // SAFETY: the tree lives as long as the configuration, that is, as long as the child.
    unsafe { branch(sys::ap_conftree, directive) }
}

unsafe fn branch<T>(
    mut node: *const sys::ap_directive_t,
    directive: &mut dyn FnMut(&CStr, &CStr, Option<Vec<T>>) -> T,
) -> Vec<T> {
    let mut found = Vec::new();
    // SAFETY: the caller's tree is live; its links are NULL or live nodes.
    unsafe {
        while let Some(this) = node.as_ref() {
            let inside = (!this.first_child.is_null()).then(|| branch(this.first_child, directive));
            let (name, arguments) = (
                crate::httpd::text(this.directive),
                crate::httpd::text(this.args),
            );
            found.push(directive(
                name.unwrap_or_default(),
                arguments.unwrap_or_default(),
                inside,
            ));
            node = this.next;
        }
    }
    found
}
