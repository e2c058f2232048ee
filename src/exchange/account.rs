//! What a request has been: counted at its end for all children to see, and logged if it was slow.

use crate::config::ModPython;
use crate::embed::interpreter::Interpreter;
use crate::embed::stopwatch::Lap;
use crate::embed::totals::{self, Done};
use crate::embed::{children, in_flight, scoreboard, series};
use crate::httpd::clock::now;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::request::times::{Shares, Times};

/// Maps the memory in which all children count; called in the parent.
pub(crate) fn share() {
    scoreboard::share();
    totals::share();
    children::share();
    series::share();
}

/// Python was run: for a request, or for something else, which is counted at once.
#[inline]
pub(crate) fn add(times: Option<&Times>, interpreter: &'static Interpreter, lap: &Lap) {
    if let Some(times) = times {
        times.suggest_account(|| totals::place(interpreter, ""));
        times.add(lap.asked, lap.waited, lap.ran);
    } else {
        let done = Done {
            waited: lap.waited,
            ran: lap.ran,
            ..Done::default()
        };
        totals::count(totals::place(interpreter, ""), lap.ended, &done);
    }
}

/// A request ends. Called detached.
#[inline]
pub(crate) fn close(request: Request<'_>, times: &Times) {
    let Some((place, is_answered)) = times.account() else {
        return;
    };
    let shares = times.shares();
    let now = now();
    let duration = now.saturating_sub(shares.entered);
    let status = request.status();
    // A stream or a WebSocket lasts as long as it is wanted.
    let measured = is_answered && !times.has_left() && status != SWITCHING_PROTOCOLS;
    let done = Done {
        status: is_answered.then_some(status),
        bytes: request.bytes_sent().unsigned_abs(),
        waited: shares.waited,
        ran: shares.ran,
        sent: shares.sent,
        duration: measured.then_some(duration),
    };
    totals::count(place, now, &done);
    series::tick(now);
    let limit = request.config::<ModPython>().common.slow_log;
    if let Some(limit) = limit
        && measured
        && limit.span().is_some_and(|limit| duration > limit)
    {
        tell(request, duration, shares);
    }
}

const SWITCHING_PROTOCOLS: i64 = 101;

/// The line of PythonSlowLog.
#[cold]
#[inline(never)]
fn tell(request: Request<'_>, duration: u64, shares: Shares) {
    let line = in_flight::line_of(request);
    let [waited, ran, sent, rest] = parts(duration, shares.waited, shares.ran, shares.sent);
    let text = format!(
        "slow request ({line}): {}, of them {waited} waiting for the interpreter's lock, {ran} in Python, {sent} sending, {rest} elsewhere",
        seconds(rounded(duration)),
    );
    log::entry(request, Level::Warning, &text);
}

/// The parts of a time as they are shown, and what is left of it: rounded so that they add up to the whole as it is shown.
fn parts(whole: u64, first: u64, second: u64, third: u64) -> [String; 4] {
    let (mut gone, mut shown) = (0_u64, 0);
    [first, second, third, u64::MAX].map(|part| {
        gone = gone.saturating_add(part).min(whole);
        let before = std::mem::replace(&mut shown, rounded(gone));
        seconds(shown - before)
    })
}

/// Milliseconds of so many nanoseconds.
fn rounded(time: u64) -> u64 {
    time.saturating_add(500_000) / 1_000_000
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_as_they_are_shown() {
        let third = 333_333_334;
        let shown = parts(3 * third, third, third, 0);
        assert_eq!(shown, ["0.333 s", "0.334 s", "0.000 s", "0.333 s"]);
        assert_eq!(seconds(rounded(3 * third)), "1.000 s");
        let milliseconds =
            |text: &String| -> u64 { text.replace(['.', ' ', 's'], "").parse().unwrap() };
        let mut number = 88_172_645_463_325_252_u64;
        for _ in 0..10_000 {
            let [whole, first, second, last] = [0; 4].map(|_: u64| {
                number ^= number << 13;
                number ^= number >> 7;
                number ^= number << 17;
                number % 5_000_000_000
            });
            let sum: u64 = parts(whole, first, second, last)
                .iter()
                .map(milliseconds)
                .sum();
            assert_eq!(sum, rounded(whole));
        }
    }
}
