//! The request's body and the response's, through httpd's filters.
//!
//! What is written is gathered in one brigade, which leaves together with the answer's end where that is possible. A body is read
//! when it is asked for, no further than that. All of this may block, and is called without the interpreter's lock.

use crate::httpd::apr::brigade::{first, read, sentinel};
use crate::httpd::io::sink;
use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::httpd::{faults, sys};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// A request's body, as far as it has been read. Used by the thread that holds the lease.
#[derive(Default)]
pub(crate) struct Input {
    state: Reading,
    brigade: Option<NonNull<sys::apr_bucket_brigade>>,
    /// What has been read from httpd and not yet given to anybody is `buffer[position..]`.
    buffer: Vec<u8>,
    position: usize,
    /// Does the reader go without, where nothing has come yet?
    is_hurried: bool,
}

// SAFETY: reached through the lease, by one thread at a time.
unsafe impl Send for Input {}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    NotBegun,
    Begun,
    Ended,
    Failed(ReadError),
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// httpd refuses the body: answer with this status (400, 413, …).
    Refused(Status),
    /// The client was too slow (Timeout, mod_reqtimeout): 408.
    Slow,
    /// The client went away.
    Lost,
}

/// Memory that is filled from its beginning.
pub(crate) struct ReadBuf<'a> {
    memory: &'a mut [MaybeUninit<u8>],
    length: usize,
}

impl<'a> ReadBuf<'a> {
    pub(crate) fn new(memory: &'a mut [MaybeUninit<u8>]) -> ReadBuf<'a> {
        ReadBuf { memory, length: 0 }
    }

    /// How many bytes have been written.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    fn left(&self) -> usize {
        self.memory.len() - self.length
    }

    /// Copies as much of `data` as there is room for, and says how much that was.
    fn push(&mut self, data: &[u8]) -> usize {
        let free = self.memory.get_mut(self.length..).unwrap_or_default();
        let count = data.len().min(free.len());
        for (place, &byte) in free.iter_mut().zip(data) {
            place.write(byte);
        }
        self.length += count;
        count
    }
}

/// How many bytes are asked of httpd at once, at most.
const BLOCK: usize = 65536;

impl Input {
    /// For another request.
    pub(crate) fn renew(&mut self) {
        self.state = Reading::NotBegun;
        self.brigade = None;
        self.position = 0;
        // The memory that a body has taken may be large: it is not kept for the next request.
        if self.buffer.capacity() > 0 {
            self.buffer = Vec::new();
        }
    }

    /// Reads ahead, at most one byte more than `limit`, for later reads. Gives the body's length where that was all of it. May
    /// block.
    ///
    /// # Errors
    /// As for `read`.
    pub(crate) fn preload(
        &mut self,
        request: Request<'_>,
        limit: usize,
    ) -> Result<Option<usize>, ReadError> {
        loop {
            let available = self.available();
            if available > limit {
                return Ok(None);
            }
            if !self.fill(request, limit - available + 1, None)? {
                return Ok(Some(available));
            }
        }
    }

    /// Reads `limit` bytes, or all of the body (None); fewer only at the body's end. May block.
    ///
    /// # Errors
    /// `ReadError`. What had been read by then is there for the next call.
    pub(crate) fn read(
        &mut self,
        request: Request<'_>,
        limit: Option<usize>,
    ) -> Result<Vec<u8>, ReadError> {
        while limit.is_none_or(|limit| self.available() < limit) {
            let wanted = limit.map_or(BLOCK, |limit| limit - self.available());
            if !self.fill(request, wanted, None)? {
                break;
            }
        }
        Ok(self.consume(limit.unwrap_or(usize::MAX)))
    }

    /// Gives the next block of the body, and whether more follows; None where there is none yet, unless it may wait. Filters of other
    /// modules may not know how not to wait: then it does.
    ///
    /// # Errors
    /// As for `read`.
    pub(crate) fn block(
        &mut self,
        request: Request<'_>,
        may_wait: bool,
    ) -> Result<Option<(Vec<u8>, bool)>, ReadError> {
        if self.available() == 0 {
            // httpd's 100 Continue leaves when it waits.
            let is_asked = self.state == Reading::NotBegun && request.expecting_100() != 0;
            self.is_hurried = !may_wait && !is_asked && !request.has_content_filters();
            let filled = self.fill(request, BLOCK, None);
            self.is_hurried = false;
            if filled? && self.available() == 0 {
                return Ok(None);
            }
        }
        let more = self.state != Reading::Ended;
        Ok(Some((self.consume(usize::MAX), more)))
    }

    /// As `read`, but straight into the caller's memory. Gives how many bytes are in it.
    ///
    /// # Errors
    /// As for `read`, but what had been read by then is in `room`.
    pub(crate) fn read_into(
        &mut self,
        request: Request<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Result<(), ReadError> {
        let buffered = self.consume(room.left());
        room.push(&buffered);
        while room.left() > 0 && self.fill(request, room.left(), Some(room))? {}
        Ok(())
    }

    /// Reads a line, with its `\n`, at most `limit` bytes of it. May block.
    ///
    /// # Errors
    /// As for `read`.
    pub(crate) fn readline(
        &mut self,
        request: Request<'_>,
        limit: Option<usize>,
    ) -> Result<Vec<u8>, ReadError> {
        let limit = limit.unwrap_or(usize::MAX);
        let mut searched = 0;
        loop {
            let unread = self.buffer.get(self.position..).unwrap_or_default();
            let window = unread.get(..limit.min(unread.len())).unwrap_or_default();
            if let Some(found) = window
                .get(searched..)
                .and_then(|rest| rest.iter().position(|&byte| byte == b'\n'))
            {
                return Ok(self.consume(searched + found + 1));
            }
            searched = window.len();
            if searched >= limit || !self.fill(request, (limit - searched).min(8192), None)? {
                return Ok(self.consume(searched));
            }
        }
    }

    fn available(&self) -> usize {
        self.buffer.len() - self.position
    }

    fn consume(&mut self, limit: usize) -> Vec<u8> {
        let end = self.position + limit.min(self.available());
        if self.position == 0 && end == self.buffer.len() {
            return std::mem::take(&mut self.buffer);
        }
        let data = self
            .buffer
            .get(self.position..end)
            .unwrap_or_default()
            .to_vec();
        self.position = end;
        if self.position == self.buffer.len() {
            self.buffer.clear();
            self.position = 0;
        }
        data
    }

    /// Reads one brigade, of at most `wanted` bytes, into `room`, and what does not fit into the buffer. False at the body's end.
    fn fill(
        &mut self,
        request: Request<'_>,
        wanted: usize,
        mut room: Option<&mut ReadBuf<'_>>,
    ) -> Result<bool, ReadError> {
        match self.state {
            Reading::Ended => return Ok(false),
            Reading::Failed(error) => return Err(error),
            Reading::Begun => {}
            // A sub-request has no body (ap_set_sub_req_protocol): it would read that of the page which it is a part of.
            Reading::NotBegun if request.main().is_some() => {
                self.state = Reading::Ended;
                return Ok(false);
            }
            Reading::NotBegun => {
                // httpd checks Transfer-Encoding and Content-Length; chunked bodies are read, too.
                // SAFETY: a live request.
                let status = unsafe {
                    sys::ap_setup_client_block(request.as_ptr(), sys::REQUEST_CHUNKED_DECHUNK)
                };
                self.state = if status == 0 {
                    Reading::Begun
                } else {
                    Reading::Failed(ReadError::Refused(Status(status)))
                };
                return self.fill(request, wanted, room);
            }
        }
        if self.position > 0 {
            self.buffer.drain(..self.position);
            self.position = 0;
        }
        let held = |input: &Input, room: &Option<&mut ReadBuf<'_>>| {
            input.buffer.len() + room.as_ref().map_or(0, |room| room.length())
        };
        let before = held(self, &room);
        let result = self.fetch(request, wanted.clamp(1, BLOCK), room.as_deref_mut());
        let received = i64::try_from(held(self, &room) - before).unwrap_or(0);
        // SAFETY: a live request; the two counters are ours to keep, as ap_get_client_block keeps them.
        unsafe {
            (*request.as_ptr()).read_length += received;
            (*request.as_ptr()).remaining = ((*request.as_ptr()).remaining - received).max(0);
        }
        match result {
            Ok(true) => Ok(true),
            Ok(false) if !is_cut_off(request) => {
                self.state = Reading::Ended;
                Ok(received > 0)
            }
            failed => {
                let error = failed.err().unwrap_or(ReadError::Lost);
                self.state = Reading::Failed(error);
                // SAFETY: a live connection; what is left of the body must not be read as the next request.
                unsafe {
                    (*(*request.as_ptr()).connection).keepalive =
                        sys::ap_conn_keepalive_e_AP_CONN_CLOSE
                }
                Err(error)
            }
        }
    }

    /// Reads the bytes of one brigade, as `fill`. False when the end of the body was in it.
    fn fetch(
        &mut self,
        request: Request<'_>,
        wanted: usize,
        mut room: Option<&mut ReadBuf<'_>>,
    ) -> Result<bool, ReadError> {
        let brigade = *self.brigade.get_or_insert_with(|| new_brigade(request));
        let waiting = if self.is_hurried {
            sys::apr_read_type_e_APR_NONBLOCK_READ
        } else {
            sys::apr_read_type_e_APR_BLOCK_READ
        };
        // SAFETY: a live request, a brigade in its pool; each bucket is read while the brigade holds it.
        unsafe {
            let mut more = true;
            let (status, refused) = sink::reading(request, || {
                faults::status("read", || {
                    sys::ap_get_brigade(
                        (*request.as_ptr()).input_filters,
                        brigade.as_ptr(),
                        sys::ap_input_mode_t_AP_MODE_READBYTES,
                        waiting,
                        i64::try_from(wanted).unwrap_or(i64::MAX),
                    )
                })
            });
            let mut error = match refused {
                Some(status) => Some(ReadError::Refused(status)),
                None if self.is_hurried && status == libc::EAGAIN => {
                    sys::apr_brigade_cleanup(brigade.as_ptr().cast());
                    return Ok(true);
                }
                None => (status != 0).then(|| read_error(request, status)),
            };
            let sentinel = sentinel(brigade.as_ptr());
            let mut bucket = first(brigade.as_ptr());
            while bucket != sentinel && error.is_none() && more {
                let kind = (*bucket).type_;
                if std::ptr::eq(kind, &raw const sys::apr_bucket_type_eos) {
                    more = false;
                } else if std::ptr::eq(kind, &raw const sys::ap_bucket_type_error) {
                    error = Some(ReadError::Refused(Status(
                        (*(*bucket).data.cast::<sys::ap_bucket_error>()).status,
                    )));
                } else if (*kind).is_metadata == sys::apr_bucket_type_t_APR_BUCKET_DATA {
                    let (mut data, mut length) = (std::ptr::null(), 0);
                    match read(
                        bucket,
                        &mut data,
                        &mut length,
                        sys::apr_read_type_e_APR_BLOCK_READ,
                    ) {
                        0 if length == 0 => {}
                        0 => {
                            let data = std::slice::from_raw_parts(data.cast::<u8>(), length);
                            let taken = room.as_mut().map_or(0, |room| room.push(data));
                            // A filter may give more than it was asked for.
                            self.buffer
                                .extend_from_slice(data.get(taken..).unwrap_or_default());
                        }
                        status => error = Some(read_error(request, status)),
                    }
                }
                bucket = (*bucket).link.next;
            }
            sys::apr_brigade_cleanup(brigade.as_ptr().cast());
            error.map_or(Ok(more), Err)
        }
    }
}

/// Has the client broken the body off, where its end seems to have come? A body of known length is complete when it is there; any other
/// over HTTP/2 has to be asked about.
fn is_cut_off(request: Request<'_>) -> bool {
    let announced = request.headers_in();
    let announced = announced.and_then(|table| table.first(c"Content-Length"));
    announced.is_none() && request.connection().is_lost_behind_end()
}

fn read_error(request: Request<'_>, status: sys::apr_status_t) -> ReadError {
    let (aborted, told) = (
        request.connection().aborted(),
        status == sys::AP_FILTER_ERROR,
    );
    if !aborted && (status == sys::APR_TIMEUP || status == libc::ETIMEDOUT) {
        return ReadError::Slow;
    }
    if aborted || !told && is_lost(status) {
        return ReadError::Lost;
    }
    if let Some(status) = crate::httpd::io::filter::failed_with(status) {
        return ReadError::Refused(status);
    }
    // SAFETY: maps a status of the input filters to one of HTTP.
    match unsafe { sys::ap_map_http_request_error(status, sys::HTTP_BAD_REQUEST) } {
        // AP_FILTER_ERROR: a filter has answered already, with 400 or 413.
        status if status < 0 => ReadError::Refused(Status::DONE),
        status => ReadError::Refused(Status(status)),
    }
}

/// Is it the client that has gone, or sends nothing more (end of file, reset, time-out)?
fn is_lost(status: sys::apr_status_t) -> bool {
    [
        sys::APR_EOF,
        sys::APR_INCOMPLETE,
        libc::ECONNRESET,
        libc::ECONNABORTED,
        libc::EPIPE,
        libc::ETIMEDOUT,
    ]
    .contains(&status)
        || status == sys::APR_TIMEUP
}
fn new_brigade(request: Request<'_>) -> NonNull<sys::apr_bucket_brigade> {
    // SAFETY: a live request and its connection's allocator; apr_brigade_create aborts rather than return NULL.
    unsafe {
        let allocator = (*(*request.as_ptr()).connection).bucket_alloc;
        NonNull::new_unchecked(sys::apr_brigade_create(request.pool().as_ptr(), allocator))
    }
}
