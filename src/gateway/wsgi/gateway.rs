//! What the gateway is called, in the configuration and to other files here.

use crate::config::gateways::{Gateway, gateway};

pub(crate) static GATEWAY: Gateway =
    gateway!("wsgi", &["mod_python.wsgi.chunked_buffer"], |_, _| Ok(()));
