//! An open WebSocket: frames in both directions, until one side closes.

use super::channel::Channel;
use super::channel::{Message, Order};
use super::frames::{self, Received, Receiver, Sender, Violation};
use super::work::{Ending, Work};
use crate::embed::scoreboard::Counted;
use crate::exchange::{Exchange, RequestLease};
use crate::gateway::asgi::options::Limits;
use crate::httpd::io::Aborted;
use crate::httpd::io::poll::Interest;
use crate::httpd::io::tunnel::{Heard, Tunnel};
use crate::httpd::io::unwaited::MOST;
use crate::httpd::io::watch;
use crate::httpd::request::connection::Socket;
use crate::httpd::request::lease::Held;
use crate::httpd::request::server::is_stopping;
use crate::streams::bell::Bell;
use crate::streams::bell::Rope;
use crate::streams::{Step, Wants};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So often the worker looks at the clock, and whether the child is to end.
const TICK: Duration = Duration::from_secs(1);
/// So long a client has to answer a close frame.
const CLOSING: Duration = Duration::from_secs(10);
/// So long an application may answer what a client had sent before it closed.
const ANSWERING: Duration = Duration::from_secs(2);
/// So much is written at once, where there is so much.
const ENOUGH: usize = 65536;
/// So many blocks of the client's are read before the application's side is looked at again.
const BLOCKS: usize = 16;

/// So many bytes are sent before other streams have their turn.
const MOST_OF_A_STEP: usize = 16 * MOST;
/// So much memory is kept for what is written next.
const KEPT: usize = 4096;

const RESTART: u16 = 1012;
const FAILED: u16 = 1011;

/// An open WebSocket. Its worker keeps it, or the streams' thread.
pub(super) struct Talk {
    lease: RequestLease,
    channel: Arc<Channel>,
    limits: Limits,
    /// How long a client may take nothing: httpd's Timeout.
    patience: Duration,
    /// May it wait until the client has taken what is sent? In a worker.
    may_wait: bool,
    tunnel: Tunnel,
    receiver: Receiver,
    sender: Sender,
    /// What the application has ordered and has not been done.
    orders: VecDeque<Order>,
    /// Is the application to be told when all that is done?
    owes_word: bool,
    /// What has been read, and waits until the application has room for it.
    unread: Vec<u8>,
    /// Has all been read that has come? What TLS holds back does not show at the socket.
    is_dry: bool,
    /// What is to be written, and how much of it has been.
    out: Vec<u8>,
    written: usize,
    /// Since when the client has not taken what was written.
    stuck: Option<Instant>,
    /// May the application be given more?
    has_room: bool,
    /// The client has said its last: what is to answer that, and since when the application is waited for.
    parting: Option<Parting>,
    /// When our close frame was sent.
    closed: Option<Instant>,
    /// Since when there is nothing to be done but to send what is left.
    ended: Option<Instant>,
    /// Did the application end before it closed?
    over: Option<bool>,
    heard: Instant,
    pinged: Option<Instant>,
    stopping: Option<Instant>,
    _counted: Option<Counted>,
}

/// The answer to a client's end, which goes behind those to its messages.
struct Parting {
    since: Instant,
    /// None once it has its place.
    order: Option<Order>,
}

/// Has the WebSocket come to its end?
type Ended = bool;

/// How a step of it ends.
pub(super) enum Stepped {
    Step(Step),
    Ended(Result<(), Ending>),
}

impl Talk {
    /// Sends the head of the answer that accepts; `orders` have come together with the acceptance.
    pub(super) fn begin(
        work: &Work<'_>,
        head: &[u8],
        orders: VecDeque<Order>,
        may_wait: bool,
    ) -> Result<Talk, Ending> {
        let held = work.hold()?;
        let request = held.request();
        let agreed = work.asked.agreed();
        Ok(Talk {
            lease: work.lease.clone(),
            channel: work.channel.clone(),
            limits: *work.limits,
            patience: Duration::from_secs_f64(request.server().timeout().max(1.0)),
            may_wait,
            tunnel: Tunnel::open(request, head)?,
            receiver: Receiver::new(work.limits.size, agreed),
            sender: Sender::new(agreed),
            orders,
            owes_word: true,
            unread: Vec::new(),
            is_dry: false,
            out: Vec::new(),
            written: 0,
            stuck: None,
            has_room: true,
            parting: None,
            closed: None,
            ended: None,
            over: None,
            heard: Instant::now(),
            pinged: None,
            stopping: None,
            _counted: work.channel.count_open(),
        })
    }

    pub(super) fn lease(&self) -> &RequestLease {
        &self.lease
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Talks until the end, in the worker.
    pub(super) fn run(mut self) -> Result<(), Ending> {
        let wrong = |text: &str| Ending::Wrong(text.into());
        let pipe = {
            let held = self.hold()?;
            let connection = held.request().connection();
            let is_shared = connection.socket() == Socket::Shared;
            connection.pipe().filter(|_| is_shared)
        };
        let bell = Bell::new().map_err(|_| wrong("no descriptor is left for a websocket"))?;
        let rope = bell.rope();
        loop {
            match self.step(&rope) {
                Stepped::Ended(result) => return result,
                Stepped::Step(Step::Wait(wants)) => {
                    let socket = self.hold()?.request().connection().socket();
                    let descriptor = match (socket, pipe) {
                        (Socket::Open(descriptor), _) => descriptor,
                        (Socket::Shared, Some(pipe)) => pipe,
                        (Socket::Shared, None) => {
                            return Err(wrong("the connection has no socket"));
                        }
                        (Socket::Closed, _) => return Err(self.lost()),
                    };
                    watch::wait(descriptor, wants.client, bell.descriptor(), TICK);
                    bell.hush();
                    if let Some(pipe) = pipe {
                        watch::drain(pipe);
                    }
                }
                Stepped::Step(_) => {}
            }
        }
    }

    /// Does what there is to do. The rope is pulled when the application has something.
    pub(super) fn step(&mut self, rope: &Rope) -> Stepped {
        let step = self.advance(rope).map(|ended| {
            if ended {
                self.ended.get_or_insert_with(Instant::now);
            }
            match self.ended {
                Some(since) if self.is_written() || since.elapsed() >= CLOSING => Step::End,
                Some(_) if self.stuck.is_none() => Step::Again,
                Some(_) => Step::Wait(self.wants()),
                None if self.stuck.is_none() && self.has_more() => Step::Again,
                None => Step::Wait(self.wants()),
            }
        });
        match step {
            Ok(Step::End) => Stepped::Ended(match self.over {
                Some(_) => Err(Ending::Over(true)),
                None => Ok(()),
            }),
            Ok(step) => Stepped::Step(step),
            Err(ending) => Stepped::Ended(Err(ending)),
        }
    }

    fn advance(&mut self, rope: &Rope) -> Result<Ended, Ending> {
        self.write()?;
        if self.ended.is_some() {
            return Ok(true);
        }
        if self.stuck.is_none() && self.out.is_empty() {
            self.say()?;
        }
        if self.parting.is_some() && self.closed.is_some() {
            // Both have closed.
            return Ok(true);
        }
        if self.listen()? || self.look_at_the_clock()? {
            return Ok(true);
        }
        if self.is_written() {
            let found = self.channel.look(rope);
            self.has_room = found.has_room;
            self.owes_word |= !found.orders.is_empty();
            self.orders.extend(found.orders);
            // Should the application's loop have ended, nobody tells.
            let over = found
                .over
                .or_else(|| self.channel.is_abandoned().then_some(true));
            if let Some(has_failed) = over
                && self.closed.is_none()
                && self.over.is_none()
            {
                self.over = Some(has_failed);
                if self.parting.is_none() {
                    self.orders.push_back(match has_failed {
                        true => Order::Close(FAILED, "the application has failed".into()),
                        false => Order::Close(1000, String::new()),
                    });
                }
            }
            if !found.lags
                && let Some(parting) = &mut self.parting
            {
                self.orders.extend(parting.order.take());
            }
        }
        Ok(false)
    }

    /// Is there something that can be done now? What waits for the application is looked at again when that has taken something:
    /// it pulls the rope.
    fn has_more(&self) -> bool {
        !self.orders.is_empty() || !self.out.is_empty() || self.reads() && !self.is_dry
    }

    fn wants(&self) -> Wants {
        Wants {
            client: Interest {
                reads: self.ended.is_none() && self.reads(),
                ends: self.ended.is_none() && self.reads(),
                writes: self.stuck.is_some(),
                // Behind its end nothing is read that would tell once: a reset would be told of all the time. What is sent finds out.
                resets: false,
            },
            due: self.due(),
        }
    }

    /// When the clock has to be looked at.
    fn due(&self) -> Option<Instant> {
        let limits = &self.limits;
        let pong = self.pinged.zip(limits.pong);
        let pong = pong.map(|(pinged, pong)| pinged + pong);
        let ping = limits.ping.filter(|_| self.pinged.is_none());
        [
            self.stuck.map(|since| since + self.patience),
            self.ended.map(|since| since + CLOSING),
            self.closed.map(|closed| closed + CLOSING),
            self.parting
                .as_ref()
                .map(|parting| parting.since + ANSWERING),
            pong,
            ping.map(|interval| self.heard + interval),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Says that the server goes, as far as that can be done at once.
    pub(super) fn part(&mut self) {
        if self.closed.is_none() && self.ended.is_none() {
            self.channel.disconnect(RESTART, "the server restarts");
            // Whoever has gone need not be told.
            let _ = self.close(Some(RESTART), "the server restarts");
        }
    }

    fn hold(&self) -> Result<Held<'_, Exchange>, Ending> {
        let gone = |_| Ending::Wrong("the request has ended".into());
        self.lease.acquire().map_err(gone)
    }

    fn reads(&self) -> bool {
        let is_choked = self.stuck.is_some() && self.out.len() - self.written > ENOUGH;
        self.parting.is_none() && (self.has_room || self.closed.is_some()) && !is_choked
    }

    /// Sends what the application has ordered, as far as the client takes it.
    fn say(&mut self) -> Result<(), Ending> {
        while self.is_written()
            && let Some(order) = self.orders.pop_front()
        {
            match order {
                _ if self.closed.is_some() => {}
                Order::Send(is_text, data) => {
                    self.sender.message(&mut self.out, is_text, &data);
                    if self.out.len() > ENOUGH {
                        self.write()?;
                    }
                }
                Order::Close(code, reason) => self.close(Some(code), &reason)?,
                Order::Part(code, reason) => self.close(code, &reason)?,
                Order::Accept(_) | Order::Refuse | Order::Deny(..) => {}
            }
        }
        self.write()?;
        if self.owes_word && self.orders.is_empty() && self.is_written() {
            self.owes_word = false;
            self.channel.sent();
        }
        Ok(())
    }

    fn is_written(&self) -> bool {
        self.out.is_empty() && self.stuck.is_none()
    }

    /// Sends what there is; where it may not wait, as much as the client takes.
    fn write(&mut self) -> Result<(), Ending> {
        if self.is_written() {
            return Ok(());
        }
        self.try_write().map_err(|_| self.lost())
    }

    fn try_write(&mut self) -> Result<(), Aborted> {
        let held = self.lease.acquire().map_err(|_| Aborted)?;
        let request = held.request();
        let connection = request.connection();
        let mut is_stuck = self.stuck.is_some() && connection.push()?;
        let before = (is_stuck, self.written);
        let most = self.written.saturating_add(MOST_OF_A_STEP);
        while !is_stuck && self.written < self.out.len() && (self.written < most || self.may_wait) {
            let rest = self.out.get(self.written..).unwrap_or_default();
            let part = match self.may_wait {
                true => rest,
                false => rest.get(..MOST).unwrap_or(rest),
            };
            self.tunnel.write(request, part)?;
            is_stuck = !self.may_wait && connection.push()?;
            self.written += part.len();
        }
        // The time counts since the client has taken something.
        let has_moved = !before.0 || self.written > before.1;
        self.stuck = match self.stuck {
            Some(since) if is_stuck && !has_moved => Some(since),
            _ => is_stuck.then(Instant::now),
        };
        if self.written >= self.out.len() {
            self.out.clear();
            self.written = 0;
            if self.out.capacity() > KEPT {
                self.out = Vec::new();
            }
        }
        Ok(())
    }

    /// Sends a close frame, behind what there is.
    fn close(&mut self, code: Option<u16>, reason: &str) -> Result<(), Ending> {
        frames::close(&mut self.out, code, reason);
        self.closed = Some(Instant::now());
        self.write()
    }

    /// The client has gone without a word.
    fn lost(&self) -> Ending {
        self.channel.disconnect(1006, "");
        Ending::Gone
    }

    /// Reads what the client has sent, as far as the application has room for it.
    fn listen(&mut self) -> Result<Ended, Ending> {
        self.is_dry = false;
        for _ in 0..BLOCKS {
            if !self.reads() {
                break;
            }
            if self.unread.is_empty() {
                let gone = |_| Ending::Wrong("the request has ended".into());
                let held = self.lease.acquire().map_err(gone)?;
                match self.tunnel.read(held.request(), &mut self.unread) {
                    Heard::Nothing => {
                        self.is_dry = true;
                        break;
                    }
                    Heard::Bytes => self.heard = Instant::now(),
                    Heard::End => {
                        drop(held);
                        return match self.closed {
                            // It has had its say, and ours: that it has not answered makes no difference any more.
                            Some(_) => Ok(true),
                            // It may still take the answers to what it has sent.
                            None => Ok(self.hear_the_last(1006, None, "")),
                        };
                    }
                }
            }
            let unread = std::mem::take(&mut self.unread);
            let mut data = &*unread;
            while !data.is_empty() && self.reads() {
                match self.receiver.read(data) {
                    Ok((received, rest)) => {
                        data = rest;
                        if let Some(received) = received
                            && self.take(received)?
                        {
                            return Ok(true);
                        }
                    }
                    Err(Violation(code, what)) => {
                        return Ok(self.hear_the_last(code, Some(code), what));
                    }
                }
            }
            self.unread = data.to_vec();
            self.write()?;
        }
        Ok(false)
    }

    /// Takes a message, or what stands between messages.
    fn take(&mut self, received: Received) -> Result<Ended, Ending> {
        let message = match received {
            Received::Text(data) => Message::Text(data),
            Received::Binary(data) => Message::Binary(data),
            Received::Ping(data) => {
                if self.closed.is_none() {
                    frames::pong(&mut self.out, &data);
                }
                return Ok(false);
            }
            Received::Pong => {
                self.pinged = None;
                return Ok(false);
            }
            Received::Close(code, reason) => {
                return Ok(self.hear_the_last(code.unwrap_or(1005), code, &reason));
            }
        };
        if self.closed.is_none() {
            self.has_room = self.channel.deliver(message);
        }
        Ok(false)
    }

    /// Nothing more is read of the client. Its messages are answered before its end is, for `ANSWERING` at most.
    fn hear_the_last(&mut self, told: u16, code: Option<u16>, reason: &str) -> Ended {
        self.channel.disconnect_behind(told, reason);
        self.parting = Some(Parting {
            since: Instant::now(),
            order: Some(Order::Part(code, reason.into())),
        });
        self.closed.is_some()
    }

    /// Does what is to be done in time: pings, the end of a client that does not answer, the end of the child.
    fn look_at_the_clock(&mut self) -> Result<Ended, Ending> {
        if self
            .stuck
            .is_some_and(|since| since.elapsed() >= self.patience)
        {
            return Err(self.lost());
        }
        if let Some(closed) = self.closed {
            return Ok(closed.elapsed() >= CLOSING);
        }
        if let Some(parting) = &self.parting {
            if parting.since.elapsed() >= ANSWERING {
                self.channel.cut_off();
            }
            return Ok(false);
        }
        let limits = self.limits;
        if self.stopping.is_none() && is_stopping() {
            self.stopping = Some(Instant::now());
        }
        if let Some(since) = self.stopping
            && since.elapsed() >= limits.shutdown
        {
            self.channel.disconnect(RESTART, "the server restarts");
            self.close(Some(RESTART), "the server restarts")?;
            return Ok(false);
        }
        if !self.has_room {
            // Its pong may lie behind what the application has not received.
            (self.pinged, self.heard) = (None, Instant::now());
        }
        match (self.pinged, limits.ping) {
            (Some(pinged), _) if limits.pong.is_some_and(|pong| pinged.elapsed() >= pong) => {
                let text = "no pong has come in time";
                self.channel.disconnect(FAILED, text);
                self.close(Some(FAILED), text)?;
                Ok(true)
            }
            (None, Some(interval)) if self.heard.elapsed() >= interval => {
                frames::ping(&mut self.out);
                self.pinged = Some(Instant::now());
                self.write()?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }
}
