//! Thread states: one for each pair of thread and interpreter, kept until the thread ends.

use super::interpreter::Interpreter;
use crate::httpd::clock;
use crate::httpd::faults;
use crate::httpd::log::{self, Level};
use pyo3::ffi;
use std::cell::{Cell, RefCell};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static THREAD: Thread = const { Thread::new() };
    static STATES: States = const { States(RefCell::new(Vec::new())) };
}

static ENDING: AtomicBool = AtomicBool::new(false);

/// The child is about to exit.
pub(super) fn announce_end() {
    ENDING.store(true, Ordering::SeqCst);
}

/// Is the child about to exit? Then no thread attaches any more of its own accord.
pub(super) fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// What changes whenever a thread attaches: in one place, since finding a thread-local takes its time.
struct Thread {
    /// The thread state that `enter` has attached; NULL outside of `enter`, and while it is detached.
    attached: Cell<*mut ffi::PyThreadState>,
    /// The thread state that PyGILState_Ensure() finds (before 3.12).
    bound: Cell<*mut ffi::PyThreadState>,
    /// How many calls of `enter` the thread is in.
    depth: Cell<usize>,
    /// The interpreter that was entered last, and the thread's state for it.
    last: Cell<(*const Interpreter, *mut ffi::PyThreadState)>,
    /// In a thread that Python has started: the thread state that Python has made for it, while a call of ours has detached it.
    own: Cell<*mut ffi::PyThreadState>,
    /// How long it has waited for interpreters' locks, and how long it has done something else than what is measured (`stopwatch`), in
    /// nanoseconds.
    waited: Cell<u64>,
    apart: Cell<u64>,
    /// When it was attached last; 0: not since `begin`.
    attached_at: Cell<u64>,
    /// When it was attached, until somebody has asked for that.
    fresh: Cell<u64>,
    /// When the last measuring ended.
    ended_at: Cell<u64>,
}

impl Thread {
    const fn new() -> Thread {
        Thread {
            attached: Cell::new(null_mut()),
            bound: Cell::new(null_mut()),
            depth: Cell::new(0),
            last: Cell::new((null(), null_mut())),
            own: Cell::new(null_mut()),
            waited: Cell::new(0),
            apart: Cell::new(0),
            attached_at: Cell::new(0),
            fresh: Cell::new(0),
            ended_at: Cell::new(0),
        }
    }

    /// Gives the thread state that Python has made for this thread, if it is one of this interpreter.
    fn own_of(&self, interpreter: &Interpreter) -> Option<*mut ffi::PyThreadState> {
        let own = self.own.get();
        // SAFETY: a state of this thread, which lives while the thread is inside a call of ours.
        let fits = !own.is_null()
            && std::ptr::eq(
                unsafe { interpreter_of(own) },
                interpreter.raw().cast_const(),
            );
        fits.then_some(own)
    }
}

/// Gives the interpreter of a thread state (PyThreadState_GetInterpreter).
///
/// # Safety
/// A live thread state.
unsafe fn interpreter_of(state: *mut ffi::PyThreadState) -> *const ffi::PyInterpreterState {
    // SAFETY: the caller's promise.
    unsafe { ffi::PyThreadState_GetInterpreter(state) }
}

/// The thread states of this thread, one for each interpreter that it has entered. They are deleted when the thread ends, but for
/// those that were made together with their interpreter.
struct States(RefCell<Vec<State>>);

struct State {
    interpreter: *const Interpreter,
    state: *mut ffi::PyThreadState,
    /// Was it made together with the interpreter? It is never deleted: Python 3.11 cannot make another one where there is none.
    first: bool,
}

/// Gives this thread's state for an interpreter, which is made at first use; None when memory is short.
#[inline(always)]
pub(super) fn state_of(interpreter: &'static Interpreter) -> Option<*mut ffi::PyThreadState> {
    if faults::strike("attach") {
        return None;
    }
    let (last, state, own) = THREAD.with(|thread| {
        let (last, state) = thread.last.get();
        (last, state, thread.own.get())
    });
    if own.is_null() && std::ptr::eq(last, interpreter) {
        return Some(state);
    }
    other_state_of(interpreter)
}

#[inline(never)]
fn other_state_of(interpreter: &'static Interpreter) -> Option<*mut ffi::PyThreadState> {
    let (last, state, own) = THREAD.with(|thread| {
        let (last, state) = thread.last.get();
        (last, state, thread.own_of(interpreter))
    });
    if own.is_some() {
        // With a second state it would be another thread for Python: with other thread-locals, and waiting for locks that it holds
        // itself.
        return own;
    }
    if std::ptr::eq(last, interpreter) {
        return Some(state);
    }
    // A thread that ends has deleted its states already: it gets no others.
    let state = STATES.try_with(|states| {
        let known = states
            .0
            .borrow()
            .iter()
            .find(|known| std::ptr::eq(known.interpreter, interpreter))
            .map(|known| known.state);
        known.or_else(|| {
            // SAFETY: the interpreter is never destroyed; making a thread state needs no lock of ours.
            let state = unsafe { ffi::PyThreadState_New(interpreter.raw()) };
            if state.is_null() {
                return None;
            }
            states.0.borrow_mut().push(State {
                interpreter,
                state,
                first: false,
            });
            Some(state)
        })
    });
    let state = state.ok().flatten()?;
    THREAD.with(|thread| thread.last.set((interpreter, state)));
    Some(state)
}

/// Takes over a thread state that Python made in this thread (at Py_Initialize, Py_NewInterpreter).
pub(super) fn adopt(interpreter: &'static Interpreter, state: *mut ffi::PyThreadState) {
    STATES.with(|states| {
        states.0.borrow_mut().push(State {
            interpreter,
            state,
            first: true,
        })
    });
}

/// Checks, in test builds, that nothing is attached; aborts otherwise. For places that may wait.
pub(super) fn assert_detached() {
    if cfg!(debug_assertions) && !is_ending() {
        #[cfg(not(Py_3_13))]
        unsafe extern "C" {
            #[link_name = "_PyThreadState_UncheckedGet"]
            fn attached_state() -> *mut ffi::PyThreadState;
        }
        #[cfg(Py_3_13)]
        unsafe extern "C" {
            #[link_name = "PyThreadState_GetUnchecked"]
            fn attached_state() -> *mut ffi::PyThreadState;
        }
        // SAFETY: may be asked at any time; NULL where no state is attached. Before 3.12 it is the state of whichever thread has the
        // lock, and has to be compared with this thread's.
        let attached = unsafe {
            let state = attached_state();
            let own = if cfg!(Py_3_12) {
                state
            } else {
                ffi::PyGILState_GetThisThreadState()
            };
            !state.is_null() && std::ptr::eq(state, own)
        };
        if attached {
            log::process(Level::Critical, "attached where it may wait: a deadlock");
            std::process::abort();
        }
    }
}

/// This thread's clock for `stopwatch`, found once for several looks. It stays in its thread.
#[derive(Clone, Copy)]
pub(super) struct Here(*const Thread);

impl Here {
    #[inline]
    pub(super) fn new() -> Here {
        THREAD.with(|thread| Here(thread))
    }

    #[inline]
    fn thread(&self) -> &Thread {
        // SAFETY: this thread's (a pointer is not Send), which has no destructor and lies there until the thread has ended.
        unsafe { &*self.0 }
    }

    /// Forgets when the thread was attached.
    #[inline]
    pub(super) fn begin(&self) {
        self.thread().attached_at.set(0);
    }

    /// What this thread has waited for locks, and what stood apart.
    #[inline]
    pub(super) fn spent(&self) -> (u64, u64) {
        let thread = self.thread();
        (thread.waited.get(), thread.apart.get())
    }

    /// When this thread was attached last, since `begin`; 0 where it was before.
    #[inline]
    pub(super) fn attached_at(&self) -> u64 {
        self.thread().attached_at.get()
    }

    /// A measured call of Python begins now: the clock need not be read again for what begins with it. 0: it ends.
    #[inline]
    pub(super) fn set_fresh(&self, now: u64) {
        self.thread().fresh.set(now);
    }

    /// When the measured call began, for the first that asks; for others, the time.
    #[inline]
    pub(super) fn take_fresh(&self) -> u64 {
        match self.thread().fresh.take() {
            0 => clock::now(),
            fresh => fresh,
        }
    }

    /// When the last measuring of this thread ended.
    #[inline]
    pub(super) fn ended_at(&self) -> u64 {
        self.thread().ended_at.get()
    }

    #[inline]
    pub(super) fn set_ended(&self, at: u64) {
        self.thread().ended_at.set(at);
    }

    /// Sets what has been waited for, and what stood apart.
    #[inline]
    pub(super) fn set_spent(&self, (waited, apart): (u64, u64)) {
        let thread = self.thread();
        thread.waited.set(waited);
        thread.apart.set(apart);
    }
}

/// Is this thread inside `enter`, even if it is detached for a while?
pub(crate) fn is_inside() -> bool {
    THREAD.with(|thread| thread.depth.get()) > 0
}

/// Keeps a thread state attached while it lives. Afterwards that is attached which was before.
pub(super) struct Attached {
    here: Here,
    before: *mut ffi::PyThreadState,
    changed: bool,
}

impl Attached {
    #[inline(always)]
    pub(super) fn new(state: *mut ffi::PyThreadState) -> Attached {
        let here = Here::new();
        let thread = here.thread();
        let before = thread.attached.get();
        let changed = before != state;
        thread.depth.set(thread.depth.get() + 1);
        if changed {
            if !before.is_null() {
                // SAFETY: `before` is attached in this thread.
                unsafe { ffi::PyEval_SaveThread() };
            }
            assert_detached();
            attach(thread, state);
        }
        Attached {
            here,
            before,
            changed,
        }
    }
}

impl Drop for Attached {
    #[inline]
    fn drop(&mut self) {
        let thread = self.here.thread();
        if self.changed {
            // SAFETY: what `new` attached is attached; nested uses have put it back.
            unsafe { ffi::PyEval_SaveThread() };
            thread.attached.set(null_mut());
            if !self.before.is_null() {
                attach(thread, self.before);
            }
        }
        thread.depth.set(thread.depth.get() - 1);
    }
}

/// Keeps the thread detached while it lives.
pub(super) struct Detached {
    state: *mut ffi::PyThreadState,
    /// Was the state attached by `enter`, or by Python?
    entered: bool,
    own: *mut ffi::PyThreadState,
}

impl Detached {
    pub(super) fn new() -> Detached {
        // SAFETY: called with an attached thread state: ours, or that of a thread which Python started.
        let state = unsafe { ffi::PyEval_SaveThread() };
        THREAD.with(|thread| {
            let entered = !thread.attached.replace(null_mut()).is_null();
            let own = if entered {
                thread.own.get()
            } else {
                // Python has called us with a state of its own, and has bound that, whatever we had bound before.
                thread.bound.set(state);
                state
            };
            Detached {
                state,
                entered,
                own: thread.own.replace(own),
            }
        })
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        THREAD.with(|thread| {
            attach(thread, self.state);
            if !self.entered {
                thread.attached.set(null_mut());
            }
            thread.own.set(self.own);
        });
    }
}

#[inline(always)]
fn attach(thread: &Thread, state: *mut ffi::PyThreadState) {
    let asked = clock::now();
    // SAFETY: a state of this thread, not attached anywhere.
    unsafe { ffi::PyEval_RestoreThread(state) };
    let now = clock::now();
    let waited = thread.waited.get();
    thread
        .waited
        .set(waited.wrapping_add(now.saturating_sub(asked)));
    thread.attached_at.set(now);
    thread.attached.set(state);
    if thread.bound.get() != state {
        bind(state);
        thread.bound.set(state);
    }
}

#[cfg(not(Py_3_12))]
fn bind(state: *mut ffi::PyThreadState) {
    unsafe extern "C" {
        fn mp_gilstate_bind(state: *mut ffi::PyThreadState) -> std::ffi::c_int;
    }
    // SAFETY: the state is attached in this thread; C code that uses PyGILState_Ensure() must find it.
    unsafe { mp_gilstate_bind(state) };
}

#[cfg(Py_3_12)]
fn bind(_state: *mut ffi::PyThreadState) {}

impl Drop for States {
    fn drop(&mut self) {
        THREAD.with(|thread| thread.last.set((null(), null_mut())));
        if is_ending() {
            // The process is about to go, and another thread may keep the lock for ever.
            return;
        }
        for State { state, .. } in self.0.take().into_iter().filter(|state| !state.first) {
            THREAD.with(|thread| {
                attach(thread, state);
                // SAFETY: the thread ends; nobody else uses its states, and this one is attached. Clearing it runs code of
                // Python's (`__del__` of a thread's locals), which finds it attached as in `enter`.
                unsafe { ffi::PyThreadState_Clear(state) };
                thread.attached.set(null_mut());
                thread.bound.set(null_mut());
                // SAFETY: as above; nothing is left of it.
                unsafe { ffi::PyThreadState_DeleteCurrent() };
            });
        }
    }
}
