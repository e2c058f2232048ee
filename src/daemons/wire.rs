//! How the front writes down what it knows of a request, and how a daemon reads it: `key=value` pairs with ampersands between, as
//! printable ASCII without blanks and commas, so that it can travel in fields of a head, and be joined again.
//!
//! A key is a letter, or a letter and a name (`H:Accept`). What a reader does not know it leaves out: front and daemon may be of different
//! versions.

/// Writes pairs.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_room(bytes: usize) -> Writer {
        Writer(Vec::with_capacity(bytes))
    }

    /// Adds what a letter stands for.
    pub(super) fn add(&mut self, key: u8, value: &[u8]) {
        self.begin(key);
        self.end(value);
    }

    /// Adds one of several, by its name.
    pub(super) fn add_named(&mut self, key: u8, name: &[u8], value: &[u8]) {
        self.begin(key);
        self.0.push(b':');
        escape(&mut self.0, name);
        self.end(value);
    }

    fn begin(&mut self, key: u8) {
        if !self.0.is_empty() {
            self.0.push(b'&');
        }
        self.0.push(key);
    }

    fn end(&mut self, value: &[u8]) {
        self.0.push(b'=');
        escape(&mut self.0, value);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// May a byte stand for itself?
const fn is_plain(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f && !matches!(byte, b'%' | b'&' | b'=' | b',')
}

fn escape(text: &mut Vec<u8>, value: &[u8]) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    let digit = |place: u8| DIGITS.get(usize::from(place)).copied().unwrap_or(b'0');
    let mut rest = value;
    while let Some(place) = rest.iter().position(|&byte| !is_plain(byte)) {
        let (plain, behind) = rest.split_at(place);
        text.extend_from_slice(plain);
        if let Some((&byte, behind)) = behind.split_first() {
            text.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
            rest = behind;
        }
    }
    text.extend_from_slice(rest);
}

/// One pair: its letter, its name if it has one, and the value.
pub(super) struct Pair {
    pub(super) key: u8,
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// Reads pairs. Blanks and commas are where fields of a head have been joined.
pub(super) fn pairs(text: &[u8]) -> impl Iterator<Item = Pair> {
    text.split(|&byte| byte == b'&').filter_map(|pair| {
        let place = pair.iter().position(|&byte| byte == b'=')?;
        let (left, right) = (pair.get(..place)?, pair.get(place + 1..)?);
        let left = unescape(left);
        let (&key, name) = left.split_first()?;
        let name = match name.split_first() {
            Some((b':', name)) => name.to_vec(),
            Some(_) => return None,
            None => Vec::new(),
        };
        Some(Pair {
            key,
            name,
            value: unescape(right),
        })
    })
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | b','));
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        if let (Some(high), Some(low)) =
            (bytes.next().and_then(digit), bytes.next().and_then(digit))
        {
            plain.push(high << 4 | low);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(u8, Vec<u8>, Vec<u8>)> {
        let all = pairs(text);
        all.map(|pair| (pair.key, pair.name, pair.value)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let every: Vec<u8> = (0..=255).collect();
        let mut writer = Writer::with_room(10);
        writer.add(b'u', &every);
        writer.add_named(b'H', &every, b"a, b");
        writer.add(b'x', b"");
        let text = writer.finish();
        assert!(
            text.iter()
                .all(|&byte| byte > b' ' && byte < 0x7f && byte != b',')
        );
        let found = [
            (b'u', vec![], every.clone()),
            (b'H', every, b"a, b".to_vec()),
            (b'x', vec![], vec![]),
        ];
        assert_eq!(read(&text), found);
        // As httpd joins several fields of one name.
        let middle = text.len() / 2;
        let joined = [&text[..middle], b", ", &text[middle..]].concat();
        assert_eq!(read(&joined), found);
    }

    #[test]
    fn nonsense_is_left_out() {
        assert_eq!(read(b"&&=&a&=b&ab=c&%=%&%4"), []);
        assert_eq!(
            read(b"a=%4&b=%zz1"),
            [(b'a', vec![], vec![]), (b'b', vec![], b"1".to_vec())]
        );
    }

    fn check(input: &[u8]) {
        for (key, name, value) in read(input) {
            let mut writer = Writer::default();
            if name.is_empty() {
                writer.add(key, &value);
            } else {
                writer.add_named(key, &name, &value);
            }
            if is_plain(key) {
                assert_eq!(read(&writer.finish()), [(key, name, value)]);
            }
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("wire", check);
    }
}
