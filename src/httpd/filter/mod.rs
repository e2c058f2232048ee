//! How httpd calls a Python filter, and what becomes of the data then. A filter fails closed: nothing passes one that could not
//! do its work.

mod input;
mod invocation;
pub(crate) mod names;
mod output;

pub(crate) use invocation::{Failed, Invocation};

use super::request::Request;
use super::status::Status;
use super::sys;
use super::zst::assert_no_data;
use output::{OUTPUTS, Output};
use std::ffi::CStr;

/// What reading a body answers where a Python filter has failed: this number plus the filter's status. It is in the range that
/// APR leaves to others.
const BROKEN: sys::apr_status_t = sys::APR_OS_START_USERERR + 0x4d50;

/// Gives the status with which a Python filter has failed, of what reading the body has answered; None for other answers.
pub(in crate::httpd) fn failed_with(answer: sys::apr_status_t) -> Option<Status> {
    let number = answer.wrapping_sub(BROKEN);
    (300..=599).contains(&number).then_some(Status(number))
}

/// What becomes of a filter after an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is called again for what follows.
    Kept,
    /// It has asked to be left out: what follows goes on as it is.
    LeftOut,
    /// It could not do its work, or has refused: nothing goes on. The answer is this status, if nothing has left yet.
    Failed(Status),
}

impl Verdict {
    /// It could not do its work: 500.
    pub(crate) const BROKEN: Verdict = Verdict::Failed(Status::INTERNAL_SERVER_ERROR);
}

/// What is called for each invocation: with it, the request, the filter's name, and whether it is an input filter.
pub(crate) trait Handler:
    for<'a> Fn(Request<'a>, &'a CStr, bool, &mut Invocation) -> Verdict + Copy
{
}
impl<F: for<'a> Fn(Request<'a>, &'a CStr, bool, &mut Invocation) -> Verdict + Copy> Handler for F {}

/// Registers an output filter (ap_register_output_filter). Can mod_filter tell it from others?
pub(crate) fn register_output<F: Handler>(name: &CStr, _handler: F) -> bool {
    const { assert_no_data::<F>() };
    let own = names::place(name).and_then(|place| OUTPUTS::<F>::ALL.get(place).copied());
    let function = own.unwrap_or(output::output::<F, { names::MOST }> as Output);
    // SAFETY: httpd copies the name; the function lives as long as the process.
    unsafe {
        sys::ap_register_output_filter(
            name.as_ptr(),
            Some(function),
            None,
            sys::ap_filter_type_AP_FTYPE_RESOURCE,
        );
    }
    own.is_some()
}

/// Registers an input filter (ap_register_input_filter).
pub(crate) fn register_input<F: Handler>(name: &CStr, _handler: F) {
    const { assert_no_data::<F>() };
    // SAFETY: as above.
    unsafe {
        sys::ap_register_input_filter(
            name.as_ptr(),
            Some(input::input::<F>),
            None,
            sys::ap_filter_type_AP_FTYPE_RESOURCE,
        );
    }
}

impl Request<'_> {
    /// Counts the filters on a way, with those of the connection and of requests around this one. Each filter calls the next, so
    /// each takes its part of the stack.
    pub(crate) fn filters(self, input: bool) -> usize {
        // SAFETY: a live request, whose chain of filters lives as long.
        unsafe {
            let first = if input {
                (*self.as_ptr()).input_filters
            } else {
                (*self.as_ptr()).output_filters
            };
            let next = |filter: &&sys::ap_filter_t| filter.next.cast_const().as_ref();
            std::iter::successors(first.cast_const().as_ref(), next).count()
        }
    }

    /// Adds the filter that httpd knows as `generic`, under a name that only this request knows.
    pub(crate) fn add_named_filter(self, generic: &CStr, name: &CStr, input: bool) {
        let own = self.pool().store(Own {
            name: self.pool().c_string(name.to_bytes()).as_ptr(),
            verdict: Verdict::Kept,
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

/// A filter's context, in the request's pool.
#[derive(Clone, Copy)]
struct Own {
    /// The name that only the request knows; NULL where httpd knows the filter's name.
    name: *const std::ffi::c_char,
    verdict: Verdict,
}

/// # Safety
/// `filter` is a live filter of a live request.
unsafe fn own<'f>(filter: *mut sys::ap_filter_t) -> Option<(&'f mut Own, Request<'f>)> {
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

/// Finds the name of a filter, whose function has a place among `names`. Where mod_filter calls it, httpd's record of the filter is
/// mod_filter's, and does not tell.
///
/// # Safety
/// As for `own`.
unsafe fn name_of<'f>(
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
        super::text(if own.name.is_null() {
            (*(*filter).frec).name
        } else {
            own.name
        })
    }
}

unsafe fn new_brigade(filter: *mut sys::ap_filter_t) -> *mut sys::apr_bucket_brigade {
    // SAFETY: a live filter of a live request.
    unsafe { sys::apr_brigade_create((*(*filter).r).pool, (*(*filter).c).bucket_alloc) }
}
