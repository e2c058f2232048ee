//! What happens when a request ends: clean-ups, PythonCleanupHandler, and its objects go.

use crate::config::Phase;
use crate::dispatch;
use crate::httpd::lease::{Ending, Lease, Spare};
use crate::httpd::request::Request;
use crate::objects::exchange::Exchange;
use std::cell::Cell;
use std::sync::Arc;
use std::thread::LocalKey;

thread_local! {
    static SPARE: Spare<Exchange> = const { Cell::new(None) };
}

impl Ending for Exchange {
    fn spare() -> &'static LocalKey<Spare<Exchange>> {
        &SPARE
    }

    fn end(request: Request<'_>, lease: &Arc<Lease<Exchange>>) {
        lease.open();
        Exchange::run_cleanups(lease);
        dispatch::run(request, Phase::Cleanup);
        Exchange::release(lease);
        Exchange::leave_pool(lease);
        lease.close(std::thread::yield_now);
    }

    fn is_settled(&mut self, request: Request<'_>) -> bool {
        !self.has_loose_ends() && !dispatch::concerns(request, Phase::Cleanup.bit())
    }
}
