//! In the front: LimitRequestBody for what goes to a daemon. httpd does not apply it to what mod_proxy passes on.

use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::ffi::CStr;

const INPUT: &CStr = c"MOD_PYTHON_LIMIT";

/// What the filter of a request knows. It lies in the request's pool.
#[derive(Clone, Copy)]
struct Count {
    left: i64,
    is_over: bool,
}

/// Registers the filter.
pub(crate) fn register() {
    // What comes over the connection is counted, without its framing, as httpd does.
    let kind = sys::ap_filter_type_AP_FTYPE_PROTOCOL - 1;
    // SAFETY: httpd copies the name; the function lives as long as the process.
    unsafe { sys::ap_register_input_filter(INPUT.as_ptr(), Some(count), None, kind) };
}

impl Request<'_> {
    /// Refuses a body that says that it is longer, and sees to it that one without a length does not become so.
    pub(crate) fn limit_body(self) -> Status {
        // SAFETY: a live request.
        let limit = unsafe { sys::ap_get_limit_req_body(self.as_ptr()) };
        let Some(headers) = self.headers_in().filter(|_| limit > 0) else {
            return Status::OK;
        };
        if let Some(length) = headers.first(c"Content-Length") {
            // httpd has read it: it is a number.
            let length: Option<i64> = length
                .to_str()
                .ok()
                .and_then(|text| text.trim().parse().ok());
            if length.is_none_or(|length| length > limit) {
                refuse(self, limit);
                return Status(sys::HTTP_REQUEST_ENTITY_TOO_LARGE);
            }
            return Status::OK;
        }
        // A stream of HTTP/2 says neither; one that is a tunnel (RFC 8441) has this field, which no client can send there.
        let is_stream = self.proto_num() >= 2000 && !headers.has(c"Upgrade");
        let has_body = headers.has(c"Transfer-Encoding") || is_stream;
        if has_body {
            let count: *mut Count = self.pool().store(Count {
                left: limit,
                is_over: false,
            });
            // SAFETY: a live request; what the filter knows lives as long.
            unsafe {
                let (raw, context) = (self.as_ptr(), count.cast());
                sys::ap_add_input_filter(INPUT.as_ptr(), context, raw, (*raw).connection);
            }
        }
        Status::OK
    }
}

fn refuse(request: Request<'_>, limit: i64) {
    let text = format!("the request's body is larger than LimitRequestBody, {limit} bytes");
    log::entry(request, Level::Error, &text);
}

unsafe extern "C" fn count(
    filter: *mut sys::ap_filter_t,
    received: *mut sys::apr_bucket_brigade,
    mode: sys::ap_input_mode_t,
    block: sys::apr_read_type_e,
    bytes: sys::apr_off_t,
) -> sys::apr_status_t {
    // SAFETY: httpd passes a live filter, with what `limit_body` has given it, and a live brigade.
    unsafe {
        let count = &mut *(*filter).ctx.cast::<Count>();
        if count.is_over {
            return sys::APR_ENOSPC;
        }
        let status = sys::ap_get_brigade((*filter).next, received, mode, block, bytes);
        let mut length = 0;
        if status != 0 || sys::apr_brigade_length(received, 0, &raw mut length) != 0 {
            return status;
        }
        count.left -= length.max(0);
        if count.left >= 0 {
            return status;
        }
        count.is_over = true;
        sys::apr_brigade_cleanup(received.cast());
        if let Some(request) = Request::from_raw((*filter).r) {
            refuse(request, sys::ap_get_limit_req_body((*filter).r));
        }
        // mod_proxy makes 413 of it (ap_map_http_request_error).
        sys::APR_ENOSPC
    }
}
