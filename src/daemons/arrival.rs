//! In a daemon: a request from the front becomes what it was there.

use super::handover;
use super::section::Gathered;
use super::wire::{Pair, pairs};
use crate::config::HANDLERS;
use crate::httpd::apr::table::Table;
use crate::httpd::module::proxy;
use crate::httpd::request::Request;
use crate::httpd::request::handed::{self, Handed};
use crate::httpd::status::Status;
use std::ffi::CString;

/// What the front has told; the fields are those of `handover.rs`.
#[derive(Default)]
struct Told {
    client: (Vec<u8>, u16),
    peer: (Vec<u8>, u16),
    own: (Vec<u8>, u16),
    host: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    uri: Option<Vec<u8>>,
    query: Option<Vec<u8>>,
    root: Option<Vec<u8>>,
    context: (Option<Vec<u8>>, Option<Vec<u8>>),
    scheme: Vec<u8>,
    admin: Option<Vec<u8>>,
    signature: Vec<u8>,
    server: Option<Vec<u8>>,
    port: u16,
    passes_authorization: bool,
    auth_type: Option<Vec<u8>>,
    auth_name: Option<Vec<u8>>,
}

/// May the request be the front's, or one that wants to be taken for it?
pub(crate) fn concerns(request: Request<'_>) -> bool {
    // Elsewhere the field means nothing to anybody.
    (handover::are_any() || handed::is_daemon())
        && request.prev().is_none()
        && request.main().is_none()
        && request
            .headers_in()
            .is_some_and(|table| table.has(proxy::FIELD))
}

/// Takes away what says that it comes from a front. Where it does, puts everything back that the front knew of it.
pub(crate) fn arrive(request: Request<'_>) -> Status {
    let Some(headers) = request.headers_in() else {
        return Status::DECLINED;
    };
    let text = headers
        .first(proxy::FIELD)
        .map(|text| text.to_bytes().to_vec());
    headers.unset(proxy::FIELD);
    let (Some(text), true) = (text, request.is_from_front()) else {
        // Whoever it is is not to keep a connection that is believed nothing.
        request.connection().close_at_end();
        return Status::DECLINED;
    };
    let framing = [c"Content-Length", c"Transfer-Encoding"].map(|name| {
        (
            name,
            headers.first(name).map(std::borrow::ToOwned::to_owned),
        )
    });
    headers.clear();
    request.forget_uri_parts();
    let mut told = Told::default();
    let tls = Table::new(request.pool());
    let mut gathered = Gathered::default();
    for pair in pairs(&text) {
        gathered.take(request.pool(), &pair);
        take(request, headers, tls, &mut told, pair);
    }
    // How long the body is, the front has said by itself.
    for (name, value) in framing {
        match value {
            Some(value) => headers.set(name, &value),
            None => headers.unset(name),
        }
    }
    settle(request, tls, &told, &gathered);
    Status::DECLINED
}

fn number(text: &[u8]) -> u16 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().unwrap_or(0)
}

fn take(request: Request<'_>, headers: Table<'_>, tls: Table<'_>, told: &mut Told, pair: Pair) {
    let Pair { key, name, value } = pair;
    let add = |table: Table<'_>| {
        if let (Ok(name), Ok(value)) = (CString::new(name.clone()), CString::new(value.clone())) {
            table.add(&name, &value);
        }
    };
    match key {
        b'H' => add(headers),
        b'e' => request.subprocess_env().into_iter().for_each(add),
        b't' => add(tls),
        b'c' => told.client.0 = value,
        b'C' => told.client.1 = number(&value),
        b'd' => told.peer.0 = value,
        b'D' => told.peer.1 = number(&value),
        b'l' => told.own.0 = value,
        b'L' => told.own.1 = number(&value),
        b'u' => request.set_user(Some(&value)),
        b'a' => request.set_ap_auth_type(Some(&value)),
        b'h' => told.host = Some(value),
        b'q' => request.set_the_request(&value),
        b'v' => request.set_protocol(&value),
        b'V' => request.set_proto_num(i32::from(number(&value))),
        b'o' => told.target = Some(value),
        b'i' => told.uri = Some(value),
        b'g' => told.query = Some(value),
        b's' => told.scheme = value,
        b'm' => told.admin = Some(value),
        b'S' => told.signature = value,
        b'n' => told.server = Some(value),
        b'p' => told.port = number(&value),
        b'w' => told.passes_authorization = true,
        b'b' => request.without_ranges(),
        b'A' => told.auth_type = Some(value),
        b'N' => told.auth_name = Some(value),
        b'x' => request.set_uri_part(&name, &value),
        b'r' => told.root = Some(value),
        b'R' => told.context.1 = Some(value),
        b'X' => told.context.0 = Some(value),
        _ => {}
    }
}

fn settle<'r>(request: Request<'r>, tls: Table<'r>, told: &Told, gathered: &Gathered<'r>) {
    let pool = request.pool();
    request.set_client((&told.client.0, told.client.1));
    request.set_ends((&told.peer.0, told.peer.1), (&told.own.0, told.own.1));
    request.set_places(
        told.root.as_deref(),
        told.context.0.as_deref(),
        told.context.1.as_deref(),
    );
    request.set_hostname(told.host.as_deref());
    if let Some(target) = &told.target {
        request.set_target(target);
    }
    request.face_front();
    request.hand(Handed {
        scheme: pool.c_string(&told.scheme),
        server_name: told.server.as_deref().map(|name| pool.c_string(name)),
        server_port: told.port,
        admin: told.admin.as_deref().map(|text| pool.c_string(text)),
        signature: pool.c_string(&told.signature),
        passes_authorization: told.passes_authorization,
        auth_type: told.auth_type.as_deref().map(|text| pool.c_string(text)),
        auth_name: told.auth_name.as_deref().map(|text| pool.c_string(text)),
        uri: told.uri.as_deref().map(|uri| pool.c_string(uri)),
        query: told.query.as_deref().map(|query| pool.c_string(query)),
        tls,
        overlay: gathered.overlay(pool),
        has_handlers: gathered.has_handlers(),
        file: gathered.file,
        ends: gathered.ends,
        application: gathered.application,
    });
}

/// Was it handed over?
pub(crate) fn is_handed(request: Request<'_>) -> bool {
    request.main().is_none() && request.prev().is_none() && request.handed().is_some()
}

/// Gives it the URI that it had in the front, decoded as it was there; the one that has come is always `/`.
pub(crate) fn translate(request: Request<'_>) -> Status {
    if let Some(handed) = request.handed() {
        request.set_whole_uri(handed.uri.unwrap_or(c"/").to_bytes());
        request.set_args(handed.query.map(std::ffi::CStr::to_bytes));
        if handed.has_handlers {
            match handed.file {
                Some(file) => request.set_filename(file.to_bytes()),
                None => request.stand_in(),
            }
            return Status::OK;
        }
    }
    Status::DECLINED
}

/// Have sections of the front something to say here?
pub(crate) fn has_overlay(request: Request<'_>) -> bool {
    request
        .handed()
        .is_some_and(|handed| handed.overlay.is_some())
}

/// Puts that on top of what the sections say.
pub(crate) fn cover(request: Request<'_>) -> Status {
    if let Some(handed) = request.handed()
        && let Some(overlay) = handed.overlay
    {
        let is_itself = is_handed(request);
        if is_itself || !handed.has_handlers {
            overlay.cover(request);
        }
        if is_itself && handed.has_handlers {
            request.name_handler(HANDLERS[0]);
            if handed.ends {
                request.set_path_info(None);
            }
        }
    }
    Status::DECLINED
}
