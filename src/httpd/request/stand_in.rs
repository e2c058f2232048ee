//! A file name for requests that have no file: httpd's other modules rely on one once a URI has been mapped.
//!
//! The name is an absolute path below something that is no directory: in no phase and no sub-request can anybody find, open or
//! make a file of this name. Its last part is one letter, since mod_speling steps back by its length from the URI's end. While
//! an answer passes filters that may take relative names from there (mod_include, mod_xsendfile), the name lies in the document
//! root instead. Python, and `Request::filename`, have no file in both cases.

use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::{CStr, c_char};
use std::ptr::{NonNull, null_mut};

static STAND_IN: &CStr = c"/dev/null/-";
/// The last part, in the document root.
const IN_ROOT: &[u8] = b"/.has-no-file";

/// The names of a request without a file, in its pool. `finfo.name` points to it, as long as `finfo.fname` is STAND_IN: when
/// somebody looks at a file (apr_stat), both are set to something else.
#[derive(Clone, Copy)]
#[repr(C)]
struct Names {
    /// Its name, where none of the others is in place. A copy for each request, since there are modules that write into file names.
    stand_in: [u8; STAND_IN.count_bytes() + 1],
    /// Its name while the answer is made, or NULL.
    in_root: *mut c_char,
    /// Its name while mod_rewrite's rules run, or NULL; and, in `rest`, what was cut off that name.
    shown: *mut c_char,
    rest: *mut c_char,
    /// The path_info of before, which stands behind `rest` in the meantime.
    path_info: *mut c_char,
}

impl<'r> Request<'r> {
    /// Gives the file that the URI has been mapped to; None for a stand-in.
    pub(crate) fn filename(self) -> Option<&'r CStr> {
        // SAFETY: a live request whose strings live as long.
        let name = unsafe { crate::httpd::text((*self.as_ptr()).filename) }?;
        // SAFETY: NULL or C strings in the request's pool; a module may have copied one.
        let is_own = |names: NonNull<Names>| unsafe {
            let (in_root, shown) = ((*names.as_ptr()).in_root, (*names.as_ptr()).shown);
            crate::httpd::text(in_root) == Some(name) || crate::httpd::text(shown) == Some(name)
        };
        (name != STAND_IN && !self.names().is_some_and(is_own)).then_some(name)
    }

    /// Is this text one of the names that stand for no file?
    pub(crate) fn is_stand_in(self, text: &[u8]) -> bool {
        // SAFETY: NULL or C strings in the request's pool.
        let is_in_root = |names: NonNull<Names>| unsafe {
            crate::httpd::text((*names.as_ptr()).in_root)
                .is_some_and(|name| name.to_bytes() == text)
        };
        text == STAND_IN.to_bytes()
            || text.ends_with(IN_ROOT) && self.names().is_some_and(is_in_root)
    }

    /// Sets the file to a copy of `name` in the request's pool.
    pub(crate) fn set_filename(self, name: &[u8]) {
        let copy = self.pool().c_string(name).as_ptr();
        // SAFETY: a live request; the copy lives as long.
        unsafe { (*self.as_ptr()).filename = copy.cast_mut() }
    }

    /// Is there no name at all, not even a stand-in, as before a URI has been mapped?
    pub(crate) fn is_unmapped(self) -> bool {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).filename.is_null() }
    }

    /// Removes the name, as before the URI was mapped, so that it will be mapped.
    pub(crate) fn unmap(self) {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).filename = std::ptr::null_mut() }
    }

    /// Says that there is no file: gives the request its stand-in.
    pub(crate) fn stand_in(self) {
        let names = self.names().unwrap_or_else(|| self.make_names());
        // SAFETY: a live request, whose names are made.
        unsafe { (*self.as_ptr()).filename = names.as_ptr().cast() }
        self.set_file_type(sys::apr_filetype_e_APR_NOFILE);
    }

    fn make_names(self) -> NonNull<Names> {
        let mut stand_in = [0; STAND_IN.count_bytes() + 1];
        stand_in.copy_from_slice(STAND_IN.to_bytes_with_nul());
        let names = NonNull::from(self.pool().store(Names {
            stand_in,
            in_root: null_mut(),
            shown: null_mut(),
            rest: null_mut(),
            path_info: null_mut(),
        }));
        // SAFETY: a live request. `valid` says that nothing is known of a file, so nobody else reads the names.
        unsafe {
            let finfo = &raw mut (*self.as_ptr()).finfo;
            (*finfo).valid = 0;
            (*finfo).fname = STAND_IN.as_ptr();
            (*finfo).name = names.as_ptr().cast();
        }
        names
    }

    /// Finds the names that were made for the request; None where it has a file. It is asked in several phases of every request,
    /// those for static files, too, so it has to be fast.
    fn names(self) -> Option<NonNull<Names>> {
        // SAFETY: a live request; an address tells that the other one is of a `Names`.
        unsafe {
            let finfo = &raw const (*self.as_ptr()).finfo;
            let is_own = std::ptr::eq((*finfo).fname, STAND_IN.as_ptr());
            is_own.then_some(NonNull::new((*finfo).name.cast_mut().cast())?)
        }
    }

    /// Gives the request a plain copy of STAND_IN, since finfo, by which its names are found, is about to be replaced.
    pub(in crate::httpd) fn forget_names(self) {
        self.hide_uri();
        self.set_filename(STAND_IN.to_bytes());
    }

    /// Has the request its stand-in, and not yet the one for the time when the answer is made?
    pub(crate) fn has_stand_in(self) -> bool {
        // SAFETY: a live request; addresses are compared.
        self.names()
            .is_some_and(|names| unsafe { names.as_ptr().cast() == (*self.as_ptr()).filename })
    }

    /// Puts the stand-in into the document root: the answer is made from now on, and filters look at it.
    pub(crate) fn stand_in_root(self) {
        let root = self.document_root().unwrap_or(c"/dev/null").to_bytes();
        let root = root.strip_suffix(b"/").unwrap_or(root);
        self.set_filename(self.pool().concat(root, IN_ROOT));
        if let Some(names) = self.names() {
            // SAFETY: a live request and its names.
            unsafe { (*names.as_ptr()).in_root = (*self.as_ptr()).filename }
        }
    }

    /// Makes the request look like one for something that is neither file nor directory: of what does not exist, mod_negotiation
    /// would look for variants.
    pub(crate) fn hide_absence(self) {
        self.set_file_type(sys::apr_filetype_e_APR_UNKFILE);
    }

    /// Has mod_rewrite's rules in a section match the URI. They match the file name and path_info together, so for the time that
    /// they run the file name is the URI, of something that is neither file nor directory.
    ///
    /// In two cases letters at the URI's end are path_info instead, which makes no difference for what rules match. Where the URI
    /// is the section's own path, mod_rewrite would run no rules, expecting mod_dir to add a slash. And where the URI is a path
    /// that exists in the file system, rules would find a file there.
    pub(crate) fn show_uri(self) {
        let (Some(names), Some(uri)) = (self.names(), self.uri()) else {
            return;
        };
        let uri = uri.to_bytes();
        if !uri.starts_with(b"/") {
            return;
        }
        let pool = self.pool();
        let shown = pool.c_string(uri).as_ptr().cast_mut();
        // SAFETY: a live request and its names; the copy ends with NUL, and is as long as the URI.
        unsafe {
            if self.is_path_of_section() || is_there(shown) {
                let mut end = uri.len();
                while end > 1 {
                    end -= 1;
                    *shown.add(end) = 0;
                    if !is_there(shown) {
                        break;
                    }
                }
                let before = (*self.as_ptr()).path_info;
                let rest = uri.get(end..).unwrap_or_default();
                let rest = pool.concat(
                    rest,
                    crate::httpd::text(before).unwrap_or_default().to_bytes(),
                );
                let rest = pool.c_string(rest).as_ptr().cast_mut();
                (*names.as_ptr()).rest = rest;
                (*names.as_ptr()).path_info = before;
                (*self.as_ptr()).path_info = rest;
            }
            (*names.as_ptr()).shown = shown;
            (*self.as_ptr()).filename = shown;
        }
        self.set_file_type(sys::apr_filetype_e_APR_UNKFILE);
    }

    /// Is the file of no type that httpd knows, as `hide_absence` and `show_uri` make it look?
    pub(crate) fn is_of_no_type(self) -> bool {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).finfo.filetype == sys::apr_filetype_e_APR_UNKFILE }
    }

    /// Puts back what `show_uri` has changed. A file that a rule has named stays.
    pub(crate) fn hide_uri(self) {
        let Some(names) = self.names() else { return };
        // SAFETY: a live request and its names; addresses are compared.
        unsafe {
            let shown = std::mem::replace(&mut (*names.as_ptr()).shown, null_mut());
            let rest = std::mem::replace(&mut (*names.as_ptr()).rest, null_mut());
            if shown.is_null() {
                return;
            }
            if !rest.is_null() && (*self.as_ptr()).path_info == rest {
                (*self.as_ptr()).path_info = (*names.as_ptr()).path_info;
            }
            if (*self.as_ptr()).filename == shown || (*self.as_ptr()).filename.is_null() {
                self.stand_in();
            }
        }
    }

    /// Gives the address of the file name's text, where the name is the URI itself; None where it is another one.
    pub(crate) fn given_name(self) -> Option<usize> {
        // SAFETY: a live request; C strings are compared.
        unsafe {
            let (name, uri) = ((*self.as_ptr()).filename, (*self.as_ptr()).uri);
            let is_uri = !name.is_null() && !uri.is_null() && libc::strcmp(name, uri) == 0;
            is_uri.then_some(name.addr())
        }
    }

    /// Makes the request look like one for a file: mod_dir takes nothing else for an index or a fallback.
    pub(crate) fn pretend_file(self) {
        self.set_file_type(sys::apr_filetype_e_APR_REG);
    }

    /// Says again that there is no file, after `hide_absence` or `pretend_file`.
    pub(crate) fn admit_no_file(self) {
        self.set_file_type(sys::apr_filetype_e_APR_NOFILE);
    }

    fn set_file_type(self, kind: sys::apr_filetype_e) {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).finfo.filetype = kind }
    }
}

/// Is there something of this name in the file system?
///
/// # Safety
/// A C string.
unsafe fn is_there(name: *const c_char) -> bool {
    let mut found = std::mem::MaybeUninit::uninit();
    // SAFETY: the caller's promise; room for what is not read.
    unsafe { libc::lstat(name, found.as_mut_ptr()) == 0 }
}
