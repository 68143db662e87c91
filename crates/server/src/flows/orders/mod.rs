//! Orders as shops and payment services tell of them: events that are signed, and applied once.
//!
//! The way of an event is `verify -> parse -> apply`. The signature is checked over the body as it
//! came, byte by byte, before anything is read from it. There are two dialects, [`standard`] and
//! [`stripe`], and both lead to an [`OrderEvent`]; [`apply()`] gives it its effect, once for ever.

pub mod apply;
pub mod event;
pub mod standard;
pub mod stripe;

pub use apply::{ApplyError, Outcome, apply};
pub use event::{BodyError, NewOrder, OrderEvent};
