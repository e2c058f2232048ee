//! An error, or a redirection, that has no answer but httpd's own page: a daemon marks it, and the front makes the page, so that its
//! ErrorDocument and ServerSignature hold as they do for an application inside.

use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::module::proxy;
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::{CStr, CString, c_int};
use std::ptr::{null, null_mut};

/// In the front: looks at the head of what a daemon answers.
const OUTPUT: &CStr = c"MOD_PYTHON_ERROR_PAGE";
/// In the front: takes the daemon's own page for it, and does nothing with it.
const NOTHING: &CStr = c"MOD_PYTHON_NO_PAGE";

/// Registers the mark and the filters.
pub(crate) fn register() {
    // Before whatever looks at an answer's content.
    let kind = sys::ap_filter_type_AP_FTYPE_RESOURCE - 1;
    // SAFETY: httpd copies the names; the functions live as long as the process.
    unsafe {
        sys::ap_register_output_filter(OUTPUT.as_ptr(), Some(look), None, kind);
        sys::ap_register_output_filter(NOTHING.as_ptr(), Some(swallow), None, kind);
        let last = sys::APR_HOOK_REALLY_LAST;
        sys::ap_hook_insert_error_filter(Some(mark), null(), null(), last);
    }
}

impl Request<'_> {
    /// In the front: has an error that the daemon has no page for get this httpd's.
    pub(crate) fn expect_error(self) {
        self.add_output_filter(OUTPUT);
    }
}

/// In a daemon: httpd is about to make a page for an error.
unsafe extern "C" fn mark(raw: *mut sys::request_rec) {
    // SAFETY: httpd passes a live request; what is set lies in its pool.
    let done = guard("error page", || unsafe {
        let request = Request::from_raw(raw).filter(|request| request.handed().is_some());
        if let Some(request) = request.filter(|_| is_page((*raw).status)) {
            let status = request
                .pool()
                .c_string((*raw).status.to_string().as_bytes());
            // It becomes the answer's head.
            sys::apr_table_setn(
                (*raw).err_headers_out,
                proxy::FIELD.as_ptr(),
                status.as_ptr(),
            );
        }
    });
    if let Err(place) = done {
        log::process(Level::Critical, &place);
    }
}

/// Does httpd make a page for it?
fn is_page(status: c_int) -> bool {
    (300..600).contains(&status) && status != sys::HTTP_NOT_MODIFIED
}

/// Fields of the daemon's page, which is not sent.
const OF_THE_PAGE: [&CStr; 8] = [
    c"Content-Type",
    c"Content-Length",
    c"Content-Language",
    c"Transfer-Encoding",
    c"Connection",
    c"Date",
    c"Server",
    c"Vary",
];

unsafe extern "C" fn look(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> sys::apr_status_t {
    // SAFETY: httpd passes a live filter of a live request, and a live brigade.
    unsafe {
        let (request, next) = ((*filter).r, (*filter).next);
        sys::ap_remove_output_filter(filter);
        // Who has answered is this httpd: ServerTokens, too, is its own.
        for name in [c"Server", c"Date"] {
            sys::apr_table_unset((*request).headers_out, name.as_ptr());
        }
        let Some(status) = marked(request) else {
            return sys::ap_pass_brigade(next, brigade);
        };
        sys::apr_brigade_cleanup(brigade.cast());
        if (*request).main.is_null() {
            take_fields(request);
            // As an error of a request that has had none.
            (*request).status = sys::HTTP_OK;
            (*request).status_line = null();
            sys::ap_die(status, request);
        } else {
            // Whoever includes it makes something of its own of an error.
            proxy::fail(request, status);
        }
        // mod_proxy goes on with what comes.
        let connection = (*request).connection;
        sys::ap_add_output_filter(NOTHING.as_ptr(), null_mut(), request, connection);
        0
    }
}

unsafe extern "C" fn swallow(
    _filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> sys::apr_status_t {
    // SAFETY: httpd passes a live brigade.
    unsafe { sys::apr_brigade_cleanup(brigade.cast()) }
}

/// The status that the daemon has marked its answer with, and that it has; the mark is taken away.
///
/// # Safety
/// A live request that mod_proxy has an answer of.
unsafe fn marked(request: *mut sys::request_rec) -> Option<c_int> {
    // SAFETY: the caller's promise.
    unsafe {
        let headers = (*request).headers_out;
        let mark = crate::httpd::text(sys::apr_table_get(headers, proxy::FIELD.as_ptr()))?;
        let status: Option<c_int> = mark.to_str().ok().and_then(|mark| mark.parse().ok());
        sys::apr_table_unset(headers, proxy::FIELD.as_ptr());
        status.filter(|&status| status == (*request).status && is_page(status))
    }
}

/// What the application has said beside the error, as WWW-Authenticate and Allow, is part of the page's head.
///
/// # Safety
/// As for `marked`.
unsafe fn take_fields(request: *mut sys::request_rec) {
    // SAFETY: the caller's promise.
    unsafe {
        let said = sys::apr_table_copy((*request).pool, (*request).headers_out);
        // httpd makes this field of what it knows itself.
        let allow = sys::apr_table_get(said, c"Allow".as_ptr());
        for name in crate::httpd::text(allow)
            .unwrap_or_default()
            .to_bytes()
            .split(|&byte| byte == b',')
        {
            let name = CString::new(name.trim_ascii()).unwrap_or_default();
            let number = sys::ap_method_number_of(name.as_ptr());
            if (0..i64::BITS.cast_signed()).contains(&number) && number != sys::M_INVALID {
                (*request).allowed |= 1 << number;
                if let Some(methods) = (*request).allowed_methods.as_mut() {
                    methods.method_mask |= 1 << number;
                }
            }
        }
        for name in OF_THE_PAGE {
            sys::apr_table_unset(said, name.as_ptr());
        }
        (*request).err_headers_out =
            sys::apr_table_overlay((*request).pool, (*request).err_headers_out, said);
    }
}
