//! In the front: a request for an application that has a daemon becomes one for mod_proxy, when all that comes before the answer has been
//! done here (authentication, access, rules), and takes along what only the front knows.

use super::wire::Writer;
use crate::config::daemons::{self, Daemon};
use crate::config::{HANDLERS, ModPython, options};
use crate::gateway::asgi;
use crate::httpd::apr::pool::Pool;
use crate::httpd::log::{self, Level};
use crate::httpd::module::proxy;
use crate::httpd::request::Request;
use crate::httpd::request::server::Server;
use crate::httpd::status::Status;
use std::ffi::CStr;
use std::iter::successors;
use std::sync::atomic::{AtomicBool, Ordering};

/// Is there a daemon? Set when a configuration has been read, and known to the children.
static ANY: AtomicBool = AtomicBool::new(false);

/// All daemons, of all servers.
pub(crate) fn all<'s>(main: Server<'s>) -> Vec<Daemon<'s>> {
    let servers = successors(Some(main), |server| server.next());
    let each = servers.flat_map(|server| server.config::<ModPython>().daemons);
    each.copied().collect()
}

/// Has mod_proxy know the daemons, each by its host and socket.
///
/// # Errors
/// What mod_proxy says.
pub(crate) fn define(pool: Pool<'_>, main: Server<'_>) -> Result<(), String> {
    let daemons = all(main);
    ANY.store(!daemons.is_empty(), Ordering::Relaxed);
    for server in successors(Some(main), |server| server.next()) {
        for daemon in &daemons {
            let socket = super::socket_path(pool, daemon);
            let seconds = daemon.seconds("request-timeout");
            let patience = seconds.filter(|seconds| *seconds > 0.0);
            let timeout = main.timeout();
            proxy::define(
                pool,
                server,
                &socket,
                &daemon.host(),
                patience,
                timeout,
                false,
            )?;
            // A tunnel may be silent for long: its ends know best when it is over.
            proxy::define(
                pool,
                server,
                &socket,
                &upgrade(daemon),
                Some(TUNNEL),
                timeout,
                true,
            )?;
        }
    }
    Ok(())
}

/// For how many seconds a WebSocket may be silent.
const TUNNEL: f64 = 86_400.0;

/// The host by which mod_proxy knows a daemon for tunnels.
fn upgrade(daemon: &Daemon<'_>) -> String {
    format!("upgrade.{}", daemon.host())
}

/// Has the configuration any daemon?
pub(super) fn are_any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// Is the request's answer made in a daemon?
pub(crate) fn concerns(request: Request<'_>) -> bool {
    are_any() && request.proxyreq() == 0 && named(request).is_some()
}

fn named(request: Request<'_>) -> Option<&str> {
    let name = name(request)?;
    request.handler_is(&HANDLERS).then_some(name)
}

/// The daemon that an application's line names, or, for handlers, an option.
fn name(request: Request<'_>) -> Option<&str> {
    let config = request.config::<ModPython>();
    match config.mount {
        Some(mount) => mount.daemon,
        None => {
            let named = config.common.option(options::DAEMON);
            named.filter(|name| !name.is_empty())
        }
    }
}

/// Makes it a request that mod_proxy's handler, which comes next, answers.
pub(crate) fn hand_over(request: Request<'_>) -> Status {
    let Some(name) = named(request) else {
        return Status::DECLINED;
    };
    let main = Server::main().unwrap_or_else(|| request.server());
    let Some(daemon) = daemons::find(&all(main), name) else {
        log::entry(
            request,
            Level::Error,
            &format!("there is no daemon {name:?}"),
        );
        return Status(503);
    };
    let limited = request.limit_body();
    if limited != Status::OK {
        return limited;
    }
    let host = if may_be_tunnel(request) {
        upgrade(&daemon)
    } else {
        daemon.host()
    };
    let told = tell(request, &daemon);
    request.become_proxied(&host, &told);
    request.expect_error();
    Status::DECLINED
}

/// Can it become a WebSocket there? What cannot has the patience of other requests, whatever the client asks for.
fn may_be_tunnel(request: Request<'_>) -> bool {
    let mount = request.config::<ModPython>().mount;
    let is_asgi = mount.is_none_or(|mount| mount.gateway == asgi::GATEWAY.handler);
    is_asgi && asgi::is_websocket(request)
}

/// Says so in the log where the daemon has not answered; mod_proxy says it in its own way, without its name.
pub(crate) fn explain(request: Request<'_>, status: i64) {
    let said = match status {
        503 => "cannot be reached: it has ended, or does not start (see its log)",
        502 => "has ended in the middle of an answer, or before it",
        504 => "has not answered in time",
        500 => {
            "could not be asked: mod_proxy has failed before that (its LogLevel debug says where)"
        }
        _ => return,
    };
    if let Some(name) = name(request) {
        log::entry(request, Level::Error, &format!("daemon {name} {said}"));
    }
}

/// Variables that a daemon is told of whether `pass-environment=` names them or not; those of mod_ssl begin with SSL_, most of
/// mod_http2 with H2_.
const ALWAYS: [&[u8]; 4] = [b"HTTPS", b"UNIQUE_ID", b"HTTP2", b"H2PUSH"];

/// What a TLS extension of ASGI is made of.
const TLS: [&CStr; 6] = [
    c"SSL_SERVER_CERT",
    c"SSL_PROTOCOL",
    c"SSL_CIPHER",
    c"SSL_CLIENT_CERT",
    c"SSL_CLIENT_S_DN",
    c"SSL_CLIENT_VERIFY",
];

/// Writes down what the daemon has to know. `arrival.rs` reads it.
fn tell(request: Request<'_>, daemon: &Daemon<'_>) -> Vec<u8> {
    fn bytes(text: Option<&CStr>) -> &[u8] {
        text.unwrap_or_default().to_bytes()
    }
    let mut writer = Writer::with_room(2048);
    let connection = request.connection();
    let addresses = [
        (b'c', b'C', request.useragent_addr()),
        (b'd', b'D', connection.client_addr()),
        (b'l', b'L', connection.local_addr()),
    ];
    for (address, port, (ip, number)) in addresses {
        writer.add(address, bytes(ip));
        writer.add(port, number.to_string().as_bytes());
    }
    let original = request.original();
    let texts = [
        (b'u', request.user()),
        (b'a', request.ap_auth_type()),
        (b'A', request.auth_type()),
        (b'N', request.auth_name()),
        (b'h', request.hostname()),
        (b'q', request.the_request()),
        (b'v', request.protocol()),
        (b'o', original.unparsed_uri()),
        (b'i', request.uri()),
        (b'g', request.args()),
        (b's', request.scheme()),
        (b'n', request.server_name()),
        (b'r', request.document_root()),
        (b'R', request.context_document_root()),
        (b'X', request.context_prefix()),
        (b'm', request.server_admin()),
        (b'S', request.signature().filter(|text| !text.is_empty())),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            writer.add(key, text.to_bytes());
        }
    }
    writer.add(b'V', request.proto_num().to_string().as_bytes());
    writer.add(b'p', request.server_port().to_string().as_bytes());
    if request.passes_authorization() {
        writer.add(b'w', b"1");
    }
    if request.main().is_some() {
        // A page includes it: what its client wants a part of is that page.
        writer.add(b'b', b"1");
    }
    let (parts, port) = request.parsed_uri();
    for (place, part) in (b'0'..).zip(parts) {
        if let Some(part) = part {
            writer.add_named(b'x', &[place], part.to_bytes());
        }
    }
    if let Some(port) = port {
        writer.add_named(b'x', b"p", port.to_string().as_bytes());
    }
    environment(request, daemon, &mut writer);
    super::section::write(request, &mut writer);
    for (name, value) in request
        .headers_in()
        .iter()
        .flat_map(|table| table.entries())
    {
        if !name
            .to_bytes()
            .eq_ignore_ascii_case(proxy::FIELD.to_bytes())
        {
            writer.add_named(b'H', name.to_bytes(), bytes(value));
        }
    }
    writer.finish()
}

/// Writes down variables: mod_ssl's, and those that the daemon is to be told of.
fn environment(request: Request<'_>, daemon: &Daemon<'_>, writer: &mut Writer) {
    let passed = daemon.list("pass-environment");
    let is_passed = |name: &[u8]| {
        name.starts_with(b"SSL_")
            || name.starts_with(b"H2_")
            || ALWAYS.contains(&name)
            || passed.iter().any(|other| other.as_bytes() == name)
    };
    let table = request.subprocess_env();
    for (name, value) in table.iter().flat_map(|table| table.entries()) {
        if is_passed(name.to_bytes()) {
            let value = value.unwrap_or_default().to_bytes();
            writer.add_named(b'e', name.to_bytes(), value);
        }
    }
    if let Some(before) = request.prev() {
        let url = before.redirect_url().unwrap_or_default();
        writer.add_named(b'e', b"REDIRECT_URL", url.to_bytes());
        if let Some(query) = before.args() {
            writer.add_named(b'e', b"REDIRECT_QUERY_STRING", query.to_bytes());
        }
    }
    let mount = request.config::<ModPython>().mount;
    let is_asgi = mount.is_some_and(|mount| mount.gateway == asgi::GATEWAY.handler);
    if is_asgi && request.is_https() {
        for name in TLS {
            if let Some(value) = request.ssl_variable(name) {
                writer.add_named(b't', name.to_bytes(), value.to_bytes());
            }
        }
    }
}
