//! Drives the server with real clients: the AWS SDK, and reqwest where the SDK would not do what
//! a test needs.
#![expect(
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod b2;
mod faults;
mod identity;
mod listing;
mod multipart;
mod objects;
mod support;
mod transport;
