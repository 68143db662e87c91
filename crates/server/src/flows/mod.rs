//! What happens with bytes and records, one way each, for HTTP and the command line alike.
//!
//! An upload goes `receive -> check -> store -> record`: [`receive`] and [`publish`] or
//! [`objects`]. A download goes `who -> gate -> where -> deliver`: the gate is
//! [`stockroom_domain::permits`], the rest is [`deliver`], with small files that are wanted often in [`hot`]. [`verify`] compares records with bytes,
//! and [`explain`] follows one purchase from the gate to its bytes.
//! Signed events about orders come in through [`orders`], and what happened here goes out through
//! [`events`].

pub mod deliver;
pub mod error;
pub mod events;
pub mod explain;
pub mod hot;
pub mod import;
pub mod keys;
pub mod ledger;
pub mod migrate;
pub mod objects;
pub mod orders;
pub mod overview;
pub mod prove;
pub mod publish;
pub mod receipt;
pub mod receive;
pub mod signatures;
pub mod verify;
