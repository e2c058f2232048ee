//! What a hook answers to httpd: OK, DECLINED, DONE or an HTTP status.

use std::ffi::c_int;

/// The result of a hook (httpd.h: `OK`, `DECLINED`, `DONE`, `HTTP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) c_int);

impl Status {
    /// Makes a status of a handler's result: OK, DECLINED, DONE, or 100 to 599. None for SUSPENDED, which would leave the request
    /// to a module that does not know of it, and for any other number, of which httpd would look for an error's page again and
    /// again.
    pub(crate) fn of_handler(number: c_int) -> Option<Status> {
        matches!(number, -2..=0 | 100..=599).then_some(Status(number))
    }

    pub(crate) const OK: Status = Status(0);
    pub(crate) const DECLINED: Status = Status(-1);
    pub(crate) const DONE: Status = Status(-2);
    /// The request goes on without its worker.
    pub(crate) const SUSPENDED: Status = Status(-3);
    pub(crate) const UNAUTHORIZED: Status = Status(401);
    pub(crate) const BAD_REQUEST: Status = Status(400);
    pub(crate) const REQUEST_TIME_OUT: Status = Status(408);
    pub(crate) const NOT_FOUND: Status = Status(404);
    pub(crate) const INTERNAL_SERVER_ERROR: Status = Status(500);
    pub(crate) const GATEWAY_TIME_OUT: Status = Status(504);
}
