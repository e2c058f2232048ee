//! The tag for Python in pages of mod_include, `<!--#python eval="…" -->` (mod_include.h).

use crate::httpd::callback::{assert_no_data, summon};
use crate::httpd::guard::guard;
use crate::httpd::io::filter::Invocation;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_int};
use std::ptr::null_mut;

/// What a tag's attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code<'r> {
    /// An expression, whose value is put into the page.
    Eval(&'r CStr),
    /// Statements.
    Exec(&'r CStr),
}

/// Runs a tag. Where it gives false, mod_include's error text is put into the page.
pub(crate) trait Handler:
    for<'r> Fn(Request<'r>, Code<'r>, &mut Invocation) -> bool + Copy
{
}
impl<F: for<'r> Fn(Request<'r>, Code<'r>, &mut Invocation) -> bool + Copy> Handler for F {}

/// Registers the tag, where mod_include is loaded (ap_register_include_handler). To be called in post_config, where mod_include has
/// begun a new list of tags before any other module.
pub(crate) fn register<F: Handler>(tag: &'static CStr, _handler: F) {
    const { assert_no_data::<F>() };
    type Register = unsafe extern "C" fn(*mut c_char, sys::include_handler_fn_t);
    // SAFETY: mod_include registers a function of this type under this name, and keeps the constant's address.
    unsafe {
        if let Some(function) =
            sys::apr_dynamic_fn_retrieve(c"ap_register_include_handler".as_ptr())
        {
            let register = std::mem::transmute::<unsafe extern "C" fn(), Register>(function);
            register(tag.as_ptr().cast_mut(), Some(on_tag::<F>));
        }
    }
}

unsafe extern "C" fn on_tag<F: Handler>(
    context: *mut sys::include_ctx_t,
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> sys::apr_status_t {
    // SAFETY: mod_include passes its live context, its filter and the brigade that it is about to pass on.
    unsafe {
        let Some(request) = Request::from_raw((*filter).r) else {
            return 0;
        };
        if (*context).flags & sys::SSI_FLAG_PRINTING == 0 {
            return 0;
        }
        let mut invocation = Invocation::writing(filter, brigade);
        let done = guard("tag", || match code(context, request) {
            Ok(code) => summon::<F>()(request, code, &mut invocation),
            Err(reason) => {
                let page = request.filename().unwrap_or_default().to_string_lossy();
                log::entry(request, Level::Error, &format!("{reason} in {page}"));
                false
            }
        });
        let done = done.unwrap_or_else(|place| {
            log::entry(request, Level::Critical, &place);
            false
        });
        if !done && let Some(text) = crate::httpd::text((*context).error_str) {
            let _ = invocation.write(text.to_bytes());
        }
        invocation.status()
    }
}

/// Reads the tag's attribute, of which there has to be one.
///
/// # Safety
/// The context is live, and `request` is its request.
unsafe fn code<'r>(
    context: *mut sys::include_ctx_t,
    request: Request<'r>,
) -> Result<Code<'r>, &'static str> {
    const WRONG: &str = "a #python tag has one attribute, eval=\"…\" or exec=\"…\",";
    type Next =
        unsafe extern "C" fn(*mut sys::include_ctx_t, *mut *mut c_char, *mut *mut c_char, c_int);
    // SAFETY: mod_include registers a function of this type under this name; what it gives lives until the tag's end,
    // and is copied.
    unsafe {
        if (*context).flags & sys::SSI_FLAG_NO_EXEC != 0 {
            return Err("#python used but not allowed");
        }
        let function = sys::apr_dynamic_fn_retrieve(c"ap_ssi_get_tag_and_value".as_ptr())
            .ok_or("mod_include is not there")?;
        let next = std::mem::transmute::<unsafe extern "C" fn(), Next>(function);
        let mut found = None;
        loop {
            let (mut name, mut value) = (null_mut(), null_mut());
            next(
                context,
                &raw mut name,
                &raw mut value,
                sys::SSI_VALUE_DECODED,
            );
            let Some(name) = crate::httpd::text(name) else {
                return found.ok_or(WRONG);
            };
            let value = crate::httpd::text(value).filter(|value| !value.is_empty());
            let value = request
                .pool()
                .c_string(value.ok_or("a #python tag without a value")?.to_bytes());
            let code = match name.to_bytes() {
                b"eval" => Code::Eval(value),
                b"exec" => Code::Exec(value),
                _ => return Err("a #python tag with an unknown attribute"),
            };
            if found.replace(code).is_some() {
                return Err(WRONG);
            }
        }
    }
}
