//! Waiting for a client beside something else: whether it sends, or has gone, while its request is answered.

use crate::httpd::apr::brigade::{first, sentinel};
use crate::httpd::io::poll::Interest;
use crate::httpd::request::connection::{Connection, Socket};
use crate::httpd::sys;
use std::time::{Duration, Instant};

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

/// Empties a pipe (`Connection::pipe`), without waiting. What comes later shows again: so before what it tells of is read.
pub(crate) fn drain(pipe: i32) {
    let mut place = libc::pollfd {
        fd: pipe,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one place.
    while unsafe { libc::poll(&raw mut place, 1, 0) } == 1 && place.revents & libc::POLLIN != 0 {
        let mut bytes = [0_u8; 64];
        // SAFETY: as many bytes as there is room for. There are some, so that it does not wait.
        if unsafe { libc::read(pipe, bytes.as_mut_ptr().cast(), bytes.len()) } < 64 {
            return;
        }
    }
}

/// How it stands with a socket's other side, now (poll).
fn state_of(descriptor: i32) -> i16 {
    let mut place = libc::pollfd {
        fd: descriptor,
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: one place.
    let count = unsafe { libc::poll(&raw mut place, 1, 0) };
    if count > 0 { place.revents } else { 0 }
}

/// Is a client there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Gone,
    /// It sends nothing more. It may still take an answer, or have closed: the first that is sent tells (RFC 9293, 3.10.4).
    Finished,
    Silent,
    /// It has sent something, which nobody has read yet.
    Sends,
}

/// For so long a stream of HTTP/2 is looked at, and so long after its end for the first time.
const DOUBT: Duration = Duration::from_millis(5);
const FIRST: Duration = Duration::from_micros(50);

impl Connection<'_> {
    /// Has the client gone, whose body has just come to its end? Where it resets a stream of HTTP/2, mod_http2 first ends the body, as a
    /// complete one is ended, and in the next microseconds says that the connection is gone. Nothing tells when it has done so:
    /// it is looked for a moment. May block for that.
    pub(crate) fn is_lost_behind_end(self) -> bool {
        if self.is_primary() {
            return false;
        }
        let (begun, mut pause) = (Instant::now(), FIRST);
        while !self.aborted() {
            if begun.elapsed() >= DOUBT {
                return false;
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        true
    }

    /// Gives what can be waited for where the connection has no socket: a pipe of mod_http2's that can be read when the stream's client has
    /// sent something (`ap_get_pollfd_from_conn`, httpd 2.4.58). It is looked up, since older ones have none. `drain` empties it.
    pub(crate) fn pipe(self) -> Option<i32> {
        type Find = unsafe extern "C" fn(
            *mut sys::conn_rec,
            *mut sys::apr_pollfd_t,
            *mut sys::apr_interval_time_t,
        ) -> sys::apr_status_t;
        // SAFETY: a name; NULL where httpd has no such function, and of this type where it has.
        let find = unsafe {
            let place = libc::dlsym(libc::RTLD_DEFAULT, c"ap_get_pollfd_from_conn".as_ptr());
            std::mem::transmute::<*mut libc::c_void, Option<Find>>(place)
        }?;
        // SAFETY: a live connection; zeros are a descriptor of nothing. A file that is given lives as long as the connection.
        unsafe {
            let mut found: sys::apr_pollfd_t = std::mem::zeroed();
            let mut time = 0;
            if find(self.as_ptr(), &raw mut found, &raw mut time) != 0
                || found.desc_type != sys::apr_datatype_e_APR_POLL_FILE
                || found.desc.f.is_null()
            {
                return None;
            }
            let mut descriptor = -1;
            let status = sys::apr_os_file_get(&raw mut descriptor, found.desc.f);
            (status == 0 && descriptor >= 0).then_some(descriptor)
        }
    }

    /// Looks whether the client is there, without waiting and without taking anything (AP_MODE_SPECULATIVE).
    pub(crate) fn presence(self) -> Presence {
        if self.aborted() {
            return Presence::Gone;
        }
        match self.socket() {
            Socket::Open(descriptor) => match state_of(descriptor) {
                events if events & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 => {
                    return Presence::Gone;
                }
                events if events & libc::POLLRDHUP != 0 => return Presence::Finished,
                _ => {}
            },
            Socket::Closed => return Presence::Gone,
            Socket::Shared => {}
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
                0 if is_end => Presence::Finished,
                0 if is_empty => Presence::Silent,
                0 => Presence::Sends,
                libc::EAGAIN => Presence::Silent,
                // TLS has ended, and its connection has not.
                sys::APR_EOF => Presence::Finished,
                _ => Presence::Gone,
            }
        }
    }
}
