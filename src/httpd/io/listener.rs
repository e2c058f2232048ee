//! Listeners that httpd's Listen cannot make: UNIX sockets, one that this process was given as a descriptor (a daemon's, whose other end
//! is its front) and one that is bound to a path (for who watches the daemon).
//!
//! httpd closes its listeners whenever it reads its configuration again. So each time it gets a duplicate; what it is made of stays open
//! as long as the process.

use crate::httpd::sys;
use std::collections::HashMap;
use std::ffi::{CStr, c_int};
use std::io::Error;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is bound to paths. Only the parent, when it reads its configuration, takes the lock.
static BOUND: Mutex<Option<HashMap<PathBuf, OwnedFd>>> = Mutex::new(None);

/// The paths of the sockets whose connections come from the front. Written when a configuration is read, and looked at once for each
/// connection.
static FRONT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Is there a listener of this kind?
static ADOPTED: AtomicBool = AtomicBool::new(false);

/// The note of a connection that it was accepted from the front's listener.
const FROM_FRONT: &CStr = c"mod_python.front";

/// Makes the descriptor, a listening UNIX socket, one of httpd's listeners; its connections come from the front.
///
/// # Errors
/// What the descriptor is instead.
pub(crate) fn adopt(descriptor: i32) -> Result<(), String> {
    let listening = option(descriptor, libc::SO_ACCEPTCONN)
        .map_err(|error| format!("descriptor {descriptor} is no socket: {error}"))?;
    let domain = option(descriptor, libc::SO_DOMAIN).unwrap_or_default();
    if listening == 0 || domain != libc::AF_UNIX {
        return Err(format!(
            "descriptor {descriptor} is not a UNIX socket that listens"
        ));
    }
    let Some(path) = path_of(descriptor).filter(|path| !path.is_empty()) else {
        return Err(format!("descriptor {descriptor} is bound to no path"));
    };
    let mut front = FRONT.lock().unwrap_or_else(|broken| broken.into_inner());
    if !front.contains(&path) {
        front.push(path);
    }
    add(descriptor)
}

/// Makes a UNIX socket of this path, for its owner alone, one of httpd's listeners. Its connections are like those of any client.
///
/// # Errors
/// Why it cannot be made.
pub(crate) fn bind(path: &Path) -> Result<(), String> {
    let mut bound = BOUND.lock().unwrap_or_else(|broken| broken.into_inner());
    let bound = bound.get_or_insert_default();
    if !bound.contains_key(path) {
        let failed = |error: Error| format!("cannot listen on {}: {error}", path.display());
        let _ = std::fs::remove_file(path);
        // SAFETY: httpd has one thread when it reads its configuration.
        let before = unsafe { libc::umask(0o177) };
        let made = UnixListener::bind(path);
        // SAFETY: as above.
        unsafe { libc::umask(before) };
        let listener = made.map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mode).map_err(failed)?;
        bound.insert(path.into(), listener.into());
    }
    match bound.get(path) {
        Some(socket) => add(socket.as_raw_fd()),
        None => Ok(()),
    }
}

/// Has a new connection come from one of these listeners, gives it addresses: httpd knows only those of the internet, and has read
/// what it was given as one. Remembers whether it has come from the front.
pub(in crate::httpd) fn meet(connection: *mut sys::conn_rec, socket: *mut sys::apr_socket_t) {
    // SAFETY: a new connection, which this thread serves, and its socket; what is made lies in the connection's pool.
    unsafe {
        if !is_daemon() || !(*connection).master.is_null() || socket.is_null() {
            return;
        }
        let mut descriptor = -1;
        if sys::apr_os_sock_get(&raw mut descriptor, socket) != 0 {
            return;
        }
        let Some(own) = path_of(descriptor) else {
            return;
        };
        if let Some(address) = address((*connection).pool, LOOPBACK.to_bytes(), PORT) {
            (*connection).client_addr = address;
            (*connection).local_addr = address;
            (*connection).client_ip = LOOPBACK.as_ptr().cast_mut();
            (*connection).local_ip = LOOPBACK.as_ptr().cast_mut();
        }
        let front = FRONT.lock().unwrap_or_else(|broken| broken.into_inner());
        if front.contains(&own) {
            let mark = FROM_FRONT.as_ptr();
            sys::apr_table_setn((*connection).notes, mark, mark);
        }
    }
}

/// Makes an address of its text, without asking the system; None where that is no address.
///
/// # Safety
/// A live pool.
pub(in crate::httpd) unsafe fn address(
    pool: *mut sys::apr_pool_t,
    ip: &[u8],
    port: u16,
) -> Option<*mut sys::apr_sockaddr_t> {
    let ip: IpAddr = std::str::from_utf8(ip).ok()?.parse().ok()?;
    // SAFETY: the caller's promise; the structure is all zeros, and what is filled in is as large as it is said to be.
    unsafe {
        let size = size_of::<sys::apr_sockaddr_t>();
        let made = sys::apr_palloc(pool, size).cast::<sys::apr_sockaddr_t>();
        made.write_bytes(0, 1);
        (*made).pool = pool;
        (*made).port = port;
        match ip {
            IpAddr::V4(ip) => {
                let place = (&raw mut (*made).sa).cast::<libc::sockaddr_in>();
                (*place).sin_family = V4;
                (*place).sin_port = port.to_be();
                (*place).sin_addr.s_addr = u32::from(ip).to_be();
                (*made).family = libc::AF_INET;
                (*made).salen = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>()).ok()?;
                (*made).ipaddr_len = 4;
                (*made).addr_str_len = 16;
                (*made).ipaddr_ptr = (&raw mut (*place).sin_addr).cast();
            }
            IpAddr::V6(ip) => {
                let place = (&raw mut (*made).sa).cast::<libc::sockaddr_in6>();
                (*place).sin6_family = V6;
                (*place).sin6_port = port.to_be();
                (*place).sin6_addr.s6_addr = ip.octets();
                (*made).family = libc::AF_INET6;
                (*made).salen = libc::socklen_t::try_from(size_of::<libc::sockaddr_in6>()).ok()?;
                (*made).ipaddr_len = 16;
                (*made).addr_str_len = 46;
                (*made).ipaddr_ptr = (&raw mut (*place).sin6_addr).cast();
            }
        }
        Some(made)
    }
}

const V4: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
const V6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;

/// Is this process a daemon's?
#[inline]
pub(in crate::httpd) fn is_daemon() -> bool {
    ADOPTED.load(Ordering::Relaxed)
}

/// Was the connection accepted from the front's listener?
pub(in crate::httpd) fn is_from_front(connection: *mut sys::conn_rec) -> bool {
    // SAFETY: a live connection and its notes, which no client can write to. A stream of HTTP/2 has notes of its own.
    is_daemon()
        && unsafe { !sys::apr_table_get((*connection).notes, FROM_FRONT.as_ptr()).is_null() }
}

/// Has the child closed its listeners?
pub(super) fn are_closed() -> bool {
    // SAFETY: as in `has_waiting`.
    unsafe {
        let mut listener = sys::ap_listeners;
        while !listener.is_null() {
            let mut descriptor = -1;
            if !(*listener).sd.is_null()
                && sys::apr_os_sock_get(&raw mut descriptor, (*listener).sd) == 0
                && descriptor >= 0
            {
                return false;
            }
            listener = (*listener).next;
        }
        true
    }
}

/// Does somebody wait whom nobody has accepted yet?
pub(super) fn has_waiting() -> bool {
    // SAFETY: httpd's list of listeners lives as long as the child, and its sockets, once they are closed, have no descriptor.
    unsafe {
        let mut listener = sys::ap_listeners;
        while !listener.is_null() {
            let mut place = libc::pollfd {
                fd: -1,
                events: libc::POLLIN,
                revents: 0,
            };
            if !(*listener).sd.is_null()
                && sys::apr_os_sock_get(&raw mut place.fd, (*listener).sd) == 0
                && libc::poll(&raw mut place, 1, 0) > 0
                && place.revents & libc::POLLIN != 0
            {
                return true;
            }
            listener = (*listener).next;
        }
        false
    }
}

/// The path that a UNIX socket, or the listener that it was accepted from, is bound to; None for other sockets.
fn path_of(descriptor: i32) -> Option<Vec<u8>> {
    name_of(descriptor).map(|name| path_in(&name).collect())
}

/// Was the descriptor accepted from a socket of these paths? Takes no memory.
pub(super) fn is_accepted(descriptor: i32, paths: &[Vec<u8>]) -> bool {
    let is_own = |name| {
        let is = |path: &Vec<u8>| path_in(&name).eq(path.iter().copied());
        paths.iter().any(is)
    };
    name_of(descriptor).is_some_and(is_own)
        && option(descriptor, libc::SO_ACCEPTCONN).ok() == Some(0)
}

/// The paths of the sockets whose connections come from the front.
pub(super) fn paths() -> Vec<Vec<u8>> {
    let front = FRONT.lock().unwrap_or_else(|broken| broken.into_inner());
    front.clone()
}

fn name_of(descriptor: i32) -> Option<libc::sockaddr_un> {
    // SAFETY: the address is as large as it is said to be, and filled in.
    unsafe {
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        let mut length = libc::socklen_t::try_from(size_of_val(&address)).ok()?;
        let place = (&raw mut address).cast();
        let is_named = libc::getsockname(descriptor, place, &raw mut length) == 0;
        (is_named && i32::from(address.sun_family) == libc::AF_UNIX).then_some(address)
    }
}

fn path_in(address: &libc::sockaddr_un) -> impl Iterator<Item = u8> {
    let path = address.sun_path.iter().map(|&byte| byte.cast_unsigned());
    path.take_while(|&byte| byte != 0)
}

fn option(descriptor: i32, name: c_int) -> Result<c_int, Error> {
    let mut value: c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or(0);
    // SAFETY: a number is filled in.
    let done = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if done == 0 {
        Ok(value)
    } else {
        Err(Error::last_os_error())
    }
}

/// Adds a duplicate of the socket to httpd's listeners.
fn add(descriptor: i32) -> Result<(), String> {
    let failed = |what: &str| format!("{what}: {}", Error::last_os_error());
    // SAFETY: httpd has one thread when it reads its configuration. Its listeners live in the process's pool, as httpd's own do: the old
    // ones are looked at once more after the configuration has gone.
    unsafe {
        libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        let mut copy = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3);
        if copy < 0 {
            return Err(failed("dup"));
        }
        let pool = sys::ap_pglobal;
        let mut socket = null_mut();
        let made = sys::apr_os_sock_put(&raw mut socket, &raw mut copy, pool) == 0;
        let Some(address) = address(pool, LOOPBACK.to_bytes(), PORT).filter(|_| made) else {
            return Err("APR cannot make a listener".into());
        };
        let place = sys::apr_palloc(pool, size_of::<sys::ap_listen_rec>());
        let listener = place.cast::<sys::ap_listen_rec>();
        listener.write_bytes(0, 1);
        (*listener).sd = socket;
        (*listener).bind_addr = address;
        (*listener).active = 1;
        // Of no AcceptFilter: those are TCP's.
        (*listener).protocol = c"mod_python".as_ptr();
        (*listener).next = sys::ap_listeners;
        sys::ap_listeners = listener;
    }
    ADOPTED.store(true, Ordering::Relaxed);
    Ok(())
}

/// What httpd is told of both ends, since it knows only addresses of the internet.
const LOOPBACK: &CStr = c"127.0.0.1";
const PORT: u16 = 80;
