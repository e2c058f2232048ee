//! A connection that has left HTTP: the request's own filters are out of the way, and bytes go through the connection's, so that
//! TLS and what else is below holds. Reading does not wait; writing does, no longer than httpd's Timeout.

use crate::httpd::apr::brigade::{append, first, read, sentinel};
use crate::httpd::io::Aborted;
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};

/// A request's connection, once the request has been answered with 101. Used by one thread at a time, which holds the request.
pub(crate) struct Tunnel {
    received: NonNull<sys::apr_bucket_brigade>,
    sent: NonNull<sys::apr_bucket_brigade>,
    /// Does an end of the request come first, which is not that of the client's side? mod_http2 makes a request without a body of an
    /// extended CONNECT (RFC 8441), and ends that before it gives what comes behind it.
    ends_first: Cell<bool>,
}

// SAFETY: the brigades lie in the request's pool, which is used by one thread at a time: the worker, and then the streams' thread.
unsafe impl Send for Tunnel {}

/// What reading has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    Bytes,
    /// The client has gone.
    End,
}

/// How many bytes are asked for at once.
const BLOCK: i64 = 16384;

impl Tunnel {
    /// Leaves HTTP: takes the request's filters out of the way, and sends the head of the answer. mod_reqtimeout's limits are for
    /// requests, and go, too.
    ///
    /// # Errors
    /// Aborted.
    pub(crate) fn open(request: Request<'_>, head: &[u8]) -> Result<Tunnel, Aborted> {
        // SAFETY: a live request and its connection; brigades in the request's pool.
        let tunnel = unsafe {
            let raw = request.as_ptr();
            let connection = (*raw).connection;
            sys::ap_remove_input_filter_byhandle(
                (*connection).input_filters,
                c"reqtimeout".as_ptr(),
            );
            (*raw).input_filters = (*connection).input_filters;
            (*raw).proto_input_filters = (*connection).input_filters;
            (*raw).output_filters = (*connection).output_filters;
            (*raw).proto_output_filters = (*connection).output_filters;
            (*raw).status = sys::HTTP_SWITCHING_PROTOCOLS;
            (*raw).status_line = null_mut();
            // Nothing is to be sent for it by anybody else.
            (*raw).sent_bodyct = 1;
            (*connection).keepalive = sys::ap_conn_keepalive_e_AP_CONN_CLOSE;
            let new = || {
                let brigade = sys::apr_brigade_create((*raw).pool, (*connection).bucket_alloc);
                NonNull::new_unchecked(brigade)
            };
            Tunnel {
                received: new(),
                sent: new(),
                ends_first: Cell::new(!(*connection).master.is_null()),
            }
        };
        tunnel.write(request, head)?;
        Ok(tunnel)
    }

    /// Adds what has come to `data`, without waiting.
    pub(crate) fn read(&self, request: Request<'_>, data: &mut Vec<u8>) -> Heard {
        if request.connection().aborted() {
            return Heard::End;
        }
        let brigade = self.received.as_ptr();
        // SAFETY: a live connection and a brigade in the request's pool; a bucket is read while the brigade holds it.
        unsafe {
            let hurried = sys::apr_read_type_e_APR_NONBLOCK_READ;
            let status = sys::ap_get_brigade(
                (*(*request.as_ptr()).connection).input_filters,
                brigade,
                sys::ap_input_mode_t_AP_MODE_READBYTES,
                hurried,
                BLOCK,
            );
            let before = data.len();
            let mut is_end = !matches!(status, 0 | libc::EAGAIN);
            let mut bucket = first(brigade);
            while status == 0 && bucket != sentinel(brigade) {
                if std::ptr::eq((*bucket).type_, &raw const sys::apr_bucket_type_eos) {
                    is_end = !self.ends_first.replace(false);
                } else if (*(*bucket).type_).is_metadata == sys::apr_bucket_type_t_APR_BUCKET_DATA {
                    let (mut text, mut length) = (std::ptr::null(), 0);
                    match read(bucket, &mut text, &mut length, hurried) {
                        0 if length > 0 => {
                            let part = std::slice::from_raw_parts(text.cast::<u8>(), length);
                            data.extend_from_slice(part);
                        }
                        0 | libc::EAGAIN => {}
                        _ => is_end = true,
                    }
                }
                bucket = (*bucket).link.next;
            }
            sys::apr_brigade_cleanup(brigade.cast());
            match data.len() > before {
                true => Heard::Bytes,
                false if is_end => Heard::End,
                false => Heard::Nothing,
            }
        }
    }

    /// Sends bytes; waits until the client's side has taken them, unless nobody waits for this connection any more (`unwaited`).
    ///
    /// # Errors
    /// Aborted.
    pub(crate) fn write(&self, request: Request<'_>, data: &[u8]) -> Result<(), Aborted> {
        if request.connection().aborted() {
            return Err(Aborted);
        }
        let brigade = self.sent.as_ptr();
        // SAFETY: a live connection and a brigade in the request's pool, which copies the bytes.
        let status = unsafe {
            let connection = (*request.as_ptr()).connection;
            let (bytes, length) = (data.as_ptr().cast(), data.len());
            let copied = sys::apr_brigade_write(brigade, None, null_mut(), bytes, length);
            append(
                brigade,
                sys::apr_bucket_flush_create((*connection).bucket_alloc),
            );
            let passed = match copied {
                0 => sys::ap_pass_brigade((*connection).output_filters, brigade),
                failed => failed,
            };
            sys::apr_brigade_cleanup(brigade.cast());
            (*request.as_ptr()).bytes_sent += i64::try_from(length).unwrap_or(0);
            passed
        };
        if status == 0 && !request.connection().aborted() {
            Ok(())
        } else {
            Err(Aborted)
        }
    }
}

/// What a WebSocket's key is answered with (RFC 6455, 4.2.2): SHA-1 of it and a constant, in base64.
pub(crate) fn accept_key(key: &[u8]) -> [u8; 28] {
    const CONSTANT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut digest = [0; sys::APR_SHA1_DIGESTSIZE as usize];
    let mut text = [0_u8; 29];
    // SAFETY: the context is plain data that is initialised first; lengths are those of the slices, and base64 of 20 bytes are 28
    // and a NUL.
    unsafe {
        let mut context = MaybeUninit::<sys::apr_sha1_ctx_t>::zeroed().assume_init();
        sys::apr_sha1_init(&raw mut context);
        for part in [key, CONSTANT] {
            let length = u32::try_from(part.len()).unwrap_or(0);
            sys::apr_sha1_update_binary(&raw mut context, part.as_ptr(), length);
        }
        sys::apr_sha1_final(digest.as_mut_ptr(), &raw mut context);
        sys::apr_base64_encode_binary(text.as_mut_ptr().cast(), digest.as_ptr(), 20);
    }
    let mut accept = [0; 28];
    for (place, byte) in accept.iter_mut().zip(text) {
        *place = byte;
    }
    accept
}
