//! The HTTP interface. `routes.rs` lists every route; one endpoint is one file.

pub mod assets;
pub mod auth;
pub mod body;
pub mod bytes;
pub mod codes;
pub mod digest;
pub mod docs;
pub mod extract;
pub mod fields;
pub mod files;
mod from;
pub mod health;
pub mod layers;
pub mod library;
pub mod models;
pub mod objects;
pub mod page;
pub mod plain;
pub mod problem;
pub mod purchases;
pub mod range;
pub mod routes;
pub mod server;
pub mod storage;
pub mod views;
