//! What happens when a request ends: clean-ups, PythonCleanupHandler, and its objects go.

use crate::config::Phase;
use crate::dispatch;
use crate::httpd::lease::{Ending, Lease};
use crate::httpd::request::Request;
use crate::objects::exchange::Exchange;
use std::sync::Arc;

impl Ending for Exchange {
    fn end(request: Request<'_>, lease: &Arc<Lease<Exchange>>) {
        lease.open();
        Exchange::run_cleanups(lease);
        dispatch::run(request, Phase::Cleanup);
        Exchange::release(lease);
        lease.close(std::thread::yield_now);
    }
}
