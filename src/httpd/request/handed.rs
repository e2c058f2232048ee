//! In a daemon: what the front has told of a request, where httpd and its modules look for it.

use crate::httpd::apr::table::Table;
use crate::httpd::guard::guard;
use crate::httpd::io::listener;
use crate::httpd::request::Request;
use crate::httpd::request::section::Overlay;
use crate::httpd::request::server::Server;
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_int};
use std::ptr::{null, null_mut};
use std::time::Duration;

/// Is this httpd a daemon's?
pub(crate) fn is_daemon() -> bool {
    listener::is_daemon()
}

/// For how long a child that ends goes on at least: a daemon's front has been told, and may have sent already (`io/parked.rs`).
pub(crate) fn farewell() -> Duration {
    if listener::is_daemon() {
        Duration::from_secs(1)
    } else {
        Duration::ZERO
    }
}

/// What httpd has no place for. It lies in the request's pool.
#[derive(Clone, Copy)]
pub(crate) struct Handed<'r> {
    pub(crate) scheme: &'r CStr,
    pub(crate) server_name: Option<&'r CStr>,
    pub(crate) server_port: u16,
    /// ServerAdmin.
    pub(crate) admin: Option<&'r CStr>,
    /// What ServerSignature has below pages; empty where it is off.
    pub(crate) signature: &'r CStr,
    /// AuthType and AuthName.
    pub(crate) auth_type: Option<&'r CStr>,
    pub(crate) auth_name: Option<&'r CStr>,
    /// CGIPassAuth On.
    pub(crate) passes_authorization: bool,
    pub(crate) uri: Option<&'r CStr>,
    pub(crate) query: Option<&'r CStr>,
    /// Variables of mod_ssl's.
    pub(crate) tls: Table<'r>,
    /// What the front's sections say.
    pub(crate) overlay: Option<Overlay<'r>>,
    /// Are there handlers in it?
    pub(crate) has_handlers: bool,
    /// The file, and what stands behind it in the URI.
    pub(crate) file: Option<&'r CStr>,
    /// There, nothing stands behind it, not even an empty text (`path_info`).
    pub(crate) ends: bool,
    /// The application that the front's line names.
    pub(crate) application: Option<Application<'r>>,
}

/// An application as a front calls it: what kind of line it has, where it lies, and what it is.
#[derive(Clone, Copy)]
pub(crate) struct Application<'r> {
    pub(crate) kind: u8,
    pub(crate) place: &'r str,
    pub(crate) target: &'r str,
}

const KEY: &CStr = c"mod_python.handed";
/// Registers hooks for the scheme and the port that belongs to it.
pub(crate) fn register() {
    let first = sys::APR_HOOK_REALLY_FIRST;
    // SAFETY: functions that live as long as the process.
    unsafe {
        sys::ap_hook_http_scheme(Some(on_scheme), null(), null(), first);
        sys::ap_hook_default_port(Some(on_default_port), null(), null(), first);
    }
}

impl<'r> Request<'r> {
    /// Has it come by the front's socket?
    pub(crate) fn is_from_front(self) -> bool {
        // SAFETY: a live request's connection.
        listener::is_from_front(unsafe { (*self.as_ptr()).connection })
    }

    /// What the front has told; None where it was not handed over.
    #[inline]
    pub(crate) fn handed(self) -> Option<&'r Handed<'r>> {
        if !listener::is_daemon() {
            return None;
        }
        let mut request = self;
        while let Some(outer) = request.main() {
            request = outer;
        }
        let mut found = null_mut();
        // SAFETY: a live pool; what lies under this key is a `Handed` that lives as long as the pool.
        unsafe {
            sys::apr_pool_userdata_get(&raw mut found, KEY.as_ptr(), request.pool().as_ptr());
            found.cast::<Handed<'r>>().as_ref()
        }
    }

    /// The application that the front has found for it; None for requests that the daemon's own code has made of it.
    pub(crate) fn application(self) -> Option<Application<'r>> {
        let handed = self.handed()?;
        let is_itself = self.main().is_none() && self.prev().is_none();
        handed.application.filter(|_| is_itself)
    }

    /// Remembers what the front has told.
    pub(crate) fn hand(self, handed: Handed<'r>) {
        let place: *const Handed<'r> = self.pool().store(handed);
        // SAFETY: a live request and its pool; the key is a constant.
        unsafe {
            let pool = self.pool().as_ptr();
            sys::apr_pool_userdata_setn(place.cast(), KEY.as_ptr(), None, pool);
        }
    }

    /// Sets the host that was asked for; None where none was named.
    pub(crate) fn set_hostname(self, name: Option<&[u8]>) {
        let name = name.map_or(null(), |name| self.pool().c_string(name).as_ptr());
        // SAFETY: a live request; the copy lives as long.
        unsafe { (*self.as_ptr()).hostname = name }
    }

    pub(crate) fn set_the_request(self, line: &[u8]) {
        // SAFETY: as above.
        unsafe { (*self.as_ptr()).the_request = self.pool().c_string(line).as_ptr().cast_mut() }
    }

    pub(crate) fn set_protocol(self, name: &[u8]) {
        // SAFETY: as above.
        unsafe { (*self.as_ptr()).protocol = self.pool().c_string(name).as_ptr().cast_mut() }
    }

    /// Sets the number of the protocol's version, unless it is none that has heads.
    pub(crate) fn set_proto_num(self, number: c_int) {
        if number >= 1000 {
            // SAFETY: a live request.
            unsafe { (*self.as_ptr()).proto_num = number }
        }
    }

    /// Sets the URI as it was sent.
    pub(crate) fn set_target(self, target: &[u8]) {
        // SAFETY: as above.
        unsafe { (*self.as_ptr()).unparsed_uri = self.pool().c_string(target).as_ptr().cast_mut() }
    }

    /// Forgets the parts of the parsed URI that has come: mod_proxy may send a whole one (ProxyRemote).
    pub(crate) fn forget_uri_parts(self) {
        // SAFETY: a live request; NULL stands for parts that are not there.
        unsafe {
            let uri = &mut (*self.as_ptr()).parsed_uri;
            for part in [
                &mut uri.scheme,
                &mut uri.hostinfo,
                &mut uri.user,
                &mut uri.password,
                &mut uri.hostname,
                &mut uri.port_str,
                &mut uri.query,
                &mut uri.fragment,
            ] {
                *part = null_mut();
            }
            uri.port = 0;
        }
    }

    /// Sets a part of the parsed URI, by its place in `parsed_uri`; `p` is the port.
    pub(crate) fn set_uri_part(self, place: &[u8], value: &[u8]) {
        let text = self.pool().c_string(value);
        // SAFETY: as above.
        unsafe {
            let uri = &mut (*self.as_ptr()).parsed_uri;
            let field = match place {
                b"0" => &mut uri.scheme,
                b"1" => &mut uri.hostinfo,
                b"2" => &mut uri.user,
                b"3" => &mut uri.password,
                b"4" => &mut uri.hostname,
                b"6" => &mut uri.query,
                b"7" => &mut uri.fragment,
                b"p" => {
                    let port = text.to_str().unwrap_or_default().parse();
                    uri.port = port.unwrap_or(0);
                    &mut uri.port_str
                }
                // The path is set with the URI.
                _ => return,
            };
            *field = text.as_ptr().cast_mut();
        }
    }

    /// Sets the URI, also as part of the parsed one.
    pub(crate) fn set_whole_uri(self, uri: &[u8]) {
        self.set_uri(Some(uri));
        // SAFETY: as above.
        unsafe { (*self.as_ptr()).parsed_uri.path = (*self.as_ptr()).uri }
    }

    /// Sets the document root, and what mod_alias has made of the URI.
    pub(crate) fn set_places(
        self,
        root: Option<&[u8]>,
        prefix: Option<&[u8]>,
        below: Option<&[u8]>,
    ) {
        let text = |text: &[u8]| self.pool().c_string(text).as_ptr();
        // SAFETY: a live request; the texts live as long.
        unsafe {
            if let Some(root) = root {
                sys::ap_set_document_root(self.as_ptr(), text(root));
            }
            let prefix = prefix
                .filter(|prefix| !prefix.is_empty())
                .map_or(null(), text);
            sys::ap_set_context_info(self.as_ptr(), prefix, below.map_or(null(), text));
        }
    }

    /// Sets whose request it is: an address and a port.
    pub(crate) fn set_client(self, (ip, port): (&[u8], u16)) {
        // SAFETY: a live request; what is made lies in its pool.
        unsafe {
            (*self.as_ptr()).useragent_ip = self.pool().c_string(ip).as_ptr().cast_mut();
            if let Some(address) = listener::address(self.pool().as_ptr(), ip, port) {
                (*self.as_ptr()).useragent_addr = address;
            }
        }
    }

    /// Sets the ends of the connection for as long as the request is there, or until the next one sets them: where requests follow one another
    /// without waiting (pipelining), the first may end last.
    pub(crate) fn set_ends(self, client: (&[u8], u16), own: (&[u8], u16)) {
        let pool = self.pool();
        // SAFETY: a live request and its connection, which serves no other meanwhile; what is made lies in the request's pool, and is put
        // back before that goes.
        unsafe {
            let connection = (*self.as_ptr()).connection;
            let between = Between::of(connection);
            if (*between).lent_to.is_null() {
                (*between).ends = Ends::of(connection);
            }
            (*between).lent_to = self.as_ptr();
            pool.before_end(Lent {
                connection,
                between,
                to: self.as_ptr(),
            });
            // The next request of this connection is another client's.
            (*connection).notes = sys::apr_table_copy(pool.as_ptr(), (*between).ends.notes);
            (*connection).remote_host = null_mut();
            (*connection).local_host = null_mut();
            (*connection).remote_logname = null_mut();
            (*connection).set_double_reverse(0);
            (*connection).client_ip = pool.c_string(client.0).as_ptr().cast_mut();
            (*connection).local_ip = pool.c_string(own.0).as_ptr().cast_mut();
            (*connection).client_addr = (*between).ends.addresses.0;
            (*connection).local_addr = (*between).ends.addresses.1;
            if let Some(address) = listener::address(pool.as_ptr(), client.0, client.1) {
                (*connection).client_addr = address;
            }
            if let Some(address) = listener::address(pool.as_ptr(), own.0, own.1) {
                (*connection).local_addr = address;
            }
        }
    }
}

/// What a connection's ends are between two requests. It lies in the connection's pool.
#[derive(Clone, Copy)]
struct Between {
    ends: Ends,
    /// The request that has set others; NULL: none.
    lent_to: *mut sys::request_rec,
}

#[derive(Clone, Copy)]
struct Ends {
    ips: (*mut c_char, *mut c_char),
    addresses: (*mut sys::apr_sockaddr_t, *mut sys::apr_sockaddr_t),
    names: [*mut c_char; 3],
    double_reverse: c_int,
    notes: *mut sys::apr_table_t,
}

const BETWEEN: &CStr = c"mod_python.between";

impl Between {
    /// The connection's own, which is made where there is none.
    ///
    /// # Safety
    /// A live connection, which this thread serves.
    unsafe fn of(connection: *mut sys::conn_rec) -> *mut Between {
        // SAFETY: the caller's promise; what lies under this key is a `Between` that lives as long as the connection.
        unsafe {
            let pool = (*connection).pool;
            let mut found = null_mut();
            sys::apr_pool_userdata_get(&raw mut found, BETWEEN.as_ptr(), pool);
            if found.is_null() {
                found = sys::apr_palloc(pool, size_of::<Between>());
                found.cast::<Between>().write(Between {
                    ends: Ends::of(connection),
                    lent_to: null_mut(),
                });
                sys::apr_pool_userdata_setn(found, BETWEEN.as_ptr(), None, pool);
            }
            found.cast()
        }
    }
}

impl Ends {
    /// What they are now.
    ///
    /// # Safety
    /// A live connection, which this thread serves.
    unsafe fn of(connection: *mut sys::conn_rec) -> Ends {
        // SAFETY: the caller's promise.
        unsafe {
            Ends {
                ips: ((*connection).client_ip, (*connection).local_ip),
                addresses: ((*connection).client_addr, (*connection).local_addr),
                names: [
                    (*connection).remote_host,
                    (*connection).local_host,
                    (*connection).remote_logname,
                ],
                double_reverse: (*connection).double_reverse(),
                notes: (*connection).notes,
            }
        }
    }
}

/// Puts them back at a request's end, unless a later request has set its own.
struct Lent {
    connection: *mut sys::conn_rec,
    between: *mut Between,
    to: *mut sys::request_rec,
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: a request's pool goes before its connection.
        unsafe {
            let (connection, between) = (&mut *self.connection, &mut *self.between);
            if between.lent_to != self.to {
                return;
            }
            between.lent_to = null_mut();
            let ends = between.ends;
            (connection.client_ip, connection.local_ip) = ends.ips;
            (connection.client_addr, connection.local_addr) = ends.addresses;
            [
                connection.remote_host,
                connection.local_host,
                connection.remote_logname,
            ] = ends.names;
            connection.set_double_reverse(ends.double_reverse);
            connection.notes = ends.notes;
        }
    }
}

/// Has a daemon's servers take what a front tells of a request in its head: the front has limits for what clients send.
pub(crate) fn take_large_heads<'s>(servers: impl Iterator<Item = Server<'s>>) {
    const MOST: c_int = 16 * 1024 * 1024;
    if listener::is_daemon() {
        for server in servers {
            // SAFETY: httpd has one thread when it reads its configuration.
            unsafe {
                (*server.as_ptr()).limit_req_fieldsize = MOST;
                (*server.as_ptr()).limit_req_fields = 0;
            }
        }
    }
}

unsafe extern "C" fn on_scheme(raw: *const sys::request_rec) -> *const c_char {
    // SAFETY: httpd passes a live request.
    let found = guard("http_scheme", || unsafe {
        Request::from_raw(raw.cast_mut())?.handed()
    });
    found
        .ok()
        .flatten()
        .map_or(null(), |handed| handed.scheme.as_ptr())
}

unsafe extern "C" fn on_default_port(raw: *const sys::request_rec) -> sys::apr_port_t {
    // SAFETY: httpd passes a live request.
    let found = guard("default_port", || unsafe {
        Request::from_raw(raw.cast_mut())?.handed()
    });
    match found.ok().flatten() {
        Some(handed) if handed.scheme == c"https" => 443,
        Some(_) => 80,
        None => 0,
    }
}
