//! The answer, through httpd's filters: what is written is gathered in one brigade, which leaves together with the answer's end
//! where that is possible. Sending may block, and is done without the interpreter's lock.
//!
//! Text is gathered outside of the brigade, in memory that is kept for the next answer, and copied into one bucket when it leaves:
//! a bucket that may grow (apr_brigade_write) has 8,000 bytes taken from httpd's allocator, and given back, for a text of twelve.

use crate::httpd::apr::brigade::{append, first, is_empty, read, sentinel};
use crate::httpd::io::aborted::Aborted;
use crate::httpd::io::file_part::{READ_AT_ONCE, SentFile};
use crate::httpd::request::Request;
use crate::httpd::request::turn::Turn;
use crate::httpd::{faults, sys};
use std::ptr::NonNull;

/// What a request has written and not yet sent. Used by the thread that holds the lease.
#[derive(Default)]
pub(crate) struct Output {
    /// What has been written and lies in no bucket yet: it comes behind all that the brigade has.
    text: Vec<u8>,
    /// In the request's pool; None until something is sent.
    brigade: Option<NonNull<sys::apr_bucket_brigade>>,
    pending: usize,
    queued: i64,
    /// The status that the request had when the first part was given to httpd's filters.
    told: Option<i64>,
    /// Is what has been written to leave soon?
    due: bool,
}

// SAFETY: reached through the lease, by one thread at a time.
unsafe impl Send for Output {}

/// How a brigade ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// More may follow; filters may hold it back.
    Open,
    /// Filters send what they have.
    Flush,
    /// Nothing follows: the end of the answer.
    OfStream,
}

/// How much is gathered, in bytes, before it is sent without being asked (httpd's own AP_MIN_BYTES_TO_WRITE is 8000).
pub(crate) const ENOUGH: usize = 8000;

/// A brigade that is being sent. It does not borrow the `Output`, so that a filter which it passes may write.
pub(crate) struct Brigade(NonNull<sys::apr_bucket_brigade>);

// SAFETY: passed by the thread that holds the lease, inside one operation.
unsafe impl Send for Brigade {}

impl Output {
    /// For another request. Called before the memory of the one before goes.
    pub(crate) fn renew(&mut self) {
        self.discard();
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = Output {
            text,
            ..Output::default()
        };
    }

    /// Adds a copy of `data` to what is to be sent.
    ///
    /// # Errors
    /// `Aborted` when memory is short.
    pub(crate) fn write(&mut self, request: Request<'_>, data: &[u8]) -> Result<(), Aborted> {
        self.leave_to_parent();
        if data.len() > ENOUGH.saturating_sub(self.text.len()) {
            self.seal(request);
        }
        if data.len() > ENOUGH {
            append_copy(self.brigade(request), data);
        } else {
            self.text.try_reserve(data.len()).map_err(|_| Aborted)?;
            self.text.extend_from_slice(data);
        }
        self.pending += data.len();
        self.queued += i64::try_from(data.len()).unwrap_or(0);
        Ok(())
    }

    /// Makes a bucket of the text.
    fn seal(&mut self, request: Request<'_>) {
        if !self.text.is_empty() {
            append_copy(self.brigade(request), &self.text);
            self.text.clear();
        }
    }

    /// Adds a part of a file to what is to be sent; it is sent from the file, not read (apr_brigade_insert_file). It is never
    /// mapped into memory: if somebody shortened it then, the child would be killed (SIGBUS).
    pub(crate) fn write_file(
        &mut self,
        request: Request<'_>,
        file: SentFile<'_>,
        offset: i64,
        length: i64,
    ) {
        self.leave_to_parent();
        self.seal(request);
        let brigade = self.brigade(request).as_ptr();
        // SAFETY: a brigade of ours, and a file that is open until the request's pool ends; the bucket is that of the file.
        unsafe {
            let pool = request.pool().as_ptr();
            let bucket = sys::apr_brigade_insert_file(brigade, file.keep(), offset, length, pool);
            sys::apr_bucket_file_enable_mmap(bucket, 0);
            sys::apr_bucket_file_set_buf_size(bucket, READ_AT_ONCE);
        }
        self.pending = self
            .pending
            .saturating_add(usize::try_from(length).unwrap_or(0));
        self.queued += length;
    }

    /// Has so much been gathered that it should be sent?
    pub(crate) fn is_full(&self) -> bool {
        self.pending >= ENOUGH
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending != 0
    }

    /// How many bytes `write` has been given since the request began.
    pub(crate) fn queued(&self) -> i64 {
        self.queued
    }

    /// Gives the status that the request had when the first part was given to httpd's filters; None where nothing was.
    pub(crate) fn told(&self) -> Option<i64> {
        self.told
    }

    /// Remembers the request's status, since a part of the answer is given to httpd's filters now.
    pub(crate) fn tell(&mut self, request: Request<'_>) {
        self.told.get_or_insert(request.status());
    }

    /// Takes all that is to be sent, with the end that is asked for. Send it with `Brigade::pass`.
    pub(crate) fn take(&mut self, request: Request<'_>, end: End) -> Brigade {
        self.leave_to_parent();
        self.seal(request);
        let brigade = self.brigade.take().unwrap_or_else(|| bare_brigade(request));
        if self.pending > 0 || end == End::Flush {
            self.tell(request);
        }
        self.pending = 0;
        self.due = false;
        // SAFETY: a live brigade and the connection's bucket allocator; appends one metadata bucket.
        unsafe {
            let allocator = (*brigade.as_ptr()).bucket_alloc;
            match end {
                End::Open => {}
                End::Flush => append(brigade.as_ptr(), sys::apr_bucket_flush_create(allocator)),
                End::OfStream => append(brigade.as_ptr(), sys::apr_bucket_eos_create(allocator)),
            }
        }
        Brigade(brigade)
    }

    /// Is what was written to leave soon, by itself?
    pub(crate) fn is_due(&self) -> bool {
        self.due && Turn::is_there_a_sender()
    }

    /// In the child of a fork: what was due is sent by the parent.
    #[inline]
    fn leave_to_parent(&mut self) {
        if self.due && !Turn::is_there_a_sender() {
            self.discard();
        }
    }

    /// Has what was written leave soon.
    pub(crate) fn set_due(&mut self) {
        self.due = true;
    }

    /// How many bytes have been written and not sent.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Drops what has not been sent.
    pub(crate) fn discard(&mut self) {
        self.due = false;
        self.pending = 0;
        self.text.clear();
        if let Some(brigade) = self.brigade {
            // SAFETY: a brigade of ours, in the pool of a request that has not ended.
            unsafe {
                if !is_empty(brigade.as_ptr()) {
                    sys::apr_brigade_cleanup(brigade.as_ptr().cast());
                }
            }
        }
    }

    /// Takes an empty brigade back, for the next write: a new one each time would take memory that a pool frees only at its end.
    pub(crate) fn put_back(&mut self, parcel: Brigade) {
        self.brigade.get_or_insert(parcel.0);
    }

    fn brigade(&mut self, request: Request<'_>) -> NonNull<sys::apr_bucket_brigade> {
        *self.brigade.get_or_insert_with(|| bare_brigade(request))
    }
}

impl Brigade {
    /// Sends the brigade through the request's output filters (ap_pass_brigade). May block; the brigade is empty afterwards.
    ///
    /// # Errors
    /// `Aborted` when the client is gone or a filter failed.
    pub(crate) fn pass(&self, request: Request<'_>) -> Result<(), Aborted> {
        // SAFETY: a live request and a brigade in its pool; the brigade is empty afterwards.
        unsafe {
            let status = faults::status("write", || {
                sys::ap_pass_brigade((*request.as_ptr()).output_filters, self.0.as_ptr())
            });
            sys::apr_brigade_cleanup(self.0.as_ptr().cast());
            if status == 0 && !request.connection().aborted() {
                Ok(())
            } else {
                Err(Aborted)
            }
        }
    }

    /// Puts the data into httpd's own buffer (ap_rwrite) instead of sending it: an error document, or another handler that follows,
    /// can still set status and headers.
    ///
    /// # Errors
    /// As for `pass`.
    pub(crate) fn hand_over(&self, request: Request<'_>) -> Result<(), Aborted> {
        let mut result = Ok(());
        // SAFETY: the brigade holds heap buckets that we made; reading those cannot block.
        unsafe {
            let brigade = self.0.as_ptr();
            let sentinel = sentinel(self.0.as_ptr());
            let mut bucket = first(self.0.as_ptr());
            while bucket != sentinel {
                let (mut data, mut length) = (std::ptr::null(), 0);
                let status = read(
                    bucket,
                    &mut data,
                    &mut length,
                    sys::apr_read_type_e_APR_BLOCK_READ,
                );
                let chunk = i32::try_from(length).unwrap_or(i32::MAX);
                if status != 0
                    || (length > 0 && sys::ap_rwrite(data.cast(), chunk, request.as_ptr()) < 0)
                {
                    result = Err(Aborted);
                    break;
                }
                bucket = (*bucket).link.next;
            }
            sys::apr_brigade_cleanup(brigade.cast());
        }
        result
    }
}

/// Adds a bucket with a copy of `data` (apr_bucket_heap_create).
fn append_copy(brigade: NonNull<sys::apr_bucket_brigade>, data: &[u8]) {
    // SAFETY: a live brigade and its allocator, which aborts rather than give no memory; the bytes are copied.
    unsafe {
        let allocator = (*brigade.as_ptr()).bucket_alloc;
        let bucket = sys::apr_bucket_heap_create(data.as_ptr().cast(), data.len(), None, allocator);
        append(brigade.as_ptr(), bucket);
    }
}

/// Makes a brigade in the request's pool. As apr_brigade_create, but no clean-up of the pool frees the buckets that are left in
/// it: whoever keeps it has to (`Output::discard`).
fn bare_brigade(request: Request<'_>) -> NonNull<sys::apr_bucket_brigade> {
    // SAFETY: a live request, its pool and its connection's allocator.
    unsafe {
        let brigade = request.pool().store(sys::apr_bucket_brigade {
            p: request.pool().as_ptr(),
            list: std::mem::zeroed(),
            bucket_alloc: (*(*request.as_ptr()).connection).bucket_alloc,
        });
        let brigade = NonNull::from(brigade);
        let end = sentinel(brigade.as_ptr());
        (*brigade.as_ptr()).list.next = end;
        (*brigade.as_ptr()).list.prev = end;
        brigade
    }
}
