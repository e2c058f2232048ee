//! What httpd calls Python for when a request ends: its clean-ups, PythonCleanupHandler, then its objects go.

use super::{Subject, phases, serve};
use crate::config::limit::Answerer;
use crate::config::{ModPython, Phase};
use crate::embed::in_flight::Work;
use crate::embed::{self, Cx, deadlines, exception, text};
use crate::exchange::{Cleanup, Exchange, RequestLease, account};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::request::lease::{Ending, Lease, Spare};
use crate::report;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::{Arc, OnceLock};
use std::thread::LocalKey;

thread_local! {
    static SPARE: Spare<Exchange> = const { Cell::new(None) };
}

impl Ending for Exchange {
    type Owner = ModPython;

    fn spare() -> &'static LocalKey<Spare<Exchange>> {
        &SPARE
    }

    fn expired() -> &'static Arc<Lease<Exchange>> {
        static EXPIRED: OnceLock<Arc<Lease<Exchange>>> = OnceLock::new();
        EXPIRED.get_or_init(Lease::vacant)
    }

    fn end(request: Request<'_>, lease: &Arc<Lease<Exchange>>) {
        run_cleanups(request, lease);
        phases::run(request, Phase::Cleanup);
    }

    fn end_again(request: Request<'_>, lease: &Arc<Lease<Exchange>>) -> bool {
        run_cleanups(request, lease)
    }

    fn close(request: Request<'_>, lease: &Lease<Exchange>) {
        account::close(request, lease.times());
    }

    fn release(lease: &Lease<Exchange>) {
        Exchange::release(lease);
        Exchange::leave_pool(lease);
    }

    fn renew(&mut self) {
        Exchange::renew(self);
    }

    fn is_settled(&mut self, request: Request<'_>) -> bool {
        !self.has_loose_ends() && !phases::concerns(request, Phase::Cleanup.bit())
    }
}

/// Runs what register_cleanup() was given, last first, and what that registers. Was there any?
fn run_cleanups(request: Request<'_>, lease: &RequestLease) -> bool {
    let mut any = false;
    while let Some(cleanup) = Exchange::next_cleanup(lease) {
        any = true;
        let interpreter = cleanup.interpreter;
        // Where it cannot be attached, what it holds is never released.
        let cleanup = ManuallyDrop::new(cleanup);
        let work = Work::of_phase(Phase::Cleanup);
        let done = serve(Subject::Request(request, lease), work, interpreter, |cx| {
            run(cx, lease, &ManuallyDrop::into_inner(cleanup));
        });
        if let (Err(reason), Ok(held)) = (done, lease.acquire()) {
            let text = format!("python_cleanup: {reason}");
            log::entry(held.request(), Level::Error, &text);
        }
    }
    any
}

fn run(cx: Cx<'_>, lease: &RequestLease, cleanup: &Cleanup) {
    let limit = embed::acquire(cx.py, lease).ok().and_then(|held| {
        let common = &held.request().config::<ModPython>().common;
        common.limit(Answerer::Handler)
    });
    let callable = cleanup.callable.bind(cx.py);
    let armed = deadlines::arm(cx, limit, Some(lease));
    let called = exception::call(cx, &callable, &cleanup.argument.bind(cx.py));
    armed.close();
    let Err(raised) = called else { return };
    if cx.is_request_timeout(&raised) {
        // The log has been told.
        return;
    }
    // What these say of themselves is code of users, too.
    let armed = deadlines::arm(cx, limit, Some(lease));
    let shown = |text: PyResult<Bound<'_, PyString>>| {
        exception::or_discard(cx.py, text)
            .map_or_else(|| "(it cannot be shown)".into(), |text| text::lossy(&text))
    };
    let kind = shown(raised.get_type().name());
    let text = format!(
        "python_cleanup: Error calling cleanup object {}: {kind}: {}",
        shown(callable.repr()),
        shown(raised.str())
    );
    armed.close();
    if let Ok(held) = embed::acquire(cx.py, lease) {
        report::error(cx, held.request(), &text);
    }
}
