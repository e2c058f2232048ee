//! `environ`: a template an interpreter, filled for each request.
//!
//! The template is a dict with every key that is always there, so that a copy is one block of memory that need not grow.
//! Values that hardly change are put into it when they do. Keys are interned once, a header's key is made once.

use super::application::Place;
use super::{Object, interned};
use crate::embed::Cx;
use crate::embed::cell::Ref;
use crate::embed::text::Encoding;
use crate::httpd::gateway::server_banner;
use crate::httpd::lease::Held;
use crate::httpd::request::Request as Host;
use crate::httpd::server::mpm_query;
use crate::objects::exchange::Exchange;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustc_hash::FxHashMap;
use std::sync::Mutex;

/// What is the same for every request, and what is remembered of earlier ones.
pub(super) struct Template {
    constants: Ref,
    keys: [Ref; KEYS.len()],
    http: Ref,
    https: Ref,
    empty: Ref,
    memory: Mutex<Memory>,
}

/// What earlier requests have had.
#[derive(Default)]
struct Memory {
    /// By the header's name as clients send it.
    headers: FxHashMap<Box<[u8]>, Header>,
    /// What the template holds, by `Key`.
    values: [Option<Box<[u8]>>; KEYS.len()],
}

/// A value, and its text.
struct Memo(Box<[u8]>, Ref);

struct Header {
    kind: Kind,
    key: Ref,
    last: Option<Memo>,
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
        constants.set_item("wsgi.errors", cx.py.import("sys")?.getattr("stderr")?)?;
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
            http: interned(cx, "http"),
            https: interned(cx, "https"),
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
            environ: constants.copy()?,
        };
        for (key, value) in late {
            filling.object(key, &value)?;
        }
        filling.variables(host)?;
        filling.request(host, place)?;
        filling.headers(host, memory.as_deref_mut())?;
        filling.object(Key::INPUT, request)?;
        filling.object(Key::REQUEST, request)?;
        Ok(filling.environ.into_any())
    }

    /// Puts what hardly changes into the template, where it has; without memory, gives it back for the copy.
    fn refresh<'py>(
        &self,
        cx: Cx<'py>,
        constants: &Bound<'py, PyDict>,
        mut memory: Option<&mut Memory>,
        host: Host<'_>,
        place: &Place<'_>,
    ) -> PyResult<Vec<(Key, Object<'py>)>> {
        let uri = host.uri().unwrap_or_default().to_bytes();
        let mut digits = [0; 5];
        let steady: [(Key, &[u8]); 9] = [
            (Key::METHOD, of(host.method())),
            (Key::SCRIPT, uri.get(..place.base).unwrap_or(uri)),
            (Key::NAME, of(host.server_name())),
            (Key::PORT, decimal(host.server_port(), &mut digits)),
            (Key::PROTOCOL, of(host.protocol())),
            (Key::ADDR, of(host.connection().local_ip())),
            (Key::REMOTE_ADDR, of(host.useragent_ip())),
            (Key::ROOT, of(host.document_root())),
            (Key::CONTEXT_ROOT, of(host.context_document_root())),
        ];
        let mut late = Vec::new();
        for (key, value) in steady {
            let place = key as usize;
            let last = memory
                .as_deref_mut()
                .and_then(|memory| memory.values.get_mut(place));
            match last {
                Some(Some(last)) if **last == *value => {}
                Some(last) => {
                    let text = Encoding::Latin1.decode(cx.py, value)?;
                    if let Some(key) = self.keys.get(place) {
                        constants.set_item(key.bind(cx.py), text)?;
                    }
                    *last = Some(value.into());
                }
                None => late.push((key, Encoding::Latin1.decode(cx.py, value)?)),
            }
        }
        Ok(late)
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
            Some(key) => self.environ.set_item(key.bind(self.cx.py), value),
            None => Ok(()),
        }
    }

    fn text(&self, value: &[u8]) -> PyResult<Object<'py>> {
        if value.is_empty() {
            return Ok(self.template.empty.bind(self.cx.py));
        }
        Encoding::Latin1.decode(self.cx.py, value)
    }

    fn bytes(&self, key: Key, value: &[u8]) -> PyResult<()> {
        self.object(key, &self.text(value)?)
    }

    fn remembered(&self, last: &mut Option<Memo>, value: &[u8]) -> PyResult<Object<'py>> {
        if let Some(Memo(bytes, text)) = last
            && **bytes == *value
        {
            return Ok(text.bind(self.cx.py));
        }
        let text = self.text(value)?;
        if value.len() <= SHORT {
            *last = Some(Memo(value.into(), Ref::new(text.clone())));
        }
        Ok(text)
    }

    fn optional(&self, key: Key, value: Option<&std::ffi::CStr>) -> PyResult<()> {
        value.map_or(Ok(()), |value| self.bytes(key, value.to_bytes()))
    }

    /// What SetEnv, mod_ssl and other modules have prepared.
    fn variables(&self, host: Host<'_>) -> PyResult<()> {
        let Some(table) = host.subprocess_env() else {
            return Ok(());
        };
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), value.unwrap_or_default().to_bytes());
            if !HIDDEN.contains(&name) {
                let name = Encoding::Latin1.decode(self.cx.py, name)?;
                self.environ.set_item(name, self.text(value)?)?;
            }
        }
        Ok(())
    }

    fn request(&self, host: Host<'_>, place: &Place<'_>) -> PyResult<()> {
        let uri = host.uri().unwrap_or_default().to_bytes();
        self.bytes(Key::PATH, uri.get(place.base..).unwrap_or_default())?;
        self.bytes(Key::QUERY, of(host.args()))?;
        self.bytes(Key::URI, of(host.original().unparsed_uri()))?;
        let (_, port) = host.useragent_addr();
        self.bytes(Key::REMOTE_PORT, decimal(port, &mut [0; 5]))?;
        self.optional(Key::REMOTE_USER, host.user())?;
        self.optional(Key::AUTH_TYPE, host.ap_auth_type())?;
        let prefix = host.context_prefix().filter(|text| !text.is_empty());
        self.optional(Key::PREFIX, prefix)?;
        let secure = host
            .scheme()
            .is_some_and(|scheme| scheme.to_bytes() == b"https");
        let scheme = if secure {
            &self.template.https
        } else {
            &self.template.http
        };
        let scheme = scheme.bind(self.cx.py);
        self.object(Key::SCHEME, &scheme)?;
        self.object(Key::REQUEST_SCHEME, &scheme)
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
        // The keys that this request has had.
        let mut seen: Vec<*mut pyo3::ffi::PyObject> = Vec::with_capacity(16);
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), value.unwrap_or_default().to_bytes());
            if !known.contains_key(name) {
                let Some(key) = variable(name) else { continue };
                let header = Header {
                    kind: Kind::of(name),
                    key: interned(self.cx, &key),
                    last: None,
                };
                known.insert(name.into(), header);
            }
            let Some(header) = known.get_mut(name) else {
                continue;
            };
            let text = match header.kind {
                Kind::ContentType => {
                    self.bytes(Key::CONTENT_TYPE, value)?;
                    continue;
                }
                Kind::ContentLength => {
                    self.bytes(Key::CONTENT_LENGTH, value)?;
                    continue;
                }
                Kind::Authorization if !host.passes_authorization() => continue,
                Kind::Steady => self.remembered(&mut header.last, value)?,
                _ => self.text(value)?,
            };
            let key = header.key.bind(self.cx.py);
            if seen.contains(&key.as_ptr()) {
                self.join(&key, &text, header.kind)?;
            } else {
                seen.push(key.as_ptr());
                self.environ.set_item(key, text)?;
            }
        }
        Ok(())
    }

    /// A header that comes again is joined to the one before.
    fn join(&self, key: &Object<'py>, text: &Object<'py>, kind: Kind) -> PyResult<()> {
        let separator = if kind == Kind::Cookie { "; " } else { ", " };
        let before: String = match self.environ.get_item(key)? {
            Some(before) => before.extract()?,
            None => String::new(),
        };
        let joined = format!("{before}{separator}{}", text.extract::<String>()?);
        self.environ.set_item(key, joined)
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
}
