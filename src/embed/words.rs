//! Short texts in memory that all children share: written by one thread, read by others at any time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The first bytes of a text.
#[repr(C)]
pub(super) struct Bytes<const WORDS: usize> {
    length: AtomicU32,
    words: [AtomicU64; WORDS],
}

impl<const WORDS: usize> Bytes<WORDS> {
    /// Copies word by word.
    #[inline]
    pub(super) fn set(&self, bytes: &[u8]) {
        let bytes = bytes.get(..WORDS * 8).unwrap_or(bytes);
        let (whole, rest) = bytes.as_chunks::<8>();
        let mut words = self.words.iter();
        for (chunk, word) in whole.iter().zip(&mut words) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        if let Some(word) = words.next() {
            word.store(end(bytes, rest), Ordering::Relaxed);
        }
        let length = u32::try_from(bytes.len()).unwrap_or(0);
        self.length.store(length, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Vec<u8> {
        let length = usize::try_from(self.length.load(Ordering::Relaxed)).unwrap_or(0);
        let words = self.words.iter();
        let words = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        words.take(length).collect()
    }
}

/// The last word of `bytes`, in which there are `rest`, less than eight.
#[inline]
fn end(bytes: &[u8], rest: &[u8]) -> u64 {
    let length = rest.len();
    if length == 0 {
        return 0;
    }
    // What stands before the rest is shifted out.
    if let Some(last) = bytes.last_chunk::<8>() {
        return (u64::from_le_bytes(*last) >> (64 - 8 * length)).to_le();
    }
    let wide = |first: u64, last: u64, size: usize| first | last << (8 * (length - size));
    let word = match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|one| u64::from(u32::from_le_bytes(*one)));
            wide(first, last, 4)
        }
        _ => match (rest.first_chunk::<2>(), rest.last_chunk::<2>()) {
            (Some(first), Some(last)) => {
                let [first, last] = [first, last].map(|one| u64::from(u16::from_le_bytes(*one)));
                wide(first, last, 2)
            }
            _ => rest.first().copied().map_or(0, u64::from),
        },
    };
    word.to_le()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_what_is_put_into_them() {
        let text = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let bytes = Bytes::<4> {
            length: AtomicU32::new(0),
            words: [const { AtomicU64::new(u64::MAX) }; 4],
        };
        for length in 0..text.len() {
            let said = text.get(..length).unwrap();
            bytes.set(said);
            assert_eq!(bytes.get(), said.get(..32).unwrap_or(said));
        }
    }
}
