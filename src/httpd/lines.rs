//! Texts as entries of the error log: a traceback's lines, and the parts of one that is longer than an entry can be.

use std::borrow::Cow;
use std::ffi::CString;

/// httpd cuts an entry at MAX_STRING_LEN (8192), its decoration included, after it has escaped it (ap_escape_errorlog_item). So much,
/// escaped, is an entry of ours.
const ENTRY: usize = 6000;

/// How many lines of a traceback are logged of its beginning and of its end: a chain of exceptions may have any number.
const MOST_LINES: usize = 200;
const MOST_BYTES: usize = 64 << 10;
/// How many bytes are logged of the beginning and of the end of a line: an exception's text, which is one, may have any length.
const MOST_OF_LINE: usize = 16 << 10;

/// Calls `write` with each line that is not empty.
pub(super) fn lines(text: &[u8], mut write: impl FnMut(&[u8])) {
    let lines: Vec<_> = split(text).map(shortened).collect();
    let end = |lines: &mut dyn Iterator<Item = &Cow<'_, [u8]>>| {
        let mut bytes = 0;
        let fits = |line: &&Cow<'_, [u8]>| {
            bytes += line.len();
            bytes <= MOST_BYTES
        };
        lines.take(MOST_LINES).take_while(fits).count()
    };
    let (first, last) = (end(&mut lines.iter()), end(&mut lines.iter().rev()));
    let left_out = lines.len().saturating_sub(first + last);
    for (place, line) in lines.iter().enumerate() {
        if left_out > 0 && place == first {
            write(format!("  ... {left_out} lines are left out ...").as_bytes());
        }
        if place < first || place >= first + left_out {
            write(&without_marks(line));
        }
    }
}

/// Makes plain line ends of those inside of a line, which are marked by a CR.
fn without_marks(line: &[u8]) -> Vec<u8> {
    let next = line.iter().skip(1).map(Some).chain([None]);
    let pairs = line.iter().zip(next);
    let kept = pairs.filter(|&(&one, next)| one != b'\r' || next != Some(&b'\n'));
    kept.map(|(&one, _)| one).collect()
}

/// Shortens a long line to its beginning and its end.
fn shortened(line: &[u8]) -> Cow<'_, [u8]> {
    let left_out = line.len().saturating_sub(2 * MOST_OF_LINE);
    match (
        line.first_chunk::<MOST_OF_LINE>(),
        line.last_chunk::<MOST_OF_LINE>(),
    ) {
        (Some(first), Some(last)) if left_out > 0 => {
            let between = format!(" ... {left_out} bytes are left out ... ");
            Cow::Owned([first.as_slice(), between.as_bytes(), last].concat())
        }
        _ => Cow::Borrowed(line),
    }
}

/// Splits a traceback into lines, but not at CR LF.
fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut before = 0;
    let lines = text.split(move |&byte| {
        let ends = byte == b'\n' && before != b'\r';
        before = byte;
        ends
    });
    lines.filter(|line| !line.trim_ascii().is_empty())
}

/// Calls `write` with each entry that a text becomes: `prefix` stands before each, and none is so long that httpd cuts it.
pub(super) fn entries(prefix: &str, text: &[u8], mut write: impl FnMut(&CString)) {
    let text = text.trim_ascii_end();
    let (mut from, mut length) = (0, prefix.len());
    for (place, &byte) in text.iter().enumerate() {
        let escaped = escaped(byte);
        // Not within a character of UTF-8.
        if length + escaped > ENTRY && (byte & 0xC0 != 0x80 || length + escaped > ENTRY + 12) {
            entry(
                prefix,
                text.get(from..place).unwrap_or_default(),
                &mut write,
            );
            (from, length) = (place, prefix.len());
        }
        length += escaped;
    }
    if from < text.len() {
        entry(prefix, text.get(from..).unwrap_or_default(), &mut write);
    }
}

/// Is it one entry?
pub(super) fn fits(text: &str) -> bool {
    text.bytes().map(escaped).sum::<usize>() <= ENTRY
}

/// How many bytes httpd writes for one.
fn escaped(byte: u8) -> usize {
    match byte {
        b'\\' | b'\x08'..=b'\r' => 2,
        b' '..=b'~' => 1,
        _ => 4,
    }
}

fn entry(prefix: &str, text: &[u8], write: &mut impl FnMut(&CString)) {
    // NUL cannot be part of a C string: it is replaced as httpd replaces other control characters.
    let nothing = |byte: u8| if byte == 0 { b'?' } else { byte };
    let clean: Vec<u8> = prefix
        .bytes()
        .chain(text.iter().copied().map(nothing))
        .collect();
    if let Ok(entry) = CString::new(clean) {
        write(&entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        lines(text, |line| found.push(line.to_vec()));
        found
    }

    #[test]
    fn a_traceback_is_its_lines_and_the_exceptions_own_line_ends_are_none() {
        let text = b"x: Traceback:\n  File\n\n   \nValueError: a\r\nb\r\n\nend\n";
        let expected: [&[u8]; 4] = [b"x: Traceback:", b"  File", b"ValueError: a\nb\n", b"end"];
        assert_eq!(all(text), expected);
    }

    #[test]
    fn there_is_a_bound_on_lines_and_both_ends_are_shown() {
        let text: Vec<String> = (0..100_000).map(|line| format!("l{line}")).collect();
        let found = all(text.join("\n").as_bytes());
        assert_eq!(found.len(), 2 * MOST_LINES + 1);
        assert_eq!(found.first().unwrap(), b"l0");
        assert_eq!(found.last().unwrap(), b"l99999");
        assert_eq!(found[MOST_LINES], b"  ... 99600 lines are left out ...");
    }

    #[test]
    fn there_is_a_bound_on_bytes_and_both_ends_are_shown() {
        let text = format!("first\nx: {}the end\nlast", "a\r\n".repeat(10_000_000));
        let found = all(text.as_bytes());
        assert_eq!(found.len(), 3);
        assert!(found[1].len() < 2 * MOST_OF_LINE + 100);
        assert!(found[1].starts_with(b"x: a") && found[1].ends_with(b"the end"));
        let text: Vec<String> = (0..300)
            .map(|line| format!("{line}{}", "y".repeat(4000)))
            .collect();
        let found = all(text.join("\n").as_bytes());
        assert!(found.iter().map(Vec::len).sum::<usize>() <= 2 * MOST_BYTES + 100);
        assert!(
            found.first().unwrap().starts_with(b"0y") && found.last().unwrap().starts_with(b"299y")
        );
    }

    #[test]
    fn nothing_of_a_long_text_is_lost_and_no_entry_is_cut() {
        for (one, count) in [
            ("a", 20_000),
            ("\u{1f40d}", 5000),
            ("\\", 9000),
            ("\x01", 5000),
        ] {
            let text = one.repeat(count);
            let mut found = Vec::new();
            entries("trace=1 ", text.as_bytes(), |entry| {
                found.push(entry.clone())
            });
            let parts: Vec<&str> = found.iter().map(|entry| entry.to_str().unwrap()).collect();
            let bare: Vec<&str> = parts
                .iter()
                .map(|part| part.strip_prefix("trace=1 ").unwrap())
                .collect();
            assert_eq!(bare.concat(), text);
            assert!(
                parts
                    .iter()
                    .all(|part| part.bytes().map(escaped).sum::<usize>() <= ENTRY + 12)
            );
        }
        let mut found = Vec::new();
        entries("", &[0x80; 10_000], |entry| {
            found.push(entry.as_bytes().len())
        });
        assert_eq!(found.iter().sum::<usize>(), 10_000);
    }
}
