//! Registers hooks with httpd: makes a C callback, under the guard, of a plain Rust function on handles.

use crate::httpd::apr::pool::Pool;
use crate::httpd::callback::{assert_no_data, summon};
use crate::httpd::guard::guard;
use crate::httpd::io::listener;
use crate::httpd::log::{self, Level};
use crate::httpd::module::merged;
use crate::httpd::request::Request;
use crate::httpd::request::connection::Connection;
use crate::httpd::request::server::Server;
use crate::httpd::request::suspended::Suspended;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_int};
use std::ptr::{NonNull, null};

macro_rules! request_hooks {
    ($($name:ident: $register:ident, $order:expr, $when:literal);* $(;)?) => {$(
        /// Runs `hook` in httpd's phase of this name for the requests that it concerns,
        #[doc = $when]
        pub(crate) fn $name<C, F>(_concerns: C, _hook: F)
        where
            C: Fn(Request<'_>) -> bool + Copy,
            F: Fn(Request<'_>) -> Status + Copy,
        {
            const { assert_no_data::<C>() };
            const { assert_no_data::<F>() };
            // SAFETY: registers a function that lives as long as the process.
            unsafe { sys::$register(Some(on_request::<C, F>), null(), null(), $order) }
        }
    )*};
}

request_hooks! {
    post_read_request: ap_hook_post_read_request, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    translate_name: ap_hook_translate_name, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    map_to_storage: ap_hook_map_to_storage, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    post_perdir_config: ap_hook_post_perdir_config, sys::APR_HOOK_FIRST, "before others.";
    header_parser: ap_hook_header_parser, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    access_checker: ap_hook_access_checker, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    auth_checker: ap_hook_auth_checker, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    type_checker: ap_hook_type_checker, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    fixups: ap_hook_fixups, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    handler: ap_hook_handler, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    log_transaction: ap_hook_log_transaction, sys::APR_HOOK_MIDDLE, "in the middle order as mod_python does.";
    arrivals: ap_hook_post_read_request, sys::APR_HOOK_REALLY_FIRST - 1, "before all others.";
    first_translate_name: ap_hook_translate_name, sys::APR_HOOK_REALLY_FIRST, "before others.";
    first_handler: ap_hook_handler, sys::APR_HOOK_REALLY_FIRST, "before mod_proxy.";
    first_post_read_request: ap_hook_post_read_request, sys::APR_HOOK_REALLY_FIRST, "before others.";
    first_log_transaction: ap_hook_log_transaction, sys::APR_HOOK_REALLY_FIRST, "before others.";
    before_first_type_checkers: ap_hook_type_checker, sys::APR_HOOK_FIRST - 1, "before mod_negotiation.";
    after_first_type_checkers: ap_hook_type_checker, sys::APR_HOOK_FIRST + 1, "behind mod_negotiation.";
    before_first_fixups: ap_hook_fixups, sys::APR_HOOK_FIRST - 1, "before mod_rewrite, behind what SetHandler says.";
    after_first_fixups: ap_hook_fixups, sys::APR_HOOK_FIRST + 1, "behind mod_rewrite.";
    last_fixups: ap_hook_fixups, sys::APR_HOOK_REALLY_LAST, "when all others have.";
}

/// Runs `hook` for each new connection (process_connection).
pub(crate) fn process_connection<F: Fn(Connection<'_>) -> Status + Copy>(_hook: F) {
    const { assert_no_data::<F>() };
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        sys::ap_hook_process_connection(
            Some(on_connection::<F>),
            null(),
            null(),
            sys::APR_HOOK_MIDDLE,
        );
    }
}

/// Has connections of our own listeners get addresses before anybody looks at them (pre_connection).
pub(crate) fn meet_connections() {
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        sys::ap_hook_pre_connection(
            Some(on_pre_connection),
            null(),
            null(),
            sys::APR_HOOK_REALLY_FIRST,
        );
    }
}

unsafe extern "C" fn on_pre_connection(
    connection: *mut sys::conn_rec,
    socket: *mut std::ffi::c_void,
) -> c_int {
    if !connection.is_null()
        && let Err(place) = guard("pre_connection", || {
            listener::meet(connection, socket.cast())
        })
    {
        log::process(Level::Critical, &place);
    }
    Status::OK.0
}

/// Runs `hook` when a child begins to end (child_stopping; httpd has it since 2.4.49, so it is looked up).
pub(crate) fn child_stopping<F: Fn() + Copy>(_hook: F) {
    type Hook = unsafe extern "C" fn(*mut sys::apr_pool_t, c_int);
    type Register =
        unsafe extern "C" fn(Option<Hook>, *const *const c_char, *const *const c_char, c_int);
    const { assert_no_data::<F>() };
    // SAFETY: a name; NULL where httpd has no such function, and of this type where it has. The function that is registered lives as long as
    // the process.
    unsafe {
        let place = libc::dlsym(libc::RTLD_DEFAULT, c"ap_hook_child_stopping".as_ptr());
        let register = std::mem::transmute::<*mut libc::c_void, Option<Register>>(place);
        if let Some(register) = register {
            register(Some(on_stopping::<F>), null(), null(), sys::APR_HOOK_MIDDLE);
        }
    }
}

unsafe extern "C" fn on_stopping<F: Fn() + Copy>(_child: *mut sys::apr_pool_t, _graceful: c_int) {
    // SAFETY: F is the function item that was registered.
    let hook = unsafe { summon::<F>() };
    if let Err(place) = guard("child_stopping", hook) {
        log::process(Level::Critical, &place);
    }
}

/// Runs `hook` when a worker has let go of a connection, which is whoever's then that takes it (suspend_connection).
pub(crate) fn suspend_connection<F: Fn(Suspended) + Copy>(_hook: F) {
    const { assert_no_data::<F>() };
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        sys::ap_hook_suspend_connection(
            Some(on_suspension::<F>),
            null(),
            null(),
            sys::APR_HOOK_MIDDLE,
        );
    }
}

/// The name under which this module's hooks are registered, for the order among modules.
pub(crate) const OWN_NAME: &CStr = c"mod_python.c";

/// Names of modules' source files, ended by NULL.
struct Names<const N: usize>([*const c_char; N]);

// SAFETY: the names are constants.
unsafe impl<const N: usize> Sync for Names<N> {}

/// Runs `hook` to map a URI, behind httpd's modules that map certain URIs (mod_rewrite, mod_alias and so on), and before those that
/// map all of them, as the core does.
pub(crate) fn translate_name_late<C, F>(_concerns: C, _hook: F)
where
    C: Fn(Request<'_>) -> bool + Copy,
    F: Fn(Request<'_>) -> Status + Copy,
{
    const { assert_no_data::<C>() };
    const { assert_no_data::<F>() };
    // Static, since httpd keeps the lists' addresses until it has sorted its hooks. The order alone (APR_HOOK_LAST) does not do: a
    // module of AFTER that is in the middle order pulls this hook there, too, in front of others. So each module that may map a
    // part of the URIs has to be named in BEFORE.
    static BEFORE: Names<10> = Names([
        OWN_NAME.as_ptr(),
        c"mod_rewrite.c".as_ptr(),
        c"mod_proxy.c".as_ptr(),
        c"mod_alias.c".as_ptr(),
        c"mod_userdir.c".as_ptr(),
        c"mod_lua.c".as_ptr(),
        c"mod_perl.c".as_ptr(),
        c"mod_jk.c".as_ptr(),
        c"mod_wsgi.c".as_ptr(),
        null(),
    ]);
    static AFTER: Names<3> = Names([
        c"mod_vhost_alias.c".as_ptr(),
        c"mod_file_cache.c".as_ptr(),
        null(),
    ]);
    // SAFETY: registers a function that lives as long as the process. httpd, which has one thread then, has set the name that
    // the module's hooks are known by; this one gets another, since it has to come behind those.
    unsafe {
        under(c"mod_python_late.c", || {
            sys::ap_hook_translate_name(
                Some(on_request::<C, F>),
                BEFORE.0.as_ptr(),
                AFTER.0.as_ptr(),
                sys::APR_HOOK_LAST,
            );
        });
    }
}

/// Has `register` register hooks under another name than this module's, for the order among modules: of several hooks of one name in a phase,
/// that order sees one.
pub(crate) fn under(name: &'static CStr, register: impl FnOnce()) {
    // SAFETY: httpd loads its modules in one thread; the name is a constant.
    unsafe {
        let place = &raw mut sys::apr_hook_debug_current;
        let own = place.read();
        place.write(name.as_ptr());
        register();
        place.write(own);
    }
}

/// Runs `hook` to authenticate a user, before httpd's own modules: those of the default configuration would answer 500, since they
/// have no password file.
pub(crate) fn check_user_id<C, F>(_concerns: C, _hook: F)
where
    C: Fn(Request<'_>) -> bool + Copy,
    F: Fn(Request<'_>) -> Status + Copy,
{
    const { assert_no_data::<C>() };
    const { assert_no_data::<F>() };
    // httpd keeps the list's address until it has sorted its hooks.
    static AFTER: Names<4> = Names([
        c"mod_auth_basic.c".as_ptr(),
        c"mod_auth_digest.c".as_ptr(),
        c"mod_auth_form.c".as_ptr(),
        null(),
    ]);
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        sys::ap_hook_check_user_id(
            Some(on_request::<C, F>),
            null(),
            AFTER.0.as_ptr(),
            sys::APR_HOOK_MIDDLE,
        );
    }
}

/// Runs `hook` before a configuration is read, with its pool (pre_config). An `Err` stops httpd.
pub(crate) fn pre_config<F: Fn(Pool<'_>) -> Result<(), String> + Copy>(_hook: F) {
    const { assert_no_data::<F>() };
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        sys::ap_hook_pre_config(
            Some(on_pre_config::<F>),
            null(),
            null(),
            sys::APR_HOOK_MIDDLE,
        )
    }
}

/// Is this the first of the two times that httpd reads its configuration at its start, only to check it?
pub(crate) fn is_rehearsal() -> bool {
    // SAFETY: reads a number of httpd's.
    unsafe { sys::ap_state_query(sys::AP_SQ_MAIN_STATE) == sys::AP_SQ_MS_CREATE_PRE_CONFIG }
}

/// Runs `hook` once a configuration has been read; an `Err` stops httpd with that text in its log.
pub(crate) fn post_config<F: Fn(Pool<'_>, Server<'_>) -> Result<(), String> + Copy>(_hook: F) {
    const { assert_no_data::<F>() };
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        sys::ap_hook_post_config(
            Some(on_post_config::<F>),
            null(),
            null(),
            sys::APR_HOOK_MIDDLE,
        )
    }
}

/// Runs `hook` to check a configuration, also for `httpd -t`, which does not run post_config (check_config).
pub(crate) fn check_config<F: Fn(Server<'_>) -> Result<(), String> + Copy>(_hook: F) {
    const { assert_no_data::<F>() };
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        sys::ap_hook_check_config(
            Some(on_check_config::<F>),
            null(),
            null(),
            sys::APR_HOOK_MIDDLE,
        )
    }
}

/// Runs `hook` when a child starts, after it has dropped its privileges; the pool ends with the child.
pub(crate) fn child_init<F: Fn(Pool<'static>, Server<'static>) + Copy>(_hook: F) {
    const { assert_no_data::<F>() };
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        sys::ap_hook_child_init(
            Some(on_child_init::<F>),
            null(),
            null(),
            sys::APR_HOOK_MIDDLE,
        )
    }
}

/// Adds `name/version` to the Server header (ap_add_version_component).
pub(crate) fn add_version_component(pool: Pool<'_>, component: &str) {
    // SAFETY: httpd copies the text into its own pool.
    unsafe {
        sys::ap_add_version_component(pool.as_ptr(), pool.c_string(component.as_bytes()).as_ptr())
    }
}

unsafe extern "C" fn on_request<C, F>(request: *mut sys::request_rec) -> c_int
where
    C: Fn(Request<'_>) -> bool + Copy,
    F: Fn(Request<'_>) -> Status + Copy,
{
    // SAFETY: httpd passes a live request; C is the function item that was registered.
    let (request, concerns) = unsafe { (Request::from_raw(request), summon::<C>()) };
    match request {
        Some(request) if guard("concern", || concerns(request)).unwrap_or(true) => {
            attend::<F>(request)
        }
        _ => Status::DECLINED.0,
    }
}

/// Runs a hook for a request that it concerns. A function of its own, since most requests leave its caller at once.
#[inline(never)]
fn attend<F: Fn(Request<'_>) -> Status + Copy>(request: Request<'_>) -> c_int {
    // SAFETY: F is the function item that was registered.
    let hook = unsafe { summon::<F>() };
    match guard("request hook", || hook(request)) {
        Ok(status) => status.0,
        Err(place) => {
            log::entry(request, Level::Critical, &place);
            Status::INTERNAL_SERVER_ERROR.0
        }
    }
}

unsafe extern "C" fn on_connection<F: Fn(Connection<'_>) -> Status + Copy>(
    connection: *mut sys::conn_rec,
) -> c_int {
    // SAFETY: httpd passes a live connection; F is the function item that was registered.
    let (connection, hook) = unsafe { (Connection::from_raw(connection), summon::<F>()) };
    let Some(connection) = connection else {
        return Status::DECLINED.0;
    };
    match guard("connection hook", || hook(connection)) {
        Ok(Status::DECLINED) => Status::DECLINED.0,
        Ok(status) => {
            connection.finish();
            status.0
        }
        Err(place) => {
            log::raw(connection, Level::Critical as c_int, place.as_bytes());
            connection.finish();
            Status::INTERNAL_SERVER_ERROR.0
        }
    }
}

unsafe extern "C" fn on_suspension<F: Fn(Suspended) + Copy>(
    connection: *mut sys::conn_rec,
    request: *mut sys::request_rec,
) {
    let (Some(connection), Some(request)) = (NonNull::new(connection), NonNull::new(request))
    else {
        return;
    };
    // SAFETY: httpd passes a live connection and its request; F is the function item that was registered.
    let (suspended, hook) = unsafe { (Suspended::new(connection, request), summon::<F>()) };
    if let Err(place) = guard("suspend_connection", || hook(suspended)) {
        log::process(Level::Critical, &place);
    }
}

unsafe extern "C" fn on_pre_config<F: Fn(Pool<'_>) -> Result<(), String> + Copy>(
    pool: *mut sys::apr_pool_t,
    _log: *mut sys::apr_pool_t,
    _temporary: *mut sys::apr_pool_t,
) -> c_int {
    // SAFETY: httpd passes the configuration's pool; F is the function item that was registered.
    let (pool, hook) = unsafe { (Pool::from_raw(pool), summon::<F>()) };
    let Some(pool) = pool else {
        return Status::INTERNAL_SERVER_ERROR.0;
    };
    match guard("pre_config", || hook(pool)).unwrap_or_else(Err) {
        Ok(()) => Status::OK.0,
        Err(text) => {
            log::process(Level::Critical, &text);
            Status::INTERNAL_SERVER_ERROR.0
        }
    }
}

unsafe extern "C" fn on_post_config<F: Fn(Pool<'_>, Server<'_>) -> Result<(), String> + Copy>(
    pool: *mut sys::apr_pool_t,
    _log: *mut sys::apr_pool_t,
    _temporary: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    // SAFETY: httpd passes the configuration's pool and the main server; F is the registered function item.
    let (pool, server, hook) = unsafe {
        (
            Pool::from_raw(pool),
            Server::from_raw(server),
            summon::<F>(),
        )
    };
    let (Some(pool), Some(server)) = (pool, server) else {
        return Status::INTERNAL_SERVER_ERROR.0;
    };
    stop_on_error(server, guard("post_config", || hook(pool, server)))
}

unsafe extern "C" fn on_check_config<F: Fn(Server<'_>) -> Result<(), String> + Copy>(
    _pool: *mut sys::apr_pool_t,
    _log: *mut sys::apr_pool_t,
    _temporary: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    // SAFETY: as in `on_post_config`.
    let (server, hook) = unsafe { (Server::from_raw(server), summon::<F>()) };
    let Some(server) = server else {
        return Status::INTERNAL_SERVER_ERROR.0;
    };
    stop_on_error(server, guard("check_config", || hook(server)))
}

fn stop_on_error(server: Server<'_>, result: Result<Result<(), String>, String>) -> c_int {
    match result.unwrap_or_else(Err) {
        Ok(()) => Status::OK.0,
        Err(text) => {
            // At start-up the log is still the terminal: APLOG_STARTUP prints the bare text there.
            log::startup(server, &text);
            Status::INTERNAL_SERVER_ERROR.0
        }
    }
}

unsafe extern "C" fn on_child_init<F: Fn(Pool<'static>, Server<'static>) + Copy>(
    pool: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) {
    // SAFETY: the child's pool ends with the process, and so does its configuration; F is the registered function item.
    let (pool, server, hook) = unsafe {
        (
            Pool::from_raw(pool),
            Server::from_raw(server),
            summon::<F>(),
        )
    };
    let (Some(pool), Some(server)) = (pool, server) else {
        return;
    };
    server.remember();
    merged::serve();
    if let Err(place) = guard("child_init", || hook(pool, server)) {
        log::entry(server, Level::Critical, &place);
    }
}
