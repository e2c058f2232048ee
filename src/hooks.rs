//! The itinerary of a request: which phase calls what.

use crate::config::mount::{self, Mount};
use crate::config::{HANDLERS, Phase, Server};
use crate::embed::class::Function;
use crate::embed::plan::Plan;
use crate::embed::{Cx, home, interpreters, lifecycle, package, tally};
use crate::httpd::departure;
use crate::httpd::filter::names;
use crate::httpd::hooks;
use crate::httpd::log::{self, Level};
use crate::httpd::mutex;
use crate::httpd::pool::Pool;
use crate::httpd::request::Request;
use crate::httpd::section::{self, Giver};
use crate::httpd::server::{Server as Host, mpm_query};
use crate::httpd::status::Status;
use crate::httpd::table::Table;
use crate::objects::exchange::lease_of;
use crate::objects::filter::GENERIC;
use crate::{ModPython, dispatch, filter, library, mistakes, objects, ssi, wsgi};
use pyo3::prelude::*;
use std::ffi::CStr;
use std::io::ErrorKind;
use std::iter::successors;

/// Registers everything with httpd.
pub(crate) fn register() {
    departure::register();
    filter::register(GENERIC, true);
    filter::register(GENERIC, false);
    hooks::pre_config(mutex::register);
    hooks::pre_config(names::forget);
    hooks::check_config(check_config);
    hooks::post_config(post_config);
    hooks::child_init(child_init);
    hooks::process_connection(dispatch::run_connection);
    hooks::post_read_request(concerns::<{ INIT | READ }>, post_read_request);
    hooks::translate_name(concerns::<{ TRANSLATE | CONTENT }>, translate_name);
    hooks::translate_name_late(has_applications, mount_application);
    // What has no file is not looked up in the file system.
    hooks::map_to_storage(has_no_file, |_| Status::OK);
    hooks::post_perdir_config(has_no_name, settle);
    hooks::header_parser(concerns::<{ INIT | HEADER }>, header_parser);
    hooks::access_checker(concerns::<ACCESS>, |request| {
        dispatch::run(request, Phase::Access)
    });
    hooks::check_user_id(concerns::<AUTHEN>, |request| {
        dispatch::run(request, Phase::Authen)
    });
    hooks::auth_checker(concerns::<AUTHZ>, |request| {
        dispatch::run(request, Phase::Authz)
    });
    hooks::before_first_type_checkers(has_no_file, |request| {
        request.hide_absence();
        Status::DECLINED
    });
    hooks::after_first_type_checkers(has_no_file, |request| {
        request.admit_no_file();
        Status::DECLINED
    });
    hooks::type_checker(concerns::<TYPE>, |request| {
        dispatch::run(request, Phase::Type)
    });
    hooks::before_first_fixups(has_no_file, |request| {
        // Whatever the SetHandler of a section around it has said just now.
        if let Some(mount) = request.config::<ModPython>().mount
            && request.handler_giver() != Giver::Nobody
        {
            request.name_handler(mount.handler);
        }
        if request.has_rules() {
            request.show_uri();
        }
        Status::DECLINED
    });
    hooks::after_first_fixups(is_of_no_type, hide_uri);
    hooks::fixups(concerns::<FIXUP>, |request| {
        dispatch::run(request, Phase::Fixup)
    });
    hooks::last_fixups(has_no_file, look_like_a_file);
    hooks::handler(concerns::<CONTENT>, content);
    // Where a rule has refused the request, nothing else came after it: neither an error's page nor the log sees the name.
    hooks::first_post_read_request(
        |request| request.prev().is_some_and(is_of_no_type),
        |request| request.prev().map_or(Status::DECLINED, hide_uri),
    );
    hooks::first_log_transaction(is_of_no_type, hide_uri);
    hooks::log_transaction(concerns::<{ LOG | CLEANUP }>, log);
}

const READ: u32 = Phase::PostReadRequest.bit();
const INIT: u32 = Phase::Init.bit();
const TRANSLATE: u32 = Phase::Translate.bit();
const HEADER: u32 = Phase::HeaderParser.bit();
const ACCESS: u32 = Phase::Access.bit();
const AUTHEN: u32 = Phase::Authen.bit();
const AUTHZ: u32 = Phase::Authz.bit();
const TYPE: u32 = Phase::Type.bit();
const FIXUP: u32 = Phase::Fixup.bit();
const CONTENT: u32 = Phase::Content.bit();
const LOG: u32 = Phase::Log.bit();
const CLEANUP: u32 = Phase::Cleanup.bit();

fn concerns<const PHASES: u32>(request: Request<'_>) -> bool {
    dispatch::concerns(request, PHASES)
}

fn check_config(server: Host<'_>) -> Result<(), String> {
    lifecycle::check(server.config::<ModPython>())?;
    for host in successors(server.next(), |host| host.next()) {
        check_host(host)?;
    }
    if let Some(text) = package::mismatch() {
        log::server(server, Level::Warning, &text);
    }
    let plan = plan(server);
    plan.check()?;
    for text in plan.warnings() {
        log::server(server, Level::Warning, &text);
    }
    let mut files = mistakes::Files::default();
    for server in successors(Some(server), |server| server.next()) {
        for text in mistakes::of(server, &mut files) {
            log::server(server, Level::Warning, &text);
        }
    }
    lock_count(server).map(drop)
}

/// A virtual host's PythonHome must be one that its children can use.
fn check_host(host: Host<'_>) -> Result<(), String> {
    let Some(home) = host.config::<ModPython>().home else {
        return Ok(());
    };
    home::check_for_children(home).map_err(|error| {
        let name = host.server_hostname().unwrap_or_default().to_string_lossy();
        format!("PythonHome of the virtual host {name}: {error}")
    })
}

fn post_config(pool: Pool<'_>, server: Host<'_>) -> Result<(), String> {
    ssi::register();
    section::find_rewrite();
    if !hooks::is_rehearsal() {
        let common = &server.config::<ModPython>().common;
        let directory = common
            .option("mod_python.mutex_directory")
            .filter(|path| !path.is_empty());
        mutex::create(pool, server, lock_count(server)?, directory)?;
        tally::share();
    }
    hooks::add_version_component(pool, concat!("mod_python/", env!("CARGO_PKG_VERSION")));
    hooks::add_version_component(pool, concat!("Python/", env!("MOD_PYTHON_PYTHON_VERSION")));
    Ok(())
}

/// What all servers say of interpreters.
fn plan(server: Host<'_>) -> Plan {
    let mut plan = Plan::default();
    for (place, server) in successors(Some(server), |server| server.next()).enumerate() {
        let name = server.server_hostname().and_then(|name| name.to_str().ok());
        plan.add(server.config::<ModPython>(), name, place == 0);
    }
    plan
}

/// How many global locks there are to be: as many as requests can be at work, up to `mod_python.mutex_locks`.
fn lock_count(server: Host<'_>) -> Result<usize, String> {
    const NAME: &str = "mod_python.mutex_locks";
    const MAX_THREADS: i32 = 6;
    const MAX_DAEMONS: i32 = 12;
    let option = server.config::<ModPython>().common.option(NAME);
    let wanted = match option.filter(|text| !text.is_empty()) {
        None => 8,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|count| (1..=1024).contains(count))
            .ok_or_else(|| {
                format!("PythonOption {NAME}: {text:?} is not a number from 1 to 1024")
            })?,
    };
    let most = |code| usize::try_from(mpm_query(code)).unwrap_or(1).max(1);
    let at_work = most(MAX_THREADS).saturating_mul(most(MAX_DAEMONS));
    // The first is for what has no key; keyed locks need at least one beside it (W3).
    Ok(wanted.min(at_work).max(2))
}

/// What `_apache` is made of.
const FUNCTIONS: &[&[Function]] = &[objects::FUNCTIONS, library::FUNCTIONS, wsgi::FUNCTIONS];

fn populate<'py>(cx: Cx<'py>, module: &Bound<'py, PyModule>) -> PyResult<()> {
    let mut classes = objects::classes(cx, module)?;
    classes.extend(wsgi::classes(cx, module)?);
    objects::populate(cx, module)?;
    // Last: where anything fails, the next attempt makes classes of its own.
    cx.interpreter.keep_classes(classes);
    Ok(())
}

fn child_init(pool: Pool<'static>, server: Host<'static>) {
    mutex::adopt(pool, server);
    let config: &Server<'_> = server.config::<ModPython>();
    if lifecycle::start(pool, config, FUNCTIONS, populate) {
        interpreters::follow(plan(server));
    }
    for server in successors(Some(server), |server| server.next()) {
        dispatch::run_imports(server);
    }
}

/// At server level PythonInitHandler is the first post-read-request handler.
fn post_read_request(request: Request<'_>) -> Status {
    let result = dispatch::run(request, Phase::Init);
    if result != Status::DECLINED {
        note_init(request);
        if result != Status::OK {
            return result;
        }
    }
    dispatch::run(request, Phase::PostReadRequest)
}

/// In a section it runs before the header parsers, unless the server-level one has run.
fn header_parser(request: Request<'_>) -> Status {
    let in_vain = |notes: Table<'_>| notes.first(INIT_RAN).is_none();
    if dispatch::concerns(request, Phase::Init.bit()) && request.notes().is_some_and(in_vain) {
        let result = dispatch::run(request, Phase::Init);
        if result != Status::OK && result != Status::DECLINED {
            return result;
        }
    }
    dispatch::run(request, Phase::HeaderParser)
}

/// The note's name is mod_python's own.
const INIT_RAN: &CStr = c"python_init_ran";

fn note_init(request: Request<'_>) {
    if let Some(notes) = request.notes() {
        notes.set(INIT_RAN, c"1");
    }
}

fn translate_name(request: Request<'_>) -> Status {
    // mod_rewrite leaves the URI as the name of what it has looked at in vain.
    let given = request.given_name();
    let result = dispatch::run(request, Phase::Translate);
    let unnamed = || request.is_unmapped() || given.is_some() && request.given_name() == given;
    if result == Status::DECLINED && needs_no_file(request) || result == Status::OK && unnamed() {
        request.stand_in();
        return Status::OK;
    }
    result
}

/// Inside `<Location>`, when the handler is ours, the URI need not map to a file.
fn needs_no_file(request: Request<'_>) -> bool {
    let config = request.config::<ModPython>();
    config.is_location()
        && config.handlers_for(Phase::Content, None).is_some()
        && request.configured_handler_is(&HANDLERS)
        && application_at(request).is_none()
}

fn has_applications(request: Request<'_>) -> bool {
    !request.server().config::<ModPython>().mounts.is_empty()
}

/// Takes what lies in an application and nobody else has mapped.
fn mount_application(request: Request<'_>) -> Status {
    let Some(mount) = application_at(request) else {
        return Status::DECLINED;
    };
    request.stand_in();
    request.name_handler(mount.handler);
    Status::OK
}

/// The application that a URI belongs to. The SetHandler of a section for the same part of the URI, or for a part of that,
/// comes before it, `none` too.
fn application_at(request: Request<'_>) -> Option<&Mount<'_>> {
    let mounts = request.server().config::<ModPython>().mounts;
    if mounts.is_empty() || request.proxyreq() != 0 {
        return None;
    }
    let (mount, found) = mount::find(mounts, request.uri()?)?;
    let is_covered = match request.handler_giver() {
        Giver::Nobody | Giver::Server => false,
        Giver::Path(path) => {
            let path = path.to_bytes();
            path.strip_suffix(b"/").unwrap_or(path).len() >= found.base
        }
        Giver::Other => true,
    };
    (!is_covered).then_some(mount)
}

fn has_no_file(request: Request<'_>) -> bool {
    request.has_stand_in()
}

fn is_of_no_type(request: Request<'_>) -> bool {
    request.is_of_no_type()
}

fn hide_uri(request: Request<'_>) -> Status {
    request.hide_uri();
    Status::DECLINED
}

fn has_no_name(request: Request<'_>) -> bool {
    request.is_unmapped() || request.has_stand_in()
}

/// What sections say of the request is known: what an application's line says comes on top.
fn settle(request: Request<'_>) -> Status {
    if request.is_unmapped() {
        // Another module has left it without a name.
        if concerns::<{ u32::MAX }>(request) {
            request.stand_in();
        }
        return Status::DECLINED;
    }
    let handler = request.handler_address();
    let mut mounts = request.server().config::<ModPython>().mounts.iter();
    if let Some(mount) = mounts.find(|mount| mount.handler.as_ptr() == handler) {
        mount.overlay.cover(request);
    }
    Status::DECLINED
}

/// A sub-request that we answer can be an index (DirectoryIndex) or a fallback (FallbackResource): mod_dir asks for a file.
fn look_like_a_file(request: Request<'_>) -> Status {
    if request.main().is_some()
        && request.handler_is(&HANDLERS)
        && absent_application(request).is_none()
    {
        request.pretend_file();
    } else {
        request.admit_no_file();
    }
    Status::DECLINED
}

fn content(request: Request<'_>) -> Status {
    if !request.handler_is(&HANDLERS) {
        return Status::DECLINED;
    }
    if let Some(absent) = absent_application(request) {
        log::request(request, Level::Info, &absent);
        return Status::NOT_FOUND;
    }
    if request.has_stand_in() {
        request.stand_in_root();
    }
    dispatch::run(request, Phase::Content)
}

/// What an expression has matched, where that names no application. It belongs to nobody else: another one's file would be its
/// source as likely as not. Modules are looked for with Python.
fn absent_application(request: Request<'_>) -> Option<String> {
    let mount = request.config::<ModPython>().mount?;
    if !mount.is_pattern() {
        return None;
    }
    let found = mount.find(request.uri()?)?;
    let Some(name) = &found.name else {
        let (file, line) = (mount.file, mount.line);
        return Some(format!(
            "what the expression on line {line} of {file} has matched can name no application"
        ));
    };
    let file = found.file()?;
    let is_absent = match std::fs::metadata(file) {
        Ok(there) => !there.is_file(),
        Err(error) => matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
        ),
    };
    is_absent.then(|| format!("there is no {name}"))
}

/// The last hook of a request: what its end needs is prepared here.
fn log(request: Request<'_>) -> Status {
    if request
        .config::<ModPython>()
        .list(Phase::Cleanup, None)
        .is_some()
    {
        lease_of(request);
    }
    dispatch::run(request, Phase::Log)
}
