//! UTF-8 that is checked as it arrives: a text that cannot become right is refused with the first byte that is wrong.

/// The check of one text.
#[derive(Default)]
pub(super) struct Utf8 {
    /// The beginning of a character whose rest has not come yet.
    begun: [u8; 4],
    length: usize,
}

/// What came is no UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong;

impl Utf8 {
    /// Checks what comes next.
    pub(super) fn go_on(&mut self, mut data: &[u8]) -> Result<(), Wrong> {
        while self.length > 0 {
            let Some((&byte, rest)) = data.split_first() else {
                return Ok(());
            };
            let place = self.begun.get_mut(self.length).ok_or(Wrong)?;
            *place = byte;
            self.length += 1;
            data = rest;
            match std::str::from_utf8(self.begun.get(..self.length).unwrap_or_default()) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return Err(Wrong),
                Err(_) => {}
            }
        }
        let Err(error) = std::str::from_utf8(data) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(Wrong);
        }
        let begun = data.get(error.valid_up_to()..).unwrap_or_default();
        self.length = begun.len();
        for (place, &byte) in self.begun.iter_mut().zip(begun) {
            *place = byte;
        }
        Ok(())
    }

    /// Is the text complete? Then the next one may come.
    pub(super) fn end(&mut self) -> Result<(), Wrong> {
        match std::mem::take(&mut self.length) {
            0 => Ok(()),
            _ => Err(Wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], step: usize) -> Result<(), Wrong> {
        let mut utf8 = Utf8::default();
        for part in text.chunks(step) {
            utf8.go_on(part)?;
        }
        utf8.end()
    }

    #[test]
    fn it_is_as_the_whole_would_be() {
        let texts: [&[u8]; 12] = [
            b"",
            b"spam",
            "κόσμε".as_bytes(),
            "\u{10ffff}\u{d7ff}\u{e000}".as_bytes(),
            b"\xce",
            b"\xce\xba\xe1\xbd",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xc0\xaf",
            b"\xff",
            b"a\x80",
            b"\xf0\x9f\x98",
        ];
        for text in texts {
            for step in 1..=text.len().max(1) {
                let whole = std::str::from_utf8(text).is_ok();
                assert_eq!(check(text, step).is_ok(), whole, "{text:?} {step}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_found_with_its_first_byte() {
        let mut utf8 = Utf8::default();
        assert_eq!(
            utf8.go_on(b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4"),
            Ok(())
        );
        assert_eq!(utf8.go_on(b"\x90"), Err(Wrong));
    }
}
