//! Verify: compare what the catalog says with what lies on the stores, and mend what differs.
//!
//! For each store the list of its objects is held against the catalog (`listing.rs`), then the
//! catalog against what was listed (`recorded.rs`), then the versions that a bucket keeps
//! (`versions.rs`). At the end some copies are read and hashed (`hashes.rs`). Uploads, deletions
//! and the engine go on meanwhile, so everything that looks wrong is looked at a second time, on
//! the store and in the catalog, before it counts (`look.rs`).
//!
//! A repair moves no bytes itself. A copy that is wrong is put down as doubted and one that was
//! forgotten as owed, and then the engine runs until nothing is due (`heal.rs`). Deletions come
//! last and together: all of them are known before the first is done, and none is done when they
//! are too many or the store is not this catalog's own (`delete.rs`). A catalog that was restored
//! from a backup does not know what came after it, so bytes at a location without any row are left
//! alone while they are young (`remove.rs`).
//!
//! Memory: 16 bytes for each object on the store that is being compared, which is its id in a hash
//! set (about twice that with the set's own room); with a repair, the findings that are to be
//! deleted too, of which a million are allowed. Everything else is read page by page.

mod delete;
mod finding;
mod hashes;
mod heal;
mod listing;
mod look;
mod recorded;
mod remove;
mod run;
mod versions;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use stockroom_catalog::CatalogError;
use stockroom_domain::StoreName;
use stockroom_storage::{GuardedStore, Store as _};

pub use self::delete::Refusal;
pub use self::finding::{Finding, Kind};

use self::run::Run;
use crate::app::App;

/// How many looks at a store are under way at once. Their outcomes are collected before any of them
/// is acted on: a look that is not polled may hold a connection to the database that acting on
/// another one waits for.
const AT_ONCE: usize = 8;

/// How many objects of a store are compared in one step.
const BATCH: usize = 1_000;

/// What to compare, and what to do about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether to mend what is wrong.
    pub repair: bool,
    /// The stores to compare; all that are configured when there is none.
    pub stores: Vec<StoreName>,
    /// How many bytes to read and hash.
    pub hash_budget: HashBudget,
    /// Nothing is deleted when more than this share of the objects on a store would be, in
    /// percent, and more than [`Refusal::ALWAYS_ALLOWED`].
    pub max_delete_percent: u8,
    /// Whether bytes at a location that the catalog has never known are deleted however young they
    /// are; else only what has lain there for 30 days.
    pub delete_unrecorded: bool,
}

/// How many bytes to read and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashBudget {
    /// As many as there are.
    All,
    /// About this many; the last copy that is begun is read to its end.
    Bytes(u64),
}

/// Is told what happens.
pub trait Listener {
    /// Something is wrong, and was mended or not. `Break` ends the verification.
    fn finding(&mut self, finding: Finding) -> ControlFlow<()>;

    /// Bytes were compared by their size, or read and hashed.
    fn progress(&mut self, step: Step, store: &StoreName, bytes: u64);
}

/// What is being done with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Their size is compared.
    Compare,
    /// They are read and hashed.
    Hash,
}

/// Why a verification did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The catalog failed.
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    /// A repair was asked for, and a store may not be the one that the catalog knows. Nothing was
    /// changed.
    #[error("the store {store} is not the one that the database knows: {reason}")]
    ForeignStore {
        /// The store.
        store: StoreName,
        /// What speaks against it.
        reason: &'static str,
    },
    /// The listener has heard enough.
    #[error("nobody listens any more")]
    Stopped,
}

/// What was compared, and how it ended.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The stores, in the order in which they were compared.
    pub stores: Vec<StoreSummary>,
    /// How many findings of each kind there were on all of them.
    pub findings: BTreeMap<Kind, u64>,
    /// How many of them are mended.
    pub repaired: u64,
    /// How many are not, without those that come right by themselves.
    pub remaining: u64,
    /// Why nothing was deleted that should have been.
    #[serde(skip)]
    pub refusal: Option<Refusal>,
}

/// What was compared on a store.
#[derive(Debug, Clone, Serialize)]
pub struct StoreSummary {
    /// The store.
    pub store: StoreName,
    /// How many objects it has.
    pub listed: u64,
    /// How many bytes they have.
    pub listed_bytes: u64,
    /// How many of them are recorded there and have the recorded size.
    pub present: u64,
    /// How many were read and hashed.
    pub hashed: u64,
    /// How many bytes were read for that.
    pub hashed_bytes: u64,
    /// How many findings of each kind there were.
    pub findings: BTreeMap<Kind, u64>,
}

/// Compares the catalog with the stores, and repairs what the options allow.
///
/// # Errors
/// When the catalog fails, a store to be repaired is foreign, or the listener has heard enough.
/// What a store does not tell is a finding, no error.
pub async fn verify(
    app: &App,
    options: &Options,
    listener: &mut dyn Listener,
) -> Result<Summary, VerifyError> {
    let mut run = Run::new(app, options, listener);
    run.identify().await?;
    for at in 0..run.subjects.len() {
        run.compare(at).await?;
    }
    run.tell_out_of_reach()?;
    run.hash().await?;
    run.heal().await?;
    run.delete().await?;
    Ok(run.summary())
}

/// The configured stores, or those of these names.
fn stores(app: &App, names: &[StoreName]) -> Vec<Arc<GuardedStore>> {
    let is_wanted = |name| names.is_empty() || names.contains(name);
    let stores = app.stores.iter().filter(|store| is_wanted(store.name()));
    stores.cloned().collect()
}
