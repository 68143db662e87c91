//! What the program tells about itself.

pub mod gauges;
pub mod logs;
pub mod metrics;
mod migration;
mod stores;
