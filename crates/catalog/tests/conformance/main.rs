//! One suite of plain functions over a [`stockroom_catalog::Catalog`], run on SQLite and on
//! PostgreSQL. A difference between the two is a bug.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, ending with a panic is how it fails"
)]

mod adoption;
mod assets;
mod audit;
mod connect;
mod damaged;
mod deliveries;
mod downloads;
mod endpoints;
mod events;
mod kept;
mod keys;
mod lab;
mod migrations;
mod models;
mod objects;
mod orders;
mod placements;
mod plans;
mod purchases;
mod refunds;
mod restore;
mod restore_races;
mod retire;
mod stores;
mod tombstones;
mod uploads;
mod verification;
mod view;
