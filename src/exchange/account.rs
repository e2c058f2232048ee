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
use std::time::Duration;

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
    let seconds = |time: u64| format!("{:.3} s", Duration::from_nanos(time).as_secs_f64());
    let line = in_flight::line_of(request);
    let text = format!(
        "slow request ({line}): {}, of them {} waiting for the interpreter's lock, {} in Python, {} sending, {} elsewhere",
        seconds(duration),
        seconds(shares.waited),
        seconds(shares.ran),
        seconds(shares.sent),
        seconds(
            duration
                .saturating_sub(shares.waited)
                .saturating_sub(shares.ran)
                .saturating_sub(shares.sent)
        ),
    );
    log::entry(request, Level::Warning, &text);
}
