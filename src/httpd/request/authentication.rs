//! Who asks: what httpd knows of the user.

use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::request::handed::Handed;
use crate::httpd::request::handle::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

type Ask = unsafe extern "C" fn(*mut sys::request_rec) -> *const c_char;

/// mod_authn_core's functions, where it is loaded; set whenever a configuration is read.
static TYPE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static NAME: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

thread_local! {
    /// Does a handler ask? httpd's own phases in a daemon are not to: who comes in, the front has decided (mod_authz_core refuses a request
    /// of an AuthType without Require).
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

fn asked<T>(what: impl FnOnce() -> T) -> T {
    let before = ASKED.replace(true);
    let found = what();
    ASKED.set(before);
    found
}

/// Has httpd say of a request, in a daemon, what its front's sections say: AuthType and AuthName. Whoever asks for the password of Basic
/// authentication asks for both.
pub(crate) fn register() {
    let all: [(&CStr, Ask, &AtomicPtr<c_void>); 2] = [
        (c"authn_ap_auth_type", on_type, &TYPE),
        (c"authn_ap_auth_name", on_name, &NAME),
    ];
    for (name, own, before) in all {
        // SAFETY: httpd has one thread when it reads its configuration. Optional functions of these names are of this type; these live as
        // long as the process, as their names do.
        unsafe {
            let there = sys::apr_dynamic_fn_retrieve(name.as_ptr());
            let there = there.map_or(null_mut(), |there| there as *mut c_void);
            before.store(there, Ordering::Relaxed);
            let own = std::mem::transmute::<Ask, unsafe extern "C" fn()>(own);
            sys::apr_dynamic_fn_register(name.as_ptr(), Some(own));
        }
    }
}

unsafe extern "C" fn on_type(raw: *mut sys::request_rec) -> *const c_char {
    // SAFETY: httpd passes a live request.
    unsafe { said(raw, |handed| handed.auth_type, &TYPE) }
}

unsafe extern "C" fn on_name(raw: *mut sys::request_rec) -> *const c_char {
    // SAFETY: httpd passes a live request.
    unsafe { said(raw, |handed| handed.auth_name, &NAME) }
}

/// # Safety
/// A live request.
unsafe fn said(
    raw: *mut sys::request_rec,
    told: for<'r> fn(&Handed<'r>) -> Option<&'r CStr>,
    before: &AtomicPtr<c_void>,
) -> *const c_char {
    // SAFETY: the caller's promise; what is in `before` is of this type.
    unsafe {
        let handed = || Request::from_raw(raw)?.handed().filter(|_| ASKED.get());
        match guard("authentication", handed) {
            Ok(Some(handed)) => return told(handed).map_or(null(), CStr::as_ptr),
            Ok(None) => {}
            Err(place) => log::process(Level::Critical, &place),
        }
        let before = before.load(Ordering::Relaxed);
        if before.is_null() {
            return null();
        }
        std::mem::transmute::<*mut c_void, Ask>(before)(raw)
    }
}

impl<'r> Request<'r> {
    /// AuthType here (ap_auth_type).
    pub(crate) fn auth_type(self) -> Option<&'r CStr> {
        // SAFETY: a live request; the string is the configuration's, or in the request's pool where it is an expression.
        asked(|| unsafe { crate::httpd::text(sys::ap_auth_type(self.as_ptr())) })
    }

    /// AuthName here (ap_auth_name).
    pub(crate) fn auth_name(self) -> Option<&'r CStr> {
        // SAFETY: as above.
        asked(|| unsafe { crate::httpd::text(sys::ap_auth_name(self.as_ptr())) })
    }

    /// The password of HTTP Basic authentication; also sets `user` (ap_get_basic_auth_pw).
    pub(crate) fn basic_auth_password(self) -> Option<&'r CStr> {
        let mut password: *const c_char = std::ptr::null();
        // SAFETY: a live request; the password lies in its pool.
        asked(|| unsafe {
            if sys::ap_get_basic_auth_pw(self.as_ptr(), &raw mut password) == Status::OK.0 {
                crate::httpd::text(password)
            } else {
                None
            }
        })
    }

    /// Adds the challenge that belongs to a 401 (ap_note_auth_failure).
    pub(crate) fn note_auth_failure(self) {
        // SAFETY: a live request.
        unsafe { sys::ap_note_auth_failure(self.as_ptr()) }
    }

    /// May applications see Authorization (CGIPassAuth On)?
    pub(crate) fn passes_authorization(self) -> bool {
        if let Some(handed) = self.handed() {
            return handed.passes_authorization;
        }
        self.core_config()
            .is_some_and(|core| core.cgi_pass_auth() == sys::AP_CGI_PASS_AUTH_ON.cast_unsigned())
    }
}
