//! What passes between an application and the worker that holds its WebSocket. Both queues are bounded: the worker reads no more
//! of the client while the application has not received what there is, and the application waits while the client does not read.

use super::super::inbox::Inbox;
use super::super::parts::HeadParts;
use crate::embed::scoreboard::{Counted, Gauge};
use crate::streams::bell::Rope;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many bytes lie here before the application has to wait.
const ENOUGH: usize = 65536;

/// One WebSocket's channel. Owned by both sides, freed with the last of them.
pub(in super::super) struct Channel {
    pub(super) number: u64,
    inbox: Arc<Inbox>,
    /// How many messages of the client's wait here at most, and how many bytes: more than that comes with the last one only.
    most: (usize, usize),
    /// Held for moments, never while Python runs or something blocks.
    state: Mutex<State>,
    turned: Condvar,
}

/// How far the WebSocket has come, as the application sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The application has not answered.
    #[default]
    Connecting,
    /// The application answers as if it were an HTTP request.
    Denying,
    Open,
    /// The application has closed it, or refused it.
    Closed,
}

#[derive(Default)]
struct State {
    stage: Stage,
    /// Has the application received `websocket.connect`? Some answer before they look.
    is_told: bool,
    orders: VecDeque<Order>,
    /// How many bytes are in them.
    ordered: usize,
    is_due: bool,
    messages: VecDeque<Message>,
    held: usize,
    /// Has the application received a message, and not asked for the next one?
    is_busy: bool,
    /// Has the client closed, and may the application still answer what came before that?
    may_answer: bool,
    /// What the application is told at the end, whenever it asks.
    end: Option<(u16, String)>,
    /// The application has returned, or (true) raised.
    over: Option<bool>,
    /// The worker has gone.
    is_left: bool,
    is_waiting: bool,
    rope: Option<Rope>,
    /// Counts it among the loop's tasks, until the application has ended.
    counted: Option<Counted>,
}

/// What the worker is to do.
pub(super) enum Order {
    Accept(Accepted),
    Refuse,
    /// A part of an HTTP answer; is it the last?
    Deny(Option<HeadParts>, Vec<u8>, bool),
    Send(bool, Vec<u8>),
    Close(u16, String),
    /// Answers the client's end: with its code, where it has one.
    Part(Option<u16>, String),
}

/// With what the WebSocket is accepted.
pub(super) struct Accepted {
    pub(super) subprotocol: Option<String>,
    pub(super) head: HeadParts,
}

/// What the client has sent.
pub(super) enum Message {
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

impl Message {
    fn length(&self) -> usize {
        match self {
            Message::Text(data) | Message::Binary(data) => data.len(),
        }
    }
}

/// What `receive` gives.
pub(super) enum Event {
    Connect,
    Message(Message),
    Disconnect(u16, String),
}

/// Why an order is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not come at this stage.
    Stage(Stage),
    /// The client has gone.
    Gone,
}

impl Channel {
    pub(super) fn new(inbox: Arc<Inbox>, most: (usize, usize)) -> Channel {
        static NUMBERS: AtomicU64 = AtomicU64::new(1 << 63);
        Channel {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            most,
            state: Mutex::new(State {
                counted: inbox.count(Gauge::Tasks),
                ..State::default()
            }),
            turned: Condvar::new(),
            inbox,
        }
    }

    /// Counts it among the open ones, until what this gives is dropped.
    pub(super) fn count_open(&self) -> Option<Counted> {
        self.inbox.count(Gauge::WebSockets)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// The application's side.
impl Channel {
    /// Takes an order, where it may come at the stage that there is; that is `next` afterwards. True where the application has to wait.
    pub(super) fn order(&self, order: Order, may: &[Stage], next: Stage) -> Result<bool, Refusal> {
        let mut state = self.state();
        if !may.contains(&state.stage) {
            return Err(Refusal::Stage(state.stage));
        }
        if state.is_left || state.end.is_some() && !state.lags() {
            return Err(Refusal::Gone);
        }
        state.stage = next;
        state.ordered += match &order {
            Order::Send(_, data) | Order::Deny(_, data, _) => data.len(),
            _ => 0,
        };
        if let Order::Close(code, reason) = &order {
            state.end.get_or_insert_with(|| (*code, reason.clone()));
        }
        state.orders.push_back(order);
        let is_full = state.ordered > ENOUGH;
        self.rouse(state);
        Ok(is_full)
    }

    /// Is there room for more? Otherwise the loop is told when there is.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.state();
        let has_room = state.ordered <= ENOUGH || state.is_left;
        state.is_waiting |= !has_room;
        has_room
    }

    /// Gives what there is to receive; otherwise the loop is told when there is something.
    pub(super) fn receive(&self) -> Option<Event> {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_told, true) {
            return Some(Event::Connect);
        }
        state.is_busy = false;
        if let Some(message) = state.messages.pop_front() {
            state.held = state.held.saturating_sub(message.length());
            state.is_busy = true;
            // The worker may have stopped to read.
            self.rouse(state);
            return Some(Event::Message(message));
        }
        if let Some((code, reason)) = state.end.clone() {
            // The worker may wait for that.
            self.rouse(state);
            return Some(Event::Disconnect(code, reason));
        }
        if state.is_left || state.stage == Stage::Closed {
            return Some(Event::Disconnect(1006, String::new()));
        }
        state.is_waiting = true;
        None
    }

    /// The application has returned or raised. Is the worker there to hear of it?
    pub(super) fn end(&self, has_failed: bool) -> bool {
        let mut state = self.state();
        state.counted = None;
        let is_late = state.end.is_some() && !state.lags();
        if state.is_left || state.stage == Stage::Closed || is_late {
            return false;
        }
        state.over.get_or_insert(has_failed);
        self.rouse(state);
        true
    }

    /// Has the client gone of its own accord?
    pub(super) fn is_gone(&self) -> bool {
        let state = self.state();
        state.end.is_some() && state.stage != Stage::Closed
    }

    fn rouse(&self, mut state: MutexGuard<'_, State>) {
        state.is_due = true;
        let rope = state.rope.take();
        drop(state);
        match rope {
            Some(rope) => rope.pull(),
            None => self.turned.notify_one(),
        }
    }
}

/// What the worker finds when it looks.
#[derive(Default)]
pub(super) struct Found {
    pub(super) orders: VecDeque<Order>,
    /// Has the application ended; has it failed?
    pub(super) over: Option<bool>,
    /// May more be read of the client?
    pub(super) has_room: bool,
    /// Has the application not done yet with what came before the client's end?
    pub(super) lags: bool,
}

// The worker's side.
impl Channel {
    /// Waits until something has changed; None where the time is up.
    pub(super) fn wait(&self, time: Duration) -> Option<Found> {
        let state = self.state();
        let (mut state, _) = self
            .turned
            .wait_timeout_while(state, time, |state| !state.is_due)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_due.then(|| state.found(self.most))
    }

    /// Takes what there is. Where that is nothing, the rope is pulled when something has changed.
    pub(super) fn look(&self, rope: &Rope) -> Found {
        let mut state = self.state();
        let found = state.found(self.most);
        state.rope = (found.orders.is_empty() && found.over.is_none()).then(|| rope.clone());
        found
    }

    /// Wakes the loop, which has been given the request.
    pub(super) fn ring(&self) {
        self.inbox.ring();
    }

    /// Has the loop ended without a word?
    pub(super) fn is_abandoned(&self) -> bool {
        self.inbox.is_closed()
    }

    /// What has been ordered has been sent.
    pub(super) fn sent(&self) {
        let state = self.state();
        self.tell(state);
    }

    /// The client has sent a message. Is there room for another?
    pub(super) fn deliver(&self, message: Message) -> bool {
        let mut state = self.state();
        state.held = state.held.saturating_add(message.length());
        state.messages.push_back(message);
        let has_room = state.has_room(self.most);
        self.tell(state);
        has_room
    }

    /// The WebSocket has come to its end; the application is told how, unless it has been told before.
    pub(super) fn disconnect(&self, code: u16, reason: &str) {
        let mut state = self.state();
        state.end.get_or_insert_with(|| (code, reason.to_owned()));
        self.tell(state);
    }

    /// The client has closed, or has sent what cannot be read. The application is told so behind the messages that came before, which it
    /// may answer until `cut_off`.
    pub(super) fn disconnect_behind(&self, code: u16, reason: &str) {
        self.state().may_answer = true;
        self.disconnect(code, reason);
    }

    /// The application has had its time.
    pub(super) fn cut_off(&self) {
        self.state().may_answer = false;
    }

    /// The worker goes.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.is_left = true;
        state.rope = None;
        state.orders = VecDeque::new();
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
    fn found(&mut self, most: (usize, usize)) -> Found {
        self.is_due = false;
        self.ordered = 0;
        Found {
            orders: std::mem::take(&mut self.orders),
            over: self.over,
            has_room: self.has_room(most),
            lags: self.lags(),
        }
    }

    /// Is the application at a message that came before the client's end, or is one left for it?
    fn lags(&self) -> bool {
        let is_there = self.over.is_none() && !self.is_left;
        self.may_answer && is_there && (self.is_busy || !self.messages.is_empty())
    }

    fn has_room(&self, (messages, bytes): (usize, usize)) -> bool {
        self.messages.len() < messages && self.held < bytes
    }
}
