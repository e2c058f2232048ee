//! Listeners that httpd's Listen cannot make: UNIX sockets, one that this process was given as a descriptor (a daemon's, whose other end
//! is its front) and one that is bound to a path (for who watches the daemon).
//!
//! httpd closes its listeners whenever it reads its configuration again. So each time it gets a duplicate; what it is made of stays open
//! as long as the process.

use crate::httpd::sys;
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::io::Error;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is bound to paths. Only the parent, when it reads its configuration, takes the lock.
static BOUND: Mutex<Option<HashMap<PathBuf, OwnedFd>>> = Mutex::new(None);

/// Is there a listener whose connections come from the front?
static ADOPTED: AtomicBool = AtomicBool::new(false);

/// The note, of a connection's socket, that it was accepted from the front's listener.
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
    add(descriptor, accept_front)?;
    ADOPTED.store(true, Ordering::Relaxed);
    Ok(())
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
        Some(socket) => add(socket.as_raw_fd(), accept_other),
        None => Ok(()),
    }
}

/// Was the connection accepted from the front?
pub(in crate::httpd) fn is_from_front(connection: *mut sys::conn_rec) -> bool {
    if !ADOPTED.load(Ordering::Relaxed) {
        return false;
    }
    let mut found: *mut c_void = null_mut();
    // SAFETY: a live connection and its socket; a stream of HTTP/2 has the one of its connection, so it is looked at for primary ones only.
    unsafe {
        if !(*connection).master.is_null() {
            return false;
        }
        let socket = sys::ap_get_conn_socket(connection);
        !socket.is_null()
            && sys::apr_socket_data_get(&raw mut found, FROM_FRONT.as_ptr(), socket) == 0
            && !found.is_null()
    }
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

type Accept = unsafe extern "C" fn(
    *mut *mut c_void,
    *mut sys::ap_listen_rec,
    *mut sys::apr_pool_t,
) -> sys::apr_status_t;

/// Adds a duplicate of the socket to httpd's listeners.
fn add(descriptor: i32, accept: Accept) -> Result<(), String> {
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
        let mut address = null_mut();
        let made = sys::apr_os_sock_put(&raw mut socket, &raw mut copy, pool) == 0
            && sys::apr_sockaddr_info_get(
                &raw mut address,
                LOOPBACK.as_ptr(),
                sys::APR_INET,
                PORT,
                0,
                pool,
            ) == 0;
        if !made {
            return Err("APR cannot make a listener".into());
        }
        let place = sys::apr_palloc(pool, size_of::<sys::ap_listen_rec>());
        let listener = place.cast::<sys::ap_listen_rec>();
        listener.write_bytes(0, 1);
        (*listener).sd = socket;
        (*listener).bind_addr = address;
        (*listener).accept_func = Some(accept);
        (*listener).active = 1;
        (*listener).protocol = c"http".as_ptr();
        (*listener).next = sys::ap_listeners;
        sys::ap_listeners = listener;
    }
    Ok(())
}

/// What httpd is told of both ends, since it knows only addresses of the internet.
const LOOPBACK: &CStr = c"127.0.0.1";
const PORT: u16 = 80;

unsafe extern "C" fn accept_front(
    accepted: *mut *mut c_void,
    listener: *mut sys::ap_listen_rec,
    pool: *mut sys::apr_pool_t,
) -> sys::apr_status_t {
    // SAFETY: the MPM passes live ones.
    unsafe {
        let status = accept(accepted, listener, pool);
        let socket = (*accepted).cast::<sys::apr_socket_t>();
        if status == 0 && !socket.is_null() {
            let mark = FROM_FRONT.as_ptr().cast_mut().cast();
            sys::apr_socket_data_set(socket, mark, FROM_FRONT.as_ptr(), None);
        }
        status
    }
}

unsafe extern "C" fn accept_other(
    accepted: *mut *mut c_void,
    listener: *mut sys::ap_listen_rec,
    pool: *mut sys::apr_pool_t,
) -> sys::apr_status_t {
    // SAFETY: the MPM passes live ones.
    unsafe { accept(accepted, listener, pool) }
}

/// Accepts a connection, as ap_unixd_accept does: APR_EGENERAL ends the child.
///
/// # Safety
/// A place for the socket, a live listener and a live pool.
unsafe fn accept(
    accepted: *mut *mut c_void,
    listener: *mut sys::ap_listen_rec,
    pool: *mut sys::apr_pool_t,
) -> sys::apr_status_t {
    // SAFETY: the caller's promise; APR copies the addresses, and closes the descriptor with the pool.
    unsafe {
        accepted.write(null_mut());
        let mut descriptor = -1;
        let status = sys::apr_os_sock_get(&raw mut descriptor, (*listener).sd);
        if status != 0 {
            return status;
        }
        let mut client = libc::accept4(descriptor, null_mut(), null_mut(), libc::SOCK_CLOEXEC);
        if client < 0 {
            let error = Error::last_os_error().raw_os_error().unwrap_or(0);
            let goes_on = [libc::EINTR, libc::EAGAIN, libc::ECONNABORTED].contains(&error);
            return if goes_on { error } else { sys::APR_EGENERAL };
        }
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET.cast_unsigned() as libc::sa_family_t;
        address.sin_port = PORT.to_be();
        address.sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
        let mut parts = sys::apr_os_sock_info_t {
            os_sock: &raw mut client,
            local: (&raw mut address).cast(),
            remote: (&raw mut address).cast(),
            family: libc::AF_INET,
            type_: libc::SOCK_STREAM,
            protocol: 0,
        };
        let mut socket = null_mut();
        let status = sys::apr_os_sock_make(&raw mut socket, &raw mut parts, pool);
        if status != 0 {
            libc::close(client);
            return status;
        }
        accepted.write(socket.cast());
        0
    }
}
