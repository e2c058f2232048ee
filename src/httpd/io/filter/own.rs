//! What becomes of a filter, and what it keeps with httpd.

use super::invocation::Invocation;
use super::names;
use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::ffi::CStr;

/// What reading a body answers whose Python filter has failed, less the status that it has failed with (of APR's range for
/// others' numbers).
pub(super) const BROKEN: sys::apr_status_t = sys::APR_OS_START_USERERR + 0x4d50;

/// The status with which a Python filter of a body has failed, by what reading it has answered.
pub(in crate::httpd) fn failed_with(answer: sys::apr_status_t) -> Option<Status> {
    let number = answer.wrapping_sub(BROKEN);
    (300..=599).contains(&number).then_some(Status(number))
}

/// What is to become of a filter after one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Kept,
    /// It wants to be left out: the rest goes on as it is.
    LeftOut,
    /// It could not do its work, or refuses to: nothing goes on. The answer is this status, where nothing has left yet.
    Failed(Status),
}

impl Verdict {
    /// It could not do its work.
    pub(crate) const BROKEN: Verdict = Verdict::Failed(Status::INTERNAL_SERVER_ERROR);
}

/// What a filter is called with: the request, the filter's name, whether it is an input filter.
pub(crate) trait Handler:
    for<'a> Fn(Request<'a>, &'a CStr, bool, &mut Invocation) -> Verdict + Copy
{
}
impl<F: for<'a> Fn(Request<'a>, &'a CStr, bool, &mut Invocation) -> Verdict + Copy> Handler for F {}

/// A filter's context: in the request's pool.
#[derive(Clone, Copy)]
pub(super) struct Own {
    /// NULL for the name that httpd knows it by.
    pub(super) name: *const std::ffi::c_char,
    pub(super) verdict: Verdict,
}

/// # Safety
/// `filter` is a live filter of a live request.
pub(super) unsafe fn own<'f>(filter: *mut sys::ap_filter_t) -> Option<(&'f mut Own, Request<'f>)> {
    // SAFETY: the context is NULL or our `Own`.
    unsafe {
        let request = Request::from_raw((*filter).r)?;
        if (*filter).ctx.is_null() {
            let own = request.pool().store(Own {
                name: std::ptr::null(),
                verdict: Verdict::Kept,
            });
            (*filter).ctx = std::ptr::from_mut(own).cast();
        }
        Some((&mut *(*filter).ctx.cast::<Own>(), request))
    }
}

/// The name of a filter, whose function has a place among `names`: httpd's own record is mod_filter's where that calls it.
///
/// # Safety
/// As for `own`.
pub(super) unsafe fn name_of<'f>(
    filter: *mut sys::ap_filter_t,
    own: &Own,
    request: Request<'f>,
    place: usize,
) -> Option<&'f CStr> {
    if own.name.is_null()
        && let Some(name) = names::at(place)
    {
        return Some(request.pool().c_string(name.as_bytes()));
    }
    // SAFETY: names live as long as the request.
    unsafe {
        crate::httpd::text(if own.name.is_null() {
            (*(*filter).frec).name
        } else {
            own.name
        })
    }
}
