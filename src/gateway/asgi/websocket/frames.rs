//! Frames (RFC 6455, 5): bytes of the client's become messages, and messages bytes for it. Nothing here waits, and what a client can
//! make us keep is bounded by the size of a message.

use super::deflate::{Agreed, Deflater, Failure, Inflater, WORTHWHILE};
use super::utf8::Utf8;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What the client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// UTF-8.
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// With a code, or without one.
    Close(Option<u16>, String),
}

/// Why the connection has to be closed: the code, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) u16, pub(super) &'static str);

pub(super) const PROTOCOL: u16 = 1002;
const NO_TEXT: u16 = 1007;
const TOO_LARGE: u16 = 1009;

/// Reads frames.
pub(super) struct Receiver {
    /// How many bytes a message may have.
    limit: usize,
    inflater: Option<Inflater>,
    /// A header that is not complete.
    header: Vec<u8>,
    frame: Option<Frame>,
    /// The data of a control frame.
    control: Vec<u8>,
    /// The message whose frames are coming: its kind, and whether it is compressed.
    kind: Option<(u8, bool)>,
    message: Vec<u8>,
    utf8: Utf8,
    /// How many bytes of the message have been checked.
    checked: usize,
}

/// A frame whose data are coming.
struct Frame {
    is_last: bool,
    code: u8,
    mask: [u8; 4],
    /// Where in the mask the next byte is.
    place: usize,
    rest: u64,
}

impl Receiver {
    pub(super) fn new(limit: usize, agreed: Option<Agreed>) -> Receiver {
        Receiver {
            limit,
            inflater: agreed.map(Inflater::new),
            header: Vec::new(),
            frame: None,
            control: Vec::new(),
            kind: None,
            message: Vec::new(),
            utf8: Utf8::default(),
            checked: 0,
        }
    }

    /// Reads what has come, up to the end of a message: gives that, and the bytes behind it.
    ///
    /// # Errors
    /// Violation: nothing more can be read.
    pub(super) fn read<'d>(
        &mut self,
        mut data: &'d [u8],
    ) -> Result<(Option<Received>, &'d [u8]), Violation> {
        loop {
            let Some(frame) = &mut self.frame else {
                let Some((&byte, rest)) = data.split_first() else {
                    return Ok((None, data));
                };
                data = rest;
                self.header.push(byte);
                self.begin()?;
                if self.frame.as_ref().is_some_and(|frame| frame.rest == 0)
                    && let Some(received) = self.end()?
                {
                    return Ok((Some(received), data));
                }
                continue;
            };
            if data.is_empty() {
                return Ok((None, data));
            }
            let count = usize::try_from(frame.rest)
                .unwrap_or(usize::MAX)
                .min(data.len());
            let (part, rest) = data.split_at_checked(count).unwrap_or((data, &[]));
            data = rest;
            frame.rest -= part.len() as u64;
            let (mask, place, code) = (frame.mask, frame.place, frame.code);
            frame.place = (place + part.len()) % 4;
            let is_complete = frame.rest == 0;
            self.take(part, mask, place, code)?;
            if is_complete && let Some(received) = self.end()? {
                return Ok((Some(received), data));
            }
        }
    }

    /// Begins with a frame, once its header is complete.
    fn begin(&mut self) -> Result<(), Violation> {
        let [first, second, extended @ ..] = &*self.header else {
            return Ok(());
        };
        let (is_last, code) = (first & 0x80 != 0, first & 0x0f);
        let (is_compressed, is_control) = (first & 0x40 != 0, code & 0x08 != 0);
        let short = second & 0x7f;
        if extended.is_empty() {
            // Looked at as soon as the two bytes are there.
            let wrong = |what| Err(Violation(PROTOCOL, what));
            if first & 0x30 != 0
                || is_compressed && (self.inflater.is_none() || is_control || code == CONTINUATION)
            {
                return wrong("a reserved bit is set");
            }
            if second & 0x80 == 0 {
                return wrong("a frame is not masked");
            }
            match code {
                CLOSE | PING | PONG if !is_last => return wrong("a control frame is fragmented"),
                CLOSE | PING | PONG if short > 125 => return wrong("a control frame is too long"),
                CLOSE | PING | PONG => {}
                CONTINUATION if self.kind.is_none() => {
                    return wrong("a continuation without a beginning");
                }
                CONTINUATION => {}
                TEXT | BINARY if self.kind.is_some() => {
                    return wrong("a message begins inside another");
                }
                TEXT | BINARY => {}
                _ => return wrong("a reserved opcode"),
            }
        }
        let wide = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((length, mask)) = extended.split_at_checked(wide) else {
            return Ok(());
        };
        let Ok(mask) = <[u8; 4]>::try_from(mask) else {
            return Ok(());
        };
        let rest = match wide {
            0 => u64::from(short),
            _ => length
                .iter()
                .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
        };
        if rest >> 63 != 0 {
            return Err(Violation(PROTOCOL, "a length has its highest bit set"));
        }
        if !is_control {
            let is_large = |(_, is_compressed): (u8, bool)| {
                !is_compressed && rest > self.limit.saturating_sub(self.message.len()) as u64
            };
            let kind = *self.kind.get_or_insert((code, is_compressed));
            if is_large(kind) {
                return Err(Violation(TOO_LARGE, "a message is too large"));
            }
        }
        self.header.clear();
        self.frame = Some(Frame {
            is_last,
            code,
            mask,
            place: 0,
            rest,
        });
        Ok(())
    }

    /// Takes a part of a frame's data.
    fn take(
        &mut self,
        part: &[u8],
        mask: [u8; 4],
        place: usize,
        code: u8,
    ) -> Result<(), Violation> {
        let mut mask = mask;
        mask.rotate_left(place);
        if code & 0x08 != 0 {
            unmask(&mut self.control, part, mask);
            return Ok(());
        }
        match (self.kind, &mut self.inflater) {
            (Some((_, true)), Some(inflater)) => {
                let mut data = Vec::with_capacity(part.len());
                unmask(&mut data, part, mask);
                inflater
                    .go_on(&data, &mut self.message, self.limit)
                    .map_err(inflated)?;
            }
            _ => unmask(&mut self.message, part, mask),
        }
        self.check()
    }

    /// Checks what has come of a text.
    fn check(&mut self) -> Result<(), Violation> {
        if matches!(self.kind, Some((TEXT, _))) {
            let new = self.message.get(self.checked..).unwrap_or_default();
            self.utf8.go_on(new).map_err(|_| no_text())?;
            self.checked = self.message.len();
        }
        Ok(())
    }

    /// Ends a frame, and perhaps with it a message.
    fn end(&mut self) -> Result<Option<Received>, Violation> {
        let Some(frame) = self.frame.take() else {
            return Ok(None);
        };
        let received = match frame.code {
            CLOSE => closed(std::mem::take(&mut self.control))?,
            PING => Received::Ping(std::mem::take(&mut self.control)),
            PONG => {
                self.control.clear();
                Received::Pong
            }
            _ if !frame.is_last => return Ok(None),
            _ => {
                if matches!(self.kind, Some((_, true)))
                    && let Some(inflater) = &mut self.inflater
                {
                    inflater
                        .end(&mut self.message, self.limit)
                        .map_err(inflated)?;
                    self.check()?;
                }
                self.checked = 0;
                let message = std::mem::take(&mut self.message);
                match self.kind.take() {
                    Some((TEXT, _)) => {
                        self.utf8.end().map_err(|_| no_text())?;
                        Received::Text(message)
                    }
                    _ => Received::Binary(message),
                }
            }
        };
        Ok(Some(received))
    }
}

fn no_text() -> Violation {
    Violation(NO_TEXT, "a text is no UTF-8")
}

fn inflated(failure: Failure) -> Violation {
    match failure {
        Failure::Broken => Violation(PROTOCOL, "a compressed message is broken"),
        Failure::TooLarge => Violation(TOO_LARGE, "a message is too large"),
    }
}

fn unmask(to: &mut Vec<u8>, data: &[u8], mask: [u8; 4]) {
    let begin = to.len();
    to.extend_from_slice(data);
    let word = u32::from_ne_bytes(mask);
    let (words, rest) = to.get_mut(begin..).unwrap_or_default().as_chunks_mut::<4>();
    for chunk in words {
        *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Reads the data of a close frame.
fn closed(data: Vec<u8>) -> Result<Received, Violation> {
    let wrong = |what| Violation(PROTOCOL, what);
    match &*data {
        [] => Ok(Received::Close(None, String::new())),
        [_] => Err(wrong("a close frame has one byte")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(wrong("a close frame has a code that must not be sent"));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| no_text())?;
            Ok(Received::Close(Some(code), reason.to_owned()))
        }
    }
}

/// May a close frame have this code (RFC 6455, 7.4)?
pub(super) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Writes frames.
pub(super) struct Sender {
    deflater: Option<Deflater>,
}

impl Sender {
    pub(super) fn new(agreed: Option<Agreed>) -> Sender {
        Sender {
            deflater: agreed.map(Deflater::new),
        }
    }

    /// Adds the frame of a message to `to`.
    pub(super) fn message(&mut self, to: &mut Vec<u8>, is_text: bool, data: &[u8]) {
        let code = if is_text { TEXT } else { BINARY };
        let smaller = self
            .deflater
            .as_mut()
            .filter(|_| data.len() >= WORTHWHILE)
            .and_then(|deflater| deflater.message(data));
        match smaller {
            Some(data) => frame(to, 0xc0 | code, &data),
            None => frame(to, 0x80 | code, data),
        }
    }
}

pub(super) fn ping(to: &mut Vec<u8>) {
    frame(to, 0x80 | PING, &[]);
}

pub(super) fn pong(to: &mut Vec<u8>, data: &[u8]) {
    frame(to, 0x80 | PONG, data);
}

/// Adds a close frame; a reason that is too long for one is cut.
pub(super) fn close(to: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    let mut data = Vec::new();
    if let Some(code) = code {
        data.extend_from_slice(&code.to_be_bytes());
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        data.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
    }
    frame(to, 0x80 | CLOSE, &data);
}

fn frame(to: &mut Vec<u8>, first: u8, data: &[u8]) {
    to.push(first);
    match (u8::try_from(data.len()), u16::try_from(data.len())) {
        (Ok(length @ ..=125), _) => to.push(length),
        (_, Ok(length)) => {
            to.push(126);
            to.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            to.push(127);
            to.extend_from_slice(&(data.len() as u64).to_be_bytes());
        }
    }
    to.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a client sends it.
    fn masked(first: u8, data: &[u8]) -> Vec<u8> {
        let mut made = Vec::new();
        frame(&mut made, first, data);
        let header = made.len() - data.len();
        made[1] |= 0x80;
        let mask = [1, 2, 3, 4];
        let data: Vec<u8> = data
            .iter()
            .zip(mask.into_iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        made.truncate(header);
        made.extend_from_slice(&mask);
        made.extend_from_slice(&data);
        made
    }

    fn all(receiver: &mut Receiver, data: &[u8], step: usize) -> Result<Vec<Received>, Violation> {
        let mut found = Vec::new();
        for mut part in data.chunks(step) {
            while !part.is_empty() {
                let (received, rest) = receiver.read(part)?;
                found.extend(received);
                part = rest;
            }
        }
        Ok(found)
    }

    #[test]
    fn messages_are_read_however_they_arrive() {
        let mut data = masked(0x81, "é".as_bytes());
        data.extend(masked(0x02, &[7; 300]));
        data.extend(masked(0x89, b"ping"));
        data.extend(masked(0x80, &[8; 70_000]));
        data.extend(masked(0x81, b""));
        data.extend(masked(0x88, b"\x03\xe8bye"));
        let expected = vec![
            Received::Text("é".into()),
            Received::Ping(b"ping".to_vec()),
            Received::Binary([vec![7; 300], vec![8; 70_000]].concat()),
            Received::Text(Vec::new()),
            Received::Close(Some(1000), "bye".into()),
        ];
        for step in [1, 2, 3, 5, 1000, usize::MAX] {
            let found = all(&mut Receiver::new(100_000, None), &data, step);
            assert_eq!(found.as_ref(), Ok(&expected), "{step}");
        }
    }

    #[test]
    fn violations_have_their_codes() {
        let code =
            |data: &[u8]| all(&mut Receiver::new(100, None), data, 1).map_err(|wrong| wrong.0);
        let long = [&masked(0x01, &[b'x'; 60])[..], &masked(0x80, &[b'x'; 60])].concat();
        for (data, expected) in [
            (masked(0xc1, b"x"), PROTOCOL),
            (masked(0xa1, b"x"), PROTOCOL),
            (masked(0x83, b"x"), PROTOCOL),
            (masked(0x8b, b"x"), PROTOCOL),
            (masked(0x80, b"x"), PROTOCOL),
            (masked(0x09, b"x"), PROTOCOL),
            (masked(0x89, &[0; 126]), PROTOCOL),
            (masked(0x88, b"x"), PROTOCOL),
            (masked(0x88, b"\x03\xed"), PROTOCOL),
            (masked(0x88, b"\x03\xe8\xff"), NO_TEXT),
            (masked(0x81, b"\xff"), NO_TEXT),
            (masked(0x81, b"\xce"), NO_TEXT),
            (masked(0x82, &[0; 101]), TOO_LARGE),
            (long, TOO_LARGE),
            ([masked(0x01, b"a"), masked(0x81, b"b")].concat(), PROTOCOL),
            (vec![0x81, 0x01, b'x'], PROTOCOL),
            (
                vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
                PROTOCOL,
            ),
        ] {
            assert_eq!(code(&data), Err(expected), "{data:?}");
        }
    }

    #[test]
    fn compressed_messages() {
        let agreed = Agreed::of(b"permessage-deflate");
        let text = "spam and eggs ".repeat(100);
        let mut made = Vec::new();
        let mut sender = Sender::new(agreed);
        sender.message(&mut made, true, text.as_bytes());
        assert!(made.len() < text.len() / 4 && made[0] == 0xc1);
        let small = Deflater::new(agreed.unwrap())
            .message(text.as_bytes())
            .unwrap();
        let (first, second) = small.split_at(5);
        let data = [masked(0x41, first), masked(0x89, b""), masked(0x80, second)].concat();
        let mut receiver = Receiver::new(text.len(), agreed);
        let found = all(&mut receiver, &data, 3).unwrap();
        assert_eq!(
            found,
            [
                Received::Ping(Vec::new()),
                Received::Text(text.into_bytes())
            ]
        );
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let mut made = Vec::new();
        close(&mut made, Some(1000), &"é".repeat(100));
        assert_eq!(made.len(), 2 + 2 + 122);
    }

    /// Whatever comes, in whatever parts, what is kept is bounded.
    fn check(data: &[u8]) {
        let mut receiver = Receiver::new(1000, Agreed::of(b"permessage-deflate"));
        let step = usize::from(data.first().copied().unwrap_or(1)).max(1);
        let _ = all(&mut receiver, data, step);
        assert!(
            receiver.message.len() <= 1001
                && receiver.control.len() <= 125
                && receiver.header.len() <= 14
        );
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("websocket", check);
    }
}
