//! Writing the answer and reading the request's body.

use super::payload::{Object, Request};
use crate::embed::class::{Args, This};
use crate::embed::{bytes, deadlines, text};
use crate::exchange::{Exchange, write_failed};
use crate::httpd::io::body::{Input, ReadError};
use crate::httpd::io::output::End;
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::lease::Held;
use crate::httpd::status::Status;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

pub(super) fn write<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let data = args.required(0)?;
    let flush = args.get(1).map_or(Ok(true), |flush| flush.is_truthy())?;
    // The request is held inside, not around: getting at the bytes of an object, and letting go of them, may run Python code.
    text::with_bytes(&data, |bytes| {
        let held = this.hold_as_it_is()?;
        let (request, exchange) = (held.request(), held.value());
        Exchange::check_way_out(&held)?;
        if is_complete(&held) {
            return Ok(());
        }
        if !bytes.is_empty() {
            let mut output = exchange.output.borrow_mut();
            output.write(request, bytes).map_err(write_failed)?;
        }
        let (full, due) = {
            let output = exchange.output.borrow();
            (output.is_full(), output.is_due())
        };
        let flush = flush && !bytes.is_empty();
        let sent = if full {
            let end = if flush || due { End::Flush } else { End::Open };
            Exchange::send(this.cx, &held, end)
        } else if flush {
            Exchange::send_soon(this.cx, this.lease(), &held)
        } else {
            Ok(())
        };
        sent.map_err(write_failed)
    })?;
    Ok(this.none())
}

/// Can nothing be added to the answer any more? It has been sent, as in the log phase, or httpd has refused the body and answers
/// itself. What is left of the request's body is httpd's to read then.
pub(super) fn is_complete(held: &Held<'_, Exchange>) -> bool {
    held.is_over() || held.request().eos_sent() != 0 || Exchange::refusal(held).is_some()
}

pub(super) fn flush<'py>(this: This<'_, 'py, Request>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let held = this.hold()?;
    Exchange::check_way_out(&held)?;
    if !is_complete(&held) {
        let result = Exchange::send(this.cx, &held, End::Flush);
        result.map_err(|_| PyOSError::new_err("Flush failed, client closed connection."))?;
    }
    Ok(this.none())
}

pub(super) fn read<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let limit = limit(&args)?;
    if let Some(limit) = limit.filter(|&limit| limit <= DIRECT) {
        return read_directly(&this, limit);
    }
    receive(&this, limit, |(request, input, limit)| {
        input.read(request, limit)
    })
}

pub(super) fn readline<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    receive(&this, limit(&args)?, |(request, input, limit)| {
        input.readline(request, limit)
    })
}

pub(super) fn readlines<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let hint = limit(&args)?.filter(|&hint| hint > 0);
    let lines = PyList::empty(this.cx.py);
    let mut total = 0;
    loop {
        let line = receive(&this, None, |(request, input, limit)| {
            input.readline(request, limit)
        })?;
        let length = line.len()?;
        if length == 0 {
            return Ok(lines.into_any());
        }
        lines.append(line)?;
        total += length;
        if hint.is_some_and(|hint| total >= hint) {
            return Ok(lines.into_any());
        }
    }
}

/// Reads the next line, for iterations; None at the body's end.
pub(super) fn next<'py>(this: This<'_, 'py, Request>) -> PyResult<Option<Object<'py>>> {
    let line = receive(&this, None, |(request, input, limit)| {
        input.readline(request, limit)
    })?;
    Ok(if line.len()? == 0 { None } else { Some(line) })
}

/// Reads a size argument: None, a negative number and no argument mean everything.
fn limit(args: &Args<'_, '_>) -> PyResult<Option<usize>> {
    match args.get(0) {
        Some(size) if !size.is_none() => {
            Ok(usize::try_from(crate::embed::class::integer(&size)?).ok())
        }
        _ => Ok(None),
    }
}

/// Up to how many bytes a read takes memory for all that is asked for, before anything has come. Larger ones take it as it comes.
const DIRECT: usize = 256 * 1024;

/// Reads at most `limit` bytes, straight into a new `bytes` object.
fn read_directly<'py>(this: &This<'_, 'py, Request>, limit: usize) -> PyResult<Object<'py>> {
    let held = this.hold()?;
    if held.is_over() {
        drop(held);
        return Ok(PyBytes::new(this.cx.py, &[]).into_any());
    }
    // Of all objects a `bytes` may be made while the request is held: that does not start the garbage collector.
    let result = {
        let mut input = Exchange::input(&held)?;
        bytes::filled(this.cx.py, limit, |room| {
            let reading = (held.request(), &mut *input, room);
            let _paused = deadlines::pause();
            this.cx.detached(reading, |(request, input, room)| {
                input.read_into(request, room)
            })
        })?
    };
    result.or_else(|error| refused(this, held, error))
}

type Reading<'a, 'r> = (RequestRec<'r>, &'a mut Input, Option<usize>);

/// Reads from the client, without the interpreter's lock.
fn receive<'py>(
    this: &This<'_, 'py, Request>,
    limit: Option<usize>,
    read: for<'a, 'r> fn(Reading<'a, 'r>) -> Result<Vec<u8>, ReadError>,
) -> PyResult<Object<'py>> {
    let held = this.hold()?;
    if held.is_over() {
        drop(held);
        return Ok(PyBytes::new(this.cx.py, &[]).into_any());
    }
    let result = {
        let mut input = Exchange::input(&held)?;
        let _paused = deadlines::pause();
        this.cx.detached((held.request(), &mut *input, limit), read)
    };
    match result {
        Ok(data) => {
            drop(held);
            Ok(PyBytes::new(this.cx.py, &data).into_any())
        }
        Err(error) => refused(this, held, error),
    }
}

/// Makes the exception for a body that cannot be read; by then the request is held no more.
fn refused<'py>(
    this: &This<'_, 'py, Request>,
    held: Held<'_, Exchange>,
    error: ReadError,
) -> PyResult<Object<'py>> {
    let exchange = held.value();
    let status = match error {
        ReadError::Slow => Some(Status::REQUEST_TIME_OUT),
        ReadError::Refused(status) => Some(status),
        ReadError::Lost => None,
    };
    if status.is_some() {
        exchange.refused.set(status);
    }
    if !matches!(error, ReadError::Refused(_)) {
        exchange.lost.set(true);
    }
    drop(held);
    if let ReadError::Refused(Status(status)) = error {
        // It is a SERVER_RETURN for mod_python's handlers, and an OSError for whoever takes the body for a file.
        let refused = this.cx.apache()?.getattr("_RefusedBody")?;
        return Err(PyErr::from_value(refused.call1((status,))?));
    }
    Err(PyOSError::new_err("Client read error (Timeout?)"))
}
