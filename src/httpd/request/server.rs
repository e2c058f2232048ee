//! A handle on server_rec: the main server or a virtual host.

use crate::httpd::apr::pool::Pool;
use crate::httpd::log::{Entry, Sink, Subject};
use crate::httpd::module::kept::Module;
use crate::httpd::module::slot;
use crate::httpd::sys;
use std::ffi::{CStr, OsStr, c_int};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::OnceLock;

/// A borrowed server_rec. A child never frees its configuration, so it may have a `Server<'static>` (`in_child`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server<'s>(NonNull<sys::server_rec>, PhantomData<&'s sys::server_rec>);

/// The addresses of this child's servers, sorted. Set when the child starts: it reads no other configuration.
static CHILDS: OnceLock<Vec<usize>> = OnceLock::new();

// SAFETY: after start-up a server_rec is read only.
unsafe impl Send for Server<'_> {}
// SAFETY: as above.
unsafe impl Sync for Server<'_> {}

impl<'s> Server<'s> {
    /// # Safety
    /// `server` is NULL or lives, with the configuration it belongs to, for `'s`.
    pub(in crate::httpd) unsafe fn from_raw(server: *mut sys::server_rec) -> Option<Server<'s>> {
        NonNull::new(server).map(|server| Server(server, PhantomData))
    }

    pub(in crate::httpd) fn as_ptr(self) -> *mut sys::server_rec {
        self.0.as_ptr()
    }

    /// The structure's address, for C code that Python calls.
    pub(crate) fn address(self) -> NonNull<std::ffi::c_void> {
        self.0.cast()
    }

    /// Gives the same server for as long as this child lives, which never frees its configuration. None for a server that is not in
    /// httpd's list: a module may have made it for one request, in its pool.
    pub(crate) fn in_child(self) -> Option<Server<'static>> {
        let listed = CHILDS.get()?;
        let found = listed.binary_search(&self.0.as_ptr().addr()).is_ok();
        found.then_some(Server(self.0, PhantomData))
    }

    /// Remembers which servers the child has: this one and those that follow it. Called once, when the child starts.
    pub(in crate::httpd) fn remember(self) {
        let all = std::iter::successors(Some(self), |server| server.next());
        let mut all: Vec<usize> = all.map(|server| server.0.as_ptr().addr()).collect();
        all.sort_unstable();
        let _ = CHILDS.set(all);
    }

    /// Gives the main server (ap_server_conf); None before the configuration has been read.
    pub(crate) fn main() -> Option<Server<'s>> {
        // SAFETY: httpd sets the variable once a configuration is read, before any request.
        unsafe { Server::from_raw(sys::ap_server_conf) }
    }

    /// Gives our module's configuration of this server.
    pub(crate) fn config<M: Module>(self) -> &'s M::Server<'s> {
        // SAFETY: httpd fills the vector through our create and merge functions.
        unsafe { &*slot::slot((*self.as_ptr()).module_config).cast::<M::Server<'s>>() }
    }

    pub(crate) fn next(self) -> Option<Server<'s>> {
        // SAFETY: a live server_rec; its list lives as long.
        unsafe { Server::from_raw((*self.as_ptr()).next) }
    }

    /// A number by which `of_number` finds it.
    pub(crate) fn number(self) -> usize {
        self.as_ptr().addr()
    }

    /// The server of this number, if there is one.
    pub(crate) fn of_number(number: usize) -> Option<Server<'s>> {
        std::iter::successors(Server::main(), |server| server.next())
            .find(|server| server.number() == number)
    }

    pub(crate) fn is_virtual(self) -> bool {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).is_virtual != 0 }
    }

    pub(crate) fn port(self) -> u16 {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).port }
    }

    pub(crate) fn defn_line_number(self) -> u32 {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).defn_line_number }
    }

    /// Seconds.
    pub(crate) fn timeout(self) -> f64 {
        // SAFETY: a live server_rec.
        seconds(unsafe { (*self.as_ptr()).timeout })
    }

    /// Seconds.
    pub(crate) fn keep_alive_timeout(self) -> f64 {
        // SAFETY: a live server_rec.
        seconds(unsafe { (*self.as_ptr()).keep_alive_timeout })
    }

    pub(crate) fn keep_alive_max(self) -> c_int {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).keep_alive_max }
    }

    pub(crate) fn keep_alive(self) -> c_int {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).keep_alive }
    }

    /// The level of LogLevel for this server (APLOG_*).
    pub(crate) fn loglevel(self) -> c_int {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).log.level }
    }

    /// FlushMaxThreshold, in bytes, where it has been set.
    pub(crate) fn flush_max_threshold(self) -> Option<usize> {
        // SAFETY: a live server whose configuration has been read; its core part is this structure.
        let size = unsafe {
            let core = sys::ap_get_core_module_config((*self.as_ptr()).module_config);
            (*core.cast::<sys::core_server_config>()).flush_max_threshold
        };
        Some(size).filter(|&size| size > 0)
    }

    pub(crate) fn limit_req_line(self) -> c_int {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).limit_req_line }
    }

    pub(crate) fn limit_req_fieldsize(self) -> c_int {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).limit_req_fieldsize }
    }

    pub(crate) fn limit_req_fields(self) -> c_int {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).limit_req_fields }
    }
}

impl<'s> Server<'s> {
    /// ServerAlias without wild cards.
    pub(crate) fn names(self) -> Vec<&'s CStr> {
        // SAFETY: a live server_rec whose arrays live as long.
        unsafe { crate::httpd::texts((*self.as_ptr()).names) }
    }

    /// ServerAlias with wild cards.
    pub(crate) fn wild_names(self) -> Vec<&'s CStr> {
        // SAFETY: as above.
        unsafe { crate::httpd::texts((*self.as_ptr()).wild_names) }
    }

    pub(crate) fn pathlen(self) -> c_int {
        // SAFETY: a live server_rec.
        unsafe { (*self.as_ptr()).pathlen }
    }
}

/// Gives how often httpd has been restarted (AP_MPMQ_GENERATION).
pub(crate) fn generation() -> c_int {
    mpm_query(sys::AP_MPMQ_GENERATION)
}

/// Gives the time at which the configuration was read, in seconds since the epoch; 0 without a scoreboard.
pub(crate) fn restart_time() -> f64 {
    // SAFETY: the scoreboard's global part lives as long as the child.
    unsafe {
        sys::ap_get_scoreboard_global()
            .as_ref()
            .map_or(0.0, |global| seconds(global.restart_time))
    }
}

macro_rules! texts {
    ($($name:ident),*) => {
        impl<'s> Server<'s> {
            $(
                /// The field of the same name of server_rec.
                pub(crate) fn $name(self) -> Option<&'s CStr> {
                    // SAFETY: a live server_rec whose strings live as long.
                    unsafe { crate::httpd::text((*self.as_ptr()).$name) }
                }
            )*
        }
    };
}

texts!(defn_name, server_admin, server_hostname, error_fname, path);

/// Makes seconds of an apr_time_t (microseconds).
#[expect(
    clippy::cast_precision_loss,
    reason = "mod_python gives times as floats"
)]
pub(crate) fn seconds(time: i64) -> f64 {
    time as f64 / 1e6
}

/// Asks the MPM for one of its numbers (ap_mpm_query, AP_MPMQ_*); 0 when it does not know it.
pub(crate) fn mpm_query(code: c_int) -> c_int {
    let mut result = 0;
    // SAFETY: writes one int.
    let status = unsafe { sys::ap_mpm_query(code, &raw mut result) };
    if status == 0 { result } else { 0 }
}

/// Can requests leave their worker with this MPM?
pub(crate) fn can_suspend() -> bool {
    mpm_query(sys::AP_MPMQ_IS_ASYNC) > 0
}

/// Is this child to end: after a graceful restart, or to make room (AP_MPMQ_MPM_STATE)?
pub(crate) fn is_stopping() -> bool {
    mpm_query(sys::AP_MPMQ_MPM_STATE) == sys::AP_MPMQ_STOPPING
}

/// Was `-D name` given, or `Define name` (ap_exists_config_define)?
pub(crate) fn is_defined(name: &CStr) -> bool {
    // SAFETY: reads the process-wide list of definitions.
    unsafe { sys::ap_exists_config_define(name.as_ptr()) != 0 }
}

/// Gives this thread a working directory of its own, from now on (unshare(2) with CLONE_FS): its chdir() changes that of no other
/// thread. False where the system cannot do it.
pub(crate) fn own_directory() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: affects this thread's file-system attributes alone; needs no privilege.
    unsafe {
        libc::unshare(libc::CLONE_FS) == 0
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// Gives a path below DefaultRuntimeDir (ap_runtime_dir_relative).
pub(crate) fn runtime_path(pool: Pool<'_>, name: &str) -> PathBuf {
    // SAFETY: a live pool, in which the path lies.
    let path = unsafe {
        let name = pool.c_string(name.as_bytes());
        crate::httpd::text(sys::ap_runtime_dir_relative(pool.as_ptr(), name.as_ptr()))
    };
    PathBuf::from(OsStr::from_bytes(path.unwrap_or_default().to_bytes()))
}

/// ServerRoot (ap_server_root).
pub(crate) fn server_root() -> Option<&'static CStr> {
    // SAFETY: set when the configuration is read; not freed while a child lives.
    unsafe { crate::httpd::text(sys::ap_server_root) }
}

/// Constants of `_apache` whose values are httpd's and APR's.
pub(crate) const CONSTANTS: &[(&str, i64)] = &[
    (
        "AP_CONN_UNKNOWN",
        sys::ap_conn_keepalive_e_AP_CONN_UNKNOWN as i64,
    ),
    (
        "AP_CONN_CLOSE",
        sys::ap_conn_keepalive_e_AP_CONN_CLOSE as i64,
    ),
    (
        "AP_CONN_KEEPALIVE",
        sys::ap_conn_keepalive_e_AP_CONN_KEEPALIVE as i64,
    ),
    ("APR_NOFILE", sys::apr_filetype_e_APR_NOFILE as i64),
    ("APR_REG", sys::apr_filetype_e_APR_REG as i64),
    ("APR_DIR", sys::apr_filetype_e_APR_DIR as i64),
    ("APR_CHR", sys::apr_filetype_e_APR_CHR as i64),
    ("APR_BLK", sys::apr_filetype_e_APR_BLK as i64),
    ("APR_PIPE", sys::apr_filetype_e_APR_PIPE as i64),
    ("APR_LNK", sys::apr_filetype_e_APR_LNK as i64),
    ("APR_SOCK", sys::apr_filetype_e_APR_SOCK as i64),
    ("APR_UNKFILE", sys::apr_filetype_e_APR_UNKFILE as i64),
    (
        "MODULE_MAGIC_NUMBER_MAJOR",
        sys::MODULE_MAGIC_NUMBER_MAJOR as i64,
    ),
    (
        "MODULE_MAGIC_NUMBER_MINOR",
        sys::MODULE_MAGIC_NUMBER_MINOR as i64,
    ),
];

/// Says which servers' entries of the log are objects; set in the child.
static JSON: OnceLock<fn(Server<'_>) -> bool> = OnceLock::new();

impl Server<'_> {
    /// Has `decide` say so.
    pub(crate) fn log_as_objects(decide: fn(Server<'_>) -> bool) {
        let _ = JSON.set(decide);
    }
}

impl Subject for Server<'_> {
    const MAY_WAIT: bool = false;

    fn sink(self) -> Option<Sink> {
        let is_json = JSON.get().is_some_and(|is_json| is_json(self));
        // SAFETY: a live server.
        is_json.then(|| unsafe {
            Sink {
                file: (*self.as_ptr()).error_log,
                most: sys::ap_get_server_module_loglevel(self.as_ptr(), slot::index()),
            }
        })
    }

    fn write(self, entry: Entry<'_>) {
        entry.write(|(file, line, module, level), (format, text)| {
            // SAFETY: it lives, and the format is a constant with its one argument.
            unsafe {
                sys::ap_log_error_(
                    file,
                    line,
                    module,
                    level,
                    0,
                    self.as_ptr().cast_const(),
                    format,
                    text,
                );
            }
        });
    }
}
