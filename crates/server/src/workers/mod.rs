//! Work in the background. Each worker is a loop over a state that the catalog holds; it claims
//! rows by lease and can be killed at any time.

pub mod engine;
mod place;
mod retire;
mod sweep;
