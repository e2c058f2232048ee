//! The streams' thread: takes connections over, has each stream do what there is to do, and closes them in the end.

use super::bell::Bell;
use super::ending;
use super::stream::{Step, Taken, Wants};
use crate::embed::main_thread::spawn;
use crate::httpd::faults;
use crate::httpd::guard::guard;
use crate::httpd::io::poll::{Interest, Poll};
use crate::httpd::log::{self, Level};
use crate::httpd::request::connection::Connection;
use crate::httpd::request::lease::Refusal;
use crate::httpd::request::server::is_stopping;
use crate::httpd::request::suspended::Suspended;
use crate::httpd::request::turn::Turn;
use rustc_hash::FxHashMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// So often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// So often it is looked for connections that have lingered long enough.
const SHORT: Duration = Duration::from_millis(50);
/// So soon a stream is looked at again that somebody else has just now.
const MOMENT: Duration = Duration::from_millis(1);
/// So long a connection lingers for what its client still sends, as httpd's do.
const LINGER: Duration = Duration::from_secs(2);
/// So long the child waits at its end until all have said good-bye.
const PARTING: Duration = Duration::from_millis(1500);
/// The bell's number; those of streams begin behind it.
const BELL: u64 = 0;

/// What others give the thread.
struct Shared {
    bell: Bell,
    arriving: Mutex<Vec<Arrival>>,
    is_stopping: AtomicBool,
    stopped: (Mutex<bool>, Condvar),
}

enum Arrival {
    Stream(Taken),
    /// The request has ended; is the connection to linger?
    Ended(Suspended, bool),
}

static THREAD: OnceLock<Option<Arc<Shared>>> = OnceLock::new();

/// Is the thread there, or can it be started?
pub(super) fn is_ready() -> bool {
    let shared = THREAD.get_or_init(|| {
        start().unwrap_or_else(|reason| {
            let text = format!("{reason}; streams keep their workers");
            log::process(Level::Warning, &text);
            None
        })
    });
    shared
        .as_ref()
        .is_some_and(|shared| !shared.is_stopping.load(Ordering::SeqCst))
}

/// Gives the thread a stream, whose connection is its own from now on.
pub(super) fn adopt(taken: Taken) {
    match THREAD.get().and_then(Option::as_ref) {
        Some(shared) => shared.give(Arrival::Stream(taken)),
        None => log::process(Level::Critical, "a stream has been given away to nobody"),
    }
}

/// Has all streams say good-bye: the child ends. Call it detached.
pub(crate) fn stop() {
    let Some(shared) = THREAD.get().and_then(Option::as_ref) else {
        return;
    };
    shared.is_stopping.store(true, Ordering::SeqCst);
    shared.bell.rope().pull();
    let (stopped, turned) = &shared.stopped;
    let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
    // Whoever has not done so in time does without.
    drop(turned.wait_timeout_while(stopped, PARTING, |stopped| !*stopped));
}

fn start() -> Result<Option<Arc<Shared>>, String> {
    let none = |error: io::Error| format!("no descriptor is left for streams: {error}");
    let bell = Bell::new().map_err(none)?;
    let poll = Poll::new().map_err(none)?;
    poll.add(bell.descriptor(), BELL, Interest::READS)
        .map_err(none)?;
    let shared = Arc::new(Shared {
        bell,
        arriving: Mutex::default(),
        is_stopping: AtomicBool::new(false),
        stopped: (Mutex::new(false), Condvar::new()),
    });
    let back = shared.clone();
    let ends = ending::start(move |suspended, lingers| {
        back.give(Arrival::Ended(suspended, lingers));
    })?;
    let own = shared.clone();
    spawn("mod_python streams", move || {
        Streams {
            shared: own,
            poll,
            ends,
            seats: FxHashMap::default(),
            lingering: FxHashMap::default(),
            ready: Vec::new(),
            last: BELL,
            ticked: Instant::now(),
            closed: Instant::now(),
        }
        .run();
    })?;
    Ok(Some(shared))
}

impl Shared {
    fn give(&self, arrival: Arrival) {
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        arriving.push(arrival);
        let is_first = arriving.len() == 1;
        drop(arriving);
        if is_first {
            self.bell.rope().pull();
        }
    }
}

/// What the thread has.
struct Streams {
    shared: Arc<Shared>,
    poll: Poll,
    ends: Sender<Taken>,
    seats: FxHashMap<u64, Seat>,
    lingering: FxHashMap<u64, Lingering>,
    /// Those that have something to do.
    ready: Vec<u64>,
    /// The last number that was given.
    last: u64,
    ticked: Instant,
    /// When connections were closed last.
    closed: Instant,
}

struct Seat {
    taken: Taken,
    descriptor: RawFd,
    interest: Option<Interest>,
    due: Option<Instant>,
    /// Is it among those that have something to do?
    is_ready: bool,
    /// Does its worker, or a thread of the application's, have it just now?
    is_held_up: bool,
    /// Has its client given a sign since it was looked at?
    is_stirred: bool,
}

struct Lingering {
    suspended: Suspended,
    descriptor: Option<RawFd>,
    until: Instant,
}

impl Streams {
    fn run(mut self) {
        Turn::serve_streams();
        loop {
            let mut called = Vec::new();
            for number in self.poll.wait(self.patience()) {
                match number {
                    BELL => called = self.shared.bell.hush(),
                    number => self.call(number, true),
                }
            }
            for number in called {
                self.call(number, false);
            }
            self.take_arrivals();
            self.close_lingering();
            if self.ticked.elapsed() >= TICK {
                self.tick();
            }
            for number in std::mem::take(&mut self.ready) {
                self.step(number);
            }
            if self.shared.is_stopping.load(Ordering::SeqCst) {
                return self.part();
            }
        }
    }

    /// How long there is nothing to do.
    fn patience(&self) -> Duration {
        let is_held = |number: &u64| {
            let seat = self.seats.get(number);
            seat.is_some_and(|seat| seat.is_held_up)
        };
        match self.ready.as_slice() {
            [] if !self.lingering.is_empty() => SHORT,
            [] => TICK.saturating_sub(self.ticked.elapsed()),
            all if all.iter().all(is_held) => MOMENT,
            _ => Duration::ZERO,
        }
    }

    fn take_arrivals(&mut self) {
        if faults::strike("stream arrivals") {
            return;
        }
        let arriving = {
            let mut arriving = self
                .shared
                .arriving
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *arriving)
        };
        for arrival in arriving {
            self.last += 1;
            let number = self.last;
            match arrival {
                Arrival::Stream(mut taken) => {
                    let descriptor = taken
                        .suspended
                        .connection()
                        .and_then(Connection::descriptor);
                    taken.stream.begin(self.shared.bell.rope_of(number));
                    let seat = Seat {
                        taken,
                        descriptor: descriptor.unwrap_or(-1),
                        interest: None,
                        due: None,
                        is_ready: true,
                        is_stirred: false,
                        is_held_up: false,
                    };
                    self.seats.insert(number, seat);
                    self.ready.push(number);
                }
                Arrival::Ended(suspended, lingers) => self.linger(number, suspended, lingers),
            }
        }
    }

    /// Something has happened that a stream has waited for.
    fn call(&mut self, number: u64, is_stirred: bool) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.is_stirred |= is_stirred;
            if !std::mem::replace(&mut seat.is_ready, true) {
                self.ready.push(number);
            }
        } else if let Some(lingering) = self.lingering.get_mut(&number)
            && lingering.suspended.drain()
        {
            lingering.until = Instant::now();
            if let Some(descriptor) = lingering.descriptor.take() {
                self.poll.remove(descriptor);
            }
        }
    }

    fn tick(&mut self) {
        self.ticked = Instant::now();
        let is_stopping = is_stopping();
        for (number, seat) in &mut self.seats {
            let is_due = seat.due.is_some_and(|due| due <= self.ticked);
            if (is_due || is_stopping) && !std::mem::replace(&mut seat.is_ready, true) {
                self.ready.push(*number);
            }
        }
    }

    /// Closes the connections that have lingered long enough.
    fn close_lingering(&mut self) {
        let now = Instant::now();
        if self.lingering.is_empty() || now.duration_since(self.closed) < SHORT {
            return;
        }
        self.closed = now;
        let over =
            |lingering: &Lingering| lingering.until <= now && lingering.suspended.may_be_closed();
        let over = self.lingering.extract_if(|_, lingering| over(lingering));
        for (_, lingering) in over {
            if let Some(descriptor) = lingering.descriptor {
                self.poll.remove(descriptor);
            }
            let closed = guard("a stream's connection", || lingering.suspended.close());
            closed.unwrap_or_else(|place| log::process(Level::Critical, &place));
        }
    }

    fn step(&mut self, number: u64) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        // Held meanwhile, so that it has to wait for nobody: an application's thread may be in the middle of something.
        let lease = seat.taken.stream.lease().clone();
        let held = lease.hold();
        seat.is_held_up =
            !seat.taken.suspended.is_let_go() || held.as_ref().err() == Some(&Refusal::Busy);
        if seat.is_held_up {
            self.ready.push(number);
            return;
        }
        seat.is_ready = false;
        let is_stirred = std::mem::take(&mut seat.is_stirred);
        let step = guard("a stream", || match seat.taken.is_lost {
            true => Step::End,
            false => seat.taken.stream.step(is_stirred),
        });
        let step = step.unwrap_or_else(|place| {
            log::process(Level::Critical, &place);
            seat.taken.suspended.give_up();
            Step::End
        });
        drop(held);
        match step {
            Step::Again => {
                seat.is_ready = true;
                self.ready.push(number);
            }
            Step::Wait(wants) => {
                seat.due = wants.due;
                if let Err(error) = wait_for(&self.poll, number, seat, wants) {
                    let text = format!("a stream cannot be waited for: {error}");
                    log::process(Level::Error, &text);
                    seat.taken.suspended.give_up();
                    self.end(number);
                }
            }
            Step::End => self.end(number),
        }
    }

    fn end(&mut self, number: u64) {
        let Some(mut seat) = self.seats.remove(&number) else {
            return;
        };
        if seat.interest.is_some() {
            self.poll.remove(seat.descriptor);
        }
        let left = guard("a stream's farewell", || seat.taken.stream.leave());
        left.unwrap_or_else(|place| log::process(Level::Critical, &place));
        let connection = seat.taken.suspended.connection();
        if connection.is_some_and(Connection::keeps_output) {
            // Its client does not take it, and nobody is to wait for that.
            seat.taken.suspended.give_up();
        }
        if self.ends.send(seat.taken).is_err() {
            log::process(Level::Critical, "the thread that ends streams has gone");
        }
    }

    fn linger(&mut self, number: u64, suspended: Suspended, lingers: bool) {
        let now = Instant::now();
        let descriptor = suspended
            .connection()
            .and_then(Connection::descriptor)
            .filter(|_| lingers);
        let added = descriptor.filter(|&descriptor| {
            let added = self.poll.add(descriptor, number, Interest::READS);
            added.is_ok()
        });
        let lingering = Lingering {
            suspended,
            descriptor: added,
            until: if added.is_some() { now + LINGER } else { now },
        };
        self.lingering.insert(number, lingering);
    }

    /// All say good-bye. What is left of them goes with the process.
    fn part(mut self) {
        self.take_arrivals();
        for seat in self.seats.values_mut() {
            if seat.taken.suspended.is_let_go() {
                let parted = guard("a stream", || seat.taken.stream.part());
                parted.unwrap_or_else(|place| log::process(Level::Critical, &place));
            }
        }
        let (stopped, turned) = &self.shared.stopped;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        turned.notify_all();
        // Their requests are not ended: the process is about to go.
        std::mem::forget(std::mem::take(&mut self.seats));
    }
}

/// Sees to it that a stream is called when what it wants has come.
fn wait_for(poll: &Poll, number: u64, seat: &mut Seat, wants: Wants) -> io::Result<()> {
    if faults::strike("stream poll") {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    // Where nothing is wanted it is not waited for at all: that a client has gone would be told of all the time.
    let interest = Some(wants.client).filter(|wanted| wanted.is_any());
    if interest == seat.interest {
        return Ok(());
    }
    match (seat.interest, interest) {
        (None, Some(interest)) => poll.add(seat.descriptor, number, interest)?,
        (Some(_), Some(interest)) => poll.change(seat.descriptor, number, interest)?,
        (_, None) => poll.remove(seat.descriptor),
    }
    seat.interest = interest;
    Ok(())
}
