//! What the gateway is called, in the configuration and to other files here.

use super::options;
use crate::config::gateways::{Gateway, gateway};
use crate::config::limit::Answerer;

pub(crate) static GATEWAY: Gateway = gateway!("asgi", Answerer::Asgi, options::OWN, options::check);
