//! apr_finfo_t: what a file is, as httpd and `apr_stat` see it.

use crate::httpd::apr::pool::OwnedPool;
use crate::httpd::apr::pool::Pool;
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::{CStr, CString, c_int};

/// A copy of an apr_finfo_t. Only the fields that `valid` names have a meaning.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileInfo {
    pub(crate) fname: Option<CString>,
    pub(crate) name: Option<CString>,
    pub(crate) filetype: i64,
    pub(crate) valid: i64,
    pub(crate) protection: i64,
    pub(crate) user: i64,
    pub(crate) group: i64,
    pub(crate) inode: i64,
    pub(crate) device: i64,
    pub(crate) nlink: i64,
    pub(crate) size: i64,
    /// Times in microseconds since the epoch.
    pub(crate) atime: i64,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
}

/// The bits of `valid` (apr_file_info.h: APR_FINFO_*).
pub(crate) mod valid {
    use super::sys;
    pub(crate) const PROTECTION: i64 = sys::APR_FINFO_PROT as i64;
    pub(crate) const USER: i64 = sys::APR_FINFO_USER as i64;
    pub(crate) const GROUP: i64 = sys::APR_FINFO_GROUP as i64;
    pub(crate) const INODE: i64 = sys::APR_FINFO_INODE as i64;
    pub(crate) const DEVICE: i64 = sys::APR_FINFO_DEV as i64;
    pub(crate) const NLINK: i64 = sys::APR_FINFO_NLINK as i64;
    pub(crate) const SIZE: i64 = sys::APR_FINFO_SIZE as i64;
    pub(crate) const ATIME: i64 = sys::APR_FINFO_ATIME as i64;
    pub(crate) const MTIME: i64 = sys::APR_FINFO_MTIME as i64;
    pub(crate) const CTIME: i64 = sys::APR_FINFO_CTIME as i64;
    pub(crate) const NAME: i64 = sys::APR_FINFO_NAME as i64;
}

/// Looks at a file (apr_stat). Where there is none, that is no error: its type is APR_NOFILE. May block.
///
/// # Errors
/// The system's error number.
pub(crate) fn stat(path: &CStr, wanted: i32) -> Result<FileInfo, c_int> {
    let Some(pool) = OwnedPool::new() else {
        return Err(libc::ENOMEM);
    };
    // SAFETY: fills the structure; its strings lie in `pool` and are copied before that goes.
    unsafe {
        let mut info: sys::apr_finfo_t = std::mem::zeroed();
        let status = sys::apr_stat(&raw mut info, path.as_ptr(), wanted, pool.pool().as_ptr());
        match status {
            0 | sys::APR_INCOMPLETE => Ok(FileInfo::from_raw(&info)),
            libc::ENOENT => Ok(FileInfo {
                fname: Some(path.to_owned()),
                ..FileInfo::default()
            }),
            error => Err(error),
        }
    }
}

impl FileInfo {
    /// # Safety
    /// The strings of `info` that are valid are NULL or live.
    unsafe fn from_raw(info: &sys::apr_finfo_t) -> FileInfo {
        if info.filetype == sys::apr_filetype_e_APR_NOFILE {
            // httpd has set the type alone: the other fields hold whatever was on its stack.
            return FileInfo::default();
        }
        let has_name = i64::from(info.valid) & valid::NAME != 0;
        // SAFETY: the caller's promise; the name is anything where it is not valid.
        let (fname, name) = unsafe {
            let name = if has_name {
                crate::httpd::text(info.name)
            } else {
                None
            };
            (crate::httpd::text(info.fname), name)
        };
        FileInfo {
            fname: fname.map(CStr::to_owned),
            name: name.map(CStr::to_owned),
            filetype: i64::from(info.filetype),
            valid: i64::from(info.valid),
            protection: i64::from(info.protection),
            user: i64::from(info.user),
            group: i64::from(info.group),
            inode: info.inode.cast_signed(),
            device: info.device.cast_signed(),
            nlink: i64::from(info.nlink),
            size: info.size,
            atime: info.atime,
            mtime: info.mtime,
            ctime: info.ctime,
        }
    }
}

/// A path made canonical, with a slash at its end (apr_filepath_merge with APR_FILEPATH_TRUENAME).
pub(crate) fn canonical_directory<'p>(pool: Pool<'p>, path: &CStr) -> Option<&'p CStr> {
    let mut merged = std::ptr::null_mut();
    // SAFETY: both strings are live; the answer lies in the pool.
    unsafe {
        let flags = sys::APR_FILEPATH_TRUENAME | sys::APR_FILEPATH_NOTRELATIVE;
        if sys::apr_filepath_merge(
            &raw mut merged,
            std::ptr::null(),
            path.as_ptr(),
            flags,
            pool.as_ptr(),
        ) != 0
        {
            return None;
        }
        crate::httpd::text(sys::ap_make_full_path(pool.as_ptr(), merged, c"".as_ptr()))
    }
}

impl Request<'_> {
    /// Has httpd looked at the directories that lead to the request's file? Not before it has mapped the URI, and never for a
    /// request without a file.
    pub(crate) fn has_walked(self) -> bool {
        // SAFETY: a live request; the core keeps a place for the note, which it fills when it begins.
        unsafe {
            let note = sys::ap_get_request_note(
                self.as_ptr(),
                sys::AP_NOTE_DIRECTORY_WALK.cast_unsigned() as _,
            );
            note.as_ref().is_some_and(|walk| !walk.is_null())
        }
    }

    /// Has httpd found a file, and is it still the one that r->filename names?
    pub(crate) fn has_found_file(self) -> bool {
        // SAFETY: a live request; where a file was found, its name is there.
        unsafe {
            let finfo = &raw const (*self.as_ptr()).finfo;
            (*finfo).filetype != sys::apr_filetype_e_APR_NOFILE
                && self.filename().is_some()
                && self.filename() == crate::httpd::text((*finfo).fname)
        }
    }

    /// Gives what httpd knows of the request's file (r->finfo).
    pub(crate) fn finfo(self) -> FileInfo {
        // SAFETY: a live request whose strings live as long.
        unsafe { FileInfo::from_raw(&(*self.as_ptr()).finfo) }
    }

    /// Tells httpd what the request's file is.
    pub(crate) fn set_finfo(self, info: &FileInfo) {
        let text = |text: &Option<CString>| {
            text.as_ref().map_or(std::ptr::null(), |text| {
                self.pool().c_string(text.as_bytes()).as_ptr()
            })
        };
        if self.filename().is_none() && !self.is_unmapped() {
            self.forget_names();
        }
        // SAFETY: a live request; the strings are copied into its pool. Numbers came from the same types.
        unsafe {
            let target = &raw mut (*self.as_ptr()).finfo;
            (*target).fname = text(&info.fname);
            (*target).name = text(&info.name);
            (*target).filetype = u32::try_from(info.filetype).unwrap_or_default();
            (*target).valid = i32::try_from(info.valid).unwrap_or_default();
            (*target).protection = i32::try_from(info.protection).unwrap_or_default();
            (*target).user = u32::try_from(info.user).unwrap_or_default();
            (*target).group = u32::try_from(info.group).unwrap_or_default();
            (*target).inode = info.inode.cast_unsigned();
            (*target).device = info.device.cast_unsigned();
            (*target).nlink = i32::try_from(info.nlink).unwrap_or_default();
            (*target).size = info.size;
            (*target).atime = info.atime;
            (*target).mtime = info.mtime;
            (*target).ctime = info.ctime;
        }
    }
}
