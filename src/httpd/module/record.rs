//! The module record that httpd loads, and the configuration structs behind it.
//!
//! Configuration lives in pools, never in statics: the DSO stays loaded over a restart (`-z nodelete`), so a static would keep
//! pointers into a configuration that is gone.

use super::command::Commands;
use super::kept::Module;
use super::{merged, slot};
use crate::httpd::apr::pool::Pool;
use crate::httpd::guard::{self, guard};
use crate::httpd::log::{self, Level};
use crate::httpd::sys;
use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_void};

/// What httpd loads of a module.
pub(crate) trait Loaded: Module {
    fn record() -> &'static Record;

    /// Called each time the module is loaded: registers hooks.
    fn register();
}

/// The exported module structure (http_config.h: module). httpd writes its index and links into it.
#[repr(transparent)]
pub(crate) struct Record(UnsafeCell<sys::module>);

// SAFETY: httpd writes to the record while it loads modules, in one thread; later it is only read.
unsafe impl Sync for Record {}

impl Record {
    /// Makes the record: STANDARD20_MODULE_STUFF in C, and functions that call `M`'s.
    pub(crate) const fn new<M: Loaded, const N: usize>(
        name: &'static CStr,
        commands: &'static Commands<N>,
    ) -> Record {
        Record(UnsafeCell::new(sys::module {
            version: sys::MODULE_MAGIC_NUMBER_MAJOR,
            minor_version: sys::MODULE_MAGIC_NUMBER_MINOR,
            module_index: -1,
            name: name.as_ptr(),
            dynamic_load_handle: std::ptr::null_mut(),
            next: std::ptr::null_mut(),
            magic: sys::MODULE_MAGIC_COOKIE as std::ffi::c_ulong,
            rewrite_args: None,
            create_dir_config: Some(create_directory::<M>),
            merge_dir_config: Some(merge_directory::<M>),
            create_server_config: Some(create_server::<M>),
            merge_server_config: Some(merge_server::<M>),
            cmds: commands.as_ptr(),
            register_hooks: Some(register::<M>),
            flags: 0,
        }))
    }
}

unsafe extern "C" fn register<M: Loaded>(_pool: *mut sys::apr_pool_t) {
    guard::install();
    // SAFETY: httpd has assigned the index before it calls register_hooks.
    slot::note_index(unsafe { (*M::record().0.get()).module_index });
    if let Err(place) = guard("register", M::register) {
        log::process(Level::Critical, &place);
    }
}

unsafe extern "C" fn create_directory<M: Module>(
    pool: *mut sys::apr_pool_t,
    _dir: *mut c_char,
) -> *mut c_void {
    // SAFETY: httpd gives a live pool.
    let pool = unsafe { Pool::from_raw(pool) };
    pool.map_or(std::ptr::null_mut(), |pool| {
        merged::store(pool, M::Directory::default())
    })
}

unsafe extern "C" fn create_server<M: Module>(
    pool: *mut sys::apr_pool_t,
    _server: *mut sys::server_rec,
) -> *mut c_void {
    // SAFETY: httpd gives a live pool.
    unsafe { store(pool, M::Server::default()) }
}

unsafe extern "C" fn merge_directory<M: Module>(
    pool: *mut sys::apr_pool_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_void {
    if let Some(merged) = merged::find(outer, inner) {
        return merged;
    }
    // SAFETY: both were made by `create_directory`, `merge_directory` or `Overlay::fill` in pools that live at least as long as `pool`.
    // Neither is written to once its section has been read.
    unsafe {
        let (base, over) = (
            &*outer.cast::<M::Directory<'_>>(),
            &*inner.cast::<M::Directory<'_>>(),
        );
        if M::is_blank(over) {
            return outer;
        }
        if M::is_blank(base) {
            return inner;
        }
        let Some(live) = Pool::from_raw(pool) else {
            return std::ptr::null_mut();
        };
        let kept = merged::keep(outer, inner, |lasting| {
            guard("merge", || M::merge_directory(lasting, base, over))
        });
        let merged = match kept {
            Ok(Some(kept)) => Ok(kept),
            Ok(None) => guard("merge", || {
                merged::store(live, M::merge_directory(live, base, over))
            }),
            Err(place) => Err(place),
        };
        merged.unwrap_or_else(|place| {
            log::process(Level::Critical, &place);
            merged::store(live, M::broken_directory(live, over))
        })
    }
}

unsafe extern "C" fn merge_server<M: Module>(
    pool: *mut sys::apr_pool_t,
    base: *mut c_void,
    over: *mut c_void,
) -> *mut c_void {
    // SAFETY: as in `merge_directory`.
    unsafe {
        let (base, over) = (
            &*base.cast::<M::Server<'_>>(),
            &*over.cast::<M::Server<'_>>(),
        );
        match Pool::from_raw(pool).map(|pool| guard("merge", || M::merge_server(pool, base, over)))
        {
            Some(Ok(merged)) => store(pool, merged),
            Some(Err(place)) => {
                log::process(Level::Critical, &place);
                store(pool, *over)
            }
            None => store(pool, *over),
        }
    }
}

/// # Safety
/// `pool` is a live pool.
unsafe fn store<T: Copy>(pool: *mut sys::apr_pool_t, value: T) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { Pool::from_raw(pool) }.map_or(std::ptr::null_mut(), |pool| {
        std::ptr::from_mut(pool.store(value)).cast()
    })
}
