//! The request's headers as `HTTP_…` keys of the environ.
//!
//! A client chooses the names of its headers, and could choose new ones for ever. So the keys that are remembered are limited in
//! number, and only those of well-known names are interned: an interned text lives as long as the interpreter (from Python 3.12 on).

use crate::embed::Cx;
use crate::embed::cell::Ref;
use crate::embed::text::Known;
use crate::gateway::request_headers::{Kind, is_secret};
use pyo3::types::PyString;
use rustc_hash::FxHashMap;

/// How many header names are remembered at most.
const REMEMBERED: usize = 256;
/// Up to how many bytes a name is remembered.
const SHORT: usize = 64;

/// The headers that earlier requests have had, by their names as clients have sent them.
#[derive(Default)]
pub(super) struct Names(FxHashMap<Box<[u8]>, Header>);

/// What is known of headers of one name.
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) key: Ref,
    /// The value that the last request had, for headers of the kind `Steady`.
    pub(super) last: Option<Known>,
}

impl Names {
    /// To be called before the headers of each request: forgets all, where there are too many.
    pub(super) fn begin(&mut self) {
        if self.0.len() > REMEMBERED {
            self.0.clear();
        }
    }

    /// Calls `body` with what is known of a header. None for one that applications do not get.
    pub(super) fn with<R>(
        &mut self,
        cx: Cx<'_>,
        name: &[u8],
        body: impl FnOnce(&mut Header) -> R,
    ) -> Option<R> {
        if let Some(header) = self.0.get_mut(name) {
            return Some(body(header));
        }
        let key = variable(name)?;
        let known = WELL_KNOWN
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        let mut header = Header {
            kind: Kind::of(name),
            key: if known {
                interned(cx, &key)
            } else {
                Ref::new(PyString::new(cx.py, &key).into_any())
            },
            last: None,
        };
        let result = body(&mut header);
        if name.len() <= SHORT {
            self.0.insert(name.into(), header);
        }
        Some(result)
    }
}

/// Interns a text in this interpreter.
pub(super) fn interned(cx: Cx<'_>, text: &str) -> Ref {
    Ref::new(PyString::intern(cx.py, text).into_any())
}

/// The names whose keys are interned, so that they are the same objects as the literals in applications, which makes look-ups fast.
const WELL_KNOWN: [&str; 49] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "dnt",
    "expect",
    "forwarded",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "te",
    "traceparent",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-csrftoken",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
];

/// Makes a header's key, `HTTP_…`. None for names that could be mistaken for others (`X_A` and `X-A`), and for those that no application
/// gets.
fn variable(name: &[u8]) -> Option<String> {
    let clean = name
        .iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !clean || name.is_empty() || is_secret(name) {
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
            b"Proxy-Authorization",
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
            assert!(key != "HTTP_PROXY" && key != "HTTP_PROXY_AUTHORIZATION");
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("environ", check);
    }
}
