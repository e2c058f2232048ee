//! What the configuration says of each daemon, as its keeper is told it (`python/mod_python/_daemon/task.py`): one line of JSON, which is
//! also what tells whether a daemon has changed.

use crate::config::daemons::{Daemon, Value};
use crate::config::mount::{Mount, Place};
use crate::config::{ModPython, options};
use crate::embed::package;
use crate::httpd::module::process::Identity;
use crate::httpd::module::{process, reach};
use crate::httpd::record::quote;
use crate::httpd::request::server::Server;
use std::ffi::CString;
use std::fmt::Write as _;
use std::io;
use std::iter::successors;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A daemon.
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) account: Account,
    /// The members of its JSON object that stay the same as long as it does.
    members: String,
    /// Where it writes: `log=`, or the log of the virtual host that its applications are in.
    path: Option<String>,
    log: io::Result<OwnedFd>,
}

/// All daemons of the configuration.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn all(main: Server<'_>) -> Result<Vec<Wanted>, String> {
    let servers: Vec<Server<'_>> = successors(Some(main), |server| server.next()).collect();
    let daemons = servers.iter().flat_map(|server| {
        server
            .config::<ModPython>()
            .daemons
            .iter()
            .map(move |daemon| (*server, daemon))
    });
    daemons
        .map(|(server, daemon)| one(main, server, &servers, daemon))
        .collect()
}

fn one(
    main: Server<'_>,
    own: Server<'_>,
    servers: &[Server<'_>],
    daemon: &Daemon<'_>,
) -> Result<Wanted, String> {
    let name = daemon.name;
    let hosts: Vec<Server<'_>> = servers
        .iter()
        .copied()
        .filter(|server| has(*server, name))
        .collect();
    // Its own host's, where it stands in one; that of its applications, where that is one; else the main server's.
    let host = match hosts.as_slice() {
        _ if own.is_virtual() => own,
        [host] => *host,
        _ => main,
    };
    let account = account(daemon).map_err(|reason| format!("PythonDaemon {name}: {reason}"))?;
    let (identity, user, home) = account.taken_on();
    let account = Account {
        identity,
        name: user,
        home,
    };
    Ok(Wanted {
        name: name.into(),
        members: members(main, host, &hosts, daemon, &account)?,
        path: daemon.text("log").map(String::from),
        log: process::log_of(host),
        account,
    })
}

/// Whom a daemon is to run as.
///
/// # Errors
/// Nothing says so, or it cannot be.
pub(super) fn account(daemon: &Daemon<'_>) -> Result<reach::Account, String> {
    let account = reach::Account::of(daemon.text("user"), daemon.text("group"))?
        .ok_or("nothing says whom it is to run as: user=")?;
    let is_root = |identity: &Identity| identity.user == 0 || identity.group == 0;
    if account.identity().is_some_and(is_root) {
        return Err(
            "httpd's User or its Group is root, which no application should be: user=".into(),
        );
    }
    Ok(account)
}

/// Does a server say that something of it is in the daemon?
fn has(server: Server<'_>, name: &str) -> bool {
    let config = server.config::<ModPython>();
    let mut mounts = config.mounts.iter();
    mounts.any(|mount| mount.daemon == Some(name)) || config.handed.contains(&name)
}

impl Wanted {
    /// Opens the log.
    pub(super) fn open_log(&self) -> io::Result<OwnedFd> {
        match (&self.path, &self.log) {
            (Some(path), _) => process::open_log(Path::new(path), true)
                .map_err(|error| io::Error::new(error.kind(), format!("log= {path}: {error}"))),
            (None, Ok(log)) => log.try_clone(),
            (None, Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }

    /// A line for the keeper.
    pub(super) fn line(&self, restart: &str, place: &Path) -> String {
        let mut line = format!(
            "{{\"restart\": \"{restart}\", \"parent\": {}",
            std::process::id()
        );
        text(&mut line, "directory", &place.to_string_lossy());
        line.push_str(&self.members);
        line.push_str("}\n");
        line
    }
}

fn members(
    main: Server<'_>,
    host: Server<'_>,
    hosts: &[Server<'_>],
    daemon: &Daemon<'_>,
    account: &Account,
) -> Result<String, String> {
    let mut line = String::new();
    text(&mut line, "name", daemon.name);
    text(&mut line, "user", &account.name);
    let httpd = process::program().ok_or("the system does not say which program httpd is")?;
    text(&mut line, "httpd", &httpd.to_string_lossy());
    let module = package::module().ok_or("the loader does not say where mod_python.so is")?;
    text(&mut line, "module", &module.to_string_lossy());
    text(&mut line, "log_level", level(host.loglevel()));
    let config = host.config::<ModPython>();
    if let Some(admin) = host.server_admin() {
        text(&mut line, "admin", &admin.to_string_lossy());
    }
    if options::logs_objects(&config.common) {
        line.push_str(", \"json\": true");
    }
    if let Some(path) = config.common.path {
        text(&mut line, "path", path);
    }
    let _ = write!(line, ", \"timeout\": {}", main.timeout().max(1.0).round());
    line.push_str(", \"options\": {");
    for (place, (key, value)) in daemon.settings.iter().enumerate() {
        line.push_str(if place == 0 { "" } else { ", " });
        quote(&mut line, key.as_bytes());
        line.push_str(": ");
        add(&mut line, value);
    }
    line.push_str("}, \"mounts\": [");
    let mut known: Vec<&Mount<'_>> = Vec::new();
    let mut mounts = Vec::new();
    for server in hosts {
        let options = applications_options(*server);
        for mount in server
            .config::<ModPython>()
            .mounts
            .iter()
            .filter(|mount| mount.daemon == Some(daemon.name))
        {
            // Several hosts may have it; what differs between them, the front tells with each request.
            if !known.iter().any(|other| other.called() == mount.called()) {
                mounts.push(written(mount, &options));
                known.push(mount);
            }
        }
    }
    line.push_str(&mounts.join(", "));
    line.push(']');
    Ok(line)
}

/// The options that a host has for its applications.
fn applications_options(server: Server<'_>) -> String {
    let mut line = String::new();
    for (place, (key, value)) in server
        .config::<ModPython>()
        .common
        .options
        .iter()
        .enumerate()
    {
        // Those are httpd's own.
        if *key == options::MUTEX_DIRECTORY || *key == options::MUTEX_LOCKS {
            continue;
        }
        line.push_str(if place == 0 || line.is_empty() {
            ""
        } else {
            ", "
        });
        quote(&mut line, key.as_bytes());
        line.push_str(": ");
        quote(&mut line, value.as_bytes());
    }
    line
}

fn place_of<'c>(mount: &Mount<'c>) -> (bool, &'c str) {
    match mount.place {
        Place::Prefix(prefix) => (false, prefix),
        Place::Pattern(text, _) => (true, text),
    }
}

fn written(mount: &Mount<'_>, options: &str) -> String {
    let mut line = String::from("{\"kind\": ");
    let kind = if mount.gateway.ends_with("asgi") {
        "asgi"
    } else {
        "wsgi"
    };
    quote(&mut line, kind.as_bytes());
    let (is_pattern, place) = place_of(mount);
    text(
        &mut line,
        if is_pattern { "pattern" } else { "prefix" },
        place,
    );
    let brackets = if mount.target.is_factory { "()" } else { "" };
    text(
        &mut line,
        "target",
        &format!("{}{brackets}", mount.target.name),
    );
    let _ = write!(line, ", \"options\": {{{options}}}}}");
    line
}

fn text(line: &mut String, name: &str, value: &str) {
    let _ = write!(line, ", \"{name}\": ");
    quote(line, value.as_bytes());
}

fn add(line: &mut String, value: &Value<'_>) {
    match value {
        Value::Text(text) => quote(line, text.as_bytes()),
        Value::Number(number) => {
            let _ = write!(line, "{number}");
        }
        Value::Seconds(seconds) => {
            let _ = write!(line, "{seconds}");
        }
        Value::List(all) => {
            line.push('[');
            for (place, one) in all.iter().enumerate() {
                line.push_str(if place == 0 { "" } else { ", " });
                quote(line, one.as_bytes());
            }
            line.push(']');
        }
    }
}

/// LogLevel's word for a level; beyond debug there are eight of trace.
fn level(number: i32) -> &'static str {
    const WORDS: [&str; 16] = [
        "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "trace1", "trace2",
        "trace3", "trace4", "trace5", "trace6", "trace7", "trace8",
    ];
    usize::try_from(number)
        .ok()
        .and_then(|place| WORDS.get(place).copied())
        .unwrap_or("warn")
}

/// Whom a daemon runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// None: whom httpd's parent is.
    pub(super) identity: Option<Identity>,
    pub(super) name: String,
    pub(super) home: String,
}

impl Account {
    /// What a keeper has for an environment: nothing of httpd's own.
    pub(super) fn environment(&self) -> Vec<CString> {
        let (name, home) = (&self.name, &self.home);
        [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            "LANG=C.UTF-8".into(),
            format!("HOME={home}"),
            format!("USER={name}"),
            format!("LOGNAME={name}"),
        ]
        .into_iter()
        .filter_map(|text: String| CString::new(text).ok())
        .collect()
    }
}
