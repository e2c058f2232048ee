//! The template of `environ`: each interpreter has one, which is copied for each request.
//!
//! It is a dict with every key that is always there, so that a copy is one block of memory that need not grow. What differs from the
//! request before is put into the template before it is copied. Each of these keys is looked at for every request, so nothing of
//! another request can stay. Our own keys are interned once; names that a client chooses never are.

use super::file_wrapper;
use super::names::{Names, interned};
use crate::embed::cell::Ref;
use crate::embed::text::{Encoding, Known};
use crate::embed::{Cx, dict};
use crate::gateway::application::Mounted;
use crate::httpd::faults;
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::addresses::server_banner;
use crate::httpd::request::server::mpm_query;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard};

type Object<'py> = Bound<'py, PyAny>;

/// The template, and what is remembered of the request whose values it holds.
pub(super) struct Template {
    constants: Ref,
    keys: [Ref; KEYS.len()],
    empty: Ref,
    memory: Mutex<Memory>,
}

/// Which values the template holds, and what earlier requests' headers were made into.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) headers: Names,
    /// The texts that the template holds, in the order of `Values`.
    each: [Option<Known>; EACH],
    rare: [Option<Known>; RARE],
    /// What tells that `rare` is right; None where that is not known.
    mark: Option<Mark>,
}

/// What a request has for the keys that are always there.
struct Values<'a> {
    /// What may differ from request to request.
    each: [(Key, &'a [u8]); EACH],
    /// What hardly ever does: looked at only where `mark` is another one.
    rare: [(Key, &'a [u8]); RARE],
    mark: Option<Mark>,
}

const EACH: usize = 13;
const RARE: usize = 3;

/// Is it https; and the address of SERVER_ADMIN: a text of the configuration stays in its place as long as the child lives. What a front
/// tells does not.
type Mark = (bool, usize);

macro_rules! keys {
    ($($name:ident $text:literal),* $(,)?) => {
        #[derive(Clone, Copy)]
        #[expect(clippy::upper_case_acronyms, reason = "the names that PEP 3333 and RFC 3875 give them")]
        #[expect(non_camel_case_types, reason = "as above")]
        pub(super) enum Key { $($name),* }
        pub(super) const KEYS: &[&str] = &[$($text),*];
    };
}

// Those before REMOTE_USER are there in every environ.
keys! {
    METHOD "REQUEST_METHOD", SCRIPT "SCRIPT_NAME", PATH "PATH_INFO", QUERY "QUERY_STRING", URI "REQUEST_URI",
    NAME "SERVER_NAME", PORT "SERVER_PORT", PROTOCOL "SERVER_PROTOCOL", ADDR "SERVER_ADDR", SCHEME "wsgi.url_scheme",
    REQUEST_SCHEME "REQUEST_SCHEME", REMOTE_ADDR "REMOTE_ADDR", REMOTE_PORT "REMOTE_PORT", ROOT "DOCUMENT_ROOT",
    CONTEXT_ROOT "CONTEXT_DOCUMENT_ROOT", ADMIN "SERVER_ADMIN", SIGNATURE "SERVER_SIGNATURE", INPUT "wsgi.input", REQUEST "mod_python.request",
    REMOTE_USER "REMOTE_USER", AUTH_TYPE "AUTH_TYPE", PREFIX "CONTEXT_PREFIX",
    CONTENT_TYPE "CONTENT_TYPE", CONTENT_LENGTH "CONTENT_LENGTH", FILENAME "SCRIPT_FILENAME",
    REDIRECT_URL "REDIRECT_URL", REDIRECT_QUERY "REDIRECT_QUERY_STRING", HTTPS "HTTPS", HTTP_HOST "HTTP_HOST",
    CONTENT_ENCODING "HTTP_CONTENT_ENCODING",
}
pub(super) const ALWAYS: usize = Key::REMOTE_USER as usize;

impl Template {
    pub(super) fn new(cx: Cx<'_>) -> PyResult<Template> {
        const IS_THREADED: i32 = 2;
        const IS_FORKED: i32 = 3;
        let constants = PyDict::new(cx.py);
        for key in KEYS.iter().take(ALWAYS) {
            // Each request has a value for them: httpd's, or an empty one.
            constants.set_item(interned(cx, key).bind(cx.py), "")?;
        }
        constants.set_item("wsgi.version", (1, 0))?;
        constants.set_item("wsgi.multithread", mpm_query(IS_THREADED) != 0)?;
        constants.set_item("wsgi.multiprocess", mpm_query(IS_FORKED) != 0)?;
        constants.set_item("wsgi.run_once", false)?;
        constants.set_item("GATEWAY_INTERFACE", "CGI/1.1")?;
        constants.set_item("wsgi.input_terminated", true)?;
        // Not `sys.stderr`, which an application may have replaced, and may close for all others.
        let errors = cx
            .py
            .import("mod_python._shared_streams")?
            .getattr("stderr")?;
        constants.set_item("wsgi.errors", errors)?;
        constants.set_item("wsgi.file_wrapper", file_wrapper::class(cx)?)?;
        constants.set_item("mod_python.version", env!("CARGO_PKG_VERSION"))?;
        if let Some(banner) = server_banner() {
            let banner = Encoding::Latin1.decode(cx.py, banner.to_bytes())?;
            constants.set_item("SERVER_SOFTWARE", banner)?;
        }
        Ok(Template {
            constants: Ref::new(constants.into_any()),
            keys: std::array::from_fn(|place| {
                interned(cx, KEYS.get(place).copied().unwrap_or_default())
            }),
            empty: interned(cx, ""),
            memory: Mutex::default(),
        })
    }

    /// Gives what is remembered; None where another thread uses it, and this one has to make all anew.
    pub(super) fn memory(&self) -> Option<MutexGuard<'_, Memory>> {
        self.memory.try_lock().ok()
    }

    /// Makes a copy with a request's values.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn copy<'py>(
        &self,
        cx: Cx<'py>,
        memory: Option<&mut Memory>,
        host: RequestRec<'_>,
        mounted: &Mounted<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let constants = self.constants.bind(cx.py).cast_into::<PyDict>()?;
        let (mut port, mut remote) = ([0; 5], [0; 5]);
        let values = Values::of(host, mounted, &mut port, &mut remote);
        let is_fresh = memory.is_some();
        if let Some(memory) = memory {
            self.refresh(cx, &constants, memory, &values)?;
        }
        if faults::strike("environ") {
            return Err(PyMemoryError::new_err(()));
        }
        let environ = constants.copy()?;
        if !is_fresh {
            for &(key, value) in values.each.iter().chain(&values.rare) {
                self.set(&environ, key, &self.text(cx, value)?)?;
            }
        }
        Ok(environ)
    }

    /// Puts into the template what has changed since the last request.
    fn refresh(
        &self,
        cx: Cx<'_>,
        constants: &Bound<'_, PyDict>,
        memory: &mut Memory,
        values: &Values<'_>,
    ) -> PyResult<()> {
        // Taken away until all is right: should something fail, the next request looks at everything.
        let mark = memory.mark.take();
        self.replace(cx, constants, &mut memory.each, &values.each)?;
        if mark.is_none() || mark != values.mark {
            self.replace(cx, constants, &mut memory.rare, &values.rare)?;
        }
        memory.mark = values.mark;
        Ok(())
    }

    /// Puts those values into the template that it does not hold already.
    fn replace<const N: usize>(
        &self,
        cx: Cx<'_>,
        constants: &Bound<'_, PyDict>,
        held: &mut [Option<Known>; N],
        values: &[(Key, &[u8]); N],
    ) -> PyResult<()> {
        for (held, &(key, value)) in held.iter_mut().zip(values) {
            if held.as_ref().is_some_and(|held| held.is(value)) {
                continue;
            }
            let text = self.text(cx, value)?;
            // Forgotten first: should putting it into the template fail, the next request tries again.
            *held = None;
            self.set(constants, key, &text)?;
            *held = text.cast::<PyString>().ok().map(Known::new);
        }
        Ok(())
    }

    /// Makes a text of httpd's bytes.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn text<'py>(&self, cx: Cx<'py>, value: &[u8]) -> PyResult<Object<'py>> {
        if value.is_empty() {
            return Ok(self.empty.bind(cx.py));
        }
        Encoding::Latin1.decode(cx.py, value)
    }

    /// Sets one of our keys.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn set(
        &self,
        environ: &Bound<'_, PyDict>,
        key: Key,
        value: &Object<'_>,
    ) -> PyResult<()> {
        match self.keys.get(key as usize) {
            Some(key) => dict::set(environ, key, value),
            None => Ok(()),
        }
    }

    /// Removes one of our keys, if it is there.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn remove(&self, cx: Cx<'_>, environ: &Bound<'_, PyDict>, key: Key) -> PyResult<()> {
        let key = self.keys.get(key as usize).map(|key| key.bind(cx.py));
        match key {
            Some(key) if environ.contains(&key)? => environ.del_item(key),
            _ => Ok(()),
        }
    }
}

impl<'a> Values<'a> {
    /// Asks httpd for them; `port` and `remote` are memory for the ports' digits.
    fn of(
        host: RequestRec<'a>,
        mounted: &Mounted<'_>,
        port: &'a mut [u8; 5],
        remote: &'a mut [u8; 5],
    ) -> Values<'a> {
        let (script, path) = mounted.split(of(host.uri()));
        let is_secure = host.scheme().is_some_and(|scheme| scheme == c"https");
        let scheme = if is_secure { &b"https"[..] } else { b"http" };
        let admin = host.server_admin();
        let place = admin.map_or(0, |text| text.as_ptr().addr());
        let (_, remote_port) = host.useragent_addr();
        Values {
            each: [
                (Key::METHOD, of(host.method())),
                (Key::SCRIPT, script),
                (Key::PATH, path),
                (Key::QUERY, of(host.args())),
                (Key::URI, of(host.original().unparsed_uri())),
                (Key::NAME, of(host.server_name())),
                (Key::PORT, decimal(host.server_port(), port)),
                (Key::PROTOCOL, of(host.protocol())),
                (Key::ADDR, of(host.connection().local_ip())),
                (Key::REMOTE_ADDR, of(host.useragent_ip())),
                (Key::REMOTE_PORT, decimal(remote_port, remote)),
                (Key::ROOT, of(host.document_root())),
                (Key::CONTEXT_ROOT, of(host.context_document_root())),
            ],
            rare: [
                (Key::ADMIN, of(admin)),
                (Key::SCHEME, scheme),
                (Key::REQUEST_SCHEME, scheme),
            ],
            mark: host.handed().is_none().then_some((is_secure, place)),
        }
    }
}

/// Gives a text's bytes; none where there is no text.
pub(super) fn of(text: Option<&CStr>) -> &[u8] {
    text.map(CStr::to_bytes).unwrap_or_default()
}

fn decimal(number: u16, digits: &mut [u8; 5]) -> &[u8] {
    let (mut place, mut rest) = (digits.len(), number);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        place -= 1;
        if rest == 0 {
            break;
        }
    }
    digits.get(place..).unwrap_or_default()
}
