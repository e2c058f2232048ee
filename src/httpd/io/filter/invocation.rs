//! One invocation of a filter: what it reads, and what it gives to the next filter.

use crate::httpd::apr::brigade::{append, concat, destroy, has_eos, is_empty, read, unlink};
use crate::httpd::sys;
use std::ffi::c_int;
use std::ptr::null_mut;

/// How many bytes an output filter writes before they are passed on without being asked.
const ENOUGH: usize = 65536;

/// The state of one invocation. It lives on the stack of httpd's call.
pub(crate) struct Invocation {
    filter: *mut sys::ap_filter_t,
    /// What the filter reads: the brigade that httpd has passed to it, or that an input filter fetches.
    source: *mut sys::apr_bucket_brigade,
    /// What it writes to.
    target: *mut sys::apr_bucket_brigade,
    input: Option<Fetch>,
    written: usize,
    touched: bool,
    pub(crate) closed: bool,
    status: sys::apr_status_t,
}

// SAFETY: used by the thread that httpd called, or by one that holds the request's lease meanwhile.
unsafe impl Send for Invocation {}

/// What httpd has asked an input filter for.
#[derive(Clone, Copy)]
pub(super) struct Fetch {
    mode: sys::ap_input_mode_t,
    block: sys::apr_read_type_e,
    wanted: sys::apr_off_t,
    done: bool,
}

impl Fetch {
    pub(super) fn new(
        mode: sys::ap_input_mode_t,
        block: sys::apr_read_type_e,
        wanted: sys::apr_off_t,
    ) -> Fetch {
        Fetch {
            mode,
            block,
            wanted,
            done: false,
        }
    }
}

/// httpd, or another filter, has failed, with this status (apr_status_t).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed(pub(crate) c_int);

impl Invocation {
    /// Makes the invocation of a filter that reads from `source` and writes to `target`; of an input filter with what it is asked
    /// for.
    pub(super) fn new(
        filter: *mut sys::ap_filter_t,
        source: *mut sys::apr_bucket_brigade,
        target: *mut sys::apr_bucket_brigade,
        input: Option<Fetch>,
    ) -> Invocation {
        Invocation {
            filter,
            source,
            target,
            input,
            written: 0,
            touched: false,
            closed: false,
            status: 0,
        }
    }

    /// Makes one that only writes, into a brigade that is about to be passed to the filters behind `filter`.
    ///
    /// # Safety
    /// Both are live while the invocation is used.
    pub(in crate::httpd) unsafe fn writing(
        filter: *mut sys::ap_filter_t,
        brigade: *mut sys::apr_bucket_brigade,
    ) -> Invocation {
        // SAFETY: the caller's promise; an empty brigade in the request's pool.
        let source = unsafe { new_brigade(filter) };
        Invocation::new(filter, source, brigade, None)
    }

    /// Gives what httpd's filters have answered last.
    pub(in crate::httpd) fn status(&self) -> sys::apr_status_t {
        self.status
    }

    /// Has the filter read, written or closed?
    pub(super) fn touched(&self) -> bool {
        self.touched
    }

    /// Lends the invocation, in a box that an object can hold, and takes it back as it is afterwards.
    pub(crate) fn lend<R>(
        &mut self,
        borrower: impl FnOnce(Box<Invocation>) -> (R, Option<Box<Invocation>>),
    ) -> R {
        let lent = Invocation { ..*self };
        let (result, returned) = borrower(Box::new(lent));
        if let Some(returned) = returned {
            *self = *returned;
        }
        result
    }

    /// Reads data: None at the end of the stream, no bytes where this brigade has no more. With `line` only up to the end of a
    /// line. May block.
    ///
    /// # Errors
    /// What httpd's filters below answer.
    pub(crate) fn read(
        &mut self,
        limit: Option<usize>,
        line: bool,
    ) -> Result<Option<Vec<u8>>, Failed> {
        self.touched = true;
        let mut data = Vec::new();
        let limit = limit.unwrap_or(usize::MAX);
        // SAFETY: live brigades of the running call; a bucket is read while the brigade holds it.
        unsafe {
            self.fetch()?;
            while data.len() < limit && !is_empty(self.source) {
                let bucket = (*self.source).list.next;
                let kind = (*bucket).type_;
                if std::ptr::eq(kind, &raw const sys::apr_bucket_type_eos) {
                    return Ok(if data.is_empty() { None } else { Some(data) });
                }
                if (*kind).is_metadata != sys::apr_bucket_type_t_APR_BUCKET_DATA {
                    // FLUSH and the like are given on in their place among the data.
                    unlink(bucket);
                    append(self.target, bucket);
                    continue;
                }
                let (mut text, mut length) = (std::ptr::null(), 0);
                let status = read(
                    bucket,
                    &mut text,
                    &mut length,
                    sys::apr_read_type_e_APR_BLOCK_READ,
                );
                if status != 0 {
                    self.status = status;
                    return Err(Failed(status));
                }
                let bytes: &[u8] = if length == 0 {
                    &[]
                } else {
                    std::slice::from_raw_parts(text.cast::<u8>(), length)
                };
                let mut take = length.min(limit - data.len());
                let newline = if line {
                    bytes
                        .get(..take)
                        .and_then(|part| part.iter().position(|&byte| byte == b'\n'))
                } else {
                    None
                };
                take = newline.map_or(take, |place| place + 1);
                data.extend_from_slice(bytes.get(..take).unwrap_or_default());
                if take < length {
                    (*kind).split.map(|split| split(bucket, take));
                }
                unlink(bucket);
                destroy(bucket);
                if newline.is_some() {
                    break;
                }
            }
        }
        Ok(Some(data))
    }

    /// Writes a copy of `data`.
    ///
    /// # Errors
    /// Where httpd cannot take it.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Failed> {
        self.touched = true;
        // SAFETY: copies the bytes into buckets of a live brigade.
        let status = unsafe {
            sys::apr_brigade_write(
                self.target,
                None,
                null_mut(),
                data.as_ptr().cast(),
                data.len(),
            )
        };
        self.written += data.len();
        if status == 0 {
            Ok(())
        } else {
            Err(Failed(status))
        }
    }

    /// Has enough been written that it should be passed on?
    pub(crate) fn is_full(&self) -> bool {
        self.input.is_none() && self.written >= ENOUGH
    }

    /// Passes on what has been written, of an output filter. May block.
    ///
    /// # Errors
    /// When the client is gone or a filter failed.
    pub(crate) fn pass(&mut self, flush: bool) -> Result<(), Failed> {
        // SAFETY: live brigades of the running call.
        unsafe {
            if flush {
                append(
                    self.target,
                    sys::apr_bucket_flush_create((*self.target).bucket_alloc),
                );
            }
            if self.input.is_some() {
                return Ok(());
            }
            self.written = 0;
            self.status = sys::ap_pass_brigade((*self.filter).next, self.target);
            sys::apr_brigade_cleanup(self.target.cast());
        }
        if self.status == 0 {
            Ok(())
        } else {
            Err(Failed(self.status))
        }
    }

    /// Adds the end of the stream.
    pub(crate) fn end(&mut self) {
        self.touched = true;
        self.closed = true;
        // SAFETY: a live brigade.
        unsafe {
            append(
                self.target,
                sys::apr_bucket_eos_create((*self.target).bucket_alloc),
            )
        }
    }

    /// Passes everything on as it is. May block.
    ///
    /// # Errors
    /// What httpd's filters below answer.
    pub(crate) fn pass_on(&mut self) -> Result<(), Failed> {
        self.touched = true;
        // SAFETY: live brigades of the running call.
        unsafe {
            self.fetch()?;
            self.closed = self.closed || has_eos(self.source);
            concat(self.target, self.source);
        }
        Ok(())
    }

    /// Fetches what an input filter reads from the next one, once for each invocation.
    ///
    /// # Safety
    /// The invocation is running.
    unsafe fn fetch(&mut self) -> Result<(), Failed> {
        if let Some(fetch) = self.input.as_mut().filter(|fetch| !fetch.done) {
            fetch.done = true;
            // SAFETY: the caller's promise.
            self.status = unsafe {
                sys::ap_get_brigade(
                    (*self.filter).next,
                    self.source,
                    fetch.mode,
                    fetch.block,
                    fetch.wanted,
                )
            };
            if self.status != 0 {
                return Err(Failed(self.status));
            }
        }
        Ok(())
    }
}

/// # Safety
/// A live filter of a live request.
pub(super) unsafe fn new_brigade(filter: *mut sys::ap_filter_t) -> *mut sys::apr_bucket_brigade {
    // SAFETY: a live filter of a live request.
    unsafe { sys::apr_brigade_create((*(*filter).r).pool, (*(*filter).c).bucket_alloc) }
}
