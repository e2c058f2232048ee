//! A handle on conn_rec.

use crate::httpd::apr::pool::Pool;
use crate::httpd::apr::table::Table;
use crate::httpd::log::{Entry, Sink, Subject};
use crate::httpd::module::{slot, unfinished};
use crate::httpd::request::server::{Server, can_suspend};
use crate::httpd::sys;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// What a connection is waited for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    Open(i32),
    /// httpd has closed it, which is how it tells its workers that it stops at once (close_worker_sockets of event and worker).
    Closed,
    /// It has none of its own, such as a stream of HTTP/2.
    Shared,
}

/// A borrowed conn_rec.
#[derive(Clone, Copy)]
pub(crate) struct Connection<'r>(NonNull<sys::conn_rec>, PhantomData<&'r sys::conn_rec>);

impl<'r> Connection<'r> {
    /// # Safety
    /// `connection` is NULL or lives for `'r`, and no other thread uses it meanwhile.
    pub(in crate::httpd) unsafe fn from_raw(
        connection: *mut sys::conn_rec,
    ) -> Option<Connection<'r>> {
        NonNull::new(connection).map(|connection| Connection(connection, PhantomData))
    }

    pub(in crate::httpd) fn as_ptr(self) -> *mut sys::conn_rec {
        self.0.as_ptr()
    }

    /// The structure's address, for C code that Python calls.
    pub(crate) fn address(self) -> NonNull<std::ffi::c_void> {
        self.0.cast()
    }

    pub(in crate::httpd) fn raw(self) -> &'r sys::conn_rec {
        // SAFETY: live for 'r; only read through this reference, and not kept across calls into httpd.
        unsafe { self.0.as_ref() }
    }

    /// Has httpd close the connection: the event MPM is not to wait for another request.
    pub(in crate::httpd) fn finish(self) {
        // SAFETY: a live connection; its state is NULL or ours to change while its handler runs.
        unsafe {
            if let Some(state) = (*self.as_ptr()).cs.as_mut() {
                state.state = sys::conn_state_e_CONN_STATE_LINGER;
            }
        }
    }

    pub(in crate::httpd) fn pool(self) -> Pool<'r> {
        // SAFETY: a connection has a pool for as long as it lives.
        unsafe { Pool::from_raw(self.raw().pool).unwrap_unchecked() }
    }

    pub(crate) fn base_server(self) -> Option<Server<'r>> {
        // SAFETY: a connection's server outlives it.
        unsafe { Server::from_raw(self.raw().base_server) }
    }

    pub(crate) fn id(self) -> i64 {
        self.raw().id
    }

    pub(crate) fn aborted(self) -> bool {
        // SAFETY: a plain field, which other threads do not write while this one serves the connection; but mod_http2 writes its
        // streams' from that of the client's connection, so it is read anew each time.
        unsafe { (&raw const (*self.as_ptr()).aborted).read_volatile() != 0 }
    }

    /// Is it a client's own connection, and not one of the streams that httpd (mod_http2) makes a connection of?
    pub(crate) fn is_primary(self) -> bool {
        self.raw().master.is_null()
    }

    /// The client's own connection, by the address of its record; None where event has begun to close it, and says of no worker that it is
    /// at it.
    pub(crate) fn primary(self) -> Option<usize> {
        let raw = self.raw();
        let own = if raw.master.is_null() {
            self.as_ptr()
        } else {
            raw.master
        };
        // SAFETY: what is made of a connection does not outlive it.
        let is_closing = can_suspend() && unsafe { unfinished::is_closing(own) };
        (!is_closing).then(|| own.addr())
    }

    /// Is something of an answer before kept in the connection's filters (pipelining)? What sends it ends that request, with all that
    /// belongs to its end.
    pub(crate) fn keeps_output(self) -> bool {
        self.raw().data_in_output_filters != 0
    }

    /// Would the kernel take so many bytes at once, so that writing them waits for nothing? Looks at what has not been acknowledged
    /// yet (TIOCOUTQ), and leaves half of the buffer for what the kernel keeps beside the bytes.
    pub(crate) fn has_room(self, bytes: usize) -> bool {
        let (mut size, mut queued): (c_int, c_int) = (0, 0);
        let mut length = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or(0);
        // SAFETY: the socket of a live connection; plain numbers are filled in.
        unsafe {
            let socket = sys::ap_get_conn_socket(self.as_ptr());
            let mut descriptor = -1;
            if socket.is_null() || sys::apr_os_sock_get(&raw mut descriptor, socket) != 0 {
                return false;
            }
            let asked = libc::getsockopt(
                descriptor,
                libc::SOL_SOCKET,
                libc::SO_SNDBUF,
                (&raw mut size).cast(),
                &raw mut length,
            );
            if asked != 0 || libc::ioctl(descriptor, libc::TIOCOUTQ, &raw mut queued) != 0 {
                return false;
            }
        }
        let room = (size / 2).saturating_sub(queued);
        usize::try_from(room).is_ok_and(|room| room >= bytes)
    }

    pub(crate) fn keepalive(self) -> c_int {
        // SAFETY: as above.
        unsafe { (*self.as_ptr()).keepalive.cast_signed() }
    }

    /// Sets what happens after this request; anything but AP_CONN_CLOSE and AP_CONN_KEEPALIVE is AP_CONN_UNKNOWN.
    pub(crate) fn set_keepalive(self, value: c_int) {
        let value = match value.cast_unsigned() {
            known @ (sys::ap_conn_keepalive_e_AP_CONN_CLOSE
            | sys::ap_conn_keepalive_e_AP_CONN_KEEPALIVE) => known,
            _ => sys::ap_conn_keepalive_e_AP_CONN_UNKNOWN,
        };
        // SAFETY: as above.
        unsafe { (*self.as_ptr()).keepalive = value }
    }

    /// Has httpd read no other request of it.
    pub(crate) fn close_at_end(self) {
        self.set_keepalive(sys::ap_conn_keepalive_e_AP_CONN_CLOSE.cast_signed());
    }

    /// Gives the connection's socket as it is now: httpd may close it from another thread, and its number may become another's.
    pub(crate) fn socket(self) -> Socket {
        // SAFETY: a live connection, whose socket's record lives as long.
        unsafe {
            if !(*self.as_ptr()).master.is_null() {
                return Socket::Shared;
            }
            let socket = sys::ap_get_conn_socket(self.as_ptr());
            if socket.is_null() {
                return Socket::Shared;
            }
            let mut descriptor = -1;
            match sys::apr_os_sock_get(&raw mut descriptor, socket) {
                0 if descriptor >= 0 => Socket::Open(descriptor),
                _ => Socket::Closed,
            }
        }
    }

    /// Gives the descriptor of the socket that is its own and open.
    pub(crate) fn descriptor(self) -> Option<i32> {
        match self.socket() {
            Socket::Open(descriptor) => Some(descriptor),
            Socket::Closed | Socket::Shared => None,
        }
    }

    /// Shuts the client's socket in both directions (shutdown(2)), for a thread that is not the connection's own: that closes it, and
    /// sends nothing more. False where the connection has no socket of its own, such as a stream of HTTP/2.
    pub(crate) fn shut(self) -> bool {
        let Some(descriptor) = self.descriptor() else {
            return false;
        };
        // SAFETY: a live connection and its socket, which stays open.
        unsafe {
            (*self.as_ptr()).keepalive = sys::ap_conn_keepalive_e_AP_CONN_CLOSE;
            (*self.as_ptr()).aborted = 1;
            libc::shutdown(descriptor, libc::SHUT_RDWR);
        }
        true
    }

    /// As `shut`, and changes nothing of the connection's record: also while its thread is at that. It sees that nothing can be sent.
    pub(crate) fn cut(self) -> bool {
        let Some(descriptor) = self.descriptor() else {
            return false;
        };
        // SAFETY: a live connection's socket, which stays open.
        unsafe { libc::shutdown(descriptor, libc::SHUT_RDWR) == 0 }
    }

    pub(crate) fn keepalives(self) -> c_int {
        self.raw().keepalives
    }

    pub(crate) fn double_reverse(self) -> c_int {
        self.raw().double_reverse()
    }

    pub(crate) fn notes(self) -> Option<Table<'r>> {
        // SAFETY: the table lives as long as the connection.
        unsafe { Table::from_raw(self.raw().notes) }
    }

    pub(crate) fn client_ip(self) -> Option<&'r CStr> {
        // SAFETY: a string in the connection's pool.
        unsafe { crate::httpd::text(self.raw().client_ip) }
    }

    pub(crate) fn local_ip(self) -> Option<&'r CStr> {
        // SAFETY: a string in the connection's pool.
        unsafe { crate::httpd::text(self.raw().local_ip) }
    }

    pub(crate) fn remote_host(self) -> Option<&'r CStr> {
        // SAFETY: a string in the connection's pool.
        unsafe { crate::httpd::text(self.raw().remote_host) }
    }

    pub(crate) fn remote_logname(self) -> Option<&'r CStr> {
        // SAFETY: a string in the connection's pool.
        unsafe { crate::httpd::text(self.raw().remote_logname) }
    }

    pub(crate) fn local_host(self) -> Option<&'r CStr> {
        // SAFETY: a string in the connection's pool.
        unsafe { crate::httpd::text(self.raw().local_host) }
    }

    /// The address and port that the connection comes from; mod_remoteip may know another one for a request.
    pub(crate) fn client_addr(self) -> (Option<&'r CStr>, u16) {
        // SAFETY: an address in the connection's pool.
        (self.client_ip(), unsafe { port(self.raw().client_addr) })
    }

    pub(crate) fn local_addr(self) -> (Option<&'r CStr>, u16) {
        // SAFETY: an address in the connection's pool.
        (self.local_ip(), unsafe { port(self.raw().local_addr) })
    }
}

/// # Safety
/// `address` is NULL or a live socket address.
pub(in crate::httpd) unsafe fn port(address: *const sys::apr_sockaddr_t) -> u16 {
    // SAFETY: the caller's promise.
    unsafe { address.as_ref() }.map_or(0, |address| address.port)
}

impl Subject for Connection<'_> {
    const MAY_WAIT: bool = true;

    fn sink(self) -> Option<Sink> {
        let of_server = self.base_server()?.sink()?;
        // SAFETY: a live connection.
        let most = unsafe { sys::ap_get_conn_module_loglevel(self.as_ptr(), slot::index()) };
        Some(Sink { most, ..of_server })
    }

    fn write(self, entry: Entry<'_>) {
        entry.write(|(file, line, module, level), (format, text)| {
            // SAFETY: it lives, and the format is a constant with its one argument.
            unsafe {
                sys::ap_log_cerror_(file, line, module, level, 0, self.as_ptr(), format, text);
            }
        });
    }
}
