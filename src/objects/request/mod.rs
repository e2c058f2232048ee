//! `mp_request`: the request object. Each request has one in each interpreter that takes part in it.

mod actions;
mod attributes;
mod body;
mod class;
mod methods;
pub(in crate::objects) mod payload;

pub(crate) use payload::{
    Made, Request, is_unremarkable, object, object_elsewhere, object_of_held,
};
