//! Functions for what are macros on brigades and buckets in C (apr_ring.h, apr_buckets.h).

use crate::httpd::sys;

/// Gives the end of a brigade's list, to compare a bucket with: its head, seen as a bucket (APR_BRIGADE_SENTINEL).
///
/// # Safety
/// `brigade` is live.
pub(in crate::httpd) unsafe fn sentinel(
    brigade: *mut sys::apr_bucket_brigade,
) -> *mut sys::apr_bucket {
    let offset = std::mem::offset_of!(sys::apr_bucket, link);
    // SAFETY: pointer arithmetic only, as APR_RING_SENTINEL does; only its links are ever followed.
    unsafe {
        (&raw mut (*brigade).list)
            .cast::<u8>()
            .wrapping_sub(offset)
            .cast()
    }
}

/// Gives the first bucket of a brigade (APR_BRIGADE_FIRST).
///
/// # Safety
/// `brigade` is live.
pub(in crate::httpd) unsafe fn first(
    brigade: *mut sys::apr_bucket_brigade,
) -> *mut sys::apr_bucket {
    // SAFETY: the caller's promise.
    unsafe { (*brigade).list.next }
}

/// Adds a bucket at a brigade's end (APR_BRIGADE_INSERT_TAIL).
///
/// # Safety
/// `brigade` is live, and `bucket` is in no ring.
pub(in crate::httpd) unsafe fn append(
    brigade: *mut sys::apr_bucket_brigade,
    bucket: *mut sys::apr_bucket,
) {
    // SAFETY: links a bucket between the last one and the sentinel, which overlays the list's head.
    unsafe {
        let end = sentinel(brigade);
        let last = (*brigade).list.prev;
        (*bucket).link.next = end;
        (*bucket).link.prev = last;
        if last == end {
            (*brigade).list.next = bucket;
        } else {
            (*last).link.next = bucket;
        }
        (*brigade).list.prev = bucket;
    }
}

/// Is there no bucket in a brigade (APR_BRIGADE_EMPTY)?
///
/// # Safety
/// What is passed is live.
pub(in crate::httpd) unsafe fn is_empty(brigade: *mut sys::apr_bucket_brigade) -> bool {
    // SAFETY: a live brigade.
    unsafe { (*brigade).list.next == sentinel(brigade) }
}

/// Does it end with an end-of-stream bucket?
///
/// # Safety
/// What is passed is live.
pub(in crate::httpd) unsafe fn has_eos(brigade: *mut sys::apr_bucket_brigade) -> bool {
    // SAFETY: a live brigade; its last bucket is looked at.
    unsafe {
        !is_empty(brigade)
            && std::ptr::eq(
                (*(*brigade).list.prev).type_,
                &raw const sys::apr_bucket_type_eos,
            )
    }
}

/// Moves all buckets of a brigade to the end of another one (APR_BRIGADE_CONCAT).
///
/// # Safety
/// What is passed is live.
pub(in crate::httpd) unsafe fn concat(
    to: *mut sys::apr_bucket_brigade,
    from: *mut sys::apr_bucket_brigade,
) {
    // SAFETY: live brigades; each bucket is unlinked before it is linked anew.
    unsafe {
        while !is_empty(from) {
            let bucket = (*from).list.next;
            unlink(bucket);
            append(to, bucket);
        }
    }
}

/// Takes a bucket out of its brigade (APR_BUCKET_REMOVE).
///
/// # Safety
/// What is passed is live.
pub(in crate::httpd) unsafe fn unlink(bucket: *mut sys::apr_bucket) {
    // SAFETY: a bucket in a live ring; its neighbours are buckets, or the sentinel, which overlays the list's head.
    unsafe {
        let (next, prev) = ((*bucket).link.next, (*bucket).link.prev);
        (*prev).link.next = next;
        (*next).link.prev = prev;
    }
}

/// Frees a bucket (apr_bucket_destroy).
///
/// # Safety
/// What is passed is live.
pub(in crate::httpd) unsafe fn destroy(bucket: *mut sys::apr_bucket) {
    // SAFETY: a bucket that is in no ring any more.
    unsafe {
        if let Some(destroy) = (*(*bucket).type_).destroy {
            destroy((*bucket).data);
        }
        if let Some(free) = (*bucket).free {
            free(bucket.cast());
        }
    }
}

/// Reads a bucket's bytes (apr_bucket_read). A file is read, never mapped into memory: if somebody shortened it then, the child
/// would be killed (SIGBUS).
///
/// # Safety
/// What is passed is live.
pub(in crate::httpd) unsafe fn read(
    bucket: *mut sys::apr_bucket,
    data: &mut *const std::ffi::c_char,
    length: &mut usize,
    mode: sys::apr_read_type_e,
) -> sys::apr_status_t {
    // SAFETY: a live bucket of a live brigade; every bucket type has a read function.
    unsafe {
        if std::ptr::eq((*bucket).type_, &raw const sys::apr_bucket_type_file) {
            sys::apr_bucket_file_enable_mmap(bucket, 0);
        }
        match (*(*bucket).type_).read {
            Some(read) => read(bucket, data, length, mode),
            None => sys::APR_EOF,
        }
    }
}
