//! Which bytes may become a header, a status line or a content type (invariant 5).

const TOKEN: u8 = 1;
const VALUE: u8 = 2;

/// For each byte: may it be part of a name, of a value?
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let (this, mut kind) = (byte as u8, 0);
        let marks = b"!#$%&'*+-.^_`|~";
        let mut place = 0;
        while place < marks.len() {
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            if marks[place] == this {
                kind = TOKEN;
            }
            place += 1;
        }
        if this.is_ascii_alphanumeric() {
            kind = TOKEN;
        }
        if this == b'\t' || !this.is_ascii_control() {
            kind |= VALUE;
        }
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            kinds[byte] = kind;
        }
        byte += 1;
    }
    kinds
};

fn is(byte: u8, kind: u8) -> bool {
    KINDS
        .get(usize::from(byte))
        .is_some_and(|kinds| kinds & kind != 0)
}

/// Is this a header name: an RFC 9110 token?
pub(crate) fn is_name(name: &[u8]) -> bool {
    // All of them are looked at: what is sent is a name, and so there is no branch for each byte.
    let kinds = name.iter().map(|&byte| KINDS.get(usize::from(byte)));
    let all = kinds.fold(TOKEN, |all, kinds| all & kinds.copied().unwrap_or(0));
    !name.is_empty() && all != 0
}

/// Is this the name of a header, in whatever case? `usual` is how it is mostly written.
pub(in crate::httpd) fn is_called(name: &[u8], usual: &[u8]) -> bool {
    name == usual || name.eq_ignore_ascii_case(usual)
}

/// Is this a header value: no CR, LF, NUL or other control character but a tab?
pub(crate) fn is_value(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    words.iter().all(|word| !holds_control(*word)) && rest.iter().all(|&byte| is(byte, VALUE))
}

/// Is there a control character among eight bytes? Looks at all at once, and at each only where that finds something.
fn holds_control(word: [u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const DELETES: u64 = ONES * 127;
    const TOPS: u64 = ONES << 7;
    let bytes = u64::from_ne_bytes(word);
    // The top bit of a byte is set where it is below 32, or is 127 (or where a lower byte was).
    let low = bytes.wrapping_sub(ONES * 32) & !bytes;
    let delete = (bytes ^ DELETES).wrapping_sub(ONES) & !(bytes ^ DELETES);
    (low | delete) & TOPS != 0 && !word.iter().all(|&byte| is(byte, VALUE))
}

/// Says why a response header must not be set so; None where it may.
pub(crate) fn refusal(name: &[u8], value: &[u8]) -> Option<String> {
    let shown = || String::from_utf8_lossy(name);
    if !is_name(name) {
        return Some(format!("{:?} is not a header name", shown()));
    }
    if !is_value(value) {
        return Some(format!(
            "the value of the header {} holds a control character",
            shown()
        ));
    }
    if is_called(name, b"Transfer-Encoding")
        || is_called(name, b"Connection") && !value.eq_ignore_ascii_case(b"close")
    {
        return Some(format!("the header {} is httpd's own to set", shown()));
    }
    if is_called(name, b"Content-Length") && length(value).is_none() {
        return Some("Content-Length must be a number of bytes".into());
    }
    None
}

/// Reads the number of a Content-Length.
pub(crate) fn length(value: &[u8]) -> Option<i64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_i64, |length, &byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens() {
        assert!(is_name(b"Content-Type") && is_name(b"x"));
        for bad in [&b""[..], b"a b", b"a:b", b"a\r\nb", b"\xe9", b"a\0"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn values_hold_no_controls() {
        assert!(is_value(b"text/html; x=\"y\"\t\xe9"));
        for bad in [&b"a\r"[..], b"a\nSet-Cookie: x", b"\0", b"\x7f"] {
            assert!(!is_value(bad), "{bad:?}");
        }
        for byte in 0..=u8::MAX {
            for place in 0..11 {
                let mut value = *b"plain value";
                value[place] = byte;
                let fine = byte == b'\t' || !byte.is_ascii_control();
                assert_eq!(is_value(&value), fine, "{value:?}");
            }
        }
    }

    #[test]
    fn framing_stays_with_httpd() {
        assert!(refusal(b"Transfer-Encoding", b"chunked").is_some());
        assert!(
            refusal(b"connection", b"keep-alive").is_some()
                && refusal(b"Connection", b"close").is_none()
        );
        assert!(
            refusal(b"Content-Length", b"1x").is_some()
                && refusal(b"Content-Length", b"-1").is_some()
        );
        assert!(refusal(b"content-length", b"12").is_none());
        assert_eq!(length(b"9223372036854775807"), Some(i64::MAX));
        for bad in [&b""[..], b"9223372036854775808", b"+1", b" 1"] {
            assert_eq!(length(bad), None);
        }
        assert!(refusal(b"X", b"y").is_none());
    }

    /// Nothing that is accepted can end a line, or be taken for httpd's own framing.
    fn check(input: &[u8]) {
        let (name, value) = match input.iter().position(|&byte| byte == 0) {
            Some(place) => (&input[..place], &input[place + 1..]),
            None => (input, &b"x"[..]),
        };
        let naive = |bytes: &[u8]| {
            bytes
                .iter()
                .all(|&byte| byte == b'\t' || (byte >= 32 && byte != 127))
        };
        assert_eq!(is_value(value), naive(value));
        if refusal(name, value).is_none() {
            assert!(naive(value) && !name.is_empty());
            assert!(
                name.iter()
                    .all(|&byte| byte > 32 && byte < 127 && byte != b':')
            );
            assert!(!name.eq_ignore_ascii_case(b"transfer-encoding"));
            if name.eq_ignore_ascii_case(b"content-length") {
                assert!(length(value).is_some_and(|length| length >= 0));
            }
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("header", check);
    }
}
