//! A file name for requests that have no file: httpd's other modules rely on one once a URI has been mapped.
//!
//! It is an absolute path below something that is no directory, so that nobody can find, open or make what it names, in no
//! phase and no sub-request. Its last part is shorter than any path of a URI but `/`: mod_speling goes back that far from the
//! URI's end. While the answer is made it lies in the document root instead: filters (mod_include, mod_xsendfile) take
//! relative names from there. Python, and whoever asks through `Request::filename`, sees in both cases that there is no file.

use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::{CStr, c_char};
use std::ptr::{NonNull, null_mut};

static STAND_IN: &CStr = c"/dev/null/-";
/// The last part, in the document root.
const IN_ROOT: &[u8] = b"/.has-no-file";

/// The names that a request without a file has, in its pool. `finfo.fname` tells that `finfo.name` points to one: whoever looks
/// at a file, by `apr_stat`, has set it since.
#[derive(Clone, Copy)]
#[repr(C)]
struct Names {
    /// What it has but for the time of the others. A copy, for modules that write into file names.
    stand_in: [u8; STAND_IN.count_bytes() + 1],
    /// What it has while the answer is made, or NULL.
    in_root: *mut c_char,
    /// What it has while mod_rewrite's rules run, or NULL, and what has been taken from its end.
    shown: *mut c_char,
    rest: *mut c_char,
    /// The path_info that `rest` stands in front of.
    path_info: *mut c_char,
}

impl<'r> Request<'r> {
    /// The file that the URI maps to, if it has one.
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

    /// Is a text of httpd's one of the names that stand for no file?
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

    /// Is there nothing, not even the stand-in, as before a URI is mapped?
    pub(crate) fn is_unmapped(self) -> bool {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).filename.is_null() }
    }

    /// As before its URI was mapped: who maps it has to find nothing.
    pub(crate) fn unmap(self) {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).filename = std::ptr::null_mut() }
    }

    /// Gives it the stand-in: there is no file.
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

    /// The names that were made for the request. Asked in several phases of every request, static files too.
    fn names(self) -> Option<NonNull<Names>> {
        // SAFETY: a live request; an address tells that the other one is of a `Names`.
        unsafe {
            let finfo = &raw const (*self.as_ptr()).finfo;
            let is_own = std::ptr::eq((*finfo).fname, STAND_IN.as_ptr());
            is_own.then_some(NonNull::new((*finfo).name.cast_mut().cast())?)
        }
    }

    /// What is known of a file is about to be replaced, and with it what tells our names: one that needs nothing to tell stays.
    pub(in crate::httpd) fn forget_names(self) {
        self.hide_uri();
        self.set_filename(STAND_IN.to_bytes());
    }

    /// Has it the stand-in that it has until the answer is made?
    pub(crate) fn has_stand_in(self) -> bool {
        // SAFETY: a live request; addresses are compared.
        self.names()
            .is_some_and(|names| unsafe { names.as_ptr().cast() == (*self.as_ptr()).filename })
    }

    /// The answer is made from now on.
    pub(crate) fn stand_in_root(self) {
        self.admit_no_file();
        let root = self.document_root().unwrap_or(c"/dev/null").to_bytes();
        let root = root.strip_suffix(b"/").unwrap_or(root);
        self.set_filename(self.pool().concat(root, IN_ROOT));
        if let Some(names) = self.names() {
            // SAFETY: a live request and its names.
            unsafe { (*names.as_ptr()).in_root = (*self.as_ptr()).filename }
        }
    }

    /// mod_negotiation looks for variants of what does not exist, but not of what is neither file nor directory.
    pub(crate) fn hide_absence(self) {
        self.set_file_type(sys::apr_filetype_e_APR_UNKFILE);
    }

    /// mod_rewrite's rules in a section match the file name with path_info behind it: for the time that they run, that is the
    /// URI, of something that is neither file nor directory. For the section's own path no rules run, mod_dir being expected to
    /// add a slash, and of what is somewhere in the file system, rules would be told so: there, what is at the URI's end is
    /// path_info.
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

    /// Is its file of a type that httpd does not know, or that `show_uri` has made up?
    pub(crate) fn is_of_no_type(self) -> bool {
        // SAFETY: a live request.
        unsafe { (*self.as_ptr()).finfo.filetype == sys::apr_filetype_e_APR_UNKFILE }
    }

    /// Ends what `show_uri` has begun. What a rule has named instead stays.
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

    /// Where the name is that is no more than the URI, if it is.
    pub(crate) fn given_name(self) -> Option<usize> {
        // SAFETY: a live request; C strings are compared.
        unsafe {
            let (name, uri) = ((*self.as_ptr()).filename, (*self.as_ptr()).uri);
            let is_uri = !name.is_null() && !uri.is_null() && libc::strcmp(name, uri) == 0;
            is_uri.then_some(name.addr())
        }
    }

    /// mod_dir takes for an index, or a fallback, only what says that it is a file.
    pub(crate) fn pretend_file(self) {
        self.set_file_type(sys::apr_filetype_e_APR_REG);
    }

    /// There is no file, whatever another module has been told.
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
