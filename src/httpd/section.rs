//! A `<Location>` that a directive stands for: its lines are applied as if they had been written there.

use super::pool::Pool;
use super::sys;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;

/// A section in the making: a path, and the directives in it.
pub(crate) struct Location {
    pub(crate) path: String,
    /// Its place among the server's sections: later ones win over earlier ones.
    pub(crate) place: usize,
    pub(crate) lines: Vec<(&'static CStr, String)>,
}

/// Applies the directives and adds the section to the server (ap_walk_config, ap_add_per_url_conf), as httpd's core does
/// for `<Location>`.
///
/// # Errors
/// What a directive answers.
///
/// # Safety
/// `command` is httpd's cmd_parms while a directive at server level is executed.
pub(super) unsafe fn add(
    command: *mut sys::cmd_parms,
    pool: Pool<'_>,
    location: &Location,
) -> Result<(), String> {
    // SAFETY: the nodes and texts lie in the configuration's pool; the command's fields are put back.
    unsafe {
        let here = *(*command).directive;
        let text = |text: &str| pool.c_string(text.as_bytes()).as_ptr();
        let around = std::ptr::from_mut(pool.store(sys::ap_directive_t {
            directive: c"<Location".as_ptr(),
            args: text(&format!("{}>", location.path)),
            next: null_mut(),
            first_child: null_mut(),
            parent: here.parent,
            ..here
        }));
        let mut first: *mut sys::ap_directive_t = null_mut();
        for (name, arguments) in location.lines.iter().rev() {
            first = std::ptr::from_mut(pool.store(sys::ap_directive_t {
                directive: name.as_ptr(),
                args: text(arguments),
                next: first,
                first_child: null_mut(),
                parent: around,
                ..here
            }));
        }
        (*around).first_child = first;
        let (path, overrides, directive, context) = (
            (*command).path,
            (*command).override_,
            (*command).directive,
            (*command).context,
        );
        let own: *mut c_char = text(&location.path).cast_mut();
        (*command).path = own;
        (*command).override_ = sys::OR_ALL | sys::ACCESS_CONF;
        let section = sys::ap_create_per_dir_config(pool.as_ptr());
        let error = sys::ap_walk_config(first, command, section);
        (*command).override_ = overrides;
        (*command).directive = directive;
        (*command).context = context;
        let result = if error.is_null() {
            let core = sys::ap_set_config_vectors(
                (*command).server,
                section,
                own,
                &raw mut sys::core_module,
                pool.as_ptr(),
            )
            .cast::<sys::core_dir_config>();
            (*core).d = own;
            (*core).set_d_is_fnmatch(0);
            (*core).r = null_mut();
            sys::ap_add_per_url_conf((*command).server, section.cast::<c_void>());
            move_last((*command).server, location.place);
            Ok(())
        } else {
            Err(CStr::from_ptr(error).to_string_lossy().into_owned())
        };
        (*command).path = path;
        result
    }
}

/// Moves the section that was added last to its place.
///
/// # Safety
/// `server` is a live server whose configuration is being read.
unsafe fn move_last(server: *mut sys::server_rec, place: usize) {
    // SAFETY: the core's configuration of a server; its array holds pointers to sections.
    unsafe {
        let core = sys::ap_get_core_module_config((*server).module_config)
            .cast::<sys::core_server_config>();
        let array = &mut *(*core).sec_url;
        let count = usize::try_from(array.nelts).unwrap_or(0);
        let sections = std::slice::from_raw_parts_mut(array.elts.cast::<*mut c_void>(), count);
        if let Some(moved) = sections.get_mut(place..) {
            moved.rotate_right(1);
        }
    }
}
