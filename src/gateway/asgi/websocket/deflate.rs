//! permessage-deflate (RFC 7692): what is agreed upon, and the two streams. Both are made when the first message needs them, and
//! their windows are small where the client lets us: a socket that is idle should cost little.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What the two sides have agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    server_bits: u8,
    client_bits: u8,
    server_forgets: bool,
    client_forgets: bool,
    /// Has the client offered to limit its window?
    is_client_limited: bool,
}

/// The window that we use, where the client leaves it to us: of 4 KiB.
const BITS: u8 = 12;
const MOST_BITS: u8 = 15;

impl Agreed {
    /// Accepts one of a client's offers (Sec-WebSocket-Extensions); None where it makes none that can be accepted.
    pub(super) fn of(offers: &[u8]) -> Option<Agreed> {
        let offers = std::str::from_utf8(offers).ok()?;
        offers.split(',').find_map(Agreed::accept)
    }

    fn accept(offer: &str) -> Option<Agreed> {
        let mut parts = offer.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") {
            return None;
        }
        let mut agreed = Agreed {
            server_bits: BITS,
            client_bits: MOST_BITS,
            server_forgets: false,
            client_forgets: false,
            is_client_limited: false,
        };
        let mut seen: Vec<&str> = Vec::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (part, None),
            };
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
            match (name, value) {
                ("server_no_context_takeover", None) => agreed.server_forgets = true,
                ("client_no_context_takeover", None) => agreed.client_forgets = true,
                // A window of 256 bytes is more than zlib can do.
                ("server_max_window_bits", Some(bits)) => {
                    agreed.server_bits = bits_of(bits).filter(|&bits| bits > 8)?.min(BITS);
                }
                ("client_max_window_bits", bits) => {
                    let bits = bits.map_or(Some(MOST_BITS), bits_of)?;
                    agreed.client_bits = bits.clamp(9, BITS);
                    agreed.is_client_limited = bits >= 9;
                }
                _ => return None,
            }
        }
        Some(agreed)
    }

    /// What the client is told of it.
    pub(super) fn header(&self) -> String {
        let mut text = format!(
            "permessage-deflate; server_max_window_bits={}",
            self.server_bits
        );
        if self.server_forgets {
            text.push_str("; server_no_context_takeover");
        }
        if self.client_forgets {
            text.push_str("; client_no_context_takeover");
        }
        if self.is_client_limited {
            text.push_str(&format!("; client_max_window_bits={}", self.client_bits));
        }
        text
    }
}

fn bits_of(text: &str) -> Option<u8> {
    let is_plain = text.bytes().all(|digit| digit.is_ascii_digit()) && !text.starts_with('0');
    let bits = text.parse().ok().filter(|_| is_plain)?;
    (8..=MOST_BITS).contains(&bits).then_some(bits)
}

/// What every message ends with, and what is left out on the way.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Why a message cannot be made large again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Broken,
    TooLarge,
}

/// The client's messages.
pub(super) struct Inflater {
    agreed: Agreed,
    stream: Option<Decompress>,
}

impl Inflater {
    pub(super) fn new(agreed: Agreed) -> Inflater {
        Inflater {
            agreed,
            stream: None,
        }
    }

    /// Adds to `message` what a part of it becomes, as long as that is not more than `limit` bytes altogether.
    pub(super) fn go_on(
        &mut self,
        mut data: &[u8],
        message: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), Failure> {
        let bits = self.agreed.client_bits;
        let stream = self
            .stream
            .get_or_insert_with(|| Decompress::new_with_window_bits(false, bits));
        loop {
            let room = limit.saturating_add(1).saturating_sub(message.len());
            let step = data.len().saturating_mul(4).clamp(256, 65536).min(room);
            message.reserve(step);
            let (before, length) = (stream.total_in(), message.len());
            // Never more than there is room for: the memory that is reserved may be more.
            let mut piece = vec![0; step];
            let out = stream.total_out();
            let status = stream
                .decompress(data, &mut piece, FlushDecompress::Sync)
                .map_err(|_| Failure::Broken)?;
            let made = usize::try_from(stream.total_out() - out).unwrap_or(0);
            let taken = usize::try_from(stream.total_in() - before).unwrap_or(0);
            message.extend_from_slice(piece.get(..made).unwrap_or_default());
            data = data.get(taken..).unwrap_or_default();
            if message.len() > limit {
                return Err(Failure::TooLarge);
            }
            if status == Status::StreamEnd {
                // The client has ended its stream, and begins another.
                stream.reset(false);
                if data.is_empty() {
                    return Ok(());
                }
                continue;
            }
            let is_full = made == step;
            if data.is_empty() && !is_full {
                return Ok(());
            }
            if taken == 0 && message.len() == length {
                return if data.is_empty() {
                    Ok(())
                } else {
                    Err(Failure::Broken)
                };
            }
        }
    }

    /// The message is complete.
    pub(super) fn end(&mut self, message: &mut Vec<u8>, limit: usize) -> Result<(), Failure> {
        self.go_on(&TAIL, message, limit)?;
        if self.agreed.client_forgets {
            self.stream = None;
        }
        Ok(())
    }
}

/// Our messages.
pub(super) struct Deflater {
    agreed: Agreed,
    stream: Option<Compress>,
}

/// A message with fewer bytes is not made smaller.
pub(super) const WORTHWHILE: usize = 64;

impl Deflater {
    pub(super) fn new(agreed: Agreed) -> Deflater {
        Deflater {
            agreed,
            stream: None,
        }
    }

    /// What a message becomes; None where that fails, so that it goes as it is.
    pub(super) fn message(&mut self, mut data: &[u8]) -> Option<Vec<u8>> {
        let bits = self.agreed.server_bits;
        let stream = self.stream.get_or_insert_with(|| {
            Compress::new_with_window_bits(Compression::new(5), false, bits)
        });
        let mut made = Vec::with_capacity(data.len() / 2 + 64);
        loop {
            let before = stream.total_in();
            let status = stream
                .compress_vec(data, &mut made, FlushCompress::Sync)
                .ok()?;
            let taken = usize::try_from(stream.total_in() - before).ok()?;
            data = data.get(taken..)?;
            if status == Status::StreamEnd {
                return None;
            }
            // Where there was room left, all has been flushed.
            if data.is_empty() && made.len() < made.capacity() {
                break;
            }
            made.reserve(made.len().max(64));
        }
        if made.ends_with(&TAIL) {
            made.truncate(made.len() - TAIL.len());
        }
        if self.agreed.server_forgets {
            self.stream = None;
        }
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers() {
        let header = |offers: &str| Agreed::of(offers.as_bytes()).map(|agreed| agreed.header());
        assert_eq!(
            header("permessage-deflate").as_deref(),
            Some("permessage-deflate; server_max_window_bits=12")
        );
        assert_eq!(
            header("permessage-deflate; client_max_window_bits; server_no_context_takeover")
                .as_deref(),
            Some(
                "permessage-deflate; server_max_window_bits=12; server_no_context_takeover; client_max_window_bits=12"
            )
        );
        assert_eq!(
            header("x-other, permessage-deflate; server_max_window_bits=8, permessage-deflate;server_max_window_bits=\"9\"").as_deref(),
            Some("permessage-deflate; server_max_window_bits=9")
        );
        for none in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate; spam",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
        ] {
            assert_eq!(header(none), None, "{none}");
        }
    }

    fn pair(offer: &str) -> (Deflater, Inflater) {
        let agreed = Agreed::of(offer.as_bytes()).unwrap();
        (Deflater::new(agreed), Inflater::new(agreed))
    }

    const OFFERS: [&str; 3] = [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits",
    ];

    #[test]
    fn messages_come_back() {
        for offer in OFFERS {
            let (mut deflater, mut inflater) = pair(offer);
            for size in [1, 10, 1000, 100_000] {
                let sent: Vec<u8> = (0..size)
                    .map(|place: u32| (place.wrapping_mul(place) % 251) as u8)
                    .collect();
                let small = deflater.message(&sent).unwrap();
                let mut back = Vec::new();
                for part in small.chunks(7) {
                    inflater.go_on(part, &mut back, size as usize).unwrap();
                }
                inflater.end(&mut back, size as usize).unwrap();
                assert_eq!(back, sent);
            }
        }
    }

    #[test]
    fn a_message_does_not_grow_beyond_its_limit() {
        let (mut deflater, mut inflater) = pair("permessage-deflate");
        let small = deflater.message(&vec![0; 1 << 20]).unwrap();
        let mut back = Vec::new();
        let grown = inflater.go_on(&small, &mut back, 1000);
        assert_eq!(grown, Err(Failure::TooLarge));
        assert!(back.len() <= 1001);
    }

    /// Takes the input as what a client offers, as what it sends compressed, and as what we compress for it.
    fn check(data: &[u8]) {
        let Some((&first, data)) = data.split_first() else {
            return;
        };
        if let Some(agreed) = Agreed::of(data) {
            let header = agreed.header();
            assert!(
                (9..=15).contains(&agreed.server_bits) && (9..=15).contains(&agreed.client_bits)
            );
            // What we answer could have been offered, and would be answered by the same.
            assert_eq!(Agreed::of(header.as_bytes()).unwrap().header(), header);
        }
        let (mut deflater, mut inflater) = pair(OFFERS[usize::from(first) % OFFERS.len()]);
        let step = usize::from(first).max(1);
        let limit = 1000;
        let mut message = Vec::new();
        let taken = data
            .chunks(step)
            .try_for_each(|part| inflater.go_on(part, &mut message, limit));
        let _ = taken.and_then(|()| inflater.end(&mut message, limit));
        assert!(message.len() <= limit + 1);
        // With what the first one has left behind for the second.
        let mut inflater = Inflater::new(inflater.agreed);
        for sent in [data, data.get(step..).unwrap_or_default()] {
            let mut back = Vec::new();
            if let Some(small) = deflater.message(sent) {
                for part in small.chunks(step) {
                    inflater.go_on(part, &mut back, sent.len()).unwrap();
                }
                inflater.end(&mut back, sent.len()).unwrap();
                assert_eq!(back, sent);
            }
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("deflate", check);
    }

    #[test]
    fn nonsense_is_broken() {
        let (_, mut inflater) = pair("permessage-deflate");
        let broken = inflater.go_on(&[0xff; 64], &mut Vec::new(), 1000);
        assert_eq!(broken, Err(Failure::Broken));
    }
}
