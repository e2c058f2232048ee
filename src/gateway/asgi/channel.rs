//! What passes between the event loop, in which the application runs, and the worker that serves its request.
//!
//! The application's side checks messages, and their order, and never touches httpd; the worker's side does all of httpd's input
//! and output, and never touches Python. What has not been taken by the other side is bounded: the application waits when so much
//! of its answer lies here, and of the request's body a block is read when it is asked for.

use super::inbox::{Inbox, Sleeper};
use super::parts::HeadParts;
use crate::embed::cell::Ref;
use crate::embed::scoreboard::{Counted, Gauge};
use crate::httpd::io::file_part::FilePart;
use crate::streams::bell::Rope;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many bytes of an answer lie here before the application has to wait.
const ENOUGH: usize = 65536;

/// One request's channel. Owned by both sides, freed with the last of them.
pub(super) struct Channel {
    /// What the loop knows it by.
    pub(super) number: u64,
    inbox: Arc<Inbox>,
    /// For how long the worker has waited for the client, in nanoseconds: that is no part of the application's time.
    waited: AtomicU64,
    /// Held for moments, never while Python runs or something blocks.
    state: Mutex<State>,
    /// The worker waits for it, unless it has left a rope.
    turned: Condvar,
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// How far the application's answer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    NotStarted,
    Started,
    /// The body is complete, and trailers follow.
    Trailing,
    Ended,
}

#[derive(Default)]
struct State {
    stage: Stage,
    head: Option<HeadParts>,
    /// What the client is told before the answer.
    hint: Option<HeadParts>,
    /// What the application has announced, unless the answer has no body.
    length: Option<u64>,
    written: u64,
    body: Vec<u8>,
    /// Has a part of the body been taken, if only an empty one?
    has_body: bool,
    /// What is sent in place of a body.
    file: Option<FilePart>,
    /// Do trailers follow the body?
    trails: bool,
    trailers: Option<HeadParts>,
    /// Is the worker to take what there is?
    is_due: bool,
    /// Has the application returned or raised, before its answer was complete?
    is_over: bool,
    /// What it has raised, for the worker, which takes it attached; should that not come, nobody does.
    raised: Option<ManuallyDrop<Ref>>,
    /// Has the loop not begun with it, so that the worker has to?
    is_declined: bool,
    request: Incoming,
    /// Does the application wait to hear that the client has gone?
    is_watched: bool,
    /// The client sends nothing more: gone, to an application that asks.
    is_finished: bool,
    /// The client has gone, or the worker has.
    is_gone: bool,
    /// With what httpd has refused the request's body, whereupon the worker has gone.
    refused: Option<i32>,
    /// Does something of the application's wait?
    is_waiting: bool,
    /// Does the worker wait for `turned`?
    sleeps: bool,
    /// What wakes the worker, where it waits for its client as well.
    rope: Option<Rope>,
    /// Counts it among the loop's tasks, until the application has ended.
    counted: Option<Counted>,
}

/// The request's body, a block at a time.
#[derive(Default)]
enum Incoming {
    /// There is no more of it, and the application knows.
    #[default]
    Ended,
    /// The application has not asked for the next block.
    Idle,
    Wanted,
    Reading,
    /// And whether more follows.
    Block(Vec<u8>, bool),
}

/// What the worker is to do.
pub(super) enum Job {
    Hint(HeadParts),
    Send {
        head: Option<HeadParts>,
        data: Vec<u8>,
        file: Option<FilePart>,
        trailers: Option<HeadParts>,
        is_last: bool,
    },
    Read,
    /// The application has ended, and its answer is not complete.
    Over,
    /// The application has heard that the client has gone.
    Gone,
    /// The loop has not begun with it.
    Declined,
}

/// What `receive` gives.
pub(super) enum Event {
    Body(Vec<u8>, bool),
    Disconnect,
}

/// Why a part of an answer is not taken.
pub(super) enum Refusal {
    NotStarted,
    Started,
    Ended,
    Gone,
    /// A file behind a part of the body.
    Mixed,
    /// Trailers before the body's end.
    Unfinished,
    /// Trailers that have not been announced.
    Unannounced,
    /// Trailers of more bytes than so many.
    Large(usize),
    /// So many bytes where the Content-Length says so many.
    Length(u64, u64),
    Memory,
}

/// What the application has to do once a part has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// To call `flush`, when it has come to wait for something.
    Flush,
    /// To wait for room.
    Wait,
}

impl Next {
    /// As the loop's coroutines read it.
    pub(super) fn number(self) -> u8 {
        match self {
            Next::Nothing => 0,
            Next::Flush => 1,
            Next::Wait => 2,
        }
    }
}

impl Channel {
    /// `has_body`: does a body of the request lie with httpd?
    pub(super) fn new(inbox: Arc<Inbox>, has_body: bool) -> Channel {
        let request = if has_body {
            Incoming::Idle
        } else {
            Incoming::Block(Vec::new(), false)
        };
        Channel {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            state: Mutex::new(State {
                request,
                counted: inbox.count(Gauge::Tasks),
                ..State::default()
            }),
            turned: Condvar::new(),
            waited: AtomicU64::new(0),
            inbox,
        }
    }

    /// Nanoseconds by which what is due is put off.
    pub(super) fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// The application's side.
impl Channel {
    /// Takes the head; `length` is its Content-Length, where the answer has a body.
    pub(super) fn start(&self, head: HeadParts, length: Option<u64>) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.is_gone {
            return Err(Refusal::Gone);
        }
        match state.stage {
            Stage::NotStarted => {
                state.stage = Stage::Started;
                state.trails = head.trails;
                state.head = Some(head);
                state.length = length;
                Ok(())
            }
            Stage::Started | Stage::Trailing => Err(Refusal::Started),
            Stage::Ended => Err(Refusal::Ended),
        }
    }

    /// Takes a part of the body.
    pub(super) fn body(self: &Arc<Channel>, data: &[u8], more: bool) -> Result<Next, Refusal> {
        let mut state = self.state();
        match state.stage {
            _ if state.is_gone => return Err(Refusal::Gone),
            Stage::NotStarted => return Err(Refusal::NotStarted),
            Stage::Trailing | Stage::Ended => return Err(Refusal::Ended),
            Stage::Started => {}
        }
        let written = state.written.saturating_add(data.len() as u64);
        if let Some(length) = state.length
            && (written > length || !more && written < length)
        {
            return Err(Refusal::Length(written, length));
        }
        state
            .body
            .try_reserve(data.len())
            .map_err(|_| Refusal::Memory)?;
        state.body.extend_from_slice(data);
        state.written = written;
        state.has_body = true;
        if !more {
            state.stage = state.behind_body();
            state.is_due = true;
            drop(state);
            self.inbox.complete(self.clone());
            return Ok(Next::Nothing);
        }
        if state.body.len() > ENOUGH {
            self.turn(state);
            return Ok(Next::Wait);
        }
        Ok(if state.is_due {
            Next::Nothing
        } else {
            Next::Flush
        })
    }

    /// Takes what the client is to be told before the answer. It is forgotten where the answer's head has left, or is about to: nothing can
    /// come before it any more.
    pub(super) fn hint(&self, hint: &HeadParts) -> Result<Next, Refusal> {
        let mut state = self.state();
        match state.stage {
            _ if state.is_gone => return Err(Refusal::Gone),
            Stage::Ended => return Err(Refusal::Ended),
            Stage::Trailing => return Ok(Next::Nothing),
            Stage::Started if state.head.is_none() || state.is_due => return Ok(Next::Nothing),
            _ if hint.is_bare() => return Ok(Next::Nothing),
            _ => {}
        }
        state.hint.get_or_insert_default().append(hint);
        let next = match state.has_room() {
            true => Next::Nothing,
            false => Next::Wait,
        };
        self.rouse(state);
        Ok(next)
    }

    /// May a file be the body now?
    pub(super) fn may_take_file(&self) -> Result<(), Refusal> {
        self.state().may_take_file()
    }

    /// Takes a file that is all of the body. So it is never sent but by the worker, which may wait: an answer leaves that when a part of
    /// its body has been sent.
    pub(super) fn file(&self, file: FilePart) -> Result<(), Refusal> {
        let mut state = self.state();
        state.may_take_file()?;
        let size = u64::try_from(file.length()).unwrap_or(0);
        if let Some(length) = state.length.filter(|&length| length != size) {
            return Err(Refusal::Length(size, length));
        }
        state.file = Some(file);
        state.stage = state.behind_body();
        self.turn(state);
        Ok(())
    }

    /// Takes trailers; the answer is complete where there are no `more`.
    pub(super) fn trailers(&self, trailers: &HeadParts, more: bool) -> Result<(), Refusal> {
        let mut state = self.state();
        match state.stage {
            _ if state.is_gone => return Err(Refusal::Gone),
            Stage::NotStarted => return Err(Refusal::NotStarted),
            Stage::Ended => return Err(Refusal::Ended),
            Stage::Started if !state.trails => return Err(Refusal::Unannounced),
            Stage::Started => return Err(Refusal::Unfinished),
            Stage::Trailing => {}
        }
        let all = state.trailers.get_or_insert_default();
        all.append(trailers);
        if all.size() > ENOUGH {
            return Err(Refusal::Large(ENOUGH));
        }
        if !more {
            state.stage = Stage::Ended;
            self.turn(state);
        }
        Ok(())
    }

    /// Has the worker send what there is.
    pub(super) fn flush(&self) {
        let state = self.state();
        if state.stage == Stage::Started && !state.is_due && !state.is_gone {
            self.turn(state);
        }
    }

    /// Is there room for more? Otherwise the loop is told when there is.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.state();
        let has_room = state.has_room() || state.is_gone;
        state.is_waiting |= !has_room;
        has_room
    }

    /// Gives what there is to receive; otherwise the loop is told when there is something.
    pub(super) fn receive(&self) -> Option<Event> {
        let mut state = self.state();
        if state.is_gone || state.stage == Stage::Ended {
            return Some(Event::Disconnect);
        }
        match std::mem::take(&mut state.request) {
            Incoming::Block(data, more) => {
                if more {
                    state.request = Incoming::Idle;
                }
                return Some(Event::Body(data, more));
            }
            Incoming::Idle => state.request = Incoming::Wanted,
            Incoming::Ended if state.is_finished => {
                state.is_gone = true;
                self.rouse(state);
                return Some(Event::Disconnect);
            }
            Incoming::Ended => state.is_watched = true,
            other => state.request = other,
        }
        state.is_waiting = true;
        self.rouse(state);
        None
    }

    /// The application has returned or raised. Is the worker still there to hear of it, and the answer not complete? Called attached.
    pub(super) fn end(&self, raised: Option<Ref>) -> bool {
        let mut state = self.state();
        state.counted = None;
        if state.stage == Stage::Ended || state.is_gone || state.is_over {
            // What was raised goes when the lock is free, since that may run code.
            drop(state);
            return false;
        }
        state.is_over = true;
        // What has been sent is sent, whether or not the loop has come to `flush`; a head alone is not.
        state.is_due |= state.stage == Stage::Started && state.has_body;
        state.raised = raised.map(ManuallyDrop::new);
        self.rouse(state);
        true
    }

    /// The loop does not begin with it.
    pub(super) fn decline(&self) {
        let mut state = self.state();
        state.counted = None;
        state.is_declined = true;
        self.rouse(state);
    }

    pub(super) fn stage(&self) -> Stage {
        self.state().stage
    }

    /// Is there nothing more to send?
    pub(super) fn is_complete(&self) -> bool {
        self.stage() == Stage::Ended
    }

    /// Has the client gone before it had all of the answer?
    pub(super) fn is_gone(&self) -> bool {
        let state = self.state();
        state.is_gone && state.stage != Stage::Ended
    }

    /// With what httpd has refused the request's body.
    pub(super) fn refused(&self) -> Option<i32> {
        self.state().refused
    }

    fn turn(&self, mut state: MutexGuard<'_, State>) {
        state.is_due = true;
        self.rouse(state);
    }

    /// Wakes the worker, where it waits.
    fn rouse(&self, mut state: MutexGuard<'_, State>) {
        let (rope, sleeps) = (state.rope.take(), std::mem::take(&mut state.sleeps));
        drop(state);
        match rope {
            Some(rope) => rope.pull(),
            None if sleeps => self.turned.notify_one(),
            None => {}
        }
    }
}

impl Sleeper for Channel {
    fn wake(&self) {
        self.rouse(self.state());
    }
}

// The worker's side.
impl Channel {
    /// Takes what the application has raised. Called attached.
    pub(super) fn raised(&self) -> Option<Ref> {
        self.state().raised.take().map(ManuallyDrop::into_inner)
    }

    /// Waits for something to do; None where the time is up, and, if the worker can watch its client, where it is to do that, too.
    pub(super) fn wait(&self, time: Duration, can_watch: bool) -> Option<Job> {
        let state = self.state();
        let (mut state, _) = self
            .turned
            .wait_timeout_while(state, time, |state| {
                state.sleeps = !(state.has_job() || can_watch && state.is_watched);
                state.sleeps
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.sleeps = false;
        state.job()
    }

    /// Gives what there is to do; otherwise the rope is pulled when there is something.
    pub(super) fn job_or(&self, rope: &Rope) -> Option<Job> {
        let mut state = self.state();
        let job = state.job();
        state.rope = job.is_none().then(|| rope.clone());
        job
    }

    /// Wakes the loop, which has been given the request.
    pub(super) fn ring(&self) {
        self.inbox.ring();
    }

    /// Has the loop ended without a word?
    pub(super) fn is_abandoned(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Has the application's task cancelled.
    pub(super) fn cancel(&self) {
        self.inbox.cancel(self.number);
    }

    /// The worker has waited for the client: told before the application hears what has come of that.
    pub(super) fn put_off(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.waited.fetch_add(time, Ordering::Relaxed);
    }

    /// A part has been sent.
    pub(super) fn sent(&self) {
        let state = self.state();
        self.tell(state);
    }

    /// Gives the application a block of the request's body, and says whether more follows.
    pub(super) fn deliver(&self, data: Vec<u8>, more: bool) {
        let mut state = self.state();
        state.request = Incoming::Block(data, more);
        self.tell(state);
    }

    /// The client sends nothing more: an application that asks is told that it has gone, and one that does not may still answer.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        state.is_finished = true;
        self.tell(state);
    }

    /// httpd refuses the request's body, and the worker goes.
    pub(super) fn refuse(&self, status: i32) {
        self.state().refused = Some(status);
    }

    /// The client has gone, or the worker goes.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.is_gone = true;
        state.rope = None;
        // What nobody will send need not be kept for as long as the application runs.
        state.body = Vec::new();
        state.file = None;
        state.head = None;
        state.hint = None;
        state.trailers = None;
        self.tell(state);
    }

    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let is_waiting = std::mem::take(&mut state.is_waiting);
        drop(state);
        if is_waiting {
            self.inbox.wake(self.number);
        }
    }
}

impl State {
    fn may_take_file(&self) -> Result<(), Refusal> {
        match self.stage {
            _ if self.is_gone => Err(Refusal::Gone),
            Stage::NotStarted => Err(Refusal::NotStarted),
            Stage::Trailing | Stage::Ended => Err(Refusal::Ended),
            Stage::Started if self.has_body => Err(Refusal::Mixed),
            Stage::Started => Ok(()),
        }
    }

    fn behind_body(&self) -> Stage {
        match self.trails {
            true => Stage::Trailing,
            false => Stage::Ended,
        }
    }

    fn has_room(&self) -> bool {
        let hinted = self.hint.as_ref().map_or(0, HeadParts::size);
        self.body.len() <= ENOUGH && hinted <= ENOUGH
    }

    fn has_job(&self) -> bool {
        self.is_due
            || self.hint.is_some()
            || self.is_over
            || self.is_gone
            || self.is_declined
            || matches!(self.request, Incoming::Wanted)
    }

    fn job(&mut self) -> Option<Job> {
        if self.is_declined {
            return Some(Job::Declined);
        }
        if let Some(hint) = self.hint.take() {
            return Some(Job::Hint(hint));
        }
        if std::mem::take(&mut self.is_due) {
            return Some(Job::Send {
                head: self.head.take(),
                data: std::mem::take(&mut self.body),
                file: self.file.take(),
                trailers: self.trailers.take_if(|_| self.stage == Stage::Ended),
                is_last: self.stage == Stage::Ended,
            });
        }
        if self.is_over {
            return Some(Job::Over);
        }
        if self.is_gone {
            return Some(Job::Gone);
        }
        if matches!(self.request, Incoming::Wanted) {
            self.request = Incoming::Reading;
            return Some(Job::Read);
        }
        None
    }
}
