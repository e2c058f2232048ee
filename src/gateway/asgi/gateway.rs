//! What the gateway is called, in the configuration and to other files here.

use super::options;
use crate::config::gateways::{Gateway, gateway};

pub(crate) static GATEWAY: Gateway = gateway!("asgi", options::OWN, options::check);
