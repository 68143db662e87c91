//! Import: files that another service kept become objects, and assets where a map says so.
//!
//! Three ways lead in. A file that lies in the folder of the local store, or an object in the
//! bucket, is *adopted* where it lies (`adopt.rs`): it is read, and recorded at the location that its
//! key spells. A file of another folder is *copied* by the one way of an upload, or *linked*
//! (`copy.rs`, `link.rs`). A key is the path, always; nothing is renamed, and nothing that is there is ever
//! replaced: the same key with other bytes is a conflict that is told (`names.rs`, `standing.rs`).
//!
//! The entries are walked through twice, without keeping them: first to hold them against the map
//! and to count them, then to take them, several at the same time. Everything that is taken is
//! taken by one transaction of its own, so an import that was killed is run again and goes on. An
//! adopted file has no intent row before that: the sweep would delete it.

mod adopt;
mod copy;
mod job;
mod link;
mod listing;
mod map;
mod names;
mod report;
mod run;
mod standing;

use stockroom_catalog::CatalogError;
use stockroom_domain::StoreName;
use stockroom_storage::{Error, SourceFolder};
use tokio_util::sync::CancellationToken;

pub use self::map::{Line, Map, MapFault, MappedModel};
pub use self::report::{Listener, Outcome, Report, Summary};

use self::run::Run;
use crate::app::App;

/// What to import, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the files are.
    pub origin: Origin,
    /// Give files of another folder a second name in the store, and adopt those that have one.
    pub link: bool,
    /// Remove files of another folder when they are recorded.
    pub remove_sources: bool,
    /// What the files are sold as.
    pub map: Map,
    /// Publish the models of the map whose files are all there.
    pub publish: bool,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// How many files are read at the same time.
    pub concurrency: usize,
    /// Ends the import early; what is under way is taken back.
    pub interruption: CancellationToken,
}

/// Where the files are.
#[derive(Debug, Clone)]
pub enum Origin {
    /// In a folder; that of the local store or another one.
    Folder(SourceFolder),
    /// In the bucket, under names that begin with this.
    Bucket(String),
}

/// Why an import ended before its end. What it took until then is recorded, and running it again
/// goes on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The map does not fit what is there. Nothing was changed.
    #[error("the map does not fit")]
    Map(Vec<MapFault>),
    /// The store is not the one that the database knows. Nothing was changed.
    #[error("the store {store} is not the one that the database knows: {reason}")]
    ForeignStore {
        /// The store.
        store: StoreName,
        /// What speaks against it.
        reason: &'static str,
    },
    /// The store is not among those that are configured.
    #[error("there is no store {0}")]
    NoStore(StoreName),
    /// The folder cannot be walked through.
    #[error("the folder cannot be read: {0}")]
    Folder(#[source] std::io::Error),
    /// A store does not answer, or is full.
    #[error("{0}")]
    Store(#[from] Error),
    /// The catalog failed.
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    /// A task ended in a way that no task should.
    #[error("a task broke off: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// The listener has heard enough.
    #[error("nobody listens any more")]
    Stopped,
    /// It was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Imports what the options name.
///
/// # Errors
/// Any [`ImportError`].
pub async fn import(
    app: &App,
    options: Options,
    listener: &mut dyn Listener,
) -> Result<Summary, ImportError> {
    Run::new(app, options)?.run(listener).await
}
