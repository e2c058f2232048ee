//! Which section's SetHandler counts for a request; and a section of our own, which is put on top of those of the configuration.

use crate::httpd::apr::pool::Pool;
use crate::httpd::module::kept::Module;
use crate::httpd::module::{merged, slot};
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};

/// The index of mod_rewrite in configuration vectors; -1 where it is not loaded. Set whenever a configuration has been read.
static REWRITE: AtomicI32 = AtomicI32::new(-1);

/// Finds out which index mod_rewrite has.
pub(crate) fn find_rewrite() {
    // SAFETY: a constant name; the record of a module that is loaded.
    let place = unsafe {
        let module = sys::ap_find_linked_module(c"mod_rewrite.c".as_ptr());
        module.as_ref().map_or(-1, |module| module.module_index)
    };
    REWRITE.store(place, Ordering::Relaxed);
}

/// Where the SetHandler stands that counts for a request's URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Giver<'r> {
    Nobody,
    /// The server, outside sections.
    Server,
    /// In the `<Location>` of this plain path.
    Path(&'r CStr),
    /// In a `<Location>` with wild cards or an expression, or in an `<If>`.
    Other,
}

impl<'r> Request<'r> {
    /// Finds out where that is. To be called before the URI is mapped, when only `<Location>` and `<If>` apply.
    pub(crate) fn handler_giver(self) -> Giver<'r> {
        // SAFETY: a live request and its server; the core's places hold the core's structures. A section that says nothing of
        // the handler takes over the expression of the one before it, so its address tells where it was written.
        unsafe {
            let Some(expression) = self
                .core_config()
                .map(|core| core.expr_handler)
                .filter(|expression| !expression.is_null())
            else {
                return Giver::Nobody;
            };
            let server = (*self.as_ptr()).server;
            for section in sections(server) {
                let Some(core) = core_of(section).filter(|core| core.expr_handler == expression)
                else {
                    continue;
                };
                return match crate::httpd::text(core.d) {
                    Some(path) if core.r.is_null() && core.d_is_fnmatch() == 0 => Giver::Path(path),
                    _ => Giver::Other,
                };
            }
            let everywhere = core_of((*server).lookup_defaults);
            match everywhere.is_some_and(|core| core.expr_handler == expression) {
                true => Giver::Server,
                false => Giver::Other,
            }
        }
    }

    /// Is the URI, letter by letter, the plain path of a `<Location>`?
    pub(in crate::httpd) fn is_path_of_section(self) -> bool {
        // SAFETY: a live request and its server; C strings are compared, most of which differ at once.
        unsafe {
            let uri = (*self.as_ptr()).uri;
            !uri.is_null()
                && sections((*self.as_ptr()).server)
                    .filter_map(|section| core_of(section))
                    .any(|core| {
                        core.r.is_null() && !core.d.is_null() && libc::strcmp(core.d, uri) == 0
                    })
        }
    }

    /// Has mod_rewrite something to do in the sections that apply to the request?
    pub(crate) fn has_rules(self) -> bool {
        let Ok(place) = usize::try_from(REWRITE.load(Ordering::Relaxed)) else {
            return false;
        };
        // SAFETY: a live request and its server; both vectors have a place for each module, and addresses are compared.
        unsafe {
            let of = |vector: *mut sys::ap_conf_vector_t| *vector.cast::<*mut c_void>().add(place);
            let server = (*self.as_ptr()).server;
            of((*self.as_ptr()).per_dir_config) != of((*server).lookup_defaults)
        }
    }

    /// Gives the address of r->handler's text, by which a text of the configuration that was set (`name_handler`) can be known
    /// again.
    pub(crate) fn handler_address(self) -> *const c_char {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).handler }
    }

    /// Sets r->handler to a text of the configuration's, without a copy.
    pub(crate) fn name_handler(self, name: &'r CStr) {
        // SAFETY: a live request; the configuration outlives it.
        unsafe { (*self.as_ptr()).handler = name.as_ptr() }
    }
}

/// Lists the plain paths of a server's `<Location>` sections that have a SetHandler.
pub(crate) fn paths_with_handler(server: crate::httpd::request::server::Server<'_>) -> Vec<&CStr> {
    // SAFETY: a live server whose configuration has been read.
    unsafe {
        sections(server.as_ptr())
            .filter_map(|section| core_of(section))
            .filter(|core| {
                !core.expr_handler.is_null() && core.r.is_null() && core.d_is_fnmatch() == 0
            })
            .filter_map(|core| crate::httpd::text(core.d))
            .collect()
    }
}

/// Lists the `<Location>` sections of a server, in their order.
///
/// # Safety
/// `server` is a live server.
unsafe fn sections<'s>(
    server: *mut sys::server_rec,
) -> impl Iterator<Item = *mut sys::ap_conf_vector_t> + use<'s> {
    // SAFETY: the core's configuration of a server has an array of pointers to sections.
    let all: &'s [*mut sys::ap_conf_vector_t] = unsafe {
        let core = sys::ap_get_core_module_config((*server).module_config)
            .cast::<sys::core_server_config>();
        let array = &*(*core).sec_url;
        match usize::try_from(array.nelts) {
            Ok(count) if count > 0 => std::slice::from_raw_parts(array.elts.cast(), count),
            _ => &[],
        }
    };
    all.iter().copied()
}

/// # Safety
/// `section` is NULL or a live configuration vector.
unsafe fn core_of<'s>(section: *mut sys::ap_conf_vector_t) -> Option<&'s sys::core_dir_config> {
    if section.is_null() {
        return None;
    }
    // SAFETY: the core's place is NULL or holds this structure.
    unsafe {
        sys::ap_get_core_module_config(section)
            .cast::<sys::core_dir_config>()
            .as_ref()
    }
}

/// A section with settings of our module alone. It lies in the configuration's pool, and is not changed once it has been filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Overlay<'c>(NonNull<sys::ap_conf_vector_t>, PhantomData<&'c ()>);

impl<'c> Overlay<'c> {
    /// Makes an empty one.
    pub(crate) fn new(pool: Pool<'c>) -> Option<Overlay<'c>> {
        // SAFETY: while the configuration is read; the vector lies in its pool.
        let vector = unsafe { sys::ap_create_per_dir_config(pool.as_ptr()) };
        NonNull::new(vector).map(|vector| Overlay(vector, PhantomData))
    }

    /// Puts our settings into it.
    pub(crate) fn fill<M: Module>(self, pool: Pool<'c>, directory: M::Directory<'c>) {
        let directory = merged::store(pool, directory);
        // SAFETY: our place of a live vector, which is read as what is stored here.
        unsafe {
            *self
                .0
                .as_ptr()
                .cast::<*mut c_void>()
                .add(slot::index().cast_unsigned() as usize) = directory;
        }
    }

    /// Puts it on top of all sections that apply to the request.
    pub(crate) fn cover(self, request: Request<'_>) {
        // SAFETY: a live request; the result lies in its pool.
        unsafe {
            (*request.as_ptr()).per_dir_config = sys::ap_merge_per_dir_configs(
                (*request.as_ptr()).pool,
                (*request.as_ptr()).per_dir_config,
                self.0.as_ptr(),
            );
        }
    }
}
