//! The HTTP interface as outside programs meet it: a whole Stockroom over real connections, with
//! files on a real disk and in a real S3 server, in every mode.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod calls;
mod connections;
mod disconnects;
mod healing;
mod main_job;
mod matrix;
mod objects;
mod refusals;
mod restore;
mod storage;
mod support;
mod uploads_refused;
