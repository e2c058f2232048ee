//! `mp_server`: the main server or a virtual host.

mod class;
pub(in crate::objects) mod payload;
