//! Entries of the error log as JSON objects (RFC 8259), one a line, for programs that collect them; and what a request's entry says
//! of a trace that the request is part of (W3C Trace Context).
//!
//! An object is printable ASCII, so that nothing in it can end its line, move a terminal's cursor or be taken for another entry.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// What an entry as an object has beside its text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extra<'e> {
    /// Which interpreter it comes from.
    pub(crate) interpreter: Option<&'e str>,
    /// The name of the logger, where that is not this module.
    pub(crate) logger: Option<&'e str>,
    /// What the object has as its message, where the text is a traceback.
    pub(crate) message: Option<&'e str>,
    /// The exception, an object of JSON.
    pub(crate) exception: Option<&'e str>,
    /// The traceparent that it belongs to, where no request says so.
    pub(crate) traceparent: Option<&'e str>,
    /// What the application adds, an object of JSON.
    pub(crate) fields: Option<&'e str>,
}

/// What an entry says of its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'r> {
    pub(crate) method: &'r [u8],
    /// Without the query, in which there may be secrets.
    pub(crate) uri: &'r [u8],
    pub(crate) id: Option<&'r [u8]>,
    pub(crate) remote: &'r [u8],
    pub(crate) host: &'r [u8],
}

/// A valid traceparent header: the identifiers of a trace and of the caller's span, in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace<'r> {
    pub(crate) trace: &'r str,
    pub(crate) span: &'r str,
}

impl<'r> Trace<'r> {
    /// Reads a traceparent (W3C Trace Context, section 3.2.2); None where it is not valid. A version to come may have more behind.
    pub(crate) fn parse(header: &'r [u8]) -> Option<Trace<'r>> {
        let text = std::str::from_utf8(header).ok()?;
        let is_hex = |part: &str, length: usize| {
            let digits = part
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            part.len() == length && digits
        };
        let is_given = |part: &str| part.bytes().any(|byte| byte != b'0');
        let mut parts = text.split('-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let (span, flags) = (parts.next()?, parts.next()?);
        let ends = parts.next().is_none();
        let is_valid = is_hex(version, 2)
            && version != "ff"
            && (ends || version != "00")
            && is_hex(trace, 32)
            && is_given(trace)
            && is_hex(span, 16)
            && is_given(span)
            && is_hex(flags, 2);
        is_valid.then_some(Trace { trace, span })
    }
}

/// An entry, as what it is made an object of.
pub(crate) struct Record<'e> {
    pub(crate) time: SystemTime,
    pub(crate) level: &'e str,
    pub(crate) text: &'e [u8],
    pub(crate) extra: Extra<'e>,
    pub(crate) about: Option<About<'e>>,
    pub(crate) trace: Option<Trace<'e>>,
    pub(crate) pid: u32,
    pub(crate) thread: i32,
}

impl Record<'_> {
    /// Makes the object; no line end.
    pub(crate) fn object(&self) -> String {
        let mut out = Object::new();
        out.text("time", time(self.time).as_bytes());
        out.text("level", self.level.as_bytes());
        out.text(
            "logger",
            self.extra.logger.unwrap_or("mod_python").as_bytes(),
        );
        let message = self.extra.message.map_or(self.text, str::as_bytes);
        out.text("message", &message_of(message));
        out.json("exception", self.extra.exception);
        if let Some(about) = self.about {
            let mut request = Object::new();
            request.text("method", about.method);
            request.text("uri", about.uri);
            if let Some(id) = about.id {
                request.text("id", id);
            }
            request.text("remote", about.remote);
            request.text("host", about.host);
            out.json("request", Some(&request.close()));
        }
        if let Some(name) = self.extra.interpreter {
            out.text("interpreter", name.as_bytes());
        }
        out.number("pid", i64::from(self.pid));
        out.number("thread", i64::from(self.thread));
        if let Some(trace) = self.trace {
            out.text("trace_id", trace.trace.as_bytes());
            out.text("span_id", trace.span.as_bytes());
        }
        out.json("fields", self.extra.fields);
        out.close()
    }
}

/// So many bytes of an object of several are not its piece of text, at most.
const AROUND: usize = 512;
/// So many bytes, as they are quoted, a text may have in the first of several objects. All of them fit.
const BRIEF: usize = 900;
const NAME: usize = 120;

impl Record<'_> {
    /// As `object`, but none is longer than `most` bytes: where it would be, the first has what fits, and the others are pieces of the
    /// text of that object.
    pub(crate) fn objects(&self, most: usize) -> Vec<String> {
        let whole = self.object();
        if whole.len() <= most {
            return vec![whole];
        }
        let pieces = pieces(&whole, most.saturating_sub(AROUND).max(1));
        let parts = i64::try_from(pieces.len() + 1).unwrap_or(0);
        let pieces = (2..).zip(pieces).map(|(part, piece)| {
            let mut out = self.begun(part, parts);
            out.text("object", piece.as_bytes());
            out.close()
        });
        std::iter::once(self.brief(parts)).chain(pieces).collect()
    }

    /// What all of several objects begin with: together with it they can be put in order.
    fn begun(&self, part: i64, parts: i64) -> Object {
        let mut out = Object::new();
        out.text("time", time(self.time).as_bytes());
        out.text("level", self.level.as_bytes());
        let logger = self.extra.logger.unwrap_or("mod_python");
        out.short("logger", logger.as_bytes(), NAME);
        out.number("pid", i64::from(self.pid));
        out.number("thread", i64::from(self.thread));
        out.number("part", part);
        out.number("parts", parts);
        out
    }

    fn brief(&self, parts: i64) -> String {
        let mut out = self.begun(1, parts);
        let message = self.extra.message.map_or(self.text, str::as_bytes);
        out.short("message", message.trim_ascii_end(), BRIEF);
        if let Some(about) = self.about {
            let mut request = Object::new();
            request.short("method", about.method, NAME);
            request.short("uri", about.uri, BRIEF);
            if let Some(id) = about.id {
                request.short("id", id, NAME);
            }
            request.short("remote", about.remote, NAME);
            request.short("host", about.host, NAME);
            out.json("request", Some(&request.close()));
        }
        if let Some(name) = self.extra.interpreter {
            out.short("interpreter", name.as_bytes(), NAME);
        }
        if let Some(trace) = self.trace {
            out.text("trace_id", trace.trace.as_bytes());
            out.text("span_id", trace.span.as_bytes());
        }
        out.close()
    }
}

/// Splits an object's text, which is ASCII, so that each piece has at most so many bytes when it is quoted.
fn pieces(text: &str, most: usize) -> Vec<&str> {
    let (mut all, mut from, mut length) = (Vec::new(), 0, 0);
    for (place, byte) in text.bytes().enumerate() {
        let quoted = 1 + usize::from(matches!(byte, b'"' | b'\\'));
        if length + quoted > most {
            all.push(text.get(from..place).unwrap_or_default());
            (from, length) = (place, 0);
        }
        length += quoted;
    }
    all.push(text.get(from..).unwrap_or_default());
    all
}

/// How long a message may be, in bytes.
const MOST: usize = 64 << 10;

/// A message without its trailing line end, its middle left out where it is too long.
fn message_of(text: &[u8]) -> Vec<u8> {
    let text = text.trim_ascii_end();
    let half = MOST / 2;
    match (
        text.get(..half),
        text.get(text.len().saturating_sub(half)..),
    ) {
        (Some(first), Some(last)) if text.len() > MOST => {
            let between = format!(" ... {} bytes are left out ... ", text.len() - MOST);
            [first, between.as_bytes(), last].concat()
        }
        _ => text.to_vec(),
    }
}

/// An object in the making.
struct Object(String);

impl Object {
    fn new() -> Object {
        Object("{".into())
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push_str(", ");
        }
        let _ = write!(self.0, "\"{name}\": ");
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        quote(&mut self.0, value);
    }

    /// As `text`, but cut where it is longer than so many bytes, as it is quoted.
    fn short(&mut self, name: &str, value: &[u8], most: usize) {
        let mut quoted = String::new();
        quote(&mut quoted, value);
        if quoted.len() <= most {
            self.name(name);
            self.0.push_str(&quoted);
            return;
        }
        // A character is quoted as twelve bytes at most, a byte that is none as six.
        let mut cut = value.get(..most / 6).unwrap_or(value).to_vec();
        cut.extend_from_slice(b"...");
        self.text(name, &cut);
    }

    fn number(&mut self, name: &str, value: i64) {
        self.name(name);
        let _ = write!(self.0, "{value}");
    }

    /// Adds what is JSON already; what cannot stand in a line is no JSON of ours.
    fn json(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) =
            value.filter(|value| value.bytes().all(|byte| matches!(byte, b' '..=b'~')))
        {
            self.name(name);
            self.0.push_str(value);
        }
    }

    fn close(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Adds a string of JSON, in ASCII. Bytes that are no UTF-8 become U+FFFD.
pub(crate) fn quote(out: &mut String, value: &[u8]) {
    out.push('"');
    for one in String::from_utf8_lossy(value).chars() {
        match one {
            '"' | '\\' => out.extend(['\\', one]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(one),
            _ => {
                for unit in one.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// A time in UTC (RFC 3339), with microseconds.
fn time(now: SystemTime) -> String {
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let (seconds, micros) = (since.as_secs(), since.subsec_micros());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    // Days since the first of March of the year 0: leap days end a year.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000005Z"),
            (951_782_399, "2000-02-28T23:59:59.000005Z"),
            (951_782_400, "2000-02-29T00:00:00.000005Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000005Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000005Z"),
        ] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_micros(seconds * 1_000_000 + 5);
            assert_eq!(time(now), text);
        }
    }

    #[test]
    fn traceparents() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let found = Trace::parse(valid.as_bytes()).unwrap();
        assert_eq!(found.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(found.span, "00f067aa0ba902b7");
        assert!(Trace::parse(format!("cc{}-more", &valid[2..]).as_bytes()).is_some());
        for wrong in [
            "",
            "-",
            &valid[..54],
            &format!("{valid}-more"),
            &format!("ff{}", &valid[2..]),
            &valid.to_uppercase(),
            &valid.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &valid.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &format!("{valid}, {valid}"),
            &valid.replace('f', "é"),
        ] {
            assert_eq!(Trace::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_too_long_is_several_objects() {
        let text = "\"\\\u{1f40d}\n text ".repeat(900);
        let uri = "/\u{7}\"".repeat(2000);
        let record = Record {
            time: SystemTime::UNIX_EPOCH,
            level: "error",
            text: text.as_bytes(),
            extra: Extra {
                interpreter: Some(&uri),
                logger: Some(&uri),
                ..Extra::default()
            },
            about: Some(About {
                method: uri.as_bytes(),
                uri: uri.as_bytes(),
                id: Some(uri.as_bytes()),
                remote: uri.as_bytes(),
                host: uri.as_bytes(),
            }),
            trace: None,
            pid: u32::MAX,
            thread: i32::MIN,
        };
        assert_eq!(record.objects(usize::MAX), [record.object()]);
        let all = record.objects(4095);
        assert!(all.len() > 5 && all.iter().all(|one| one.len() <= 4095));
        let joined = all.iter().skip(1).map(|one| {
            let (_, piece) = one.split_once("\"object\": \"").unwrap();
            let piece = piece.strip_suffix("\"}").unwrap();
            piece.replace("\\\"", "\"").replace("\\\\", "\\")
        });
        assert_eq!(joined.collect::<String>(), record.object());
        let first = all.first().unwrap();
        assert!(first.contains(&format!("\"part\": 1, \"parts\": {}", all.len())));
    }

    #[test]
    fn an_object_is_a_line_of_ascii() {
        let record = Record {
            time: SystemTime::UNIX_EPOCH,
            level: "error",
            text: b"a\"\\\r\n\0\x1b\xff\xc3\xa9\xf0\x9f\x90\x8d\x7f end\n",
            extra: Extra {
                exception: Some("{\"type\": \"X\"}"),
                fields: Some("{\n}"),
                ..Extra::default()
            },
            about: None,
            trace: None,
            pid: 1,
            thread: 2,
        };
        let expected = concat!(
            r#"{"time": "1970-01-01T00:00:00.000000Z", "level": "error", "logger": "mod_python", "#,
            r#""message": "a\"\\\r\n\u0000\u001b\ufffd\u00e9\ud83d\udc0d\u007f end", "#,
            r#""exception": {"type": "X"}, "pid": 1, "thread": 2}"#
        );
        assert_eq!(record.object(), expected);
    }
}
