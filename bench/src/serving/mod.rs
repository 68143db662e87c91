//! What serving costs: Stockroom beside the service that a shop on Node would write, and beside nginx, which sends
//! files and asks for nothing. Everybody has the same files, on the same disk or in the same bucket.
//!
//! `contender.rs` says who there is and starts them; each is in a file of its own. `downloads.rs`, `uploads.rs`
//! and `signed.rs` are what they do, `rows.rs` writes it down, `aims.rs` says what was wanted.

mod aims;
mod contender;
mod downloads;
mod express;
mod model_file;
mod nginx;
mod rows;
mod signed;
mod stockroom;
mod uploads;

pub(crate) use self::aims::aims;
pub(crate) use self::downloads::{large, small};
pub(crate) use self::rows::peaks;
pub(crate) use self::signed::signed;
pub(crate) use self::uploads::{forms, to_s3};

/// The small file: a real STL has 84 bytes and 50 for each facet, and this one is as near to 20 kB as that allows.
const SMALL_FACETS: u32 = 399;
/// The large one, as near to 256 MiB.
const LARGE_FACETS: u32 = 5_368_707;

/// As many connections as ask for the small file, or send it.
const MANY: u64 = 32;
