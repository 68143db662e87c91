//! Migrations: moving the objects of a shop from one store to another while it does business.
//!
//! What is wanted is a row in the catalog; `workers/migrate.rs` compares it with the placements and
//! asks the engine for what is missing. So it does not matter who runs it: a server, a command, or
//! both. Here it is begun, paused, turned around and told of.

pub mod hours;
pub mod pace;
pub mod plan;
pub mod prices;

use std::sync::Arc;
use std::time::Duration;

use stockroom_catalog::{
    Catalog, CatalogError, Conflict, CopyProgress, FreeProgress, MigrationLimits, MigrationPatch,
    MigrationRow, NewMigration, Sample,
};
use stockroom_domain::{KeyPrefix, MigrationId, MigrationPhase, MigrationState, StoreName};
use stockroom_storage::{GuardedStore, Store as _};

use crate::app::App;
use crate::workers::identity::{Comparison, LookError, compare};

/// What somebody wants moved.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to.
    pub target: StoreName,
    /// Where from; none where the settings leave no doubt.
    pub source: Option<StoreName>,
    /// The objects: those whose keys begin like this.
    pub prefix: KeyPrefix,
    /// How it may go about it; none to leave what was said before.
    pub limits: Option<MigrationLimits>,
    /// Whether copies that were read in a migration before are read again.
    pub is_fresh: bool,
}

/// Why a migration cannot do what is asked for.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// There is no such store.
    #[error("there is no store {0} configured")]
    NoSuchStore(StoreName),
    /// There is no store to move from.
    #[error("there is no other store configured to move objects from")]
    NoSource,
    /// There are several stores to move from.
    #[error("objects could be moved from several stores: {}", listed(.0))]
    SeveralSources(Vec<StoreName>),
    /// A store has nothing to move to itself.
    #[error("{0} is both the source and the target")]
    ToItself(StoreName),
    /// A store is not the one that the database knows.
    #[error("the store {store} is not the one that the database knows: {reason}")]
    ForeignStore {
        /// The store.
        store: StoreName,
        /// What speaks against it.
        reason: &'static str,
    },
    /// There never was a migration.
    #[error("there is no migration")]
    None,
    /// Another migration is not finished.
    #[error("a migration to {target} (prefix \"{prefix}\") is not finished")]
    AnotherAtWork {
        /// Where it goes.
        target: StoreName,
        /// What it is about.
        prefix: String,
    },
    /// Nothing can be removed before everything that could be copied is.
    #[error("the copying is not finished")]
    NotCopied,
    /// A migration that was turned around does nothing else any more.
    #[error("the migration was rolled back")]
    RolledBack,
    /// Copies are removed from another store than the migration comes from.
    #[error("the migration moves objects from {0}")]
    OtherSource(StoreName),
    /// New objects are still written to the store whose copies are to go.
    #[error("the mode still writes new objects to {store}")]
    InMode {
        /// The store.
        store: StoreName,
        /// The one that keeps the copies.
        other: StoreName,
    },
    /// Somebody else changed it at the same moment.
    #[error("the migration was changed meanwhile")]
    Moved,
    /// The catalog failed.
    #[error("{0}")]
    Catalog(#[source] CatalogError),
}

impl From<CatalogError> for MigrateError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Conflict(Conflict::MigrationMoved | Conflict::MigrationAtWork) => {
                Self::Moved
            }
            other => Self::Catalog(other),
        }
    }
}

/// A migration and how far it is.
#[derive(Debug, Clone)]
pub struct Status {
    /// The migration.
    pub migration: MigrationRow,
    /// How many copies are on the target.
    pub copied: CopyProgress,
    /// How many copies could not be made, read or removed.
    pub failed: u64,
    /// What is left on the source.
    pub source: FreeProgress,
    /// What is left on the target of a migration that is rolled back.
    pub target: Option<FreeProgress>,
}

impl Status {
    /// What is left on the store that is freed: the source, or the target in a rollback.
    #[must_use]
    pub fn freed(&self) -> &FreeProgress {
        self.target.as_ref().unwrap_or(&self.source)
    }
}

/// How long the bytes of freed copies stay unless somebody says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(7 * 86_400);

/// Begins to copy, or goes on where it was left: the same target and prefix again is the same
/// migration.
///
/// # Errors
/// See [`MigrateError`].
pub async fn begin(app: &App, request: &Request) -> Result<MigrationRow, MigrateError> {
    let target = &request.target;
    target_of(app, target).await?;
    let now = app.clock.now();
    if let Some(current) = app.catalog.current_migration().await? {
        let is_same = current.target == *target
            && current.prefix == request.prefix
            && request
                .source
                .as_ref()
                .is_none_or(|it| *it == current.source);
        if current.state != MigrationState::Finished && !is_same {
            return Err(MigrateError::AnotherAtWork {
                target: current.target,
                prefix: current.prefix.as_str().to_owned(),
            });
        }
        let is_copy = current.phase == MigrationPhase::Copy;
        let goes_on = is_same && is_copy && !request.is_fresh;
        if goes_on {
            let patch = MigrationPatch {
                state: Some(MigrationState::Running),
                limits: request.limits.clone(),
                ..MigrationPatch::default()
            };
            return Ok(app.catalog.update_migration(&current, &patch, now).await?);
        }
        if current.state != MigrationState::Finished {
            return Err(MigrateError::AnotherAtWork {
                target: current.target,
                prefix: current.prefix.as_str().to_owned(),
            });
        }
    }
    let new = NewMigration {
        id: MigrationId::generate(now, &*app.entropy),
        source: source(app, target, request.source.as_ref())?,
        target: target.clone(),
        prefix: request.prefix.clone(),
        limits: request.limits.clone().unwrap_or(MigrationLimits {
            max_bytes_per_second: None,
            hours: None,
            grace: DEFAULT_GRACE,
            sample: Sample::ALL,
        }),
        began_at: now,
    };
    let begun = app.catalog.insert_migration(&new).await?;
    // What failed in one before is no failure of this one.
    retry_failed(app, &begun).await?;
    Ok(begun)
}

/// The store of this name, unless it is surely another one than the database knows. Whether one that
/// does not answer is the right one is seen before anything is written to it.
async fn target_of(app: &App, name: &StoreName) -> Result<Arc<GuardedStore>, MigrateError> {
    let Some(store) = app.store(name) else {
        return Err(MigrateError::NoSuchStore(name.clone()));
    };
    match compare(&app.catalog, &*store).await {
        Ok(Comparison::Foreign(reason)) => Err(MigrateError::ForeignStore {
            store: name.clone(),
            reason,
        }),
        Ok(Comparison::Ours | Comparison::Unlabelled { .. }) | Err(LookError::Store(_)) => {
            Ok(store)
        }
        Err(LookError::Catalog(error)) => Err(error.into()),
    }
}

/// The store that objects leave for this one: the one that is asked for, the only other one there
/// is, or the only other one that the mode writes to.
fn source(
    app: &App,
    target: &StoreName,
    from: Option<&StoreName>,
) -> Result<StoreName, MigrateError> {
    if let Some(from) = from {
        return match app.store(from) {
            None => Err(MigrateError::NoSuchStore(from.clone())),
            Some(_) if from == target => Err(MigrateError::ToItself(from.clone())),
            Some(_) => Ok(from.clone()),
        };
    }
    let names = app.stores.iter().map(|store| store.name().clone());
    let others: Vec<StoreName> = names.filter(|name| name != target).collect();
    let is_of_mode = |name: &&StoreName| app.storage.store(name).is_some();
    let of_mode: Vec<&StoreName> = others.iter().filter(is_of_mode).collect();
    match (&others[..], &of_mode[..]) {
        ([], _) => Err(MigrateError::NoSource),
        ([only], _) => Ok(only.clone()),
        (_, [only]) => Ok((*only).clone()),
        _ => Err(MigrateError::SeveralSources(others)),
    }
}

fn listed(names: &[StoreName]) -> String {
    let names: Vec<&str> = names.iter().map(StoreName::as_str).collect();
    names.join(", ")
}

/// Copies are freed only on stores that the mode does not write to: else new objects would go there
/// still, and `verify` would bring the others back.
fn is_left(app: &App, store: &StoreName, other: &StoreName) -> Result<(), MigrateError> {
    match app.storage.store(store) {
        Some(_) => Err(MigrateError::InMode {
            store: store.clone(),
            other: other.clone(),
        }),
        None => Ok(()),
    }
}

/// Begins nothing new until somebody resumes it. Copies that are under way are finished.
///
/// # Errors
/// See [`MigrateError`].
pub async fn pause(app: &App) -> Result<MigrationRow, MigrateError> {
    let paused = change(app, |row| {
        (row.state == MigrationState::Running).then_some(MigrationState::Paused)
    })
    .await?;
    app.catalog.withdraw_owed(paused.id).await?;
    Ok(paused)
}

/// Goes on after a pause.
///
/// # Errors
/// See [`MigrateError`].
pub async fn resume(app: &App) -> Result<MigrationRow, MigrateError> {
    change(app, |row| {
        (row.state == MigrationState::Paused).then_some(MigrationState::Running)
    })
    .await
}

async fn change(
    app: &App,
    to: impl Fn(&MigrationRow) -> Option<MigrationState>,
) -> Result<MigrationRow, MigrateError> {
    let current = app.catalog.current_migration().await?;
    let current = current.ok_or(MigrateError::None)?;
    let Some(state) = to(&current) else {
        return Ok(current);
    };
    let patch = MigrationPatch {
        state: Some(state),
        ..MigrationPatch::default()
    };
    let now = app.clock.now();
    Ok(app.catalog.update_migration(&current, &patch, now).await?)
}

/// Begins to free the source: the copies on the target are read back, then those on the source go whose
/// object has one that matched. With a sample, only the copies in it are read; what is outside of it need
/// only be there. What could not be read before is tried again.
///
/// # Errors
/// See [`MigrateError`].
pub async fn retire(
    app: &App,
    from: &StoreName,
    grace: Option<Duration>,
    sample: Sample,
) -> Result<MigrationRow, MigrateError> {
    let current = app.catalog.current_migration().await?;
    let current = current.ok_or(MigrateError::None)?;
    if current.source != *from {
        return Err(MigrateError::OtherSource(current.source));
    }
    is_left(app, from, &current.target)?;
    match (current.phase, current.state) {
        (MigrationPhase::Rollback, _) => return Err(MigrateError::RolledBack),
        (MigrationPhase::Copy, MigrationState::Running | MigrationState::Paused) => {
            return Err(MigrateError::NotCopied);
        }
        (MigrationPhase::Copy, MigrationState::Finished) | (MigrationPhase::Retire, _) => {}
    }
    let turned = turn(app, &current, MigrationPhase::Retire, grace, sample).await?;
    retry_failed(app, &turned).await?;
    Ok(turned)
}

/// Begins to undo a migration: what it freed is copied back and read, then what it gave is freed.
///
/// # Errors
/// See [`MigrateError`].
pub async fn roll_back(app: &App, grace: Option<Duration>) -> Result<MigrationRow, MigrateError> {
    let current = app.catalog.current_migration().await?;
    let current = current.ok_or(MigrateError::None)?;
    is_left(app, &current.target, &current.source)?;
    let phase = MigrationPhase::Rollback;
    let turned = turn(app, &current, phase, grace, Sample::ALL).await?;
    app.catalog.withdraw_owed(turned.id).await?;
    Ok(turned)
}

async fn turn(
    app: &App,
    current: &MigrationRow,
    phase: MigrationPhase,
    grace: Option<Duration>,
    sample: Sample,
) -> Result<MigrationRow, MigrateError> {
    let limits = MigrationLimits {
        grace: grace.unwrap_or(current.limits.grace),
        sample,
        ..current.limits.clone()
    };
    let patch = MigrationPatch {
        phase: Some(phase),
        state: Some(MigrationState::Running),
        limits: Some(limits),
    };
    let now = app.clock.now();
    Ok(app.catalog.update_migration(current, &patch, now).await?)
}

/// Has everything that a migration is about and that failed tried again at once; how much that is.
///
/// # Errors
/// See [`MigrateError`].
pub async fn retry_failed(app: &App, migration: &MigrationRow) -> Result<u64, MigrateError> {
    let now = app.clock.now();
    let retried = app.catalog.retry_failures(migration, now).await?;
    app.clearing_bell.notify_one();
    app.engine_bell.notify_one();
    Ok(retried)
}

/// The migration that is at work, or the last one, and how far it is. This looks at all live
/// objects: some seconds for some million.
///
/// # Errors
/// [`MigrateError::None`]; that of the catalog.
pub async fn status(app: &App) -> Result<Status, MigrateError> {
    let current = app.catalog.current_migration().await?;
    let current = current.ok_or(MigrateError::None)?;
    Ok(status_of(&app.catalog, current).await?)
}

/// How far a migration is. This looks at all live objects: some seconds for some million.
///
/// # Errors
/// That of the catalog.
pub async fn status_of(catalog: &Catalog, migration: MigrationRow) -> Result<Status, CatalogError> {
    let copied = catalog.copy_progress(&migration).await?;
    let failed = catalog.count_failures(&migration).await?;
    let source = catalog.free_progress(&migration, &migration.source).await?;
    let target = match migration.phase {
        MigrationPhase::Rollback => {
            Some(catalog.free_progress(&migration, &migration.target).await?)
        }
        MigrationPhase::Copy | MigrationPhase::Retire => None,
    };
    Ok(Status {
        migration,
        copied,
        failed,
        source,
        target,
    })
}
