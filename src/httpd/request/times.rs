//! How long a request has been where. Any thread may add to it at any time: it is no part of what the lease guards.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Times of one request, in nanoseconds of `httpd::clock`.
#[derive(Default)]
pub(crate) struct Times {
    /// When this module has first seen it; 0: not yet.
    entered: AtomicU64,
    waited: AtomicU64,
    ran: AtomicU64,
    sent: AtomicU64,
    /// Where the request is counted: a place in the table of totals, and one; with the highest bit, its answer, too.
    account: AtomicU32,
    left: AtomicBool,
}

const ANSWERS: u32 = 1 << 31;

#[inline]
fn number(account: usize) -> u32 {
    u32::try_from(account).map_or(0, |account| (account + 1) & !ANSWERS)
}

/// Times as they were when they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) entered: u64,
    /// Waiting for an interpreter's lock.
    pub(crate) waited: u64,
    /// In Python: in the application, whatever it waits for.
    pub(crate) ran: u64,
    /// In httpd's filters, on the way to the client.
    pub(crate) sent: u64,
}

impl Times {
    /// Python was run for the request, from `asked` on.
    #[inline]
    pub(crate) fn add(&self, asked: u64, waited: u64, ran: u64) {
        if self.entered.load(Ordering::Relaxed) == 0 {
            self.entered.store(asked, Ordering::Relaxed);
        }
        self.waited.fetch_add(waited, Ordering::Relaxed);
        self.ran.fetch_add(ran, Ordering::Relaxed);
    }

    /// A part of the answer was sent.
    #[inline]
    pub(crate) fn add_sent(&self, took: u64) {
        self.sent.fetch_add(took, Ordering::Relaxed);
    }

    /// Says where the request and its answer are counted.
    #[inline]
    pub(crate) fn set_account(&self, account: usize) {
        self.account
            .store(number(account) | ANSWERS, Ordering::Relaxed);
    }

    /// Says where its times are counted, unless somebody has.
    #[inline]
    pub(crate) fn suggest_account(&self, account: impl FnOnce() -> usize) {
        if self.account.load(Ordering::Relaxed) == 0 {
            self.account.store(number(account()), Ordering::Relaxed);
        }
    }

    /// Where the request is counted, and whether its answer is, too.
    #[inline]
    pub(crate) fn account(&self) -> Option<(usize, bool)> {
        let account = self.account.load(Ordering::Relaxed);
        let place = (account & !ANSWERS).checked_sub(1)?;
        Some((usize::try_from(place).ok()?, account & ANSWERS != 0))
    }

    /// The request goes on without its worker: how long it lasts says nothing.
    pub(crate) fn set_left(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn shares(&self) -> Shares {
        Shares {
            entered: self.entered.load(Ordering::Relaxed),
            waited: self.waited.load(Ordering::Relaxed),
            ran: self.ran.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        }
    }

    /// For another request.
    pub(in crate::httpd) fn renew(&mut self) {
        *self = Times::default();
    }
}
