//! What the gateway is called, in the configuration and to other files here.

use crate::config::gateways::{Gateway, gateway};
use crate::config::limit::Answerer;

pub(crate) static GATEWAY: Gateway = gateway!(
    "wsgi",
    Answerer::Wsgi,
    &["mod_python.wsgi.chunked_buffer"],
    |_, _| Ok(())
);
