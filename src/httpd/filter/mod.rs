//! Filters: how httpd calls a Python filter, and what comes of it.
//!
//! What fails, fails closed: nothing passes a filter that could not do its work.

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

/// What reading a body answers whose Python filter has failed, less the status that it has failed with (of APR's range for
/// others' numbers).
const BROKEN: sys::apr_status_t = sys::APR_OS_START_USERERR + 0x4d50;

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
    /// How many filters there are on a way, those of the connection and of requests around this one among them. httpd's filters
    /// call one another: each takes its part of the stack.
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

    /// Adds the filter `generic` under a name of this request's own.
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

/// A filter's context: in the request's pool.
#[derive(Clone, Copy)]
struct Own {
    /// NULL for the name that httpd knows it by.
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

/// The name of a filter, whose function has a place among `names`: httpd's own record is mod_filter's where that calls it.
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
