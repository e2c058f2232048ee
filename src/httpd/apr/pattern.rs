//! Regular expressions of a configuration, by httpd's functions (PCRE).

use crate::httpd::apr::pool::Pool;
use crate::httpd::sys;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A compiled expression in the configuration's pool; read only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pattern<'c>(NonNull<sys::ap_regex_t>, PhantomData<&'c ()>);

/// Where the whole expression has matched, and each of its groups: from byte, to byte.
pub(crate) type Groups = [Option<(usize, usize)>; GROUPS];
const GROUPS: usize = 10;

impl<'c> Pattern<'c> {
    /// Compiles an expression; None where it is wrong.
    pub(crate) fn new(pool: Pool<'c>, text: &str) -> Option<Pattern<'c>> {
        // SAFETY: the expression is freed with the pool.
        let compiled = unsafe {
            let text = pool.c_string(text.as_bytes());
            sys::ap_pregcomp(pool.as_ptr(), text.as_ptr(), sys::AP_REG_EXTENDED)
        };
        NonNull::new(compiled).map(|compiled| Pattern(compiled, PhantomData))
    }

    /// Counts its groups.
    pub(crate) fn groups(self) -> usize {
        // SAFETY: a compiled expression.
        unsafe { (*self.0.as_ptr()).re_nsub }
            .try_into()
            .unwrap_or(0)
    }

    /// Looks for it in a text.
    pub(crate) fn find(self, text: &CStr) -> Option<Groups> {
        let mut places = [sys::ap_regmatch_t {
            rm_so: -1,
            rm_eo: -1,
        }; GROUPS];
        // SAFETY: a compiled expression, a C string, and room for as many groups as are asked for.
        let status = unsafe {
            sys::ap_regexec(
                self.0.as_ptr(),
                text.as_ptr(),
                GROUPS,
                places.as_mut_ptr(),
                0,
            )
        };
        let place = |place: sys::ap_regmatch_t| {
            Some((
                usize::try_from(place.rm_so).ok()?,
                usize::try_from(place.rm_eo).ok()?,
            ))
        };
        (status == 0).then(|| places.map(place))
    }
}
