//! Cookie fields that httpd has joined. It joins fields of one name with a comma, which is right for lists; cookies are separated by
//! semicolons (RFC 6265, 4.2.1), and mod_http2 joins theirs so (RFC 9113, 8.2.3).

use crate::httpd::apr::table::{Table, same};
use crate::httpd::request::Request;
use std::ffi::CStr;

impl Request<'_> {
    /// Puts semicolons between what were several Cookie fields of a request of HTTP/1. A field that has come as one stays as it is,
    /// whatever commas are in it.
    pub(crate) fn separate_cookies(self) {
        if self.main().is_some() || self.prev().is_some() || !self.connection().is_primary() {
            return;
        }
        // Most requests have none, which a table knows at once.
        let has_any = |table: &Table<'_>| table.first(COOKIE).is_some();
        let Some(table) = self.headers_in().filter(has_any) else {
            return;
        };
        let found = table
            .entries()
            .find(|(name, _)| name.count_bytes() == COOKIE.count_bytes() && same(name, COOKIE));
        let Some((name, Some(value))) = found else {
            return;
        };
        if !is_as_received(name, value)
            && let Some(separated) = separated(value.to_bytes())
        {
            table.set(COOKIE, self.pool().c_string(&separated));
        }
    }
}

const COOKIE: &CStr = c"Cookie";

/// So many spaces may stand between a field's colon and its value.
const SPACES: usize = 16;

/// Is the value where httpd has read it, behind its name in one line? What it has joined lies elsewhere.
fn is_as_received(name: &CStr, value: &CStr) -> bool {
    let end = name.as_ptr().addr() + name.count_bytes() + 1;
    let place = value.as_ptr().addr();
    place >= end && place - end <= SPACES
}

/// Puts a semicolon in place of each comma that a cookie's name follows, but for what is quoted; None where there is none.
fn separated(value: &[u8]) -> Option<Vec<u8>> {
    let mut result = None;
    let mut is_quoted = false;
    for (place, &byte) in value.iter().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                let rest = value.get(place + 1..).unwrap_or_default();
                if begins_cookie(rest)
                    && let Some(comma) = result.get_or_insert_with(|| value.to_vec()).get_mut(place)
                {
                    *comma = b';';
                }
            }
            _ => {}
        }
    }
    result
}

/// Does a space and a name with its `=` come next?
fn begins_cookie(text: &[u8]) -> bool {
    let Some(text) = text.strip_prefix(b" ") else {
        return false;
    };
    let end = text.iter().position(|&byte| !is_of_token(byte));
    end.is_some_and(|end| end > 0 && text.get(end) == Some(&b'='))
}

/// May the byte be part of a token (RFC 9110, 5.6.2)?
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::separated;

    #[test]
    fn commas_become_semicolons_where_a_cookie_follows() {
        for (joined, expected) in [
            ("a=1, b=2", Some("a=1; b=2")),
            ("a=1; c=3, b=2, d=", Some("a=1; c=3; b=2; d=")),
            ("a=Thu, 01 Jan, b=2", Some("a=Thu, 01 Jan; b=2")),
            ("a=\"x, y=z\", b=2", Some("a=\"x, y=z\"; b=2")),
            ("a=1,b=2", None),
            ("a=1, b", None),
            ("a=1, =2", None),
            ("a={\"b\": 1, \"c\"=2}", None),
            ("a", None),
            ("", None),
        ] {
            let found = separated(joined.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{joined}");
        }
    }
}
