//! A file name for requests that have no file: httpd's other modules rely on one once a URI has been mapped.
//!
//! It is an absolute path below something that is no directory, so that nobody can find, open or make what it names, in no
//! phase and no sub-request. Its last part is shorter than any path of a URI but `/`: mod_speling goes back that far from the
//! URI's end. While the answer is made it lies in the document root instead: filters (mod_include, mod_xsendfile) take
//! relative names from there. Python, and whoever asks through `Request::filename`, sees in both cases that there is no file.

use super::request::Request;
use super::sys;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

static STAND_IN: &CStr = c"/dev/null/-";
/// The last part, in the document root.
const IN_ROOT: &[u8] = b"/.has-no-file";

/// Is a text of httpd's such a name?
pub(crate) fn is_stand_in(text: &[u8]) -> bool {
    text == STAND_IN.to_bytes() || text.ends_with(IN_ROOT)
}

impl<'r> Request<'r> {
    /// The file that the URI maps to, if it has one.
    pub(crate) fn filename(self) -> Option<&'r CStr> {
        // SAFETY: a live request whose strings live as long.
        let name = unsafe { super::text((*self.as_ptr()).filename) };
        name.filter(|name| !is_stand_in(name.to_bytes()))
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

    /// Gives it the stand-in: there is no file. A copy, for modules that write into file names.
    pub(crate) fn stand_in(self) {
        if let Some(name) = self.own_stand_in() {
            // SAFETY: a live request, which the copy belongs to.
            unsafe { (*self.as_ptr()).filename = name.as_ptr() }
        } else {
            self.set_filename(STAND_IN.to_bytes());
            // SAFETY: a live request. `valid` says that nothing is known of a file, so nobody else reads the names.
            unsafe {
                let finfo = &raw mut (*self.as_ptr()).finfo;
                (*finfo).valid = 0;
                (*finfo).fname = STAND_IN.as_ptr();
                (*finfo).name = (*self.as_ptr()).filename;
            }
        }
        self.set_file_type(sys::apr_filetype_e_APR_NOFILE);
    }

    /// The copy of the stand-in that was made for the request. Whoever looks at a file since, by `apr_stat`, has set the
    /// `fname` that tells; asked in several phases of every request, static files too.
    fn own_stand_in(self) -> Option<NonNull<c_char>> {
        // SAFETY: a live request; addresses are compared.
        unsafe {
            let finfo = &raw const (*self.as_ptr()).finfo;
            let is_own = std::ptr::eq((*finfo).fname, STAND_IN.as_ptr());
            is_own.then_some(NonNull::new((*finfo).name.cast_mut())?)
        }
    }

    /// Has it the stand-in that it has until the answer is made?
    pub(crate) fn has_stand_in(self) -> bool {
        // SAFETY: a live request; addresses are compared.
        self.own_stand_in()
            .is_some_and(|own| unsafe { own.as_ptr() == (*self.as_ptr()).filename })
    }

    /// The answer is made from now on.
    pub(crate) fn stand_in_root(self) {
        self.admit_no_file();
        let root = self.document_root().unwrap_or(c"/dev/null").to_bytes();
        let root = root.strip_suffix(b"/").unwrap_or(root);
        self.set_filename(self.pool().concat(root, IN_ROOT));
    }

    /// mod_negotiation looks for variants of what does not exist, but not of what is neither file nor directory.
    pub(crate) fn hide_absence(self) {
        self.set_file_type(sys::apr_filetype_e_APR_UNKFILE);
    }

    /// mod_rewrite's rules in a section look at the file name, and at the URI where there is none: for the time that they
    /// run, the URI is the name, of something that is neither file nor directory. For a name that is the section's own path
    /// no rules run, mod_dir being expected to add a slash; without a name they do.
    pub(crate) fn show_uri(self) {
        let is_section = self.is_path_of_section();
        // SAFETY: a live request; nobody writes into a name before it has made one of its own.
        unsafe {
            (*self.as_ptr()).filename = match is_section {
                true => std::ptr::null_mut(),
                false => (*self.as_ptr()).uri,
            };
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
        if self.is_unmapped() || self.given_name().is_some() {
            self.stand_in();
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
