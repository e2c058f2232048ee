//! In a daemon: the filters of a request that face its front.
//!
//! How an answer is framed, and whether the connection stays, is between front and daemon, whatever the client wants of its own connection:
//! the answer's first part passes without the client's wishes in sight. And the front (mod_proxy_http) takes nothing of an answer before it
//! has sent the whole body of the request. An application that answers while it reads would wait for a front that waits for it: before more
//! of the answer leaves than a socket takes by itself, the rest of the body is taken in, to be read later.

use crate::httpd::apr::brigade::{append, concat, destroy, first, has_eos, is_empty, read, unlink};
use crate::httpd::io::staying;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};

pub(in crate::httpd) const OUTPUT: &CStr = c"MOD_PYTHON_TO_FRONT";
const INPUT: &CStr = c"MOD_PYTHON_FROM_FRONT";

/// So many bytes of an answer may leave while the front still sends: less than the kernel keeps for a socket.
const AHEAD: i64 = 65_536;
/// So many bytes of a body are kept in memory; the rest goes to a file.
const IN_MEMORY: i64 = 1 << 20;

/// What both filters of a request share. It lies in the request's pool, and is used by the thread that has the request.
#[derive(Clone, Copy)]
struct Facing {
    /// Has the head left?
    is_begun: bool,
    sent: i64,
    /// Has all of the body been read, or taken in?
    is_read: bool,
    /// Why not all of it could be taken in; 0: it could.
    failed: sys::apr_status_t,
    /// What has been taken in and nobody has asked for; NULL: nothing.
    kept: *mut sys::apr_bucket_brigade,
}

/// Registers the filters.
pub(crate) fn register() {
    // They lie around what makes HTTP of an answer, and a body of chunks.
    let kind = sys::ap_filter_type_AP_FTYPE_PROTOCOL - 1;
    // SAFETY: httpd copies the names; the functions live as long as the process.
    unsafe {
        sys::ap_register_output_filter(OUTPUT.as_ptr(), Some(answer), None, kind);
        sys::ap_register_input_filter(INPUT.as_ptr(), Some(receive), None, kind);
    }
}

impl Request<'_> {
    /// Has the request answer its front.
    pub(crate) fn face_front(self) {
        let facing: *mut Facing = self.pool().store(Facing {
            is_begun: false,
            sent: 0,
            is_read: false,
            failed: 0,
            kept: null_mut(),
        });
        // SAFETY: a live request; what both filters share lives as long.
        unsafe {
            let (raw, context) = (self.as_ptr(), facing.cast());
            let connection = (*raw).connection;
            let own = sys::ap_add_output_filter(OUTPUT.as_ptr(), context, raw, connection);
            if !own.is_null() && (*own).next == (*raw).proto_output_filters {
                // It stays where httpd begins an answer anew, with its own page (ap_send_error_response), or another request's.
                (*raw).proto_output_filters = own;
            }
            let has_body = [c"Content-Length", c"Transfer-Encoding"]
                .iter()
                .any(|name| !sys::apr_table_get((*raw).headers_in, name.as_ptr()).is_null());
            (*facing).is_read = !has_body;
            if has_body {
                let before = (*raw).input_filters;
                sys::ap_add_input_filter(INPUT.as_ptr(), context, raw, connection);
                if before == (*raw).proto_input_filters && (*(*raw).input_filters).next == before {
                    // It changes nothing of the content: who asks whether a filter does is not to find it.
                    (*raw).proto_input_filters = (*raw).input_filters;
                }
            }
        }
    }
}

impl Request<'_> {
    /// Would so many bytes more of the answer have the rest of the request's body read first, which may take as long as its client likes?
    pub(crate) fn would_take_in(self, more: usize) -> bool {
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        // SAFETY: a live request, which this thread has, whose filters live as long; the one of that name has what `face_front` has given it.
        unsafe {
            let first = (*self.as_ptr()).proto_output_filters.cast_const().as_ref();
            let next = |filter: &&sys::ap_filter_t| filter.next.cast_const().as_ref();
            std::iter::successors(first, next)
                .filter(|filter| filter.frec.as_ref().is_some_and(|record| is_output(record)))
                .filter_map(|filter| filter.ctx.cast::<Facing>().as_ref())
                .any(|facing| !facing.is_read && facing.sent.saturating_add(more) > AHEAD)
        }
    }
}

/// Is it the record of the output's filter?
unsafe fn is_output(record: &sys::ap_filter_rec_t) -> bool {
    // SAFETY: the name of what is registered.
    !record.name.is_null()
        && unsafe { CStr::from_ptr(record.name) }
            .to_bytes()
            .eq_ignore_ascii_case(OUTPUT.to_bytes())
}

unsafe extern "C" fn answer(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> sys::apr_status_t {
    // SAFETY: httpd passes a live filter, with what `face_front` has given it, and a live brigade. The request has its own head again before
    // anybody else looks.
    unsafe {
        let (request, next) = ((*filter).r, (*filter).next);
        // What is passed on may come here again: httpd makes a page of an error that it finds in a head.
        let place = (*filter).ctx.cast::<Facing>();
        let facing = &mut *place;
        let mut length = 0;
        if sys::apr_brigade_length(brigade, 0, &raw mut length) != 0 {
            length = -1;
        }
        // What a socket does not take at once, or comes later, leaves the connection to the MPM, which may close it without a word.
        let is_whole = has_eos(brigade) && (0..=AHEAD).contains(&length);
        let length = length.max(0);
        facing.sent = facing.sent.saturating_add(length);
        // The thread of streams (`sbh` is NULL then) must not wait for one; and a front that has not been told to go on (100 Continue) sends
        // nothing, and waits for nothing but the answer.
        let may_wait = !(*(*request).connection).sbh.is_null() && (*request).expecting_100 == 0;
        if facing.sent > AHEAD && !facing.is_read && may_wait {
            let status = take_in(request, facing);
            if status != 0 {
                return status;
            }
        }
        if facing.is_begun {
            return sys::ap_pass_brigade(next, brigade);
        }
        refuse_interim(request);
        if !is_whole || staying::is_last_answer() {
            // Not by the connection's own mark: httpd would make no chunks then, and an answer that is cut would look whole (ap_set_keepalive).
            let close = c"close".as_ptr();
            sys::apr_table_setn((*request).headers_out, c"Connection".as_ptr(), close);
        }
        let (headers, version) = ((*request).headers_in, (*request).proto_num);
        let plain = sys::apr_table_copy((*request).pool, headers);
        sys::apr_table_unset(plain, c"Connection".as_ptr());
        (*request).headers_in = plain;
        (*request).proto_num = 1001;
        let status = sys::ap_pass_brigade(next, brigade);
        (*place).is_begun = true;
        (*request).headers_in = headers;
        (*request).proto_num = version;
        status
    }
}

/// An answer whose status is an interim one's (RFC 9110, 15.2) would have the front wait for another one, as long as it waits for anything.
///
/// # Safety
/// A live request, which this thread has.
unsafe fn refuse_interim(request: *mut sys::request_rec) {
    // SAFETY: the caller's promise.
    unsafe {
        let status = (*request).status;
        // After 101 the connection is something else.
        if !(100..200).contains(&status) || status == sys::HTTP_SWITCHING_PROTOCOLS {
            return;
        }
        (*request).status = sys::HTTP_INTERNAL_SERVER_ERROR;
        (*request).status_line = null();
        if let Some(request) = Request::from_raw(request) {
            let text = format!("{status} is no status of an answer: it is sent as 500");
            log::entry(request, Level::Error, &text);
        }
    }
}

unsafe extern "C" fn receive(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
    mode: sys::ap_input_mode_t,
    block: sys::apr_read_type_e,
    bytes: sys::apr_off_t,
) -> sys::apr_status_t {
    // SAFETY: as in `answer`.
    unsafe {
        let facing = &mut *(*filter).ctx.cast::<Facing>();
        if facing.failed != 0 {
            return facing.failed;
        }
        if facing.kept.is_null() {
            let status = sys::ap_get_brigade((*filter).next, brigade, mode, block, bytes);
            facing.is_read |= status == 0 && has_eos(brigade);
            return status;
        }
        let kept = facing.kept;
        if mode != sys::ap_input_mode_t_AP_MODE_READBYTES {
            return sys::APR_ENOTIMPL;
        }
        if is_empty(kept) {
            // As what makes a body of chunks does, at the end.
            append(brigade, sys::apr_bucket_eos_create((*brigade).bucket_alloc));
            return 0;
        }
        let mut behind = null_mut();
        let status = sys::apr_brigade_partition(kept, bytes, &raw mut behind);
        if status != 0 && status != sys::APR_INCOMPLETE {
            return status;
        }
        let rest = match status {
            0 => sys::apr_brigade_split_ex(kept, behind, null_mut()),
            _ => null_mut(),
        };
        concat(brigade, kept);
        if !rest.is_null() {
            concat(kept, rest);
        }
        0
    }
}

/// Reads the rest of a request's body, and keeps it.
///
/// # Safety
/// A live request, which this thread has, and what its filters share.
unsafe fn take_in(request: *mut sys::request_rec, facing: &mut Facing) -> sys::apr_status_t {
    // SAFETY: the caller's promise; all lives as long as the request.
    unsafe {
        let mut filter = (*request).input_filters;
        while !filter.is_null() && (*filter).ctx != std::ptr::from_mut(facing).cast() {
            filter = (*filter).next;
        }
        facing.is_read = true;
        if filter.is_null() {
            return 0;
        }
        let (pool, buckets) = ((*request).pool, (*(*request).connection).bucket_alloc);
        let received = sys::apr_brigade_create(pool, buckets);
        let kept = sys::apr_brigade_create(pool, buckets);
        let mut spool = Spool {
            pool,
            kept,
            file: null_mut(),
            length: 0,
        };
        loop {
            let status = sys::ap_get_brigade(
                (*filter).next,
                received,
                sys::ap_input_mode_t_AP_MODE_READBYTES,
                sys::apr_read_type_e_APR_BLOCK_READ,
                BLOCK,
            );
            if status != 0 {
                // The answer goes on; who reads the body is told.
                facing.failed = status;
                return 0;
            }
            let is_last = has_eos(received);
            let status = spool.keep(received);
            if status != 0 {
                return status;
            }
            if is_last {
                break;
            }
        }
        if !spool.file.is_null() {
            sys::apr_brigade_insert_file(kept, spool.file, 0, spool.length, pool);
        }
        append(kept, sys::apr_bucket_eos_create(buckets));
        facing.kept = kept;
        0
    }
}

/// How many bytes are read at once.
const BLOCK: sys::apr_off_t = 65_536;

/// What has been taken in: in memory, or in a file that has no name, so that nothing of it is left when the process is killed.
struct Spool {
    pool: *mut sys::apr_pool_t,
    kept: *mut sys::apr_bucket_brigade,
    file: *mut sys::apr_file_t,
    length: i64,
}

impl Spool {
    /// Takes all bytes out of a brigade.
    ///
    /// # Safety
    /// Everything is live.
    unsafe fn keep(&mut self, received: *mut sys::apr_bucket_brigade) -> sys::apr_status_t {
        // SAFETY: the caller's promise.
        unsafe {
            while !is_empty(received) {
                let bucket = first(received);
                let (mut data, mut length) = (null(), 0);
                let block = sys::apr_read_type_e_APR_BLOCK_READ;
                let mut status = read(bucket, &mut data, &mut length, block);
                if status == 0 && length > 0 {
                    status = self.write(data, length);
                }
                unlink(bucket);
                destroy(bucket);
                if status != 0 {
                    return status;
                }
            }
            0
        }
    }

    /// # Safety
    /// So many bytes are there.
    unsafe fn write(&mut self, data: *const c_char, length: usize) -> sys::apr_status_t {
        // SAFETY: the caller's promise.
        unsafe {
            if self.file.is_null() && self.length < IN_MEMORY {
                self.length += i64::try_from(length).unwrap_or(0);
                return sys::apr_brigade_write(self.kept, None, null_mut(), data, length);
            }
            if self.file.is_null() {
                let mut directory = null();
                let status = sys::apr_temp_dir_get(&raw mut directory, self.pool);
                if status != 0 {
                    return status;
                }
                let directory = CStr::from_ptr(directory).to_string_lossy();
                let name = format!("{directory}/mod_python.XXXXXX\0").into_bytes();
                let name = sys::apr_pstrmemdup(self.pool, name.as_ptr().cast(), name.len());
                let flags = sys::APR_FOPEN_CREATE
                    | sys::APR_FOPEN_READ
                    | sys::APR_FOPEN_WRITE
                    | sys::APR_FOPEN_EXCL;
                let status = sys::apr_file_mktemp(&raw mut self.file, name, flags, self.pool);
                if status != 0 {
                    return status;
                }
                libc::unlink(name);
                self.length = 0;
            }
            self.length += i64::try_from(length).unwrap_or(0);
            sys::apr_file_write_full(self.file, data.cast(), length, null_mut())
        }
    }
}
