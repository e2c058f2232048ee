//! `environ`: a template an interpreter, copied for each request.
//!
//! The template is a dict with every key that is always there, so that a copy is one block of memory that need not grow.
//! What differs from the request before is put into the template before it is copied: all of these keys, each time, so
//! nothing of another request can stay. Keys are interned once, a header's key is made once.

use super::application::Place;
use super::{Object, interned};
use crate::embed::Cx;
use crate::embed::cell::Ref;
use crate::embed::dict;
use crate::embed::text::{self, Encoding};
use crate::httpd::faults;
use crate::httpd::gateway::server_banner;
use crate::httpd::lease::Held;
use crate::httpd::request::Request as Host;
use crate::httpd::server::mpm_query;
use crate::objects::exchange::Exchange;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use rustc_hash::FxHashMap;
use std::sync::Mutex;

/// What is the same for every request, and what is remembered of earlier ones.
pub(super) struct Template {
    constants: Ref,
    keys: [Ref; KEYS.len()],
    empty: Ref,
    memory: Mutex<Memory>,
}

/// What earlier requests have had.
#[derive(Default)]
struct Memory {
    /// By the header's name as clients send it.
    headers: FxHashMap<Box<[u8]>, Header>,
    /// The text that the template holds, by `Key`.
    values: [Option<Ref>; ALWAYS],
}

struct Header {
    kind: Kind,
    key: Ref,
    last: Option<Ref>,
}

/// What a header is to the environ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ContentType,
    ContentLength,
    Authorization,
    /// Repeated ones are joined by a semicolon.
    Cookie,
    /// A client sends the same value again and again; nothing in it is secret.
    Steady,
    Other,
}

impl Kind {
    fn of(name: &[u8]) -> Kind {
        const STEADY: [&[u8]; 6] = [
            b"host",
            b"accept",
            b"accept-encoding",
            b"accept-language",
            b"connection",
            b"user-agent",
        ];
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match () {
            () if is(b"content-type") => Kind::ContentType,
            () if is(b"content-length") => Kind::ContentLength,
            () if is(b"authorization") => Kind::Authorization,
            () if is(b"cookie") => Kind::Cookie,
            () if STEADY.iter().any(|known| is(known)) => Kind::Steady,
            () => Kind::Other,
        }
    }
}

macro_rules! keys {
    ($($name:ident $text:literal),* $(,)?) => {
        #[derive(Clone, Copy)]
        #[expect(clippy::upper_case_acronyms, reason = "the names that PEP 3333 and RFC 3875 give them")]
        #[expect(non_camel_case_types, reason = "as above")]
        enum Key { $($name),* }
        const KEYS: &[&str] = &[$($text),*];
    };
}

// The first ALWAYS of them are there in every environ.
keys! {
    METHOD "REQUEST_METHOD", SCRIPT "SCRIPT_NAME", PATH "PATH_INFO", QUERY "QUERY_STRING", URI "REQUEST_URI",
    NAME "SERVER_NAME", PORT "SERVER_PORT", PROTOCOL "SERVER_PROTOCOL", ADDR "SERVER_ADDR", SCHEME "wsgi.url_scheme",
    REQUEST_SCHEME "REQUEST_SCHEME", REMOTE_ADDR "REMOTE_ADDR", REMOTE_PORT "REMOTE_PORT", ROOT "DOCUMENT_ROOT",
    CONTEXT_ROOT "CONTEXT_DOCUMENT_ROOT", INPUT "wsgi.input", REQUEST "mod_python.request",
    REMOTE_USER "REMOTE_USER", AUTH_TYPE "AUTH_TYPE", PREFIX "CONTEXT_PREFIX",
    CONTENT_TYPE "CONTENT_TYPE", CONTENT_LENGTH "CONTENT_LENGTH",
}
const ALWAYS: usize = Key::REMOTE_USER as usize;

/// At most so many header names are remembered: clients choose them.
const REMEMBERED: usize = 256;
/// Longer values are not kept for the next request.
const SHORT: usize = 200;

/// What no application gets to see: the process's own, which ap_add_common_vars may have put there.
const HIDDEN: [&[u8]; 5] = [
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
            // httpd always has a value for them; what it leaves out is empty.
            constants.set_item(interned(cx, key).bind(cx.py), "")?;
        }
        constants.set_item("wsgi.version", (1, 0))?;
        constants.set_item("wsgi.multithread", mpm_query(IS_THREADED) != 0)?;
        constants.set_item("wsgi.multiprocess", mpm_query(IS_FORKED) != 0)?;
        constants.set_item("wsgi.run_once", false)?;
        constants.set_item("wsgi.input_terminated", true)?;
        // Not what an application has put into `sys`: it is closed at that application's will.
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

    /// A new `environ`.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn fill<'py>(
        &self,
        cx: Cx<'py>,
        held: &Held<'_, Exchange>,
        place: &Place<'_>,
        request: &Object<'py>,
    ) -> PyResult<Object<'py>> {
        let host = held.request();
        let constants = self.constants.bind(cx.py).cast_into::<PyDict>()?;
        // Who finds it in use does without.
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
        filling.headers(host, memory.as_deref_mut())?;
        filling.variables(host)?;
        filling.sometimes(host)?;
        Ok(filling.environ.into_any())
    }

    /// Puts what has changed into the template; without memory, gives everything back for the copy.
    fn refresh<'py>(
        &self,
        cx: Cx<'py>,
        constants: &Bound<'py, PyDict>,
        mut memory: Option<&mut Memory>,
        host: Host<'_>,
        place: &Place<'_>,
    ) -> PyResult<Vec<(Key, Object<'py>)>> {
        let uri = host.uri().unwrap_or_default().to_bytes();
        let (script, path) = uri.split_at_checked(place.base).unwrap_or((uri, &[]));
        let is_secure = host.scheme().is_some_and(|scheme| scheme == c"https");
        let scheme = if is_secure { &b"https"[..] } else { b"http" };
        let (_, remote_port) = host.useragent_addr();
        let (mut port, mut remote) = ([0; 5], [0; 5]);
        let values: [(Key, &[u8]); ALWAYS - 2] = [
            (Key::METHOD, of(host.method())),
            (Key::SCRIPT, script),
            (Key::PATH, path),
            (Key::QUERY, of(host.args())),
            (Key::URI, of(host.original().unparsed_uri())),
            (Key::NAME, of(host.server_name())),
            (Key::PORT, decimal(host.server_port(), &mut port)),
            (Key::PROTOCOL, of(host.protocol())),
            (Key::ADDR, of(host.connection().local_ip())),
            (Key::SCHEME, scheme),
            (Key::REQUEST_SCHEME, scheme),
            (Key::REMOTE_ADDR, of(host.useragent_ip())),
            (Key::REMOTE_PORT, decimal(remote_port, &mut remote)),
            (Key::ROOT, of(host.document_root())),
            (Key::CONTEXT_ROOT, of(host.context_document_root())),
        ];
        let mut late = Vec::new();
        for (key, value) in values {
            let place = key as usize;
            let last = memory
                .as_deref_mut()
                .and_then(|memory| memory.values.get_mut(place));
            match last {
                Some(Some(last)) if text::holds(cx.py, last, value) => {}
                Some(last) => {
                    let text = self.text(cx, value)?;
                    // First what is remembered: should putting it into the template fail, the next request tries again.
                    *last = None;
                    if let Some(key) = self.keys.get(place) {
                        dict::set(constants, key, &text)?;
                    }
                    *last = Some(Ref::new(text));
                }
                None => late.push((key, self.text(cx, value)?)),
            }
        }
        Ok(late)
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

struct Filling<'a, 'py> {
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

    fn bytes(&self, key: Key, value: &[u8]) -> PyResult<()> {
        self.object(key, &self.template.text(self.cx, value)?)
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

    /// What SetEnv, mod_ssl and other modules have prepared: covers headers, as for CGI programs, but not what the request
    /// itself says.
    fn variables(&self, host: Host<'_>) -> PyResult<()> {
        let Some(table) = host.subprocess_env() else {
            return Ok(());
        };
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), value.unwrap_or_default().to_bytes());
            let is_own = || KEYS.iter().take(ALWAYS).any(|key| key.as_bytes() == name);
            if !HIDDEN.contains(&name) && !is_own() {
                let name = Encoding::Latin1.decode(self.cx.py, name)?;
                let value = self.template.text(self.cx, value)?;
                self.environ.set_item(name, value)?;
            }
        }
        Ok(())
    }

    /// What only some requests have.
    fn sometimes(&self, host: Host<'_>) -> PyResult<()> {
        self.optional(Key::REMOTE_USER, host.user())?;
        self.optional(Key::AUTH_TYPE, host.ap_auth_type())?;
        let prefix = host.context_prefix().filter(|text| !text.is_empty());
        self.optional(Key::PREFIX, prefix)
    }

    /// The request's headers, each looked at once.
    fn headers(&self, host: Host<'_>, memory: Option<&mut Memory>) -> PyResult<()> {
        let Some(table) = host.headers_in() else {
            return Ok(());
        };
        let mut own = FxHashMap::default();
        let known = memory.map_or(&mut own, |memory| &mut memory.headers);
        if known.len() > REMEMBERED {
            known.clear();
        }
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), value.unwrap_or_default().to_bytes());
            if let Some(header) = known.get_mut(name) {
                self.header(host, header, value)?;
            } else if let Some(key) = variable(name) {
                let mut header = Header {
                    kind: Kind::of(name),
                    key: interned(self.cx, &key),
                    last: None,
                };
                self.header(host, &mut header, value)?;
                known.insert(name.into(), header);
            }
        }
        Ok(())
    }

    fn header(&self, host: Host<'_>, header: &mut Header, value: &[u8]) -> PyResult<()> {
        let text = match header.kind {
            Kind::ContentType => return self.bytes(Key::CONTENT_TYPE, value),
            Kind::ContentLength => return self.bytes(Key::CONTENT_LENGTH, value),
            Kind::Authorization if !host.passes_authorization() => return Ok(()),
            Kind::Steady => self.remembered(&mut header.last, value)?,
            _ => self.template.text(self.cx, value)?,
        };
        match dict::set_default(&self.environ, &header.key, &text)? {
            None => Ok(()),
            Some(before) => self.join(&header.key, &before, &text, header.kind),
        }
    }

    /// A header that comes again is joined to the one before.
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

/// `HTTP_…` for a header; None for names that could be mistaken for others (`X_A` and `X-A`), and for Proxy (httpoxy).
fn variable(name: &[u8]) -> Option<String> {
    let clean = name
        .iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !clean || name.is_empty() || name.eq_ignore_ascii_case(b"proxy") {
        return None;
    }
    let mut key = String::with_capacity(name.len() + 5);
    key.push_str("HTTP_");
    key.extend(name.iter().map(|&byte| match byte {
        b'-' => '_',
        byte => char::from(byte.to_ascii_uppercase()),
    }));
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_headers() {
        assert_eq!(variable(b"X-Real-ip").as_deref(), Some("HTTP_X_REAL_IP"));
        for bad in [
            &b"X_Real_IP"[..],
            b"Proxy",
            b"proxy",
            b"",
            b"a b",
            b"a.b",
            b"\xe9",
        ] {
            assert_eq!(variable(bad), None, "{bad:?}");
        }
    }

    /// No name can be taken for another one's, for a variable of the server's, or for HTTP_PROXY.
    fn check(name: &[u8]) {
        if let Some(key) = variable(name) {
            let rest = key.strip_prefix("HTTP_").unwrap();
            assert_eq!(rest.len(), name.len());
            assert!(rest.bytes().zip(name).all(|(to, &from)| match to {
                b'_' => from == b'-',
                to => to == from.to_ascii_uppercase() && to.is_ascii_alphanumeric(),
            }));
            assert_ne!(key, "HTTP_PROXY");
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("environ", check);
    }
}
