//! Reading and writing a connection's bytes, through its filters, for connection handlers. All of it may block.

use crate::httpd::apr::brigade::{append, first, read, sentinel};
use crate::httpd::request::connection::Connection;
use crate::httpd::sys;
use std::ptr::{NonNull, null_mut};

/// The brigades that a connection is read and written by. They are kept for the next operation: new ones would take memory that the
/// connection's pool frees only at its end.
#[derive(Default)]
pub(crate) struct Wire {
    received: Option<NonNull<sys::apr_bucket_brigade>>,
    sent: Option<NonNull<sys::apr_bucket_brigade>>,
}

// SAFETY: used by the thread that holds the connection's lease.
unsafe impl Send for Wire {}

/// How much `read` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// For one byte; as many as there are then, at most so many.
    UpTo(usize),
    /// For a line.
    Line,
    /// For everything, until the client closes its side.
    All,
}

/// The client is gone or too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl Wire {
    /// Reads bytes from the client; None at the end of its stream.
    ///
    /// # Errors
    /// `Broken`.
    pub(crate) fn read(
        &mut self,
        connection: Connection<'_>,
        amount: Amount,
    ) -> Result<Option<Vec<u8>>, Broken> {
        let (mode, wanted) = match amount {
            Amount::UpTo(limit) => (
                sys::ap_input_mode_t_AP_MODE_READBYTES,
                i64::try_from(limit).unwrap_or(i64::MAX),
            ),
            Amount::Line => (sys::ap_input_mode_t_AP_MODE_GETLINE, 0),
            Amount::All => (sys::ap_input_mode_t_AP_MODE_EXHAUSTIVE, 0),
        };
        let brigade = brigade(&mut self.received, connection);
        let mut data = Vec::new();
        // SAFETY: a live connection and a brigade in its pool; a bucket is read while the brigade holds it.
        unsafe {
            let block = sys::apr_read_type_e_APR_BLOCK_READ;
            let mut status = sys::ap_get_brigade(
                (*connection.as_ptr()).input_filters,
                brigade,
                mode,
                block,
                wanted,
            );
            let mut bucket = first(brigade);
            while status == 0 && bucket != sentinel(brigade) {
                if (*(*bucket).type_).is_metadata == sys::apr_bucket_type_t_APR_BUCKET_DATA {
                    let (mut text, mut length) = (std::ptr::null(), 0);
                    status = read(bucket, &mut text, &mut length, block);
                    if status == 0 && length > 0 {
                        data.extend_from_slice(std::slice::from_raw_parts(
                            text.cast::<u8>(),
                            length,
                        ));
                    }
                }
                bucket = (*bucket).link.next;
            }
            sys::apr_brigade_cleanup(brigade.cast());
            match status {
                0 if data.is_empty() => Ok(None),
                0 => Ok(Some(data)),
                sys::APR_EOF => Ok(None),
                _ => Err(Broken),
            }
        }
    }

    /// Sends bytes to the client at once.
    ///
    /// # Errors
    /// `Broken`.
    pub(crate) fn write(&mut self, connection: Connection<'_>, data: &[u8]) -> Result<(), Broken> {
        let brigade = brigade(&mut self.sent, connection);
        // SAFETY: a live connection and a brigade in its pool, which copies the bytes.
        let status = unsafe {
            let copied =
                sys::apr_brigade_write(brigade, None, null_mut(), data.as_ptr().cast(), data.len());
            append(
                brigade,
                sys::apr_bucket_flush_create((*connection.as_ptr()).bucket_alloc),
            );
            let passed = if copied == 0 {
                sys::ap_pass_brigade((*connection.as_ptr()).output_filters, brigade)
            } else {
                copied
            };
            sys::apr_brigade_cleanup(brigade.cast());
            passed
        };
        if status == 0 && !connection.aborted() {
            Ok(())
        } else {
            Err(Broken)
        }
    }
}

fn brigade(
    place: &mut Option<NonNull<sys::apr_bucket_brigade>>,
    connection: Connection<'_>,
) -> *mut sys::apr_bucket_brigade {
    // SAFETY: a live connection; apr_brigade_create aborts rather than return NULL.
    let made = place.get_or_insert_with(|| unsafe {
        let connection = connection.as_ptr();
        NonNull::new_unchecked(sys::apr_brigade_create(
            (*connection).pool,
            (*connection).bucket_alloc,
        ))
    });
    made.as_ptr()
}
