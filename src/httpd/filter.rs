//! Filters: one invocation of a Python filter on a brigade.
//!
//! An output brigade is handed over in pieces of bounded size, so that a large response is never in memory whole.

use super::brigade::{append, concat, destroy, has_eos, is_empty, read, sentinel, unlink};
use super::guard::guard;
use super::log::{self, Level};
use super::request::Request;
use super::sys;
use super::zst::{assert_no_data, summon};
use std::ffi::{CStr, c_int};
use std::ptr::null_mut;

/// The most that one invocation of an output filter is given, in bytes.
const PIECE: i64 = 1 << 20;
/// Written output beyond this is passed on by itself.
const ENOUGH: usize = 65536;

/// What a Python filter does in one invocation; lives on the stack of httpd's call.
pub(crate) struct Invocation {
    filter: *mut sys::ap_filter_t,
    /// Where the filter reads: the brigade that was passed, or the one that is fetched.
    source: *mut sys::apr_bucket_brigade,
    /// Where it writes.
    target: *mut sys::apr_bucket_brigade,
    input: Option<Fetch>,
    written: usize,
    touched: bool,
    pub(crate) closed: bool,
    status: sys::apr_status_t,
}

// SAFETY: used by the thread that httpd called, or by one that holds the request's lease meanwhile.
unsafe impl Send for Invocation {}

/// How httpd asked an input filter.
#[derive(Clone, Copy)]
struct Fetch {
    mode: sys::ap_input_mode_t,
    block: sys::apr_read_type_e,
    wanted: sys::apr_off_t,
    done: bool,
}

/// httpd's side failed with this status (apr_status_t).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed(pub(crate) c_int);

/// What a filter is called with: the request, the filter's name, whether it is an input filter.
pub(crate) trait Handler:
    for<'a> Fn(Request<'a>, &'a CStr, bool, &mut Invocation) -> bool + Copy
{
}
impl<F: for<'a> Fn(Request<'a>, &'a CStr, bool, &mut Invocation) -> bool + Copy> Handler for F {}

/// Registers an output filter; `handler` returns false to be left out from now on (ap_register_output_filter).
pub(crate) fn register_output<F: Handler>(name: &CStr, _handler: F) {
    const { assert_no_data::<F>() };
    // SAFETY: httpd copies the name; the function lives as long as the process.
    unsafe {
        sys::ap_register_output_filter(
            name.as_ptr(),
            Some(output::<F>),
            None,
            sys::ap_filter_type_AP_FTYPE_RESOURCE,
        );
    }
}

/// Registers an input filter (ap_register_input_filter).
pub(crate) fn register_input<F: Handler>(name: &CStr, _handler: F) {
    const { assert_no_data::<F>() };
    // SAFETY: as above.
    unsafe {
        sys::ap_register_input_filter(
            name.as_ptr(),
            Some(input::<F>),
            None,
            sys::ap_filter_type_AP_FTYPE_RESOURCE,
        );
    }
}

impl Request<'_> {
    /// Adds the filter `generic` under a name of this request's own.
    pub(crate) fn add_named_filter(self, generic: &CStr, name: &CStr, input: bool) {
        let own = self.pool().store(Own {
            name: self.pool().c_string(name.to_bytes()).as_ptr(),
            left_out: false,
        });
        // SAFETY: a live request and connection; the context lies in the request's pool.
        unsafe {
            let (context, connection) =
                (std::ptr::from_mut(own).cast(), (*self.as_ptr()).connection);
            if input {
                sys::ap_add_input_filter(generic.as_ptr(), context, self.as_ptr(), connection);
            } else {
                sys::ap_add_output_filter(generic.as_ptr(), context, self.as_ptr(), connection);
            }
        }
    }
}

/// A filter's context: in the request's pool.
#[derive(Clone, Copy)]
struct Own {
    /// NULL for the name that httpd knows it by.
    name: *const std::ffi::c_char,
    left_out: bool,
}

/// # Safety
/// `filter` is a live filter of a live request.
unsafe fn own<'f>(filter: *mut sys::ap_filter_t) -> Option<(&'f mut Own, Request<'f>, &'f CStr)> {
    // SAFETY: the context is NULL or our `Own`; names live as long as the request.
    unsafe {
        let request = Request::from_raw((*filter).r)?;
        if (*filter).ctx.is_null() {
            let own = request.pool().store(Own {
                name: std::ptr::null(),
                left_out: false,
            });
            (*filter).ctx = std::ptr::from_mut(own).cast();
        }
        let own = &mut *(*filter).ctx.cast::<Own>();
        let name = if own.name.is_null() {
            (*(*filter).frec).name
        } else {
            own.name
        };
        Some((own, request, super::text(name)?))
    }
}

unsafe extern "C" fn output<F: Handler>(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> sys::apr_status_t {
    // SAFETY: httpd passes a live filter and brigade; every brigade made here lies in the request's pool.
    unsafe {
        let Some((own, request, name)) = own(filter) else {
            return sys::ap_pass_brigade((*filter).next, brigade);
        };
        let target = new_brigade(filter);
        let mut status = 0;
        while status == 0 && !is_empty(brigade) {
            if own.left_out {
                return sys::ap_pass_brigade((*filter).next, brigade);
            }
            let mut after = null_mut();
            let partition = sys::apr_brigade_partition(brigade, PIECE, &raw mut after);
            let rest = if partition == 0 && after != sentinel(brigade) {
                sys::apr_brigade_split(brigade, after)
            } else {
                null_mut()
            };
            let ends = has_eos(brigade);
            let mut invocation = Invocation {
                filter,
                source: brigade,
                target,
                input: None,
                written: 0,
                touched: false,
                closed: false,
                status: 0,
            };
            let kept = guard("filter", || {
                summon::<F>()(request, name, false, &mut invocation)
            })
            .unwrap_or_else(|place| {
                log::request(request, Level::Critical, &place);
                false
            });
            if !kept {
                own.left_out = true;
                // What it has not read goes on as it is.
                concat(target, brigade);
            } else if ends && !invocation.closed {
                invocation.end();
            }
            status = invocation.status;
            if status == 0 && !is_empty(target) {
                status = sys::ap_pass_brigade((*filter).next, target);
            }
            sys::apr_brigade_cleanup(target.cast());
            sys::apr_brigade_cleanup(brigade.cast());
            if !rest.is_null() {
                concat(brigade, rest);
                sys::apr_brigade_destroy(rest);
            }
        }
        sys::apr_brigade_destroy(target);
        status
    }
}

unsafe extern "C" fn input<F: Handler>(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
    mode: sys::ap_input_mode_t,
    block: sys::apr_read_type_e,
    wanted: sys::apr_off_t,
) -> sys::apr_status_t {
    // SAFETY: as in `output`.
    unsafe {
        let reads = [
            sys::ap_input_mode_t_AP_MODE_READBYTES,
            sys::ap_input_mode_t_AP_MODE_GETLINE,
            sys::ap_input_mode_t_AP_MODE_EXHAUSTIVE,
        ];
        let known = if reads.contains(&mode) {
            own(filter)
        } else {
            None
        };
        let Some((own, request, name)) = known.filter(|(own, ..)| !own.left_out) else {
            return sys::ap_get_brigade((*filter).next, brigade, mode, block, wanted);
        };
        let source = new_brigade(filter);
        let mut invocation = Invocation {
            filter,
            source,
            target: brigade,
            input: Some(Fetch {
                mode,
                block,
                wanted,
                done: false,
            }),
            written: 0,
            touched: false,
            closed: false,
            status: 0,
        };
        let kept = guard("filter", || {
            summon::<F>()(request, name, true, &mut invocation)
        })
        .unwrap_or_else(|place| {
            log::request(request, Level::Critical, &place);
            false
        });
        let (status, ends, touched) = (invocation.status, has_eos(source), invocation.touched);
        if kept && ends && !invocation.closed {
            invocation.end();
        } else if kept && !touched && status == 0 {
            let text = "a Python input filter neither reads nor writes nor closes; it is left out of this request";
            log::request(request, Level::Error, text);
        }
        let left_out = !kept || (!touched && status == 0);
        own.left_out = left_out;
        if left_out {
            concat(brigade, source);
        }
        sys::apr_brigade_destroy(source);
        if left_out && is_empty(brigade) && status == 0 {
            return sys::ap_get_brigade((*filter).next, brigade, mode, block, wanted);
        }
        status
    }
}

impl Invocation {
    /// What writes into a brigade that is about to be passed on to the filters behind `filter`.
    ///
    /// # Safety
    /// Both are live while the invocation is used.
    pub(super) unsafe fn writing(
        filter: *mut sys::ap_filter_t,
        brigade: *mut sys::apr_bucket_brigade,
    ) -> Invocation {
        Invocation {
            filter,
            // SAFETY: the caller's promise; an empty brigade in the request's pool.
            source: unsafe { new_brigade(filter) },
            target: brigade,
            input: None,
            written: 0,
            touched: false,
            closed: false,
            status: 0,
        }
    }

    /// What httpd's filters answered last.
    pub(super) fn status(&self) -> sys::apr_status_t {
        self.status
    }

    /// Lends the invocation as a box, for an object to hold, and takes back what comes of it.
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

    /// The next data: None at the end of the stream, empty where this brigade has no more. With `line`, up to and
    /// including a line's end. May block.
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
                    // FLUSH and the like keep their place.
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

    /// Copies data to what the filter gives on.
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

    /// Gives everything on untouched. May block.
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

    /// An input filter asks the next one once an invocation.
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

unsafe fn new_brigade(filter: *mut sys::ap_filter_t) -> *mut sys::apr_bucket_brigade {
    // SAFETY: a live filter of a live request.
    unsafe { sys::apr_brigade_create((*(*filter).r).pool, (*(*filter).c).bucket_alloc) }
}
