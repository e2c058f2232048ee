//! The head of an answer: checks the status and headers that an application gives (RFC 9110), and takes over what httpd may be told.
//!
//! A gateway brings bytes here, whatever its interface has them in. Content-Length, and Accept-Ranges: none, are `Head`'s to keep.

use crate::httpd::request::response_head::{Head, status_line};
use crate::httpd::request::{Request as RequestRec, header};

/// What has become of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Added,
    /// It is the server's to set, which sets its own or needs none.
    LeftOut,
}

/// Begins a head with a status, `200 OK` or `200`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn head(request: RequestRec<'_>, line: &[u8]) -> Result<Head, String> {
    let code = code_of(line).ok_or_else(|| {
        format!(
            "the status {:?} must be three digits, a space and a reason, such as '200 OK'",
            String::from_utf8_lossy(line)
        )
    })?;
    check_status(code)?;
    if line.len() > 3 {
        return Ok(Head::new(request, code, line));
    }
    let line = match status_line(code) {
        Some(line) => line.to_bytes().to_vec(),
        None => [line, b" Unassigned"].concat(),
    };
    Ok(Head::new(request, code, &line))
}

/// Checks the status of an answer.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_status(code: i32) -> Result<(), String> {
    match code {
        200..=999 => Ok(()),
        100..200 => Err("an application cannot answer with a status below 200".into()),
        _ => Err(format!("the status {code} has not three digits")),
    }
}

/// Adds a header.
///
/// # Errors
/// Why it cannot be sent.
pub(super) fn add(
    head: &mut Head,
    request: RequestRec<'_>,
    name: &[u8],
    value: &[u8],
) -> Result<Fate, String> {
    let fate = check(name, value)?;
    if fate == Fate::Added {
        head.add(request, name, value);
    }
    Ok(fate)
}

/// Checks a header, and says what becomes of it.
///
/// # Errors
/// Why it cannot be sent.
pub(super) fn check(name: &[u8], value: &[u8]) -> Result<Fate, String> {
    let hop = hop_by_hop(name);
    if hop == Some(Hop::Framing) {
        let name = String::from_utf8_lossy(name);
        return Err(format!("the header {name} is the server's own to set"));
    }
    // The value of a header that is left out is checked as any other's. `X` in place of the name, since `Connection` itself
    // would be refused.
    let checked = if hop.is_some() { b"X" } else { name };
    if let Some(reason) = header::refusal(checked, value) {
        return Err(reason);
    }
    Ok(match hop {
        Some(_) => Fate::LeftOut,
        None => Fate::Added,
    })
}

/// Checks a header that follows the body, and says what becomes of it: nothing there can say how the answer is to be read, or whose it is
/// (RFC 9110, 6.5.1).
///
/// # Errors
/// Why it cannot be sent.
pub(super) fn check_trailer(name: &[u8], value: &[u8]) -> Result<Fate, String> {
    const OF_HEADS: [&[u8]; 7] = [
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"content-range",
        b"host",
        b"set-cookie",
        b"cache-control",
    ];
    if OF_HEADS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
    {
        let name = String::from_utf8_lossy(name);
        return Err(format!("the header {name} cannot follow the body"));
    }
    check(name, value)
}

/// Reads the code of `NNN reason`, or of `NNN`; None for anything else.
fn code_of(line: &[u8]) -> Option<i32> {
    let (digits, rest) = line.split_at_checked(3)?;
    let printable = rest
        .iter()
        .all(|&byte| !byte.is_ascii_control() && !(0x80..0xa0).contains(&byte));
    if !(rest.is_empty() || rest.starts_with(b" "))
        || !printable
        || !digits.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    let code = digits
        .iter()
        .fold(0, |code, &digit| code * 10 + i32::from(digit - b'0'));
    (100..=999).contains(&code).then_some(code)
}

/// Headers for the next hop alone (RFC 9110, 7.6.1), which are the server's to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    /// Says how the answer is to be read. Refused: the application means to send something that httpd would not send so.
    Framing,
    /// Left out: httpd sets its own, or needs none.
    Idle,
}

fn hop_by_hop(name: &[u8]) -> Option<Hop> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    let start = name.first().map(u8::to_ascii_lowercase);
    let (framing, idle) = match start? {
        b'c' => (false, is(b"connection")),
        b'k' => (false, is(b"keep-alive")),
        b'p' => (false, is_of_proxies(name)),
        b't' => {
            let idle = is(b"te") || is(b"trailer") || is(b"trailers");
            (is(b"transfer-encoding"), idle)
        }
        b'u' => (is(b"upgrade"), false),
        _ => (false, false),
    };
    match (framing, idle) {
        (true, _) => Some(Hop::Framing),
        (_, true) => Some(Hop::Idle),
        _ => None,
    }
}

/// Is it the name of a header that begins with `Proxy-`?
fn is_of_proxies(name: &[u8]) -> bool {
    let start = name.split_at_checked(6).map(|(start, _)| start);
    start.is_some_and(|start| start.eq_ignore_ascii_case(b"proxy-")) && header::is_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(code_of(b"200 OK"), Some(200));
        assert_eq!(code_of(b"404 "), Some(404));
        assert_eq!(code_of(b"404"), Some(404));
        assert_eq!(code_of(b"299 \xe9t\xe9"), Some(299));
        for bad in [
            &b"20"[..],
            b"20 OK",
            b"2000 OK",
            b"abc OK",
            b"099 x",
            b"200 a\r\nb",
            b"200\tOK",
            b"",
            b"-20 x",
            b"200 \x80",
        ] {
            assert_eq!(code_of(bad), None, "{bad:?}");
        }
    }

    fn check(line: &[u8]) {
        if let Some(code) = code_of(line) {
            let text: String = line.iter().map(|&byte| char::from(byte)).collect();
            assert!(format!("{text} ").starts_with(&format!("{code} ")));
            assert!((100..=999).contains(&code));
            assert!(!text.contains(char::is_control));
        }
    }

    #[test]
    fn hops() {
        for name in ["Transfer-Encoding", "upgrade"] {
            assert_eq!(hop_by_hop(name.as_bytes()), Some(Hop::Framing));
        }
        for name in [
            "CONNECTION",
            "Keep-Alive",
            "Trailer",
            "te",
            "Proxy-Authenticate",
            "proxy-x",
        ] {
            assert_eq!(hop_by_hop(name.as_bytes()), Some(Hop::Idle));
        }
        for name in ["Content-Type", "X-Connection", "Proxy", "Proxy-a b", ""] {
            assert_eq!(hop_by_hop(name.as_bytes()), None);
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("status", check);
    }
}
