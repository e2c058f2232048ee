//! Fields behind the body (RFC 9110, 6.5). mod_http2 sends them; httpd's own filter for chunks ends a body without.

use crate::httpd::request::Request;
use crate::httpd::sys;

impl Request<'_> {
    /// Has it come over HTTP/2? A line of HTTP/1.x may say so, too: httpd answers that as 1.1.
    pub(crate) fn is_http2(self) -> bool {
        self.proto_num() >= 2000 && (!self.connection().is_primary() || self.handed().is_some())
    }

    /// Can an answer have trailers? Over HTTP/2, and not as a part of a page.
    pub(crate) fn can_trail(self) -> bool {
        // SAFETY: a live request; the address is compared only.
        let is_whole = unsafe { (*self.as_ptr()).main.is_null() };
        is_whole && self.is_http2()
    }

    /// Adds trailers, which have been checked, to an answer whose end has not been given to httpd. They are forgotten where the client has
    /// not said that it takes any (`TE: trailers`), and where the answer has no body.
    pub(crate) fn add_trailers<'h>(self, trailers: impl Iterator<Item = (&'h [u8], &'h [u8])>) {
        let has_body = !self.header_only() && !matches!(self.status(), 204 | 304);
        if !has_body || !self.can_trail() || !self.takes_trailers() {
            return;
        }
        let copy = |text: &[u8]| self.pool().c_string(text).as_ptr();
        // SAFETY: a live request; the table and all texts lie in its pool.
        unsafe {
            let request = self.as_ptr();
            if (*request).trailers_out.is_null() {
                (*request).trailers_out = sys::apr_table_make((*request).pool, 4);
            }
            for (name, value) in trailers {
                sys::apr_table_addn((*request).trailers_out, copy(name), copy(value));
            }
        }
    }

    fn takes_trailers(self) -> bool {
        let said = self.headers_in().and_then(|table| table.first(c"TE"));
        let mut words = said
            .map(|said| said.to_bytes().split(|&byte| byte == b','))
            .into_iter()
            .flatten();
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    }
}
