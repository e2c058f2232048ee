//! mod_proxy: a worker for each daemon, and a request that becomes mod_proxy's. This module does without mod_proxy where there is no
//! daemon, so its functions are looked for when they are needed.

use crate::httpd::apr::pool::Pool;
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::module::slot;
use crate::httpd::request::Request;
use crate::httpd::request::server::Server;
use crate::httpd::sys;
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::Path;
use std::ptr::{null, null_mut};

/// The field of a head that only a front sets, and only a daemon believes.
pub(crate) const FIELD: &CStr = c"X-Mod-Python-Front";

/// How much of it is in one line: a daemon's LimitRequestFieldSize is no less.
const LINE: usize = 4000;

/// The note, of a request that has become mod_proxy's, with what the field says.
const NOTE: &CStr = c"mod_python.handover";

/// For how many seconds a connection to a daemon is kept that is not used, at most. The daemon says itself when one is not to be used any
/// more (`io/parked.rs`), and keeps one that nobody uses for the front's Timeout: here it is a third of that.
const KEPT: f64 = 30.0;

type Define = unsafe extern "C" fn(
    *mut sys::apr_pool_t,
    *mut *mut sys::proxy_worker,
    *mut sys::proxy_balancer,
    *mut sys::proxy_server_conf,
    *const c_char,
    c_int,
) -> *mut c_char;

type Find = unsafe extern "C" fn(
    *mut sys::apr_pool_t,
    *mut sys::proxy_balancer,
    *mut sys::proxy_server_conf,
    *const c_char,
) -> *mut sys::proxy_worker;

/// Which of the modules that a front needs is not loaded?
pub(crate) fn missing() -> Option<&'static str> {
    let is_there = |name: &CStr| {
        // SAFETY: a constant name.
        unsafe { !sys::ap_find_linked_module(name.as_ptr()).is_null() }
    };
    [
        (c"mod_proxy.c", "mod_proxy"),
        (c"mod_proxy_http.c", "mod_proxy_http"),
    ]
    .into_iter()
    .find(|(file, _)| !is_there(file))
    .map(|(_, name)| name)
}

/// Defines the worker of this host, behind a UNIX socket, for a server. `patience`: how many seconds it may take to answer; None: as long
/// as mod_proxy waits by itself. `kept`: after how many seconds the other side closes a connection that is not used.
///
/// # Errors
/// What is wrong, or is missing.
pub(crate) fn define(
    pool: Pool<'_>,
    server: Server<'_>,
    socket: &Path,
    host: &str,
    patience: Option<f64>,
    kept: f64,
    is_tunnel: bool,
) -> Result<(), String> {
    let absent = || "mod_proxy is not loaded".to_string();
    let name = format!("http://{host}/");
    let url = format!("unix:{}|{name}", socket.display());
    // SAFETY: mod_proxy's functions of these types, and its configuration of this server, which httpd, with one thread, has just read.
    unsafe {
        let module = sys::ap_find_linked_module(c"mod_proxy.c".as_ptr());
        let index = module.as_ref().ok_or_else(absent)?.module_index;
        let vector = (*server.as_ptr()).module_config;
        let settings = slot::slot_at(vector, index).cast::<sys::proxy_server_conf>();
        let define = libc::dlsym(libc::RTLD_DEFAULT, c"ap_proxy_define_worker".as_ptr());
        let find = libc::dlsym(libc::RTLD_DEFAULT, c"ap_proxy_get_worker".as_ptr());
        if define.is_null() || find.is_null() || settings.is_null() {
            return Err(absent());
        }
        let define = std::mem::transmute::<*mut std::ffi::c_void, Define>(define);
        let find = std::mem::transmute::<*mut std::ffi::c_void, Find>(find);
        let name = pool.c_string(name.as_bytes());
        if !find(pool.as_ptr(), null_mut(), settings, name.as_ptr()).is_null() {
            // A virtual host that says nothing of mod_proxy has the configuration of the main server.
            return Ok(());
        }
        let mut worker = null_mut();
        let url = pool.c_string(url.as_bytes());
        let error = define(
            pool.as_ptr(),
            &raw mut worker,
            null_mut(),
            settings,
            url.as_ptr(),
            0,
        );
        if let Some(error) = crate::httpd::text(error) {
            return Err(error.to_string_lossy().into_owned());
        }
        let Some(shared) = worker.as_ref().and_then(|worker| worker.s.as_mut()) else {
            return Err("mod_proxy makes no worker".into());
        };
        shared.timeout = (*settings).timeout;
        shared.set_timeout_set((*settings).timeout_set());
        if let Some(seconds) = patience {
            // What the daemon does about what is late comes first.
            shared.timeout = microseconds(seconds + 15.0);
            shared.set_timeout_set(1);
        }
        shared.ttl = microseconds(KEPT.min(kept / 3.0));
        if is_tunnel {
            for (place, byte) in shared.upgrade.iter_mut().zip(b"websocket\0") {
                *place = byte.cast_signed();
            }
        }
    }
    Ok(())
}

fn microseconds(seconds: f64) -> i64 {
    let span = std::time::Duration::from_secs_f64(seconds);
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl Request<'_> {
    /// Makes it a request that mod_proxy's handler answers, through the worker of this host, which is told what `told` says.
    pub(crate) fn become_proxied(self, host: &str, told: &[u8]) {
        let pool = self.pool();
        // SAFETY: a live request; all texts lie in its pool, or are constants.
        unsafe {
            let raw = self.as_ptr();
            let url = format!("proxy:http://{host}/");
            (*raw).filename = pool.c_string(url.as_bytes()).as_ptr().cast_mut();
            (*raw).proxyreq = sys::PROXYREQ_REVERSE;
            (*raw).handler = c"proxy-server".as_ptr();
            sys::apr_table_setn((*raw).notes, NOTE.as_ptr(), pool.c_string(told).as_ptr());
            // mod_proxy is no hop of its own here.
            sys::apr_table_unset((*raw).headers_in, c"Max-Forwards".as_ptr());
            // A body that comes slowly goes on as it comes.
            let name = c"proxy-prefetch-nonblocking";
            sys::apr_table_setn((*raw).subprocess_env, name.as_ptr(), c"1".as_ptr());
            keep_pages(raw);
        }
    }
}

/// Has mod_proxy send the pages that an application makes of errors, where ProxyErrorOverride says otherwise: that is meant for servers
/// elsewhere.
///
/// # Safety
/// A live request, which this thread serves.
unsafe fn keep_pages(raw: *mut sys::request_rec) {
    // SAFETY: the caller's promise; the place of mod_proxy in the request's sections holds its structure, which mod_proxy itself makes and
    // merges. What is made lies in the request's pool.
    unsafe {
        let module = sys::ap_find_linked_module(c"mod_proxy.c".as_ptr());
        let Some(module) = module.as_ref() else {
            return;
        };
        let own = slot::slot_at((*raw).per_dir_config, module.module_index);
        let overrides = own.cast::<sys::proxy_dir_conf>().as_ref();
        let (true, Some(create)) = (
            overrides.is_some_and(|own| own.error_override() != 0),
            module.create_dir_config,
        ) else {
            return;
        };
        let pool = (*raw).pool;
        let made = create(pool, null_mut()).cast::<sys::proxy_dir_conf>();
        let Ok(place) = usize::try_from(module.module_index) else {
            return;
        };
        (*made).set_error_override(0);
        (*made).set_error_override_set(1);
        let over = sys::ap_create_per_dir_config(pool);
        *over.cast::<*mut std::ffi::c_void>().add(place) = made.cast();
        (*raw).per_dir_config = sys::ap_merge_per_dir_configs(pool, (*raw).per_dir_config, over);
    }
}

/// Registers what mod_proxy calls: the head that it is about to send is made here, and `explain` is told which status came of a request
/// that was handed over.
pub(crate) fn register(explain: fn(Request<'_>, i64)) {
    let _ = EXPLAIN.set(explain);
    // SAFETY: optional hooks of these names and types (mod_proxy.h); the functions live as long as the process.
    unsafe {
        let last = sys::APR_HOOK_REALLY_LAST;
        let fixups = std::mem::transmute::<Fixups, Any>(on_fixups);
        sys::apr_optional_hook_add(c"fixups".as_ptr(), Some(fixups), null(), null(), last);
        let status = std::mem::transmute::<Status, Any>(on_status);
        let name = c"request_status".as_ptr();
        sys::apr_optional_hook_add(name, Some(status), null(), null(), last);
    }
}

type Fixups = unsafe extern "C" fn(*mut sys::request_rec) -> c_int;
type Status = unsafe extern "C" fn(*mut c_int, *mut sys::request_rec) -> c_int;
type Any = unsafe extern "C" fn();

static EXPLAIN: std::sync::OnceLock<fn(Request<'_>, i64)> = std::sync::OnceLock::new();

/// The fields that stay: they say how the request itself is sent.
const OWN: [&CStr; 4] = [c"Host", c"Content-Length", c"Transfer-Encoding", c"Expect"];

unsafe extern "C" fn on_fixups(raw: *mut sys::request_rec) -> c_int {
    // SAFETY: mod_proxy passes a live request, whose headers are a copy that it is about to send.
    let done = guard("proxy fixups", || unsafe {
        let headers = (*raw).headers_in;
        let told = crate::httpd::text(sys::apr_table_get((*raw).notes, NOTE.as_ptr()));
        let Some(told) = told else {
            // Nobody behind another proxy is to take a client for a front.
            sys::apr_table_unset(headers, FIELD.as_ptr());
            return;
        };
        let kept = OWN.map(|name| (name, sys::apr_table_get(headers, name.as_ptr())));
        sys::apr_table_clear(headers);
        for (name, value) in kept {
            if !value.is_null() {
                sys::apr_table_addn(headers, name.as_ptr(), value);
            }
        }
        for line in told.to_bytes().chunks(LINE) {
            let line = sys::apr_pstrmemdup((*raw).pool, line.as_ptr().cast(), line.len());
            sys::apr_table_addn(headers, FIELD.as_ptr(), line);
        }
    });
    match done {
        Ok(()) => sys::OK,
        Err(place) => {
            log::process(Level::Critical, &place);
            // SAFETY: as above. mod_proxy goes on whatever it is told: a daemon must not believe what a client has sent.
            unsafe { sys::apr_table_clear((*raw).headers_in) };
            sys::HTTP_INTERNAL_SERVER_ERROR
        }
    }
}

/// The note of a request that has failed, though mod_proxy has an answer: with which status.
const FAILED: &CStr = c"mod_python.failed";

/// Has whoever runs the request see that it has failed.
///
/// # Safety
/// A live request, which this thread serves, and which mod_proxy has an answer of.
pub(in crate::httpd) unsafe fn fail(request: *mut sys::request_rec, status: c_int) {
    // SAFETY: the caller's promise; the table copies the text.
    unsafe {
        let text = CString::new(status.to_string()).unwrap_or_default();
        sys::apr_table_set((*request).notes, FAILED.as_ptr(), text.as_ptr());
    }
}

unsafe extern "C" fn on_status(place: *mut c_int, raw: *mut sys::request_rec) -> c_int {
    // SAFETY: mod_proxy passes live ones.
    let (request, status, is_own) = unsafe {
        let note = sys::apr_table_get((*raw).notes, NOTE.as_ptr());
        (Request::from_raw(raw), *place, !note.is_null())
    };
    if let (Some(request), Some(explain), true) = (request, EXPLAIN.get(), is_own)
        && let Err(place) = guard("proxy status", || explain(request, i64::from(status)))
    {
        log::process(Level::Critical, &place);
    }
    // SAFETY: as above; what mod_proxy gives back is in `place`.
    unsafe {
        let failed = crate::httpd::text(sys::apr_table_get((*raw).notes, FAILED.as_ptr()));
        let failed = failed.and_then(|text| text.to_str().ok()?.parse().ok());
        if let Some(failed) = failed.filter(|_| is_own && status == sys::OK) {
            *place = failed;
        }
    }
    sys::DECLINED
}
