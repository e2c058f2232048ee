//! A question of one child to another: where is a thread of yours? It lies in memory that all children share (`in_flight.rs`).

use super::shared;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// How many bytes of an answer about a stack are kept.
const ANSWER: usize = 16_384;

/// A question of one child to another: where is a thread of yours? There is one at a time.
#[repr(C)]
pub(super) struct Question {
    /// What has come of it, in its two lowest bits (`FREE` and so on), and a number that each question has another of.
    state: AtomicU32,
    /// The process that asks.
    asker: AtomicI32,
    pid: AtomicI32,
    length: AtomicU32,
    thread: AtomicU64,
    answer: [AtomicU64; ANSWER / 8],
}

const FREE: u32 = 0;
const ASKED: u32 = 1;
const IN_HAND: u32 = 2;
const ANSWERED: u32 = 3;
const STEP: u32 = 4;

impl Question {
    /// Asks another child where a thread of it is. Gives the number of the question; None while another one is asked.
    pub(super) fn ask(&self, pid: i32, thread: u64) -> Option<u32> {
        let state = self.state.load(Ordering::Acquire);
        let is_left = |owner: &AtomicI32| !shared::lives(owner.load(Ordering::Relaxed));
        let is_free = state % STEP == FREE || is_left(&self.asker) || is_left(&self.pid);
        if !is_free {
            return None;
        }
        // In hand, so that nobody takes it for one that has been asked.
        let number = (state - state % STEP).wrapping_add(STEP);
        let taken = self.state.compare_exchange(
            state,
            number | IN_HAND,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        taken.ok()?;
        let me = std::process::id().cast_signed();
        self.asker.store(me, Ordering::Relaxed);
        self.pid.store(pid, Ordering::Relaxed);
        self.thread.store(thread, Ordering::Relaxed);
        self.state.store(number | ASKED, Ordering::Release);
        Some(number)
    }

    /// What the question has been answered with.
    pub(super) fn answer(&self, number: u32) -> Option<String> {
        (self.state.load(Ordering::Acquire) == number | ANSWERED)
            .then(|| text(&self.answer, self.length.load(Ordering::Relaxed)))
    }

    /// Gives the question up, or the answer back.
    pub(super) fn give_up(&self, number: u32) {
        let state = &self.state;
        // Whoever writes the answer does so within moments.
        for _ in 0..1000 {
            let now = state.load(Ordering::Acquire);
            if now - now % STEP != number {
                return;
            }
            let freed = |now| {
                let free = number | FREE;
                state.compare_exchange(now, free, Ordering::AcqRel, Ordering::Relaxed)
            };
            if now % STEP != IN_HAND && freed(now).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// A question that this child has been asked: its number, and the thread.
    pub(super) fn asked(&self) -> Option<(u32, u64)> {
        let state = self.state.load(Ordering::Acquire);
        let me = std::process::id().cast_signed();
        let is_mine = state % STEP == ASKED && self.pid.load(Ordering::Relaxed) == me;
        is_mine.then(|| (state - ASKED, self.thread.load(Ordering::Relaxed)))
    }

    /// Answers a question that this child has been asked, unless nobody waits for that any more.
    pub(super) fn reply(&self, number: u32, said: &str) {
        let in_hand = number | IN_HAND;
        let taken = self.state.compare_exchange(
            number | ASKED,
            in_hand,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if taken.is_ok() {
            let mut bytes = said.as_bytes().to_vec();
            bytes.truncate(ANSWER);
            let length = bytes.len();
            bytes.resize(length.next_multiple_of(8), 0);
            fill(&self.answer, &bytes);
            let length = u32::try_from(length).unwrap_or(0);
            self.length.store(length, Ordering::Relaxed);
            self.state.store(number | ANSWERED, Ordering::Release);
        }
    }
}

/// Writes bytes into words, eight into each.
#[inline]
pub(super) fn fill(words: &[AtomicU64], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks_exact(8)) {
        let chunk = chunk.first_chunk::<8>().copied().unwrap_or_default();
        word.store(u64::from_ne_bytes(chunk), Ordering::Relaxed);
    }
}

/// Reads so many bytes of them.
pub(super) fn text(words: &[AtomicU64], length: u32) -> String {
    let length = usize::try_from(length).unwrap_or(0).min(words.len() * 8);
    let words = words.get(..length.div_ceil(8)).unwrap_or(words);
    let mut bytes: Vec<u8> = words
        .iter()
        .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
        .collect();
    bytes.truncate(length);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_what_is_put_into_them() {
        let words = [const { AtomicU64::new(u64::MAX) }; 4];
        for said in [
            "",
            "GET /a",
            "12345678",
            "0123456789012345678901234567890123456789",
        ] {
            let mut bytes = said.as_bytes().to_vec();
            bytes.truncate(32);
            let length = bytes.len();
            bytes.resize(length.next_multiple_of(8), 0);
            fill(&words, &bytes);
            let shown = text(&words, u32::try_from(length).unwrap());
            assert_eq!(shown, said.get(..length).unwrap());
        }
    }
}
