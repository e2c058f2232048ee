//! The itinerary of a request: which phase calls what.

use crate::adapters::{self, filter, include, phases};
use crate::config::interpreters::Plan;
use crate::config::{HANDLERS, ModPython, Phase, Server, options};
use crate::daemons::{arrival, check, handover};
use crate::embed::class::Function;
use crate::embed::{children, home, in_flight, lifecycle, package, registry};
use crate::exchange::{account, lease_of};
use crate::gateway::{self, mounts};
use crate::httpd::apr::key_locks;
use crate::httpd::apr::mutex;
use crate::httpd::apr::pool::Pool;
use crate::httpd::apr::table::Table;
use crate::httpd::io::filter::names;
use crate::httpd::io::{error_page, facing, limited};
use crate::httpd::io::{staying, unwaited};
use crate::httpd::log;
use crate::httpd::log::Level;
use crate::httpd::module::{hooks, process, proxy, retirement, unfinished};
use crate::httpd::request::Request;
use crate::httpd::request::authentication;
use crate::httpd::request::departure;
use crate::httpd::request::handed;
use crate::httpd::request::section;
use crate::httpd::request::section::Giver;
use crate::httpd::request::server::Server as ServerRec;
use crate::httpd::request::server::mpm_query;
use crate::httpd::status::Status;
use crate::objects::filter::GENERIC;
use crate::{daemons, directives, library, mistakes, objects, streams};
use std::ffi::CStr;
use std::iter::successors;

/// Registers everything with httpd.
pub(crate) fn register() {
    departure::register();
    unwaited::register();
    proxy::register(handover::explain);
    filter::register(GENERIC, true);
    filter::register(GENERIC, false);
    hooks::pre_config(mutex::register);
    hooks::pre_config(names::forget);
    hooks::check_config(check_config);
    hooks::post_config(post_config);
    hooks::child_init(child_init);
    hooks::process_connection(adapters::connection::run);
    hooks::post_read_request(concerns::<{ INIT | READ }>, post_read_request);
    hooks::translate_name(concerns::<{ TRANSLATE | CONTENT }>, translate_name);
    hooks::translate_name_late(has_applications, mount_application);
    // httpd would look for the file, and walk through its directories: a request that has none goes on without.
    hooks::map_to_storage(has_no_file, |_| Status::OK);
    hooks::post_perdir_config(has_no_name, settle);
    hooks::header_parser(concerns::<{ INIT | HEADER }>, header_parser);
    hooks::access_checker(concerns::<ACCESS>, |request| {
        phases::run(request, Phase::Access)
    });
    hooks::check_user_id(concerns::<AUTHEN>, |request| {
        phases::run(request, Phase::Authen)
    });
    hooks::auth_checker(concerns::<AUTHZ>, |request| {
        phases::run(request, Phase::Authz)
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
        phases::run(request, Phase::Type)
    });
    hooks::before_first_fixups(has_no_file, |request| {
        // httpd has just set what SetHandler says, also that of a section around the application: the application comes first.
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
        phases::run(request, Phase::Fixup)
    });
    hooks::last_fixups(has_no_file, look_like_a_file);
    hooks::handler(concerns::<CONTENT>, content);
    // Where a rule of mod_rewrite has refused the request, `after_first_fixups` has not run: the name that rules were shown is
    // taken away here, before an error's page or the log sees it.
    hooks::first_post_read_request(
        |request| request.prev().is_some_and(is_of_no_type),
        |request| request.prev().map_or(Status::DECLINED, hide_uri),
    );
    // Who keeps connections, as balancers do, would come to this child as long as it lives.
    hooks::first_post_read_request(
        |request| retirement::has_begun() && request.connection().is_primary(),
        |request| {
            request.connection().close_at_end();
            Status::DECLINED
        },
    );
    hooks::first_log_transaction(is_of_no_type, hide_uri);
    hooks::log_transaction(concerns::<{ LOG | CLEANUP }>, log);
    unfinished::follow();
    hooks::suspend_connection(streams::take_over);
    directives::HOOKS_OF_DAEMONS.offer(register_daemons);
}

/// Registers what a front and a daemon need, where one of both is configured.
fn register_daemons() {
    staying::register();
    handed::register();
    authentication::register();
    facing::register();
    error_page::register();
    limited::register();
    hooks::meet_connections();
    hooks::arrivals(arrival::concerns, arrival::arrive);
    hooks::under(c"mod_python_first.c", || {
        hooks::first_translate_name(arrival::is_handed, arrival::translate);
    });
    hooks::first_handler(handover::concerns, |request| {
        request.separate_cookies();
        handover::hand_over(request)
    });
    hooks::post_perdir_config(arrival::has_overlay, arrival::cover);
    hooks::log_transaction(daemons::kept::is_limited, daemons::kept::measure);
    hooks::child_stopping(daemons::kept::part_from_front);
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
    phases::concerns(request, PHASES)
}

fn check_config(server: ServerRec<'_>) -> Result<(), String> {
    handed::take_large_heads(successors(Some(server), |server| server.next()));
    lifecycle::check(server.config::<ModPython>())?;
    for host in successors(server.next(), |host| host.next()) {
        check_host(host)?;
    }
    if let Some(text) = package::mismatch() {
        log::entry(server, Level::Warning, &text);
    }
    let plan = plan(server);
    plan.check()?;
    for text in plan.warnings() {
        log::entry(server, Level::Warning, &text);
    }
    let mut files = mistakes::Files::of(server);
    for server in successors(Some(server), |server| server.next()) {
        for text in mistakes::of(server, &mut files) {
            log::entry(server, Level::Warning, &text);
        }
    }
    for text in check::all(server)? {
        log::entry(server, Level::Warning, &text);
    }
    lock_count(server).map(drop)
}

/// Checks that httpd's children will be able to use a virtual host's PythonHome.
fn check_host(host: ServerRec<'_>) -> Result<(), String> {
    let Some(home) = host.config::<ModPython>().home else {
        return Ok(());
    };
    home::check_for_children(home).map_err(|error| {
        let name = host.server_hostname().unwrap_or_default().to_string_lossy();
        format!("PythonHome of the virtual host {name}: {error}")
    })
}

fn post_config(pool: Pool<'_>, server: ServerRec<'_>) -> Result<(), String> {
    include::register();
    section::find_rewrite();
    if !hooks::is_rehearsal() {
        process::be_parent();
        daemons::kept::follow_keeper(server)?;
        daemons::keep::settle(pool, server)?;
        let common = &server.config::<ModPython>().common;
        let directory = common
            .option(options::MUTEX_DIRECTORY)
            .filter(|path| !path.is_empty());
        key_locks::create();
        mutex::create(pool, server, lock_count(server)?, directory)?;
        handover::define(pool, server)?;
        account::share();
        in_flight::share(daemons::kept::board(server));
    }
    hooks::add_version_component(pool, concat!("mod_python/", env!("CARGO_PKG_VERSION")));
    hooks::add_version_component(pool, concat!("Python/", env!("MOD_PYTHON_PYTHON_VERSION")));
    Ok(())
}

/// Gathers what all servers say of interpreters.
fn plan(server: ServerRec<'_>) -> Plan {
    let mut plan = Plan::default();
    for (place, server) in successors(Some(server), |server| server.next()).enumerate() {
        let name = server.server_hostname().and_then(|name| name.to_str().ok());
        plan.add(server.config::<ModPython>(), name, place == 0);
    }
    plan
}

/// Decides how many global locks there are: as many as requests can be at work at once, at most `mod_python.mutex_locks`.
fn lock_count(server: ServerRec<'_>) -> Result<usize, String> {
    const NAME: &str = options::MUTEX_LOCKS;
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
    // The first is for what has no key; keyed locks need at least one beside it (docs/differences.md#two-locks-at-least).
    Ok(wanted.min(at_work).max(2))
}

/// The functions of `_apache`.
const FUNCTIONS: &[&[Function]] = &[
    objects::FUNCTIONS,
    objects::in_flight::FUNCTIONS,
    objects::measures::FUNCTIONS,
    library::FUNCTIONS,
    gateway::FUNCTIONS,
    directives::FUNCTIONS,
    daemons::states::FUNCTIONS,
];

fn child_init(pool: Pool<'static>, server: ServerRec<'static>) {
    lifecycle::expect_early_ends();
    daemons::keep::leave_to_parent();
    daemons::kept::follow_parent(server);
    daemons::kept::limit_memory(server);
    daemons::kept::look_after_front();
    key_locks::adopt();
    mutex::adopt(pool, server);
    children::enter();
    let config: &Server<'_> = server.config::<ModPython>();
    // Not before: what the parent says when it starts is for who has started it.
    ServerRec::log_as_objects(|server| options::logs_objects(&server.config::<ModPython>().common));
    Request::log_as_objects(|request| options::logs_objects(&request.config::<ModPython>().common));
    log::set_json_of_process(options::logs_objects(&config.common));
    let started = lifecycle::start(pool, config, FUNCTIONS, objects::populate, before_end);
    if started {
        registry::follow(plan(server));
    }
    let servers = successors(Some(server), |server| server.next());
    let failures: Vec<String> = servers.filter_map(adapters::imports::run).collect();
    if let Some(descriptor) = config.ready {
        let failure = failures.first().map(String::as_str);
        let failure = failure.or((!started).then_some("Python could not be started"));
        daemons::ready::report(descriptor, failure);
    }
}

/// Before Python ends: the child's streams say good-bye, and its numbers are what they are.
fn before_end() {
    streams::stop();
    children::leave();
}

/// Runs the server's PythonInitHandlers, then its PythonPostReadRequestHandlers.
fn post_read_request(request: Request<'_>) -> Status {
    let result = phases::run(request, Phase::Init);
    if result != Status::DECLINED {
        note_init(request);
        if result != Status::OK {
            return result;
        }
    }
    phases::run(request, Phase::PostReadRequest)
}

/// Runs a section's PythonInitHandlers, unless those of the server have run, then its PythonHeaderParserHandlers.
fn header_parser(request: Request<'_>) -> Status {
    let in_vain = |notes: Table<'_>| notes.first(INIT_RAN).is_none();
    if phases::concerns(request, Phase::Init.bit()) && request.notes().is_some_and(in_vain) {
        let result = phases::run(request, Phase::Init);
        if result != Status::OK && result != Status::DECLINED {
            return result;
        }
    }
    phases::run(request, Phase::HeaderParser)
}

/// The note that says so. mod_python 3.5 has it under the same name, where handlers may see it.
const INIT_RAN: &CStr = c"python_init_ran";

fn note_init(request: Request<'_>) {
    if let Some(notes) = request.notes() {
        notes.set(INIT_RAN, c"1");
    }
}

fn translate_name(request: Request<'_>) -> Status {
    // mod_rewrite leaves the URI in r->filename where no rule has matched.
    let given = request.given_name();
    let result = phases::run(request, Phase::Translate);
    let unnamed = || request.is_unmapped() || given.is_some() && request.given_name() == given;
    if result == Status::DECLINED && needs_no_file(request) || result == Status::OK && unnamed() {
        request.stand_in();
        return Status::OK;
    }
    result
}

/// Can the request do without a file? Inside `<Location>`, where SetHandler says mod_python.
fn needs_no_file(request: Request<'_>) -> bool {
    let config = request.config::<ModPython>();
    config.is_location()
        && config.handlers_for(Phase::Content, None).is_some()
        && request.configured_handler_is(&HANDLERS)
        && mounts::at(request).is_none()
}

fn has_applications(request: Request<'_>) -> bool {
    !request.server().config::<ModPython>().mounts.is_empty()
}

/// Gives a request that no other module has mapped to the application that its URI lies in.
fn mount_application(request: Request<'_>) -> Status {
    let Some(mount) = mounts::at(request) else {
        return Status::DECLINED;
    };
    request.stand_in();
    request.name_handler(mount.handler);
    Status::OK
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

/// Puts what an application's line says on top of what the sections say, as soon as httpd has joined those. Gives a stand-in's name
/// to a request that another module has left without any.
fn settle(request: Request<'_>) -> Status {
    if request.is_unmapped() {
        // Another module has left it without a name.
        if concerns::<{ u32::MAX }>(request) {
            request.stand_in();
        }
        return Status::DECLINED;
    }
    mounts::cover(request);
    Status::DECLINED
}

/// Makes a sub-request that we answer look like one for a file: mod_dir takes nothing else for an index (DirectoryIndex) or a
/// fallback (FallbackResource).
fn look_like_a_file(request: Request<'_>) -> Status {
    if request.main().is_some()
        && request.handler_is(&HANDLERS)
        && mounts::absent(request).is_none()
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
    if let Some(absent) = mounts::absent(request) {
        log::entry(request, Level::Info, &absent);
        return Status::NOT_FOUND;
    }
    if request.has_stand_in() {
        request.admit_no_file();
        if request.is_answer_filtered() {
            request.stand_in_root();
        }
    }
    phases::run(request, Phase::Content)
}

/// Runs PythonLogHandlers in a request's last hook, and sees to it that PythonCleanupHandlers will run at its end.
fn log(request: Request<'_>) -> Status {
    if retirement::logs() {
        return Status::DECLINED;
    }
    if request
        .config::<ModPython>()
        .list(Phase::Cleanup, None)
        .is_some()
    {
        lease_of(request);
    }
    phases::run(request, Phase::Log)
}
