//! The stockroom behind a shop that sells digital files: server, flows and command line.

pub mod app;
pub mod assemble;
mod causes;
pub mod check;
pub mod cli;
mod client;
pub mod config;
pub mod doctor;
pub mod exit;
pub mod flows;
pub mod http;
pub mod json_fault;
pub mod secret_key;
pub mod spreadsheet;
pub mod telemetry;
pub mod workers;
