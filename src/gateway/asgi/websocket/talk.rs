//! An open WebSocket: frames in both directions, until one side closes.

use super::super::bell::Bell;
use super::channel::{Message, Order};
use super::frames::{self, Received, Receiver, Sender, Violation};
use super::work::{Ending, Work};
use crate::httpd::io::tunnel::{Heard, Tunnel};
use crate::httpd::io::watch;
use crate::httpd::request::server::is_stopping;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So often the worker looks at the clock, and whether the child is to end.
const TICK: Duration = Duration::from_secs(1);
/// So long a client has to answer a close frame.
const CLOSING: Duration = Duration::from_secs(10);
/// So much is written at once, where there is so much.
const ENOUGH: usize = 65536;
/// So many blocks of the client's are read before the application's side is looked at again.
const BLOCKS: usize = 16;

const RESTART: u16 = 1012;
const FAILED: u16 = 1011;

pub(super) struct Talk<'w> {
    work: &'w Work<'w>,
    bell: Bell,
    descriptor: i32,
    tunnel: Tunnel,
    receiver: Receiver,
    sender: Sender,
    /// What has been read, and waits until the application has room for it.
    unread: Vec<u8>,
    /// Has all been read that has come? What TLS holds back does not show at the socket.
    is_dry: bool,
    /// What is to be written.
    out: Vec<u8>,
    /// May the application be given more?
    has_room: bool,
    /// When our close frame was sent.
    closed: Option<Instant>,
    /// Did the application end before it closed?
    over: Option<bool>,
    heard: Instant,
    pinged: Option<Instant>,
    stopping: Option<Instant>,
}

/// Has the WebSocket come to its end?
type Ended = bool;

impl<'w> Talk<'w> {
    /// Sends the head of the answer that accepts.
    pub(super) fn begin(work: &'w Work<'w>, head: &[u8]) -> Result<Talk<'w>, Ending> {
        let wrong = |text: &str| Ending::Wrong(text.into());
        let held = work.hold()?;
        let request = held.request();
        let descriptor = request.connection().descriptor();
        let agreed = work.asked.agreed();
        Ok(Talk {
            work,
            bell: Bell::new().map_err(|_| wrong("no descriptor is left for a websocket"))?,
            descriptor: descriptor.ok_or_else(|| wrong("the connection has no socket"))?,
            tunnel: Tunnel::open(request, head)?,
            receiver: Receiver::new(work.limits.size, agreed),
            sender: Sender::new(agreed),
            unread: Vec::new(),
            is_dry: false,
            out: Vec::new(),
            has_room: true,
            closed: None,
            over: None,
            heard: Instant::now(),
            pinged: None,
            stopping: None,
        })
    }

    /// Talks until the end; `orders` have come together with the acceptance.
    pub(super) fn run(mut self, mut orders: VecDeque<Order>) -> Result<(), Ending> {
        let rope = self.bell.rope();
        loop {
            let is_idle = self.say(&mut orders)?;
            if self.listen()? || self.look_at_the_clock()? {
                break;
            }
            let found = self.work.channel.look(&rope);
            self.has_room = found.has_room;
            orders = found.orders;
            if let Some(has_failed) = found.over
                && self.closed.is_none()
                && self.over.is_none()
            {
                self.over = Some(has_failed);
                orders.push_back(match has_failed {
                    true => Order::Close(FAILED, "the application has failed".into()),
                    false => Order::Close(1000, String::new()),
                });
            }
            // What waits for the application is looked at again when that has taken something: it pulls the rope.
            if is_idle && orders.is_empty() && (self.is_dry || !self.reads()) {
                watch::wait(self.descriptor, self.reads(), self.bell.descriptor(), TICK);
                self.bell.hush();
            }
        }
        match self.over {
            Some(_) => Err(Ending::Over(true)),
            None => Ok(()),
        }
    }

    fn reads(&self) -> bool {
        self.has_room || self.closed.is_some()
    }

    /// Sends what the application has ordered. Was that nothing?
    fn say(&mut self, orders: &mut VecDeque<Order>) -> Result<bool, Ending> {
        let is_idle = orders.is_empty();
        while let Some(order) = orders.pop_front() {
            match order {
                _ if self.closed.is_some() => {}
                Order::Send(is_text, data) => {
                    self.sender.message(&mut self.out, is_text, &data);
                    if self.out.len() > ENOUGH {
                        self.write()?;
                    }
                }
                Order::Close(code, reason) => self.close(Some(code), &reason)?,
                Order::Accept(_) | Order::Refuse | Order::Deny(..) => {}
            }
        }
        self.write()?;
        if !is_idle {
            self.work.channel.sent();
        }
        Ok(is_idle)
    }

    fn write(&mut self) -> Result<(), Ending> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = self.tunnel.write(self.work.hold()?.request(), &self.out);
        self.out.clear();
        if self.out.capacity() > 2 * ENOUGH {
            self.out = Vec::new();
        }
        written.map_err(|_| self.lost())
    }

    /// Sends a close frame, behind what there is.
    fn close(&mut self, code: Option<u16>, reason: &str) -> Result<(), Ending> {
        frames::close(&mut self.out, code, reason);
        self.closed = Some(Instant::now());
        self.write()
    }

    /// The client has gone without a word.
    fn lost(&self) -> Ending {
        self.work.channel.disconnect(1006, "");
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
                let held = self.work.hold()?;
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
                            None => Err(self.lost()),
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
                        self.work.channel.disconnect(code, what);
                        if self.closed.is_none() {
                            self.close(Some(code), what)?;
                        }
                        return Ok(true);
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
                self.work.channel.disconnect(code.unwrap_or(1005), &reason);
                if self.closed.is_none() {
                    self.close(code, &reason)?;
                }
                return Ok(true);
            }
        };
        if self.closed.is_none() {
            self.has_room = self.work.channel.deliver(message);
        }
        Ok(false)
    }

    /// Does what is to be done in time: pings, the end of a client that does not answer, the end of the child.
    fn look_at_the_clock(&mut self) -> Result<Ended, Ending> {
        if let Some(closed) = self.closed {
            return Ok(closed.elapsed() >= CLOSING);
        }
        let limits = self.work.limits;
        if self.stopping.is_none() && is_stopping() {
            self.stopping = Some(Instant::now());
        }
        if let Some(since) = self.stopping
            && since.elapsed() >= limits.shutdown
        {
            self.work.channel.disconnect(RESTART, "the server restarts");
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
                self.work.channel.disconnect(FAILED, text);
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
