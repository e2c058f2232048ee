//! `environ`: each interpreter has a template, which is copied for each request.
//!
//! The template is a dict with every key that is always there, so that a copy is one block of memory that need not grow.
//! What differs from the request before is put into the template before it is copied. Each of these keys is looked at for every
//! request, so nothing of another request can stay. Our own keys are interned once; names that a client chooses never are.

use super::application::Place;
use super::headers::{Header, Kind, Names};
use super::origin::Said;
use super::{Object, interned};
use crate::config::proxies::{Proxies, Told};
use crate::embed::cell::Ref;
use crate::embed::text::{self, Encoding};
use crate::embed::{Cx, dict};
use crate::exchange::Exchange;
use crate::httpd::faults;
use crate::httpd::request::Request as Host;
use crate::httpd::request::addresses::server_banner;
use crate::httpd::request::lease::Held;
use crate::httpd::request::server::mpm_query;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::sync::Mutex;

/// The template, and what is remembered of the request whose values it holds.
pub(super) struct Template {
    constants: Ref,
    keys: [Ref; KEYS.len()],
    empty: Ref,
    memory: Mutex<Memory>,
}

/// Which values the template holds, and what earlier requests' headers were made into.
#[derive(Default)]
struct Memory {
    headers: Names,
    /// The text that the template holds, by `Key`.
    values: [Option<Ref>; ALWAYS],
    /// Does the template say https; and the address of the text that it has for SERVER_ADMIN.
    steady: Option<(bool, usize)>,
}

macro_rules! keys {
    ($($name:ident $text:literal),* $(,)?) => {
        #[derive(Clone, Copy)]
        #[expect(clippy::upper_case_acronyms, reason = "the names that PEP 3333 and RFC 3875 give them")]
        #[expect(non_camel_case_types, reason = "as above")]
        pub(super) enum Key { $($name),* }
        const KEYS: &[&str] = &[$($text),*];
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
const ALWAYS: usize = Key::REMOTE_USER as usize;

/// Up to how many bytes a header's value is remembered for the next request.
const SHORT: usize = 200;

/// Variables that no application gets to see: those of the process, and the password for a proxy. ap_add_common_vars may have put
/// them among the request's.
const HIDDEN: [&[u8]; 6] = [
    b"HTTP_PROXY_AUTHORIZATION",
    b"PATH",
    b"LD_LIBRARY_PATH",
    b"DYLD_LIBRARY_PATH",
    b"LIBPATH",
    b"SHLIB_PATH",
];

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
        constants.set_item("wsgi.file_wrapper", super::file_wrapper::class(cx)?)?;
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

    /// Makes a request's `environ`.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn fill<'py>(
        &self,
        cx: Cx<'py>,
        held: &Held<'_, Exchange>,
        place: &Place<'_>,
        proxies: Option<&Proxies>,
        request: &Object<'py>,
    ) -> PyResult<Filled<'py>> {
        let host = held.request();
        let constants = self.constants.bind(cx.py).cast_into::<PyDict>()?;
        // A thread that finds the memory in use by another one makes all values anew.
        let mut memory = self.memory.try_lock().ok();
        let late = self.refresh(cx, &constants, memory.as_deref_mut(), host, place)?;
        let filling = Filling {
            cx,
            template: self,
            environ: if faults::strike("environ") {
                return Err(PyMemoryError::new_err(()));
            } else {
                constants.copy()?
            },
        };
        for (key, value) in late {
            filling.object(key, &value)?;
        }
        filling.object(Key::INPUT, request)?;
        filling.object(Key::REQUEST, request)?;
        let told = proxies.map(|proxies| hear(host, proxies));
        let has_body = filling.headers(host, memory.as_deref_mut(), told.as_ref())?;
        let said = filling.variables(host)?;
        filling.sometimes(host, place)?;
        if told.is_some() || said.is_some() {
            let (script, _) = parts(host, place);
            filling.origin(host, script, said.unwrap_or_default(), told.as_ref())?;
        }
        Ok(Filled {
            environ: filling.environ,
            has_body,
        })
    }

    /// Corrects an environ once more is known of the request's body: sets CONTENT_LENGTH, where the length is known, and removes the
    /// keys of headers that a filter has removed, since they were no longer true.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn settle(
        &self,
        cx: Cx<'_>,
        environ: &Bound<'_, PyDict>,
        host: Host<'_>,
        length: Option<usize>,
    ) -> PyResult<()> {
        let is_gone = |name| {
            host.headers_in()
                .is_none_or(|table| table.first(name).is_none())
        };
        let key = self.keys.get(Key::CONTENT_LENGTH as usize);
        match (length, key) {
            (Some(length), Some(key)) => {
                let text = PyString::new(cx.py, &length.to_string());
                dict::set(environ, key, &text)?;
            }
            _ if is_gone(c"Content-Length") => self.remove(cx, environ, Key::CONTENT_LENGTH)?,
            _ => {}
        }
        if is_gone(c"Content-Encoding") {
            self.remove(cx, environ, Key::CONTENT_ENCODING)?;
        }
        Ok(())
    }

    fn remove(&self, cx: Cx<'_>, environ: &Bound<'_, PyDict>, key: Key) -> PyResult<()> {
        let key = self.keys.get(key as usize).map(|key| key.bind(cx.py));
        match key {
            Some(key) if environ.contains(&key)? => environ.del_item(key),
            _ => Ok(()),
        }
    }

    /// Puts what has changed since the last request into the template. Without `memory` it gives all values back instead, to be put
    /// into the copy.
    fn refresh<'py>(
        &self,
        cx: Cx<'py>,
        constants: &Bound<'py, PyDict>,
        mut memory: Option<&mut Memory>,
        host: Host<'_>,
        place: &Place<'_>,
    ) -> PyResult<Vec<(Key, Object<'py>)>> {
        let (script, path) = parts(host, place);
        let is_secure = host.scheme().is_some_and(|scheme| scheme == c"https");
        let scheme = if is_secure { &b"https"[..] } else { b"http" };
        let admin = host.server().server_admin();
        let (_, remote_port) = host.useragent_addr();
        let (mut port, mut remote) = ([0; 5], [0; 5]);
        let values: [(Key, &[u8]); ALWAYS - 3] = [
            (Key::METHOD, of(host.method())),
            (Key::SCRIPT, script),
            (Key::PATH, path),
            (Key::QUERY, of(host.args())),
            (Key::URI, of(host.original().unparsed_uri())),
            (Key::NAME, of(host.server_name())),
            (Key::PORT, decimal(host.server_port(), &mut port)),
            (Key::PROTOCOL, of(host.protocol())),
            (Key::ADDR, of(host.connection().local_ip())),
            (Key::REMOTE_ADDR, of(host.useragent_ip())),
            (Key::REMOTE_PORT, decimal(remote_port, &mut remote)),
            (Key::ROOT, of(host.document_root())),
            (Key::CONTEXT_ROOT, of(host.context_document_root())),
            // These three, the last, are skipped where `steady` is as before.
            (Key::ADMIN, of(admin)),
            (Key::SCHEME, scheme),
            (Key::REQUEST_SCHEME, scheme),
        ];
        // SERVER_ADMIN is compared by its address: a text of the configuration stays in its place as long as the child lives.
        let steady = Some((is_secure, admin.map_or(0, |text| text.as_ptr().addr())));
        let mut changed = values.len();
        if let Some(memory) = memory.as_deref_mut() {
            if memory.steady == steady {
                changed -= 3;
            }
            memory.steady = None;
        }
        let changing = values.iter().take(changed);
        let Some(memory) = memory else {
            let late = changing.map(|&(key, value)| Ok((key, self.text(cx, value)?)));
            return late.collect();
        };
        for (&(key, value), last) in changing.zip(&mut memory.values) {
            if last
                .as_ref()
                .is_some_and(|last| text::holds(cx.py, last, value))
            {
                continue;
            }
            let text = self.text(cx, value)?;
            // Forgotten first: should putting it into the template fail, the next request tries again.
            *last = None;
            if let Some(key) = self.keys.get(key as usize) {
                dict::set(constants, key, &text)?;
            }
            *last = Some(Ref::new(text));
        }
        memory.steady = steady;
        Ok(Vec::new())
    }

    fn text<'py>(&self, cx: Cx<'py>, value: &[u8]) -> PyResult<Object<'py>> {
        if value.is_empty() {
            return Ok(self.empty.bind(cx.py));
        }
        Encoding::Latin1.decode(cx.py, value)
    }
}

fn of(text: Option<&std::ffi::CStr>) -> &[u8] {
    text.map(std::ffi::CStr::to_bytes).unwrap_or_default()
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

/// Splits the URI into SCRIPT_NAME and PATH_INFO.
fn parts<'r>(host: Host<'r>, place: &Place<'_>) -> (&'r [u8], &'r [u8]) {
    let uri = host.uri().unwrap_or_default().to_bytes();
    uri.split_at_checked(place.base).unwrap_or((uri, &[]))
}

/// Reads what the proxy in front of us says, if it can be believed.
fn hear<'r>(host: Host<'r>, proxies: &Proxies) -> Told<'r> {
    let table = host.headers_in();
    let headers = table.iter().flat_map(|table| table.entries());
    let headers = headers.map(|(name, value)| (name.to_bytes(), of(value)));
    proxies.hear(of(host.connection().client_ip()), headers)
}

/// A request's environ, as `Template::fill` has made it.
pub(super) struct Filled<'py> {
    pub(super) environ: Bound<'py, PyDict>,
    /// Do the headers announce a body?
    pub(super) has_body: bool,
}

/// An environ while it is filled.
pub(super) struct Filling<'a, 'py> {
    cx: Cx<'py>,
    template: &'a Template,
    environ: Bound<'py, PyDict>,
}

impl<'py> Filling<'_, 'py> {
    fn object(&self, key: Key, value: &Object<'py>) -> PyResult<()> {
        match self.template.keys.get(key as usize) {
            Some(key) => dict::set(&self.environ, key, value),
            None => Ok(()),
        }
    }

    pub(super) fn bytes(&self, key: Key, value: &[u8]) -> PyResult<()> {
        self.object(key, &self.template.text(self.cx, value)?)
    }

    pub(super) fn remove(&self, key: Key) -> PyResult<()> {
        self.template.remove(self.cx, &self.environ, key)
    }

    fn remembered(&self, last: &mut Option<Ref>, value: &[u8]) -> PyResult<Object<'py>> {
        if let Some(last) = last
            && text::holds(self.cx.py, last, value)
        {
            return Ok(last.bind(self.cx.py));
        }
        let text = self.template.text(self.cx, value)?;
        if value.len() <= SHORT {
            *last = Some(Ref::new(text.clone()));
        }
        Ok(text)
    }

    fn optional(&self, key: Key, value: Option<&std::ffi::CStr>) -> PyResult<()> {
        value.map_or(Ok(()), |value| self.bytes(key, value.to_bytes()))
    }

    /// Adds the variables that SetEnv, mod_ssl and other modules have set. As for CGI programs they take the place of headers, but
    /// not of what the request itself says. Gives back those that say where the request came from (`Said`).
    fn variables(&self, host: Host<'_>) -> PyResult<Option<Said>> {
        let mut said = None;
        let Some(table) = host.subprocess_env() else {
            return Ok(said);
        };
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), of(value));
            let is_origin = name == b"HTTPS" || name == b"SERVER_PORT";
            if is_origin && said.get_or_insert_with(Said::default).hear(name, value) {
                continue;
            }
            let is_own = || KEYS.iter().take(ALWAYS).any(|key| key.as_bytes() == name);
            if !HIDDEN.contains(&name) && !is_own() && !host.is_stand_in(value) {
                let name = Encoding::Latin1.decode(self.cx.py, name)?;
                let value = self.template.text(self.cx, value)?;
                self.environ.set_item(name, value)?;
            }
        }
        Ok(said)
    }

    /// Adds the keys that only some requests have.
    fn sometimes(&self, host: Host<'_>, place: &Place<'_>) -> PyResult<()> {
        self.optional(Key::REMOTE_USER, host.user())?;
        self.optional(Key::AUTH_TYPE, host.ap_auth_type())?;
        match place.file() {
            Some(file) => self.bytes(Key::FILENAME, file.as_bytes())?,
            None => self.optional(Key::FILENAME, host.filename())?,
        }
        // Where it is empty the template is right.
        let signature = host.signature().filter(|text| !text.is_empty());
        self.optional(Key::SIGNATURE, signature)?;
        let prefix = host.context_prefix().filter(|text| !text.is_empty());
        self.optional(Key::PREFIX, prefix)?;
        if let Some(before) = host.prev() {
            self.optional(Key::REDIRECT_URL, before.redirect_url())?;
            self.optional(Key::REDIRECT_QUERY, before.args())?;
        }
        Ok(())
    }

    /// Adds the request's headers. Is there one that announces a body?
    fn headers(
        &self,
        host: Host<'_>,
        memory: Option<&mut Memory>,
        told: Option<&Told<'_>>,
    ) -> PyResult<bool> {
        let mut has_body = false;
        let Some(table) = host.headers_in() else {
            return Ok(has_body);
        };
        let mut own = Names::default();
        let known = memory.map_or(&mut own, |memory| &mut memory.headers);
        known.begin();
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), of(value));
            let done = known.with(self.cx, name, |header| match header.kind {
                Kind::Forwarding if told.is_some_and(|told| !told.shows(name)) => Ok(()),
                Kind::TransferEncoding => {
                    has_body = true;
                    Ok(())
                }
                Kind::ContentLength => {
                    has_body = true;
                    self.bytes(Key::CONTENT_LENGTH, value)
                }
                _ => self.header(host, header, value),
            });
            done.transpose()?;
        }
        Ok(has_body)
    }

    fn header(&self, host: Host<'_>, header: &mut Header, value: &[u8]) -> PyResult<()> {
        let text = match header.kind {
            Kind::ContentType => return self.bytes(Key::CONTENT_TYPE, value),
            Kind::Authorization if !host.passes_authorization() => return Ok(()),
            Kind::Steady => self.remembered(&mut header.last, value)?,
            _ => self.template.text(self.cx, value)?,
        };
        match dict::set_default(&self.environ, &header.key, &text)? {
            None => Ok(()),
            Some(before) => self.join(&header.key, &before, &text, header.kind),
        }
    }

    /// Joins the value of a header that has come before to the earlier one.
    fn join(
        &self,
        key: &Ref,
        before: &Object<'py>,
        text: &Object<'py>,
        kind: Kind,
    ) -> PyResult<()> {
        let separator = if kind == Kind::Cookie { "; " } else { ", " };
        let (before, text): (String, String) = (before.extract()?, text.extract()?);
        let joined = PyString::new(self.cx.py, &format!("{before}{separator}{text}"));
        dict::set(&self.environ, key, &joined)
    }
}
