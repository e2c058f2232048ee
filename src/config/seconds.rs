//! A span of time as a directive gives it.

use std::time::Duration;

/// Seconds, as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds<'c> {
    text: &'c str,
    /// In nanoseconds.
    span: Option<u64>,
}

impl<'c> Seconds<'c> {
    /// The longest: 31 years.
    const MOST: f64 = 1e9;

    /// # Errors
    /// It is neither a number above 0 nor Off.
    pub(crate) fn parse(text: &'c str) -> Result<Seconds<'c>, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Seconds { text, span: None });
        }
        match number(text).filter(|seconds| *seconds > 0.0 && *seconds <= Seconds::MOST) {
            Some(seconds) => Ok(Seconds {
                text,
                span: u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).ok(),
            }),
            None => Err(format!(
                "must be a number of seconds above 0, such as 2 or 0.5, or Off, not {text:?}"
            )),
        }
    }

    /// In nanoseconds. None: Off.
    pub(crate) fn span(self) -> Option<u64> {
        self.span
    }

    pub(crate) fn text(self) -> &'c str {
        self.text
    }
}

/// Reads a number of seconds, and nothing else that Rust would read, such as inf or 1e3.
pub(super) fn number(text: &str) -> Option<f64> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_above_nothing_or_off() {
        let span = |text| Seconds::parse(text).ok().map(Seconds::span);
        assert_eq!(span("0.5"), Some(Some(500_000_000)));
        assert_eq!(span("oFF"), Some(None));
        for wrong in [
            "",
            "0",
            "-1",
            "inf",
            "nan",
            "1e3",
            "1s",
            "2000000000",
            ".",
            "+1",
        ] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }
}
