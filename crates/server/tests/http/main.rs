//! The HTTP interface as outside programs meet it: a whole Stockroom over real connections, with
//! files on a real disk and in a real S3 server, in every mode.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod address;
mod audit;
mod browsers;
mod calls;
mod connections;
mod disconnects;
mod downloads;
mod healing;
mod hostile;
mod kept;
mod keys;
mod limits;
mod main_job;
mod matrix;
mod objects;
mod purchase_events;
mod receiver;
mod refusals;
mod restore;
mod signed;
mod slow;
mod storage;
mod support;
mod uploads_refused;
mod webhook_events;
