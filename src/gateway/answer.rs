//! An application's answer: how far it has come, and how its head, blocks and files are sent.
//!
//! | from | by | to |
//! | --- | --- | --- |
//! | NotStarted, Started | `start`: the application says status and headers, or says others | Started |
//! | Started | the first block, file, or the end: httpd is given the head | Given |
//! | Given, Sent | a part of the body leaves for the client | Sent |
//! | Given, Sent | the part that completes the length; the end of the stream leaves with it | Ended |
//!
//! There is no other move, and none back. Up to Given an error's page can take the answer's place; from Sent on what is wrong can
//! only be shown by breaking it off. An answer without a body (HEAD, 204, 304) ends as Given, and so does one of a single block,
//! which httpd gets when Python has been left.

use crate::embed::Cx;
use crate::exchange::Exchange;
use crate::httpd::io::Aborted;
use crate::httpd::io::file_part::FilePart;
use crate::httpd::io::output::End;
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::lease::Held;
use crate::httpd::request::response_head::Head;
use crate::report;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The answer of one request. Any thread may ask for it; what sends has the request's lease. Its lock is held for one move, never
/// while something waits or Python runs.
#[derive(Default)]
pub(super) struct Answer(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    NotStarted,
    Started(Head),
    Given(Body),
    Sent(Body),
    Ended(Body),
}

/// How far an answer has come, for its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    NotStarted,
    Started,
    /// Given, or further.
    Given,
}

/// The body, once httpd has the head.
struct Body {
    status: i32,
    /// The Content-Length that the application has set, if the answer ends with it.
    length: Option<i64>,
    /// How many bytes of it have been sent so far.
    written: i64,
    /// Has the application given more than its Content-Length?
    is_cut: bool,
}

/// The head cannot be changed any more: httpd has it.
pub(super) struct Late;

/// What has become of an answer when its application has given all of it.
pub(super) enum Finished {
    Complete,
    /// The body is shorter than its Content-Length.
    Short {
        written: i64,
        length: i64,
    },
    /// The application has said nothing.
    NotStarted,
}

impl Answer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far has it come?
    pub(super) fn stage(&self) -> Stage {
        match *self.state() {
            State::NotStarted => Stage::NotStarted,
            State::Started(_) => Stage::Started,
            _ => Stage::Given,
        }
    }

    /// Has any of the answer left for the client?
    pub(super) fn has_left(&self) -> bool {
        matches!(*self.state(), State::Sent(_) | State::Ended(_))
    }

    /// Has all of it been sent?
    pub(super) fn has_ended(&self) -> bool {
        matches!(*self.state(), State::Ended(_))
    }

    /// Takes a head, in place of an earlier one.
    ///
    /// # Errors
    /// Late.
    pub(super) fn start(&self, head: Head) -> Result<(), Late> {
        let mut state = self.state();
        match *state {
            State::NotStarted | State::Started(_) => {
                *state = State::Started(head);
                Ok(())
            }
            _ => Err(Late),
        }
    }

    /// Takes the one block that is the whole answer, and announces its length. It is sent in one write, after the interpreter has
    /// been left.
    ///
    /// # Errors
    /// Aborted; also where the answer has not been started.
    pub(super) fn whole(
        &self,
        cx: Cx<'_>,
        held: &Held<'_, Exchange>,
        data: &[u8],
    ) -> Result<(), Aborted> {
        let request = held.request();
        if !data.is_empty()
            && let Some(kept) = self.take(cx, request, data, Some(length(data)))?
        {
            held.value().output.borrow_mut().write(request, kept)?;
        }
        Ok(())
    }

    /// Sends a block; waits until the client's side has taken it, unless `end` is Open. With the one that completes the
    /// Content-Length the answer's end is sent, too.
    ///
    /// # Errors
    /// As above.
    pub(super) fn block(
        &self,
        cx: Cx<'_>,
        held: &Held<'_, Exchange>,
        data: &[u8],
        end: End,
    ) -> Result<(), Aborted> {
        let request = held.request();
        if data.is_empty() {
            return Ok(());
        }
        let Some(kept) = self.take(cx, request, data, None)? else {
            return Ok(());
        };
        held.value().output.borrow_mut().write(request, kept)?;
        let is_complete = self.state().leave(false);
        match if is_complete { End::OfStream } else { end } {
            End::Open => Ok(()),
            end => Exchange::send(cx, held, end),
        }
    }

    /// Sends a part, which fits into the Content-Length if there is one; and, with the last one, the answer's end. For a thread that
    /// is detached.
    ///
    /// # Errors
    /// As above.
    pub(super) fn part(
        &self,
        held: &Held<'_, Exchange>,
        data: &[u8],
        end: End,
    ) -> Result<(), Aborted> {
        let request = held.request();
        let is_last = end == End::OfStream;
        let (may_be, is_complete) = {
            let mut state = self.state();
            if matches!(*state, State::Ended(_)) {
                return Ok(());
            }
            let is_whole = is_last && matches!(*state, State::Started(_));
            // The length of an answer to HEAD is not known where the application leaves the body out.
            let is_known = is_whole && !(request.header_only() && data.is_empty());
            let body = state.give(request, is_known.then(|| length(data)))?;
            body.written += length(data);
            (body.may_be(request), state.leave(is_last))
        };
        if may_be && !data.is_empty() {
            held.value().output.borrow_mut().write(request, data)?;
        }
        Exchange::pass(held, if is_complete { End::OfStream } else { end })
    }

    /// Sends a file by its descriptor; False where it has become shorter meanwhile.
    ///
    /// # Errors
    /// As above.
    pub(super) fn file(
        &self,
        cx: Cx<'_>,
        held: &Held<'_, Exchange>,
        mut part: FilePart,
    ) -> Result<bool, Aborted> {
        let is_complete = {
            let mut state = self.state();
            let is_first = matches!(*state, State::Started(_));
            if let Some(rest) = state.rest() {
                part.cut(rest);
            }
            let body = state.give(held.request(), Some(part.length()))?;
            body.written += part.length();
            if part.length() == 0 || !body.may_be(held.request()) {
                return Ok(true);
            }
            state.leave(is_first)
        };
        Exchange::send_file(cx, held, &part, is_complete)
    }

    /// Sends a file as all of the body, and the answer's end if that `is_last`; False where it has become shorter meanwhile. For a thread
    /// that is detached.
    ///
    /// # Errors
    /// As above.
    pub(super) fn whole_file(
        &self,
        held: &Held<'_, Exchange>,
        file: &FilePart,
        is_last: bool,
    ) -> Result<bool, Aborted> {
        let request = held.request();
        let has_body = {
            let mut state = self.state();
            let body = state.give(request, Some(file.length()))?;
            body.written += file.length();
            let has_body = body.may_be(request) && file.length() > 0;
            state.leave(is_last);
            has_body
        };
        if has_body {
            return Exchange::pass_file(held, file, is_last);
        }
        let end = if is_last { End::OfStream } else { End::Flush };
        Exchange::pass(held, end).map(|()| true)
    }

    /// Ends the answer, when the application has given all of it.
    pub(super) fn finish(&self, request: RequestRec<'_>) -> Finished {
        let mut state = self.state();
        // httpd would send an empty body in chunks, unless it is told its length.
        let empty = (!request.header_only()).then_some(0);
        let Ok(body) = state.give(request, empty) else {
            return Finished::NotStarted;
        };
        match (body.written, body.length) {
            (written, Some(length)) if written < length && body.may_be(request) => {
                Finished::Short { written, length }
            }
            _ => Finished::Complete,
        }
    }

    /// Gives the head to httpd, and counts a block: gives as much of it as is to be sent. None where nothing is: the answer has ended,
    /// or has no body. What goes beyond the Content-Length is cut off, which is logged once.
    fn take<'d>(
        &self,
        cx: Cx<'_>,
        request: RequestRec<'_>,
        data: &'d [u8],
        stated: Option<i64>,
    ) -> Result<Option<&'d [u8]>, Aborted> {
        let mut state = self.state();
        let has_ended = matches!(*state, State::Ended(_));
        let body = state.give(request, stated)?;
        let (room, is_cut) = body.room(length(data));
        if !has_ended {
            body.written += room;
        }
        let (length, may_be) = (body.length.unwrap_or_default(), body.may_be(request));
        drop(state);
        if is_cut {
            let text = format!(
                "the application gives more than the {length} bytes of its Content-Length; the rest is cut off"
            );
            report::error(cx, request, &text);
        }
        let kept = data.get(..usize::try_from(room).unwrap_or(0));
        Ok(kept.filter(|_| !has_ended && may_be))
    }
}

impl State {
    /// Gives the head to httpd, once; `stated` is its Content-Length, if the application has set none.
    fn give(&mut self, request: RequestRec<'_>, stated: Option<i64>) -> Result<&mut Body, Aborted> {
        if let State::Started(head) = self {
            head.install(request);
            let (status, length) = (head.status(), head.length());
            if let Some(stated) = stated.filter(|_| length.is_none() && status != 304) {
                request.set_content_length(stated);
            }
            let is_open = head.is_open();
            *self = State::Given(Body {
                status,
                length: length.filter(|_| !is_open),
                written: 0,
                is_cut: false,
            });
        }
        match self {
            State::NotStarted | State::Started(_) => Err(Aborted),
            State::Given(body) | State::Sent(body) | State::Ended(body) => Ok(body),
        }
    }

    /// Notes that a part of the body leaves. Is the answer complete with it?
    fn leave(&mut self, is_last: bool) -> bool {
        *self = match std::mem::take(self) {
            State::Given(body) | State::Sent(body) => {
                if is_last || body.length == Some(body.written) {
                    State::Ended(body)
                } else {
                    State::Sent(body)
                }
            }
            state => state,
        };
        matches!(self, State::Ended(_))
    }

    /// How many bytes fit into the Content-Length; None without one.
    fn rest(&self) -> Option<i64> {
        let (length, written) = match self {
            State::NotStarted => return None,
            State::Started(head) => (head.length()?, 0),
            State::Given(body) | State::Sent(body) | State::Ended(body) => {
                (body.length?, body.written)
            }
        };
        Some((length - written).max(0))
    }
}

impl Body {
    /// May this answer have a body?
    fn may_be(&self, request: RequestRec<'_>) -> bool {
        !request.header_only() && self.status != 204 && self.status != 304
    }

    /// Finds how many of `count` bytes fit into the Content-Length, and whether this is the first time that some do not.
    fn room(&mut self, count: i64) -> (i64, bool) {
        let room = match self.length {
            Some(length) => (length - self.written).clamp(0, count),
            None => count,
        };
        let is_first = room < count && !self.is_cut;
        self.is_cut |= is_first;
        (room, is_first)
    }
}

fn length(data: &[u8]) -> i64 {
    i64::try_from(data.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(length: Option<i64>) -> Body {
        Body {
            status: 200,
            length,
            written: 0,
            is_cut: false,
        }
    }

    #[test]
    fn moves() {
        let mut state = State::Given(given(Some(3)));
        assert_eq!(state.rest(), Some(3));
        assert!(!state.leave(false) && matches!(state, State::Sent(_)));
        if let State::Sent(body) = &mut state {
            body.written = 3;
        }
        assert!(state.leave(false) && matches!(state, State::Ended(_)));
        assert!(state.leave(false) && state.rest() == Some(0));

        let mut state = State::Given(given(None));
        assert!(!state.leave(false) && state.rest().is_none());
        assert!(state.leave(true) && matches!(state, State::Ended(_)));

        let mut state = State::NotStarted;
        assert!(!state.leave(true) && matches!(state, State::NotStarted));
    }

    #[test]
    fn what_does_not_fit_is_told_once() {
        let mut body = given(Some(3));
        assert_eq!(
            (body.room(2), body.room(4), body.room(4)),
            ((2, false), (3, true), (3, false))
        );
        assert_eq!(given(None).room(9), (9, false));
    }
}
