//! Files that are sent by their descriptor: a part of one that an application has opened, and those of `req.sendfile()`.
//!
//! An application may shorten or close its file at any time. So the file is never mapped into memory, and the answer breaks off
//! where the file has become too short for it.

use crate::httpd::io::aborted::Aborted;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::request::connection::Connection;
use crate::httpd::sys;
use std::cell::Cell;
use std::ffi::{CStr, OsStr, c_int};
use std::fs::OpenOptions;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr::NonNull;

/// A part of an open regular file that is to be sent. The descriptor is a duplicate, so that the file's owner may close its own.
pub(crate) struct FilePart {
    descriptor: OwnedFd,
    offset: i64,
    length: i64,
}

impl FilePart {
    /// Takes a file from `offset` to its end. None for what has to be read by the caller: what is no regular file (a pipe), has
    /// no bytes of known number (/proc, /sys), has none behind `offset`, or is not open for reading.
    pub(crate) fn new(descriptor: c_int, offset: i64) -> Option<FilePart> {
        // SAFETY: asks the system about a number; the duplicate is ours.
        let descriptor = unsafe {
            let flags = libc::fcntl(descriptor, libc::F_GETFL);
            if flags < 0 || flags & libc::O_ACCMODE == libc::O_WRONLY || flags & libc::O_PATH != 0 {
                return None;
            }
            BorrowedFd::borrow_raw(descriptor)
                .try_clone_to_owned()
                .ok()?
        };
        let status = status(&descriptor)?;
        // Files of /proc and /sys may tell a size, but have no blocks, and hold something else when they are read.
        let solid = status.st_mode & libc::S_IFMT == libc::S_IFREG && status.st_blocks > 0;
        let inside = (0..status.st_size).contains(&offset);
        (solid && inside).then(|| FilePart {
            descriptor,
            offset,
            length: status.st_size - offset,
        })
    }

    /// Opens a file, then checks what has been opened, and takes all of it. May block, but not on a pipe.
    ///
    /// # Errors
    /// The system's; InvalidInput, without a number, for what is no regular file.
    pub(crate) fn open(path: &CStr) -> io::Result<FilePart> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(OsStr::from_bytes(path.to_bytes()))?;
        let metadata = opened.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        if !metadata.is_file() {
            let text = "it is no regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(FilePart {
            descriptor: opened.into(),
            offset: 0,
            length: i64::try_from(metadata.len()).unwrap_or(i64::MAX),
        })
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> i64 {
        self.length
    }

    /// Makes it shorter.
    pub(crate) fn cut(&mut self, length: i64) {
        self.length = self.length.min(length);
    }

    /// Sends it, and the answer's end if that is `complete`. May block. False where the file has become shorter.
    ///
    /// # Errors
    /// `Aborted` when the client is gone or a filter failed.
    pub(crate) fn pass(&self, request: Request<'_>, complete: bool) -> Result<bool, Aborted> {
        let mut file = std::ptr::null_mut();
        let pool = request.pool();
        let copy = self.descriptor.try_clone().map_err(|_| Aborted)?;
        let sending = pool.on_end(Sending {
            connection: request.connection().address().cast().as_ptr(),
            descriptor: copy,
            end: self.offset.saturating_add(self.length),
            told: Cell::new(false),
        });
        let mut number = sending.descriptor.as_raw_fd();
        // SAFETY: the descriptor is open until the request's pool ends, after everything has been sent; a brigade of ours. The
        // file is never mapped: if somebody shortened it, the child would be killed (SIGBUS).
        let (status, aborted) = unsafe {
            let flags = sys::APR_FOPEN_READ | sendfile_flag(request);
            sys::apr_os_file_put(&raw mut file, &raw mut number, flags, pool.as_ptr());
            let allocator = (*(*request.as_ptr()).connection).bucket_alloc;
            let brigade = sys::apr_brigade_create(pool.as_ptr(), allocator);
            let bucket = sys::apr_brigade_insert_file(
                brigade,
                file,
                self.offset,
                self.length,
                pool.as_ptr(),
            );
            sys::apr_bucket_file_enable_mmap(bucket, 0);
            sys::apr_bucket_file_set_buf_size(bucket, READ_AT_ONCE);
            let last = if complete {
                sys::apr_bucket_eos_create(allocator)
            } else {
                sys::apr_bucket_flush_create(allocator)
            };
            crate::httpd::apr::brigade::append(brigade, last);
            let status = sys::ap_pass_brigade((*request.as_ptr()).output_filters, brigade);
            sys::apr_brigade_cleanup(brigade.cast());
            (status, request.connection().aborted())
        };
        // httpd aborts the connection where the file ends too early.
        match status == 0 && !aborted {
            true => Ok(true),
            false if sending.is_whole() => Err(Aborted),
            false => {
                sending.told.set(true);
                Ok(false)
            }
        }
    }
}

/// A regular file that has been opened to be sent. It is closed when this is dropped, or, if it was kept, with the request's pool.
pub(crate) struct SentFile<'r> {
    file: NonNull<sys::apr_file_t>,
    size: i64,
    _request: PhantomData<Request<'r>>,
}

/// Why a file cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsendable {
    Missing,
    Unreadable,
    /// It is no regular file: a directory cannot be read, a pipe would have to be waited for, a device has no end.
    Irregular,
}

impl<'r> SentFile<'r> {
    /// Opens a file, then checks what has been opened: the path may lead to something else by then. May block, but not on a pipe.
    ///
    /// # Errors
    /// `Unsendable`.
    pub(crate) fn open(request: Request<'r>, path: &CStr) -> Result<SentFile<'r>, Unsendable> {
        let mut file = std::ptr::null_mut();
        let flags = sys::APR_FOPEN_READ | sys::APR_FOPEN_BINARY | sys::APR_FOPEN_NONBLOCK;
        let flags = flags | sendfile_flag(request);
        // SAFETY: the file is opened in the request's pool; a structure that is filled, or an error.
        unsafe {
            let pool = request.pool().as_ptr();
            let status = sys::apr_file_open(
                &raw mut file,
                path.as_ptr(),
                flags,
                sys::APR_OS_DEFAULT,
                pool,
            );
            let opened = NonNull::new(file).filter(|_| status == 0);
            let opened = opened.ok_or(match status {
                libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG => {
                    Unsendable::Missing
                }
                // The path is that of a socket.
                libc::ENXIO => Unsendable::Irregular,
                _ => Unsendable::Unreadable,
            })?;
            let mut info: sys::apr_finfo_t = std::mem::zeroed();
            let wanted = sys::APR_FINFO_SIZE | sys::APR_FINFO_TYPE;
            let status = sys::apr_file_info_get(&raw mut info, wanted, opened.as_ptr());
            let file = SentFile {
                file: opened,
                size: info.size,
                _request: PhantomData,
            };
            match (status, info.filetype) {
                (0, sys::apr_filetype_e_APR_REG) => Ok(file),
                (0, _) => Err(Unsendable::Irregular),
                _ => Err(Unsendable::Unreadable),
            }
        }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> i64 {
        self.size
    }

    /// Gives the open file away: the request's pool closes it at its end.
    pub(in crate::httpd) fn keep(self) -> *mut sys::apr_file_t {
        ManuallyDrop::new(self).file.as_ptr()
    }
}

impl Drop for SentFile<'_> {
    fn drop(&mut self) {
        // SAFETY: an open file that nobody else knows of.
        unsafe { sys::apr_file_close(self.file.as_ptr()) };
    }
}

/// How many bytes are read at once, where the kernel does not send the file.
pub(in crate::httpd) const READ_AT_ONCE: usize = 65536;

/// Remembers a file that is being sent. The request's pool owns it, which ends when all has been sent, and checks then that the
/// file was long enough.
struct Sending {
    connection: *mut sys::conn_rec,
    descriptor: OwnedFd,
    /// Where in the file the part ends.
    end: i64,
    /// Has it been told already that the file has become shorter?
    told: Cell<bool>,
}

impl Sending {
    fn is_whole(&self) -> bool {
        status(&self.descriptor).is_some_and(|status| status.st_size >= self.end)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.is_whole() {
            return;
        }
        // SAFETY: a connection outlives its requests. What has been sent may be too short: nothing may follow it.
        let connection = unsafe {
            (*self.connection).keepalive = sys::ap_conn_keepalive_e_AP_CONN_CLOSE;
            Connection::from_raw(self.connection)
        };
        // Where httpd has aborted the connection after the handler had returned, nobody has told the operator so far.
        if let Some(connection) = connection.filter(|connection| connection.aborted())
            && !self.told.get()
        {
            let text = b"an application gives a file that has become shorter while it was sent";
            log::raw(connection, Level::Error as c_int, text);
        }
    }
}

fn status(descriptor: &OwnedFd) -> Option<libc::stat> {
    // SAFETY: fills the structure, or fails.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        (libc::fstat(descriptor.as_raw_fd(), &raw mut status) == 0).then_some(status)
    }
}

/// Decides, by EnableSendfile as for httpd's own files, whether the kernel sends a file.
fn sendfile_flag(request: Request<'_>) -> c_int {
    let on = sys::ENABLE_SENDFILE_ON.cast_unsigned();
    let core = request.core_config();
    if core.is_some_and(|core| core.enable_sendfile() == on) {
        sys::APR_FOPEN_SENDFILE_ENABLED
    } else {
        0
    }
}
