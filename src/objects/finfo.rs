//! `mp_finfo`: what a file is. Attributes, and a sequence by FINFO_*.

use crate::embed::Cx;
use crate::embed::class::{self, Attribute, Class, Key, Slots, This};
use crate::embed::text::{self, Encoding};
use crate::httpd::request::file::{FileInfo as FileStat, valid};
use crate::httpd::request::server::seconds;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use std::ffi::{CStr, CString};

/// A file's information; a copy.
pub(crate) struct FileInfo(pub(crate) FileStat);

type Object<'py> = Bound<'py, PyAny>;
type Read = for<'a, 'py> fn(This<'a, 'py, FileInfo>) -> PyResult<Object<'py>>;

impl Class for FileInfo {
    const NAME: &'static CStr = c"mp_finfo";
    const DOC: &'static CStr = c"What a file is (apr_finfo_t). What is not known is None.";
    const ATTRIBUTES: &'static [Attribute<Self>] = &[
        Attribute::read_only(c"fname", c"The path that was asked for.", FNAME),
        Attribute::read_only(c"filetype", c"The kind of file (APR_REG, …).", FILETYPE),
        Attribute::read_only(c"valid", c"Which fields are known (APR_FINFO_*).", |this| {
            this.number(0, |info| info.valid)
        }),
        Attribute::read_only(c"protection", c"Access rights, as APR encodes them.", MODE),
        Attribute::read_only(c"user", c"The owner's number.", UID),
        Attribute::read_only(c"group", c"The group's number.", GID),
        Attribute::read_only(c"inode", c"The inode.", INO),
        Attribute::read_only(c"device", c"The device.", DEV),
        Attribute::read_only(c"nlink", c"How many names it has.", NLINK),
        Attribute::read_only(c"size", c"Its size in bytes.", SIZE),
        Attribute::read_only(c"atime", c"Last access, in seconds since the epoch.", ATIME),
        Attribute::read_only(c"mtime", c"Last change, in seconds since the epoch.", MTIME),
        Attribute::read_only(
            c"ctime",
            c"Last change of status, in seconds since the epoch.",
            CTIME,
        ),
        Attribute::read_only(c"name", c"The name's true form.", NAME_OF),
    ];
    const SLOTS: Slots<Self> = Slots {
        repr: Some(repr),
        length: Some(|_| Ok(PLACES.len())),
        item: Some(|this, place| {
            let place = usize::try_from(class::integer(place)?).ok();
            match place.and_then(|place| PLACES.get(place)) {
                Some(read) => read(this),
                None => Err(PyIndexError::new_err("tuple index out of range")),
            }
        }),
        sequence: true,
        ..Slots::NONE
    };

    fn key() -> &'static Key<Self> {
        static KEY: Key<FileInfo> = Key::new();
        &KEY
    }
}

const FNAME: Read = |this| this.text(0, |info| info.fname.as_ref());
const NAME_OF: Read = |this| this.text(valid::NAME, |info| info.name.as_ref());
const FILETYPE: Read = |this| this.0.filetype.into_bound_py_any(this.cx.py);
const MODE: Read = |this| this.number(valid::PROTECTION, |info| info.protection);
const UID: Read = |this| this.number(valid::USER, |info| info.user);
const GID: Read = |this| this.number(valid::GROUP, |info| info.group);
const INO: Read = |this| this.number(valid::INODE, |info| info.inode);
const DEV: Read = |this| this.number(valid::DEVICE, |info| info.device);
const NLINK: Read = |this| this.number(valid::NLINK, |info| info.nlink);
const SIZE: Read = |this| this.number(valid::SIZE, |info| info.size);
const ATIME: Read = |this| this.number(valid::ATIME, |info| whole(info.atime));
const MTIME: Read = |this| this.number(valid::MTIME, |info| whole(info.mtime));
const CTIME: Read = |this| this.number(valid::CTIME, |info| whole(info.ctime));

/// What `finfo[n]` reads, in the order of FINFO_MODE … FINFO_FILETYPE.
const PLACES: [Read; 13] = [
    MODE, INO, DEV, NLINK, UID, GID, SIZE, ATIME, MTIME, CTIME, FNAME, NAME_OF, FILETYPE,
];

fn whole(time: i64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds since the epoch fit"
    )]
    let seconds = seconds(time) as i64;
    seconds
}

/// Makes the Python object of a file's information.
///
/// # Errors
/// MemoryError.
pub(crate) fn object(cx: Cx<'_>, info: FileStat) -> PyResult<Object<'_>> {
    class::instance(cx, FileInfo(info))
}

impl<'py> This<'_, 'py, FileInfo> {
    /// Gives a number, or None where there is no such file, or `valid` does not have all of the `bits`.
    fn number(&self, bits: i64, field: fn(&FileStat) -> i64) -> PyResult<Object<'py>> {
        let known = self.0.filetype != 0 && self.0.valid & bits == bits;
        known.then(|| field(&self.0)).into_bound_py_any(self.cx.py)
    }

    fn text(&self, bits: i64, field: fn(&FileStat) -> Option<&CString>) -> PyResult<Object<'py>> {
        let known = self.0.valid & bits == bits;
        Encoding::Utf8.optional(
            self.cx.py,
            field(&self.0).filter(|_| known).map(CString::as_c_str),
        )
    }
}

fn repr<'py>(this: This<'_, 'py, FileInfo>) -> PyResult<Object<'py>> {
    let object = this.object();
    let mut parts = Vec::new();
    for name in
        "fname filetype valid protection user group size inode device nlink atime mtime ctime name"
            .split(' ')
    {
        parts.push(format!(
            "'{name}': {}",
            text::lossy(&object.getattr(name)?.repr()?)
        ));
    }
    format!("{{{}}}", parts.join(", ")).into_bound_py_any(this.cx.py)
}
