//! Random operations, random damage and readers in the way of writers, against a whole Stockroom
//! over real connections: what was acknowledged is what is read, and what is deleted is gone.
//!
//! Every decision comes from a seed that is printed. The short form runs with `make test`; with
//! `STOCKROOM_TORTURE=1` the same tests run longer. Lines that begin with `figure:` say what was
//! counted.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod assets;
mod audit;
mod client;
mod corruption;
mod damage;
mod deletion;
mod dice;
mod expected;
mod failover;
mod outage;
mod random_operations;
mod readers;
mod settle;
#[path = "../http/support.rs"]
#[allow(
    dead_code,
    reason = "it is shared with the tests of the HTTP interface, which use more of it"
)]
mod support;
mod weather;
mod world;
