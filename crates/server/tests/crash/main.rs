//! The proof by crashing: the real server is killed at every call with which it changes a file or
//! speaks to the network (invariant 1 of ARCHITECTURE.md), and every call about files fails in
//! turn (invariant 4).
//!
//! A small C library (`preload.c`) is loaded into `stockroom serve` and counts such calls while an
//! operation runs; at the chosen one it kills the process or lets the call fail. Then the next
//! Stockroom opens the same folder, database and bucket, cleans up by the clock of a later time,
//! and everything is compared: what was acknowledged is whole on every store of the mode, what was
//! not is wholly there or wholly absent, and nothing else is left anywhere.
//!
//! `make test` draws some calls of each operation from a seed, which it prints; `make torture`
//! takes every one. The environment steers it:
//!
//! | variable | does |
//! |---|---|
//! | `STOCKROOM_CRASH_SEED` | draws the points of an earlier run |
//! | `STOCKROOM_CRASH_POINT` | takes one point, by the name that a failure prints: `hybrid/sqlite/replace/files/17/after` |
//! | `STOCKROOM_TORTURE=1` | takes every point |
//!
//! The number of calls differs a little from run to run, because threads do: a point that is
//! replayed may strike the neighbour of the call that it struck before.
#![cfg(target_os = "linux")]
#![recursion_limit = "256"]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod control;
mod database;
mod fail;
mod kill;
mod points;
mod recovery;
mod scenario;
mod server;
mod site;
mod template;
