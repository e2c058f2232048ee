//! What happens when a request ends: clean-ups, PythonCleanupHandler, and its objects go.

use crate::ModPython;
use crate::config::Phase;
use crate::dispatch;
use crate::httpd::lease::{Ending, Lease, Spare};
use crate::httpd::request::Request;
use crate::objects::exchange::Exchange;
use std::cell::Cell;
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
        Exchange::run_cleanups(lease);
        dispatch::run(request, Phase::Cleanup);
    }

    fn end_again(_request: Request<'_>, lease: &Arc<Lease<Exchange>>) -> bool {
        Exchange::run_cleanups(lease)
    }

    fn release(lease: &Lease<Exchange>) {
        Exchange::release(lease);
        Exchange::leave_pool(lease);
    }

    fn is_settled(&mut self, request: Request<'_>) -> bool {
        !self.has_loose_ends() && !dispatch::concerns(request, Phase::Cleanup.bit())
    }
}
