//! Memory that httpd's parent shares with its children. The parent maps it once, before it starts the first of them, and keeps it
//! through restarts: what is counted there goes on where a child, or a generation of children, has ended.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// What may lie in shared memory.
///
/// # Safety
/// All zeros are a value of the type, it refers to nothing, and any process may change any part of it at any time (atomics alone).
pub(super) unsafe trait Shareable: Sync {}

/// A static's part of shared memory.
pub(super) struct Segment<T> {
    place: AtomicPtr<T>,
    kind: PhantomData<T>,
}

impl<T: Shareable + 'static> Segment<T> {
    pub(super) const fn new() -> Segment<T> {
        Segment {
            place: AtomicPtr::new(null_mut()),
            kind: PhantomData,
        }
    }

    /// Maps the memory, all zeros, unless that has been done. Has it been done now?
    pub(super) fn share(&self) -> bool {
        if self.get().is_some() {
            return false;
        }
        // SAFETY: a new anonymous mapping.
        let place = unsafe {
            libc::mmap(
                null_mut(),
                size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if place == libc::MAP_FAILED {
            return false;
        }
        self.place.store(place.cast(), Ordering::Release);
        true
    }

    /// What is shared; None where there was no memory, and before `share`.
    #[inline]
    pub(super) fn get(&self) -> Option<&'static T> {
        // SAFETY: mapped by `share` and never given up; any content is a value (Shareable).
        unsafe { self.place.load(Ordering::Acquire).as_ref() }
    }
}

/// A text in shared memory: UTF-8, each word holds eight bytes. Of one that is too long there is the beginning, and what tells it from
/// others that begin so.
#[repr(C)]
pub(super) struct Text<const WORDS: usize>([AtomicU64; WORDS]);

impl<const WORDS: usize> Text<WORDS> {
    pub(super) const fn empty() -> Text<WORDS> {
        Text([const { AtomicU64::new(0) }; WORDS])
    }

    pub(super) fn set(&self, text: &str) {
        for (word, given) in self.0.iter().zip(words::<WORDS>(text)) {
            word.store(given, Ordering::Relaxed);
        }
    }

    pub(super) fn is(&self, text: &str) -> bool {
        let mut both = self.0.iter().zip(words::<WORDS>(text));
        both.all(|(word, given)| word.load(Ordering::Relaxed) == given)
    }

    pub(super) fn get(&self) -> String {
        let bytes: Vec<u8> = self
            .0
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
            .take_while(|&byte| byte != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A text as words, with zeros behind its end.
fn words<const WORDS: usize>(text: &str) -> [u64; WORDS] {
    let text = fitting(text, WORDS * 8);
    let mut bytes = text.bytes();
    std::array::from_fn(|_| u64::from_ne_bytes(std::array::from_fn(|_| bytes.next().unwrap_or(0))))
}

/// How many bytes tell a long text from others.
const MARK: usize = 9;

fn fitting(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let end = (0..=most.saturating_sub(MARK)).rfind(|&end| text.is_char_boundary(end));
    let begin = text.get(..end.unwrap_or(0)).unwrap_or_default();
    // FNV-1a (Fowler, Noll, Vo): the same in all processes.
    let hash = text.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{begin}~{hash:08x}").into()
}

/// Is there a process of this number?
pub(super) fn lives(pid: i32) -> bool {
    // SAFETY: asks only; the signal 0 is not sent.
    unsafe { libc::kill(pid, 0) == 0 || *libc::__errno_location() != libc::ESRCH }
}

/// This process.
pub(super) fn me() -> i32 {
    std::process::id().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_told_from_one_another_and_characters_are_whole() {
        let kept = |text: &str| {
            let place = Text::<4>::empty();
            place.set(text);
            assert!(place.is(text) && !place.is("another"));
            place.get()
        };
        let exactly = "0123456789abcdef0123456789abcdef";
        assert_eq!(kept(exactly), exactly);
        let (one, other) = (format!("{exactly}1"), format!("{exactly}2"));
        assert_ne!(kept(&one), kept(&other));
        assert!(kept(&one).starts_with("0123456789abcdef0123456~") && kept(&one).len() == 32);
        for begin in ["", "a", "ab"] {
            let text = kept(&format!("{begin}{}", "\u{65e5}".repeat(40)));
            assert!(text.len() <= 32 && !text.contains('\u{fffd}'), "{text}");
        }
    }
}
