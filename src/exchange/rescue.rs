//! The client of a request whose thread does not come back is answered without that thread (PythonTimeout).
//!
//! Another thread does so under the request's turn, as the one does that sends what is due (`soon.rs`): the request's own is in the middle of
//! a user's code, and finds, should it come back, that the answer is over. It waits for nothing: where the answer's way leads through
//! filters that may, or its first part has left, the connection is shut instead, which the client sees as what it is.

use super::account;
use super::moments::Moment;
use super::soon::HEAD;
use super::state::Exchange;
use crate::embed::deadlines::{Keeps, Rescue, Rescued, age};
use crate::httpd::clock::now;
use crate::httpd::faults;
use crate::httpd::io::output::End;
use crate::httpd::log::{self, Extra, Level};
use crate::httpd::module::retirement;
use crate::httpd::request::departure::Departure;
use crate::httpd::request::lease::{Held, InCall, Lease, OfConnection};
use crate::httpd::request::turn::Way;
use crate::httpd::status::Status;
use std::time::Duration;

impl Rescue for Lease<Exchange> {
    fn answer(&self) -> Rescued {
        let _moment = Moment::wait();
        let Ok(held) = self.hold() else {
            return Rescued::Busy;
        };
        let _brief = self.turn().briefly();
        let request = held.request();
        let connection = request.connection();
        if connection.aborted() || held.is_over() {
            return Rescued::Not;
        }
        let Ok(output) = held.value().output.try_borrow() else {
            return Rescued::Busy;
        };
        let told = output.told();
        drop(output);
        match request.departure(told) {
            // Its end may not have passed a filter of Python's yet, which is what is stuck.
            Departure::Complete if !held.is_under_way(Way::Out) => Rescued::Not,
            Departure::Nothing if may_tell(&held) => tell(&held),
            _ if connection.shut() => Rescued::BrokenOff,
            _ => Rescued::Not,
        }
    }

    fn cut(&self, call: &InCall<'_>) -> Rescued {
        match Lease::cut(self, call) {
            true => Rescued::BrokenOff,
            false => Rescued::Busy,
        }
    }

    fn keeps(&self, call: &InCall<'_>) -> Keeps {
        let Some(connection) = self.client(call) else {
            return Keeps::Own;
        };
        connection.primary().map_or(Keeps::Nothing, Keeps::Shared)
    }

    fn close(&self) {
        let _moment = Moment::wait();
        let Ok(held) = self.hold() else { return };
        let _brief = self.turn().briefly();
        let (request, times) = (held.request(), held.times());
        // What it has been at since it came, it has been in Python.
        let age = age(u64::try_from(request.time()).unwrap_or(0));
        let age = u64::try_from(Duration::from_secs_f64(age).as_nanos()).unwrap_or(0);
        times.add(now().saturating_sub(age), 0, age);
        retirement::log(request);
        account::close(request, times);
    }

    fn log(&self, text: &str, extra: Extra<'_>) -> bool {
        let _moment = Moment::wait();
        let Ok(held) = self.hold() else { return false };
        let _brief = self.turn().briefly();
        while faults::strike("log of a time-out") {
            std::thread::sleep(Duration::from_millis(10));
        }
        log::traceback(held.request(), Level::Error as i32, text.as_bytes(), extra);
        true
    }
}

/// The client of a PythonConnectionHandler, in whose protocol nothing can be said here.
impl Rescue for Lease<OfConnection> {
    fn answer(&self) -> Rescued {
        let _moment = Moment::wait();
        let Ok(held) = self.hold() else {
            return Rescued::Busy;
        };
        let _brief = self.turn().briefly();
        match held.connection().shut() {
            true => Rescued::BrokenOff,
            false => Rescued::Not,
        }
    }

    fn cut(&self, call: &InCall<'_>) -> Rescued {
        match self.cut_connection(call) {
            true => Rescued::BrokenOff,
            false => Rescued::Busy,
        }
    }

    fn keeps(&self, _call: &InCall<'_>) -> Keeps {
        Keeps::Own
    }

    fn close(&self) {}

    fn log(&self, text: &str, extra: Extra<'_>) -> bool {
        let _moment = Moment::wait();
        let Ok(held) = self.hold() else { return false };
        let _brief = self.turn().briefly();
        let server = held.connection().base_server();
        log::traceback(server, Level::Error as i32, text.as_bytes(), extra);
        true
    }
}

/// Can an answer be sent now, all of it, without waiting for anything?
fn may_tell(held: &Held<'_, Exchange>) -> bool {
    let request = held.request();
    let connection = request.connection();
    let is_under_way = held.is_under_way(Way::In) || held.is_under_way(Way::Out);
    let is_alone = request
        .main()
        .or(request.prev())
        .or(request.next())
        .is_none();
    held.is_served()
        && !is_under_way
        && is_alone
        && connection.is_primary()
        && !connection.keeps_output()
        && connection.has_room(PAGE.len() + HEAD)
        && request.has_plain_way_out()
}

/// Answers with 504.
fn tell(held: &Held<'_, Exchange>) -> Rescued {
    let request = held.request();
    let Ok(mut output) = held.value().output.try_borrow_mut() else {
        return Rescued::Busy;
    };
    output.discard();
    request.set_status(Status::GATEWAY_TIME_OUT.0);
    request.set_status_line(None);
    for headers in [request.headers_out(), request.err_headers_out()] {
        headers.inspect(|headers| headers.clear());
    }
    request.set_content_type(b"text/html; charset=iso-8859-1");
    request.set_content_length(i64::try_from(PAGE.len()).unwrap_or(0));
    request.connection().close_at_end();
    let is_written = request.header_only() || output.write(request, PAGE).is_ok();
    drop(output);
    // httpd's last filter would keep so little for what may follow.
    let is_sent = is_written
        && Exchange::pass(held, End::OfStream).is_ok()
        && request.connection().push().is_ok();
    match is_sent {
        true => Rescued::Told,
        false if request.connection().shut() => Rescued::BrokenOff,
        false => Rescued::Not,
    }
}

/// What the client is shown.
const PAGE: &[u8] = b"<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n\
<html><head>\n\
<title>504 Gateway Timeout</title>\n\
</head><body>\n\
<h1>Gateway Timeout</h1>\n\
<p>The answer to this request has taken longer than the server allows.</p>\n\
</body></html>\n";
