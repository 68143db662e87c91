//! Work in the background. Each worker is a loop over a state that the catalog holds; it claims
//! rows by lease and can be killed at any time.

mod booking;
pub mod engine;
pub mod identity;
mod lease;
pub mod migrate;
pub mod outbox;
pub mod pace;
mod place;
mod reading;
mod retire;
pub mod scrub;
pub mod sweep;
mod transfer;
mod versions;
pub mod views;
