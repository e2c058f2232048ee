//! Waiting for a client beside something else: whether it sends, or has gone, while its request is answered.

use crate::httpd::apr::brigade::{first, sentinel};
use crate::httpd::io::poll::Interest;
use crate::httpd::request::connection::Connection;
use crate::httpd::sys;
use std::time::Duration;

/// What has ended the waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    client: bool,
}

impl Seen {
    /// Has the client sent something, or gone?
    pub(crate) fn is_of_client(self) -> bool {
        self.client
    }
}

/// Waits for what is wanted of the client, or until `bell` can be read; no longer than `time` (poll). Call it detached.
pub(crate) fn wait(client: i32, wanted: Interest, bell: i32, time: Duration) -> Seen {
    let reading = if wanted.reads { libc::POLLIN } else { 0 };
    let ending = if wanted.ends { libc::POLLRDHUP } else { 0 };
    let mut places = [
        libc::pollfd {
            // Where nothing is wanted it is not waited for at all: that a client has gone would be told of all the time.
            fd: if wanted.is_any() { client } else { -1 },
            events: reading | ending,
            revents: 0,
        },
        libc::pollfd {
            fd: bell,
            events: libc::POLLIN,
            revents: 0,
        },
    ];
    let milliseconds = i32::try_from(time.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
    // SAFETY: two places, as many as it is told; descriptors that are no longer open are reported in `revents`.
    let count = unsafe { libc::poll(places.as_mut_ptr(), 2, milliseconds) };
    let [place, _] = places;
    Seen {
        client: count > 0 && place.revents != 0,
    }
}

/// Is a client there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Gone,
    Silent,
    /// It has sent something, which nobody has read yet.
    Sends,
}

impl Connection<'_> {
    /// Gives the descriptor of the connection's socket; None for one that has none of its own, such as a stream of HTTP/2.
    pub(crate) fn descriptor(self) -> Option<i32> {
        // SAFETY: a live connection, whose socket lives as long.
        unsafe {
            if !(*self.as_ptr()).master.is_null() {
                return None;
            }
            let socket = sys::ap_get_conn_socket(self.as_ptr());
            let mut descriptor = -1;
            let status = if socket.is_null() {
                sys::APR_EOF
            } else {
                sys::apr_os_sock_get(&raw mut descriptor, socket)
            };
            (status == 0 && descriptor >= 0).then_some(descriptor)
        }
    }

    /// Has its socket been closed, as httpd does with those of its workers when it stops at once?
    pub(crate) fn is_closed(self) -> bool {
        // SAFETY: a live connection.
        let is_own = unsafe { (*self.as_ptr()).master.is_null() };
        is_own && self.descriptor().is_none()
    }

    /// Looks whether the client is there, without waiting and without taking anything (AP_MODE_SPECULATIVE).
    pub(crate) fn presence(self) -> Presence {
        if self.aborted() {
            return Presence::Gone;
        }
        // SAFETY: a live connection and its filters; the brigade is destroyed here.
        unsafe {
            let connection = self.as_ptr();
            let brigade = sys::apr_brigade_create((*connection).pool, (*connection).bucket_alloc);
            let status = sys::ap_get_brigade(
                (*connection).input_filters,
                brigade,
                sys::ap_input_mode_t_AP_MODE_SPECULATIVE,
                sys::apr_read_type_e_APR_NONBLOCK_READ,
                1,
            );
            let bucket = first(brigade);
            let is_empty = bucket == sentinel(brigade);
            let is_end =
                !is_empty && std::ptr::eq((*bucket).type_, &raw const sys::apr_bucket_type_eos);
            sys::apr_brigade_destroy(brigade);
            match status {
                0 if is_end => Presence::Gone,
                0 if is_empty => Presence::Silent,
                0 => Presence::Sends,
                libc::EAGAIN => Presence::Silent,
                _ => Presence::Gone,
            }
        }
    }
}
