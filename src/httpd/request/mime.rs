//! mod_mime: the extensions that AddHandler maps to a handler.
//!
//! mod_mime has no function for it. In all of httpd 2.4 its per-directory record begins with a hash by extension, whose values are
//! structs of C strings. Only these first members are read.

use crate::httpd::module::slot;
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

/// The beginning of mod_mime's mime_dir_config.
#[repr(C)]
struct Directory {
    extensions: *mut sys::apr_hash_t,
}

/// The beginning of mod_mime's extension_info.
#[repr(C)]
struct Extension {
    forced_type: *const c_char,
    encoding_type: *const c_char,
    language_type: *const c_char,
    handler: *const c_char,
}

impl Request<'_> {
    /// Lists the extensions, without their dot, that AddHandler maps to one of `handlers` for this request; none without mod_mime.
    pub(crate) fn extensions_for(self, handlers: &[&CStr]) -> Vec<String> {
        let mut found = Vec::new();
        // SAFETY: httpd's list of modules and the request's configuration are live; see above for mod_mime's structs.
        unsafe {
            let Some(mime) = sys::ap_find_linked_module(c"mod_mime.c".as_ptr()).as_ref() else {
                return found;
            };
            let record = slot::slot_at((*self.as_ptr()).per_dir_config, mime.module_index)
                .cast::<Directory>();
            let Some(hash) = record
                .as_ref()
                .map(|record| record.extensions)
                .filter(|hash| !hash.is_null())
            else {
                return found;
            };
            let mut index = sys::apr_hash_first(self.pool().as_ptr(), hash);
            while !index.is_null() {
                let (mut key, mut length, mut value) = (std::ptr::null(), 0, null_mut::<c_void>());
                sys::apr_hash_this(index, &raw mut key, &raw mut length, &raw mut value);
                let handler = value
                    .cast::<Extension>()
                    .as_ref()
                    .and_then(|info| crate::httpd::text(info.handler));
                if handler.is_some_and(|handler| handlers.contains(&handler)) {
                    let key = std::slice::from_raw_parts(
                        key.cast::<u8>(),
                        usize::try_from(length).unwrap_or(0),
                    );
                    found.push(String::from_utf8_lossy(key).into_owned());
                }
                index = sys::apr_hash_next(index);
            }
        }
        found.sort();
        found
    }

    /// Finds the shortest directory above the request's file that a `<Directory>` with wild cards or a regular expression matches,
    /// with a slash at its end.
    pub(crate) fn matching_directory(self, pattern: &str, regex: bool) -> Option<String> {
        let file = self.filename()?.to_str().ok()?;
        let bare = pattern.strip_suffix('/').unwrap_or(pattern);
        let pool = self.pool();
        let text = pool.c_string(bare.as_bytes());
        // SAFETY: live strings; the compiled expression lies in the request's pool.
        let matches = |directory: &str| unsafe {
            let directory = pool.c_string(directory.as_bytes());
            if regex {
                let compiled = sys::ap_pregcomp(pool.as_ptr(), text.as_ptr(), 0);
                const NO_MATCHES: usize = 0;
                !compiled.is_null()
                    && sys::ap_regexec(compiled, directory.as_ptr(), NO_MATCHES, null_mut(), 0) == 0
            } else {
                let flags: c_int = sys::APR_FNM_PATHNAME;
                sys::apr_fnmatch(text.as_ptr(), directory.as_ptr(), flags) == 0
            }
        };
        let slashes = file
            .match_indices('/')
            .map(|(place, _)| place)
            .chain([file.len()]);
        for end in slashes {
            let directory = file.get(..end)?;
            let with_slash = format!("{directory}/");
            if (!directory.is_empty() && matches(directory)) || matches(&with_slash) {
                return Some(with_slash);
            }
        }
        None
    }
}
