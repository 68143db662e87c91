//! Stockroom on real small file systems: the power is cut (invariant 2), and disks run full
//! (invariant 4).
//!
//! The server is the real binary, or a whole Stockroom in this process; the disks are ext4 on loop
//! devices and file systems in memory, mounted where only the test sees them. Where the machine
//! allows no mounts, each test says `SKIPPED` and why.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod clients;
mod cuts;
mod disk;
mod full_disk;
mod ledger;
mod namespace;
mod server;
#[path = "../http/support.rs"]
#[expect(dead_code, reason = "not everything there is needed here")]
mod support;
mod verdict;

/// Whether this is the long form.
fn is_long() -> bool {
    std::env::var("STOCKROOM_TORTURE").as_deref() == Ok("1")
}
