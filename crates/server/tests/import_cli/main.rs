//! `import` and `export` with the real binary: an old service's folder, in place and from elsewhere,
//! a bucket's objects where they lie, maps, kills, and everything that is odd.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, ending with a panic is how it fails"
)]

mod bucket;
mod export;
mod folders;
mod kill;
mod map;
mod modes;
mod odd;
mod place;
