//! The interpreters of this child, by name, and what each keeps: its classes, handlers and the `apache` module.
//!
//! Interpreters are made at first use and never destroyed (Py_EndInterpreter aborts while a daemon thread lives), so
//! references to them are `'static`.

use super::cell::Ref;
use super::class::Spare;
use super::handlers::Handlers;
use super::home::{self, Home};
use super::plan::Plan;
use super::pools::Pool;
use super::tally::{self, Row};
use super::{Cx, exception, keeper, package, threads};
use crate::config::Gil;
use crate::httpd::faults;
use crate::httpd::log::{self, Level};
use crate::httpd::request::server::Server;
use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use rustc_hash::FxHashMap;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a failure to prepare an interpreter is the answer to all who ask for it: trying costs time, and others wait.
const RETRY: Duration = Duration::from_secs(1);

/// The name of the first interpreter.
pub(crate) const MAIN: &str = "main_interpreter";

/// One interpreter. Made by `find`, lives as long as the process. Many threads may be attached to it at once where Python has
/// no lock (PEP 703): what changes is behind locks of its own, or set once.
pub(crate) struct Interpreter {
    name: String,
    /// The PythonHome of a virtual host; None: the process's.
    home: Option<String>,
    raw: Raw,
    classes: OnceLock<Vec<Made>>,
    handlers: Mutex<Handlers>,
    apache: OnceLock<Ref>,
    server_return: OnceLock<Ref>,
    /// What others can see of it.
    row: OnceLock<&'static Row>,
    /// What the gateway keeps for this interpreter.
    gateway: OnceLock<Box<dyn Any + Send + Sync>>,
    /// What handlers see of httpd's servers, by their addresses.
    tables: Mutex<FxHashMap<(usize, TableOf), Ref>>,
    /// Why it could not be prepared. Such an interpreter stays, and is prepared anew: making another would leave one behind.
    failure: Mutex<Option<Failure>>,
}

/// Which table of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TableOf {
    Directives,
    Options,
}

/// An attempt to prepare an interpreter that went wrong.
struct Failure {
    reason: String,
    at: Instant,
}

/// A class of ours in an interpreter.
struct Made {
    class: Ref,
    spare: Spare,
}

/// A PyInterpreterState, which is Python's own to guard.
struct Raw(*mut ffi::PyInterpreterState);

// SAFETY: the address is a constant; every use of it is a call of Python's.
unsafe impl Sync for Raw {}
// SAFETY: as above.
unsafe impl Send for Raw {}

/// Every interpreter of the process. The lock is held for look-ups only, never while Python is attached anew.
static REGISTRY: Mutex<Option<HashMap<String, &'static Interpreter>>> = Mutex::new(None);
/// Held while an interpreter is made.
static CREATION: Mutex<()> = Mutex::new(());

thread_local! {
    /// What this thread has found before: no shared lock on the request path.
    static FOUND: RefCell<FxHashMap<String, Found>> = RefCell::default();
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    One(&'static Interpreter),
    Pool(&'static Pool),
}

impl Found {
    /// All interpreters of the name.
    pub(crate) fn all(self) -> Vec<&'static Interpreter> {
        match self {
            Found::One(interpreter) => vec![interpreter],
            Found::Pool(pool) => pool.interpreters().collect(),
        }
    }

    /// Can a host that has this PythonHome use it? One without does with any.
    fn suits(self, name: &str, home: Option<&str>) -> Result<Found, String> {
        let Some(home) = home else {
            return Ok(self);
        };
        let found = match self {
            Found::One(interpreter) => interpreter.home.as_deref(),
            Found::Pool(pool) => pool
                .interpreters()
                .next()
                .and_then(|one| one.home.as_deref()),
        };
        let directory = match found {
            _ if found == home_of_host(Some(home)) => return Ok(self),
            Some(directory) => format!("PythonHome {directory}"),
            None => "the main server's".into(),
        };
        Err(format!(
            "interpreter {name:?} has {directory}, not the PythonHome {home} of this virtual host; name another one with PythonInterpreter"
        ))
    }
}

/// The configuration's wishes; set when the child starts.
static PLAN: OnceLock<Plan> = OnceLock::new();
/// The pools that have been made. The lock is held for look-ups only.
static POOLS: Mutex<Option<HashMap<String, &'static Pool>>> = Mutex::new(None);

/// The interpreter or the pool of that name; it is made when it is first asked for, with the PythonHome of the host that asks
/// where the configuration does not name one for it. Call it detached.
///
/// # Errors
/// Why it cannot be made; the details are in the log. That it has another PythonHome than the host.
pub(crate) fn find(name: &str, home: Option<&str>) -> Result<Found, String> {
    // A thread that ends has nothing of its own any more.
    let known = FOUND.try_with(|found| found.borrow().get(name).copied());
    if let Some(found) = known.ok().flatten() {
        return found.suits(name, home);
    }
    threads::assert_detached();
    let plan = PLAN.get();
    if let Some(plan) = plan {
        plan.check_member(name)
            .map_err(|reason| format!("interpreter {name:?}: {reason}"))?;
    }
    let found = match plan.and_then(|plan| plan.pool_size(name)) {
        Some(size) => Found::Pool(find_or_fill(name, size, home)?),
        None => Found::One(find_or_create(canonical(name), home)?),
    };
    let _ = FOUND.try_with(|known| known.borrow_mut().insert(name.to_string(), found));
    found.suits(name, home)
}

/// An interpreter of a pool.
pub(super) fn make(name: &str, home: Option<&str>) -> Result<&'static Interpreter, String> {
    find_or_create(name, home)
}

/// Goes by the plan from now on, and makes its pools: one that cannot be made is tried again by the requests for it. Called
/// once, when the child starts and Python has been started.
pub(crate) fn follow(plan: Plan) {
    let plan = PLAN.get_or_init(|| plan);
    if plan.has_own() {
        prepare_for_own();
    }
    for name in plan.pools() {
        if let Err(reason) = find(name, None) {
            let text = format!("PythonInterpreterPool {name}: {reason}");
            log::process(Level::Error, &text);
        }
    }
}

/// Interpreters with locks of their own may import for the first time what has static types: two at once have been seen to make
/// those ready at the same time, and to crash. One has done so first, then.
fn prepare_for_own() {
    let imported = registered(MAIN).map(|main| {
        super::enter(main, |cx| {
            let imported = cx.py.import("datetime").map(drop);
            exception::or_discard(cx.py, imported);
        })
    });
    if let Some(Err(reason)) = imported {
        log::process(Level::Error, &reason);
    }
}

/// The PythonHome of a host, where it is not the process's.
fn home_of_host(home: Option<&str>) -> Option<&str> {
    PLAN.get().map_or(home, |plan| plan.own_home(home))
}

fn find_or_fill(name: &str, size: usize, home: Option<&str>) -> Result<&'static Pool, String> {
    let pools = || POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = pools().as_ref().and_then(|pools| pools.get(name).copied());
    if let Some(pool) = known {
        return Ok(pool);
    }
    let made = Pool::new(name, size, home)?;
    // Another thread may have been quicker: its pool counts, of the same interpreters.
    let mut pools = pools();
    let entry = pools.get_or_insert_default().entry(name.into());
    Ok(entry.or_insert_with(|| Box::leak(Box::new(made))))
}

fn gil_of(name: &str) -> Gil {
    PLAN.get().map_or(Gil::Shared, |plan| plan.gil(name))
}

/// The base server's name is another one of the main interpreter.
fn canonical(name: &str) -> &str {
    let base = Server::main().and_then(Server::server_hostname);
    if base.is_some_and(|base| base.to_bytes() == name.as_bytes()) {
        MAIN
    } else {
        name
    }
}

fn find_or_create(name: &str, home: Option<&str>) -> Result<&'static Interpreter, String> {
    if let Some(answer) = registered(name).and_then(Interpreter::state) {
        return answer;
    }
    let _one_at_a_time = CREATION.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = registered(name).and_then(Interpreter::state) {
        return answer;
    }
    let main = registered(MAIN).ok_or("Python has not been started")?;
    let begun = Instant::now();
    let (wanted, gil) = (name.to_string(), gil_of(name));
    let home = PLAN.get().and_then(|plan| plan.home_for(name, home));
    let home = home.map(String::from);
    let interpreter = keeper::run(move || {
        let interpreter = match registered(&wanted) {
            Some(unprepared) => unprepared,
            None => create(main, &wanted, gil, home)?,
        };
        super::enter(interpreter, furnish)?;
        Ok::<_, String>(interpreter)
    })??;
    interpreter.settled(gil, begun)
}

fn registered(name: &str) -> Option<&'static Interpreter> {
    REGISTRY
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()?
        .get(name)
        .copied()
}

/// Runs `end` in every interpreter, in the thread that made it; in the main one last, in this thread.
pub(super) fn end_all(end: for<'py> fn(Cx<'py>)) {
    let all = all();
    if keeper::is_running() {
        let others: Vec<_> = all.iter().copied().filter(|one| one.name != MAIN).collect();
        let ended = keeper::run(move || {
            others
                .into_iter()
                .try_for_each(|one| super::enter(one, end))
        })
        .and_then(|done| done);
        ended.unwrap_or_else(|reason| log::process(Level::Error, &reason));
    }
    if let Some(main) = registered(MAIN) {
        super::enter(main, end).unwrap_or_else(|reason| log::process(Level::Error, &reason));
    }
}

/// Takes the interpreters' common lock for good: a thread that has outlived their end would use what httpd takes away from
/// now on. One of an interpreter with a lock of its own is not stopped.
pub(super) fn stop_threads() {
    let main = registered(MAIN).and_then(threads::state_of);
    std::mem::forget(main.map(threads::Attached::new));
    // Who is in the middle of a call that does not wait comes to its end, and to the lock.
    std::thread::sleep(MIDDLE_OF_A_CALL);
}

const MIDDLE_OF_A_CALL: Duration = Duration::from_millis(5);

/// Every interpreter there is, the main one last.
fn all() -> Vec<&'static Interpreter> {
    let mut all: Vec<_> = REGISTRY
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .flatten()
        .map(|(_, &one)| one)
        .collect();
    all.sort_by_key(|interpreter| (interpreter.name == MAIN, interpreter.name.clone()));
    all
}

/// Registers the interpreter that Python itself started with, attached in this thread.
pub(super) fn adopt_main(begun: Instant) -> Result<(), String> {
    // SAFETY: Python has just been initialised in this thread, which is attached; it is left detached.
    let main = unsafe {
        let main = register(MAIN, ffi::PyInterpreterState_Get(), None);
        threads::adopt(main, ffi::PyEval_SaveThread());
        main
    };
    super::enter(main, |cx| {
        exception::prepare(cx.py);
        furnish(cx);
    })?;
    main.settled(Gil::Shared, begun).map(drop)
}

fn create(
    main: &'static Interpreter,
    name: &str,
    gil: Gil,
    home: Option<String>,
) -> Result<&'static Interpreter, String> {
    if faults::strike("interpreter") {
        return Err("Py_NewInterpreter failed".into());
    }
    super::enter(main, |_| {
        // SAFETY: attached to the main interpreter. The new one's first thread state is attached instead; it is detached
        // again, with its lock, and the main one's comes back, with its lock, before `enter` goes on.
        unsafe {
            let before = ffi::PyThreadState_Get();
            let state = start(gil)?;
            if state.is_null() {
                ffi::PyErr_Clear();
                return Err("Py_NewInterpreter failed".into());
            }
            let interpreter = register(name, ffi::PyInterpreterState_Get(), home);
            threads::adopt(interpreter, state);
            ffi::PyEval_SaveThread();
            ffi::PyEval_RestoreThread(before);
            Ok(interpreter)
        }
    })?
}

/// Py_NewInterpreterFromConfig. With a lock of its own, extensions that do not know several interpreters refuse to be loaded.
/// No fork: its child would have to be the main interpreter, and aborts.
///
/// # Safety
/// Attached; afterwards the new thread state is, or the old one where it fails.
#[cfg(Py_3_12)]
unsafe fn start(gil: Gil) -> Result<*mut ffi::PyThreadState, String> {
    let own = gil == Gil::Own;
    let config = ffi::PyInterpreterConfig {
        use_main_obmalloc: i32::from(!own),
        allow_fork: 0,
        allow_exec: 1,
        allow_threads: 1,
        allow_daemon_threads: 1,
        check_multi_interp_extensions: i32::from(own || cfg!(Py_GIL_DISABLED)),
        gil: if own {
            ffi::PyInterpreterConfig_OWN_GIL
        } else {
            ffi::PyInterpreterConfig_SHARED_GIL
        },
    };
    let mut state = std::ptr::null_mut();
    // SAFETY: the caller's promise; a complete configuration.
    let status = unsafe { ffi::Py_NewInterpreterFromConfig(&raw mut state, &raw const config) };
    super::lifecycle::ok(status).map(|()| state)
}

/// Py_NewInterpreter. `Plan` never asks for a lock of its own here.
///
/// # Safety
/// As above.
#[cfg(not(Py_3_12))]
unsafe fn start(_gil: Gil) -> Result<*mut ffi::PyThreadState, String> {
    // SAFETY: the caller's promise.
    Ok(unsafe { ffi::Py_NewInterpreter() })
}

fn register(
    name: &str,
    raw: *mut ffi::PyInterpreterState,
    home: Option<String>,
) -> &'static Interpreter {
    let interpreter = Box::leak(Box::new(Interpreter {
        name: name.into(),
        home,
        raw: Raw(raw),
        classes: OnceLock::new(),
        handlers: Mutex::default(),
        apache: OnceLock::new(),
        server_return: OnceLock::new(),
        row: OnceLock::new(),
        gateway: OnceLock::new(),
        tables: Mutex::default(),
        failure: Mutex::default(),
    }));
    REGISTRY
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .insert(name.into(), interpreter);
    interpreter
}

/// Prepares a new interpreter: the package's place in sys.path, a virtual host's PythonHome, `threading`, `mod_python.apache`.
fn furnish(cx: Cx<'_>) {
    let prepare = || -> PyResult<()> {
        let path = cx
            .py
            .import("sys")?
            .getattr("path")?
            .cast_into::<PyList>()?;
        if let Ok(package) = package::directory() {
            let package = PyString::new(cx.py, &package.to_string_lossy());
            if !path.contains(&package)? {
                path.insert(0, package)?;
            }
        }
        if let Some(home) = &cx.interpreter.home {
            let executable = match home::check(home).map_err(PySystemError::new_err)? {
                Home::Environment(executable) => Some(executable.to_string_lossy().into_owned()),
                Home::Prefix(_) => None,
            };
            let enter = cx.py.import("mod_python._home")?.getattr("enter")?;
            enter.call1((home.as_str(), executable))?;
        }
        // The thread that imports it is the one that `threading` calls the main thread.
        cx.py.import("threading")?;
        let apache = cx.py.import("mod_python.apache")?;
        apache
            .getattr("_start")?
            .call1((cx.interpreter.name(), package::VERSION))?;
        let server_return = apache.getattr("SERVER_RETURN")?;
        let _ = cx.interpreter.server_return.set(Ref::new(server_return));
        let _ = cx.interpreter.apache.set(Ref::new(apache.into_any()));
        Ok(())
    };
    if let Err(error) = prepare() {
        let reason = super::exception::value(cx.py, error);
        let reason = exception::or_discard(cx.py, reason.repr()).map(|text| text.to_string());
        let path = cx
            .py
            .import("sys")
            .and_then(|sys| sys.getattr("path")?.repr());
        let path = exception::or_discard(cx.py, path).map(|path| path.to_string());
        cx.interpreter.fail(format!(
            "interpreter {:?} cannot import mod_python.apache: {}; sys.path is {}",
            cx.interpreter.name,
            reason.unwrap_or_default(),
            path.unwrap_or_default()
        ));
    }
}

impl Interpreter {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells the operator of a new interpreter: in the log, and in the table of all children.
    fn announce(&self, gil: Gil, took: Duration) {
        let _ = self.row.set(tally::enter(&self.name, gil, took));
        let (version, milliseconds) = (super::BUILT_VERSION, took.as_millis());
        let (name, gil) = (&self.name, gil.word());
        let text =
            format!("interpreter {name:?} created: Python {version}, {gil} GIL, {milliseconds} ms");
        log::process(Level::Info, &text);
    }

    /// Its row in the table of all children, once it is ready.
    pub(crate) fn row(&self) -> Option<&'static Row> {
        self.row.get().copied()
    }

    /// The interpreter once it is ready, or why it cannot be had; None while it is being made, and where it is time to try
    /// again.
    fn state(&'static self) -> Option<Result<&'static Interpreter, String>> {
        if self.apache.get().is_some() {
            return Some(Ok(self));
        }
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = failure
            .as_ref()
            .filter(|failure| failure.at.elapsed() < RETRY);
        recent.map(|failure| Err(failure.reason.clone()))
    }

    /// What an attempt to prepare it has come to.
    fn settled(&'static self, gil: Gil, begun: Instant) -> Result<&'static Interpreter, String> {
        let state = self.state();
        if let Some(Ok(_)) = state {
            self.announce(gil, begun.elapsed());
        }
        state.unwrap_or_else(|| Err("the interpreter is not ready".into()))
    }

    fn fail(&self, reason: String) {
        let at = Instant::now();
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        *failure = Some(Failure { reason, at });
    }

    /// What the gateway keeps for this interpreter; made at first use.
    ///
    /// # Errors
    /// What making it raises; SystemError for a value of another type.
    pub(crate) fn gateway<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> PyResult<T>,
    ) -> PyResult<&T> {
        if self.gateway.get().is_none() {
            let made = make()?;
            // Another thread may have been quicker.
            let _ = self.gateway.set(Box::new(made));
        }
        let kept = self.gateway.get().and_then(|kept| kept.downcast_ref());
        kept.ok_or_else(|| PySystemError::new_err("the gateway has no state"))
    }

    /// The table that this interpreter keeps for a server; made at first use.
    ///
    /// # Errors
    /// What making it raises.
    pub(crate) fn table_of_server<'py>(
        &self,
        py: Python<'py>,
        key: (usize, TableOf),
        make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let tables = || self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tables().get(&key).map(|table| table.bind(py));
        if let Some(found) = found {
            return Ok(found);
        }
        // Not under the lock: it may run code of Python's. Another thread may be quicker.
        let made = make()?;
        let mut all = tables();
        let kept = all.entry(key).or_insert_with(|| Ref::new(made.clone()));
        let kept = kept.bind(py);
        drop(all);
        Ok(kept)
    }

    pub(super) fn raw(&self) -> *mut ffi::PyInterpreterState {
        self.raw.0
    }

    /// The interpreter that is attached in this thread. For code that Python calls without an object of ours.
    pub(super) fn current() -> Option<&'static Interpreter> {
        // SAFETY: called while a thread state is attached.
        let raw = unsafe { ffi::PyInterpreterState_Get() };
        let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        registry
            .as_ref()?
            .values()
            .copied()
            .find(|interpreter| std::ptr::eq(interpreter.raw.0, raw))
    }

    /// Keeps the interpreter's classes, in the order of their places.
    pub(crate) fn keep_classes(&self, classes: Vec<Bound<'_, PyAny>>) {
        let made = classes.into_iter().map(|class| Made {
            class: Ref::new(class),
            spare: Spare::default(),
        });
        let _ = self.classes.set(made.collect());
    }

    /// An instance of a class that waits for its next use.
    pub(super) fn spare(&self, place: usize) -> Option<&Spare> {
        let made = self.classes.get().and_then(|classes| classes.get(place));
        made.map(|made| &made.spare)
    }

    pub(super) fn class_pointer(&self, place: usize) -> Option<*mut ffi::PyTypeObject> {
        let made = self.classes.get().and_then(|classes| classes.get(place));
        made.map(|made| made.class.as_ptr().cast())
    }

    pub(super) fn class(&self, place: usize) -> PyResult<*mut ffi::PyTypeObject> {
        self.class_pointer(place)
            .ok_or_else(|| PySystemError::new_err("a class of _apache is missing"))
    }

    /// The handlers that have been looked up. Let them go again before anything of Python's is called: a thread that waits
    /// for them is attached.
    pub(super) fn handlers(&self, _py: Python<'_>) -> MutexGuard<'_, Handlers> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'py> Cx<'py> {
    /// The module `mod_python.apache`.
    ///
    /// # Errors
    /// SystemError before the interpreter is ready.
    pub(crate) fn apache(self) -> PyResult<Bound<'py, PyAny>> {
        let apache = self
            .interpreter
            .apache
            .get()
            .map(|apache| apache.bind(self.py));
        apache.ok_or_else(|| PySystemError::new_err("mod_python.apache is not ready"))
    }

    /// Is this an `apache.SERVER_RETURN`?
    pub(crate) fn is_server_return(self, raised: &Bound<'py, PyAny>) -> bool {
        self.interpreter
            .server_return
            .get()
            .is_some_and(|class| exception::is_instance(raised, &class.bind(self.py)))
    }
}
