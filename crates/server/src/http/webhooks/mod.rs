//! `/v1/webhooks`: what others tell, signed instead of with a key.

pub mod receive;
