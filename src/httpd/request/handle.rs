//! A handle on request_rec: `Request<'r>` borrows it, and never hands out `&mut request_rec`.
//!
//! Strings that are set are copied into the request's pool first (invariant 4).

use crate::httpd::apr::pool::Pool;
use crate::httpd::apr::table::Table;
use crate::httpd::log::{About, Entry, Sink, Subject, Trace};
use crate::httpd::module::kept::Module;
use crate::httpd::module::slot;
use crate::httpd::request::connection::Connection;
use crate::httpd::request::server::{self, Server};
use crate::httpd::sys;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::OnceLock;

/// A borrowed request_rec, used by one thread at a time: the one that serves the request, or the one that holds its lease.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'r>(NonNull<sys::request_rec>, PhantomData<&'r sys::request_rec>);

impl<'r> Request<'r> {
    /// # Safety
    /// `request` is NULL or lives for `'r`, and no other thread uses it meanwhile.
    pub(in crate::httpd) unsafe fn from_raw(request: *mut sys::request_rec) -> Option<Request<'r>> {
        NonNull::new(request).map(|request| Request(request, PhantomData))
    }

    pub(in crate::httpd) fn as_ptr(self) -> *mut sys::request_rec {
        self.0.as_ptr()
    }

    /// The structure's address, for C code that Python calls.
    pub(crate) fn address(self) -> NonNull<std::ffi::c_void> {
        self.0.cast()
    }

    pub(crate) fn pool(self) -> Pool<'r> {
        // SAFETY: a request has a pool for as long as it lives.
        unsafe { Pool::from_raw((*self.as_ptr()).pool).unwrap_unchecked() }
    }

    pub(crate) fn server(self) -> Server<'r> {
        // SAFETY: a request has a server for as long as it lives.
        unsafe { Server::from_raw((*self.as_ptr()).server).unwrap_unchecked() }
    }

    pub(crate) fn connection(self) -> Connection<'r> {
        // SAFETY: a request has a connection for as long as it lives.
        unsafe { Connection::from_raw((*self.as_ptr()).connection).unwrap_unchecked() }
    }

    /// The merged per-directory configuration of our module.
    pub(crate) fn config<M: Module>(self) -> &'r M::Directory<'r> {
        // SAFETY: httpd fills the vector through our create and merge functions.
        unsafe { &*slot::slot((*self.as_ptr()).per_dir_config).cast::<M::Directory<'r>>() }
    }

    /// The merged per-directory configuration of httpd's core.
    pub(in crate::httpd) fn core_config(self) -> Option<&'r sys::core_dir_config> {
        // SAFETY: the core fills its place of the vector with this structure.
        unsafe {
            sys::ap_get_core_module_config((*self.as_ptr()).per_dir_config)
                .cast::<sys::core_dir_config>()
                .as_ref()
        }
    }

    /// Is r->handler one of these names?
    pub(crate) fn handler_is(self, names: &[&CStr]) -> bool {
        self.handler()
            .is_some_and(|handler| names.contains(&handler))
    }

    /// The handler that `SetHandler` gives here, before httpd has chosen one for the request.
    pub(crate) fn configured_handler_is(self, names: &[&CStr]) -> bool {
        // SAFETY: the core's per-directory configuration is there for every request. SetHandler is kept as an
        // expression, also when it is plain text; `handler` is what httpd takes where there is none.
        let handler = unsafe {
            self.core_config().and_then(|core| {
                let mut error = std::ptr::null();
                let text = if core.expr_handler.is_null() {
                    core.handler
                } else {
                    sys::ap_expr_str_exec(self.as_ptr(), core.expr_handler, &raw mut error)
                };
                crate::httpd::text(text)
            })
        };
        handler.is_some_and(|handler| names.contains(&handler))
    }

    /// The first of the internal redirects that lie in this request's pool: they share it, as ap_internal_redirect makes them.
    pub(in crate::httpd) fn first_of_pool(self) -> Request<'r> {
        let mut first = self;
        while let Some(before) = first.prev()
            && before.pool().as_ptr() == self.pool().as_ptr()
        {
            first = before;
        }
        first
    }

    /// Has the client sent it, so that it is neither a sub-request nor a redirect?
    pub(in crate::httpd) fn is_outermost(self) -> bool {
        self.main().or(self.prev()).is_none()
    }

    pub(crate) fn next(self) -> Option<Request<'r>> {
        // SAFETY: httpd makes a redirect in the pool of the request that it came from, so both live equally long.
        unsafe { Request::from_raw((*self.as_ptr()).next) }
    }

    pub(crate) fn prev(self) -> Option<Request<'r>> {
        // SAFETY: as above.
        unsafe { Request::from_raw((*self.as_ptr()).prev) }
    }

    /// Gives the request that the client has sent, which internal redirects have led from to this one.
    pub(crate) fn original(self) -> Request<'r> {
        let mut request = self;
        while let Some(before) = request.prev() {
            request = before;
        }
        request
    }

    pub(crate) fn main(self) -> Option<Request<'r>> {
        // SAFETY: a sub-request ends before the request that it is part of.
        unsafe { Request::from_raw((*self.as_ptr()).main) }
    }

    /// Does the URI map to a directory?
    pub(crate) fn is_directory(self) -> bool {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).finfo.filetype == sys::apr_filetype_e_APR_DIR }
    }

    /// Microseconds since the epoch.
    pub(crate) fn time(self) -> i64 {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).request_time }
    }

    /// Seconds since the epoch.
    pub(crate) fn request_time(self) -> f64 {
        server::seconds(self.time())
    }

    /// The resource's modification time in seconds since the epoch.
    pub(crate) fn mtime(self) -> f64 {
        // SAFETY: a live request.
        server::seconds(unsafe { (*self.as_ptr()).mtime })
    }

    /// HEAD, and what asks like it.
    pub(crate) fn header_only(self) -> bool {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).header_only != 0 }
    }

    /// Is it a GET, and not one that has been a HEAD (which httpd takes for a GET without a body)?
    #[inline]
    pub(crate) fn is_plain_get(self) -> bool {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).method_number == sys::M_GET as c_int && !self.header_only() }
    }

    /// Sets the number alone: httpd sends a `status_line` only where it begins with the same one.
    pub(crate) fn set_status(self, status: c_int) {
        // SAFETY: a live request.
        unsafe {
            (*self.as_ptr()).status = status;
        }
    }

    pub(crate) fn set_assbackwards(self, value: c_int) {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).assbackwards = value }
    }

    /// Sets Content-Type through httpd's own call, so that filters and AddDefaultCharset see it (ap_set_content_type).
    pub(crate) fn set_content_type(self, value: &[u8]) {
        // SAFETY: the text is copied into the request's pool.
        unsafe { sys::ap_set_content_type(self.as_ptr(), self.pool().c_string(value).as_ptr()) }
    }

    /// Sets Content-Length through httpd's own call (ap_set_content_length).
    pub(crate) fn set_content_length(self, length: i64) {
        // SAFETY: a live request.
        unsafe { sys::ap_set_content_length(self.as_ptr(), length) }
    }

    /// Fills subprocess_env with what CGI and SSI share (ap_add_common_vars).
    pub(crate) fn add_common_vars(self) {
        // SAFETY: a live request.
        unsafe { sys::ap_add_common_vars(self.as_ptr()) }
        if let (Some(handed), Some(table)) = (self.handed(), self.subprocess_env()) {
            table.set(c"SERVER_ADMIN", handed.admin.unwrap_or_default());
            table.set(c"SERVER_SIGNATURE", handed.signature);
        }
        if self.filename().is_none()
            && let Some(table) = self.subprocess_env()
        {
            table.unset(c"SCRIPT_FILENAME");
        }
    }
}

macro_rules! texts {
    ($($name:ident $($setter:ident)?),* $(,)?) => {
        impl<'r> Request<'r> {
            $(
                /// The field of the same name of request_rec.
                pub(crate) fn $name(self) -> Option<&'r CStr> {
                    // SAFETY: a live request whose strings live as long.
                    unsafe { crate::httpd::text((*self.as_ptr()).$name) }
                }
                $(
                    /// Sets the field to a copy of `value` in the request's pool; None sets NULL.
                    pub(crate) fn $setter(self, value: Option<&[u8]>) {
                        let copy = value.map_or(std::ptr::null(), |value| self.pool().c_string(value).as_ptr());
                        // SAFETY: a live request; the copy lives as long.
                        unsafe { (*self.as_ptr()).$name = copy.cast_mut().cast() }
                    }
                )?
            )*
        }
    };
}

texts! {
    the_request, protocol, hostname, method, unparsed_uri, range, content_encoding, vlist_validator, useragent_ip, content_type,
    status_line set_status_line, handler set_handler, user set_user, ap_auth_type set_ap_auth_type, uri set_uri,
    canonical_filename set_canonical_filename, path_info set_path_info, args set_args,
}

macro_rules! numbers {
    ($($name:ident),* $(,)?) => {
        impl Request<'_> {
            $(
                /// The field of the same name of request_rec.
                pub(crate) fn $name(self) -> i64 {
                    // SAFETY: a live request.
                    i64::from(unsafe { (*self.as_ptr()).$name })
                }
            )*
        }
    };
}

numbers! {
    status, assbackwards, proto_num, method_number, proxyreq, allowed, sent_bodyct, bytes_sent, clength, chunked, read_body,
    read_chunked, expecting_100, remaining, read_length, used_path_info, eos_sent, no_cache, no_local_copy,
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

macro_rules! tables {
    ($($name:ident),* $(,)?) => {
        impl<'r> Request<'r> {
            $(
                /// The table of the same name of request_rec, as it is now: httpd may swap tables between phases.
                pub(crate) fn $name(self) -> Option<Table<'r>> {
                    // SAFETY: a live request whose tables live as long.
                    unsafe { Table::from_raw((*self.as_ptr()).$name) }
                }
            )*
        }
    };
}

tables!(
    headers_in,
    headers_out,
    err_headers_out,
    subprocess_env,
    notes
);

/// Says which requests' entries of the log are objects; set in the child.
static JSON: OnceLock<fn(Request<'_>) -> bool> = OnceLock::new();

impl Request<'_> {
    /// Has `decide` say so.
    pub(crate) fn log_as_objects(decide: fn(Request<'_>) -> bool) {
        let _ = JSON.set(decide);
    }
}

impl Subject for Request<'_> {
    const MAY_WAIT: bool = true;

    fn sink(self) -> Option<Sink> {
        let is_json = JSON.get().is_some_and(|is_json| is_json(self));
        // SAFETY: a live request, whose server lives longer.
        is_json.then(|| unsafe {
            Sink {
                file: (*self.server().as_ptr()).error_log,
                most: sys::ap_get_request_module_loglevel(self.as_ptr(), slot::index()),
            }
        })
    }

    fn about(&self) -> Option<About<'_>> {
        fn bytes(text: Option<&CStr>) -> &[u8] {
            text.unwrap_or_default().to_bytes()
        }
        let uri = bytes(self.unparsed_uri());
        let environment = self.subprocess_env();
        let host = self.hostname().or_else(|| self.server().server_hostname());
        Some(About {
            method: bytes(self.method()),
            uri: uri.split(|&byte| byte == b'?').next().unwrap_or(uri),
            id: environment
                .and_then(|table| table.first(c"UNIQUE_ID"))
                .map(CStr::to_bytes),
            remote: bytes(self.useragent_ip()),
            host: bytes(host),
        })
    }

    fn trace(&self) -> Option<Trace<'_>> {
        let header = self.headers_in()?.first(c"traceparent")?;
        Trace::parse(header.to_bytes())
    }

    fn write(self, entry: Entry<'_>) {
        entry.write(|(file, line, module, level), (format, text)| {
            // SAFETY: it lives, and the format is a constant with its one argument.
            unsafe {
                sys::ap_log_rerror_(file, line, module, level, 0, self.as_ptr(), format, text);
            }
        });
    }
}
