//! Migrate: says which copies the engine is to make and which may go, until a migration has what it
//! wants. It moves no byte itself: copies are made by `place.rs`, and freed ones removed by
//! `retire.rs`.
//!
//! Only a few copies are asked for at a time, so that a pause comes into force soon and a million
//! objects are no million rows. Several programs may work on the same migration: each asks for what
//! nobody has asked for yet.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use stockroom_catalog::{
    CatalogError, Conflict, Freed, MigrationLimits, MigrationPatch, MigrationRow, ObjectRow,
    Sample, Uncovered, Wanted,
};
use stockroom_domain::{
    MigrationPhase, MigrationState, ObjectId, PlacementState, StoreName, Timestamp,
};
use stockroom_storage::Store as _;

use crate::app::App;
use crate::flows::migrate::hours::Hours;
use crate::flows::prove::{is_wrong, prove};

/// How long the worker sleeps when there is nothing to do.
const TICK: Duration = Duration::from_secs(2);

/// How long it waits for the engine when enough is asked for.
const MOMENT: Duration = Duration::from_millis(50);

/// How many copies are asked for at a time.
const WINDOW: u64 = 256;

/// How many copies are freed in one go.
const BATCH: u32 = 256;

/// Works on whatever migration there is, until the shutdown begins.
pub async fn run(app: App) {
    let mut place = Place::default();
    loop {
        let wait = match step(&app, &mut place).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "a migration waits: the catalog does not answer");
                TICK
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = app.shutdown.cancelled() => break,
        }
    }
}

/// How far a walk through the objects has come.
#[derive(Debug, Default)]
pub struct Place {
    after: Option<ObjectId>,
    /// Whether this walk has found anything so far.
    found: bool,
}

/// Does a little of what is due; how long to wait before the next step.
///
/// # Errors
/// That of the catalog.
pub async fn step(app: &App, place: &mut Place) -> Result<Duration, CatalogError> {
    let migration = app.catalog.current_migration().await?;
    let Some(migration) = migration.filter(|it| it.state == MigrationState::Running) else {
        *place = Place::default();
        return Ok(TICK);
    };
    if app.store(&migration.source).is_none() || app.store(&migration.target).is_none() {
        // Programs whose settings name both do the work.
        return Ok(TICK);
    }
    let now = app.clock.now();
    let migration = match migration.began_at.max(migration.phase_began_at) > now {
        true => app.catalog.set_migration_back(migration.id, now).await?,
        false => migration,
    };
    let hours = migration.limits.hours.as_deref().map(str::parse::<Hours>);
    if matches!(hours, Some(Ok(hours)) if !hours.contain(now)) {
        app.catalog.withdraw_owed(migration.id).await?;
        return Ok(TICK);
    }
    app.migration_pace
        .set(migration.id, migration.limits.max_bytes_per_second);
    let is_done = match migration.phase {
        MigrationPhase::Copy => cover(app, &migration, place, &wanted_by_copy(&migration)).await?,
        MigrationPhase::Retire => {
            free(app, &migration, place, &freed_by_retire(&migration)).await?
                && is_removed(app, &migration.source).await?
        }
        MigrationPhase::Rollback => roll_back(app, &migration, place).await?,
    };
    if is_done {
        *place = Place::default();
        finish(app, &migration, now).await?;
        return Ok(TICK);
    }
    Ok(MOMENT)
}

/// The copies that the copying wants.
#[must_use]
pub fn wanted_by_copy(migration: &MigrationRow) -> Wanted {
    Wanted {
        store: migration.target.clone(),
        since: migration.began_at,
        sample: migration.limits.sample,
        only_given: false,
    }
}

/// The copies that retiring the source frees.
fn freed_by_retire(migration: &MigrationRow) -> Freed {
    Freed {
        from: migration.source.clone(),
        kept_on: migration.target.clone(),
        verified_since: migration.began_at,
        sample: migration.limits.sample,
        only_given: false,
    }
}

/// First everything is on the source again and was read there; then what the migration gave is freed.
async fn roll_back(
    app: &App,
    migration: &MigrationRow,
    place: &mut Place,
) -> Result<bool, CatalogError> {
    let source = &migration.source;
    let now = app.clock.now();
    if app
        .catalog
        .unfree_placements(source, migration.id, now)
        .await?
        > 0
    {
        app.engine_bell.notify_one();
    }
    let wanted = Wanted {
        store: source.clone(),
        since: migration.phase_began_at,
        sample: Sample::ALL,
        only_given: true,
    };
    if !cover(app, migration, place, &wanted).await? {
        return Ok(false);
    }
    let freed = Freed {
        from: migration.target.clone(),
        kept_on: source.clone(),
        verified_since: migration.phase_began_at,
        sample: Sample::ALL,
        only_given: true,
    };
    while !free(app, migration, place, &freed).await? {}
    is_removed(app, &migration.target).await
}

/// Whether the engine has removed the freed copies whose grace period is over.
async fn is_removed(app: &App, store: &StoreName) -> Result<bool, CatalogError> {
    let now = app.clock.now();
    Ok(app.catalog.count_removable(store, now).await? == 0)
}

/// Asks for copies that are missing and reads those that were not read yet; whether nothing is left
/// but what failed.
async fn cover(
    app: &App,
    migration: &MigrationRow,
    place: &mut Place,
    wanted: &Wanted,
) -> Result<bool, CatalogError> {
    let owed = app.catalog.count_owed(&wanted.store).await?;
    let Some(free) = WINDOW.checked_sub(owed).filter(|free| *free > WINDOW / 4) else {
        return Ok(false);
    };
    let limit = u32::try_from(free).unwrap_or(u32::MAX);
    let uncovered = app
        .catalog
        .uncovered(migration, wanted, place.after, limit)
        .await?;
    let Some(last) = uncovered.last() else {
        // Once more from the beginning, until a whole walk finds nothing: an object may have become
        // live behind this one.
        let was_whole = place.after.is_none() || !place.found;
        *place = Place::default();
        return Ok(was_whole && owed == 0);
    };
    *place = Place {
        after: Some(last.object.id),
        found: true,
    };
    let (missing, unread): (Vec<Uncovered>, Vec<Uncovered>) = uncovered
        .into_iter()
        .partition(|it| it.state != Some(PlacementState::Present));
    let missing: Vec<ObjectId> = missing.iter().map(|it| it.object.id).collect();
    let now = app.clock.now();
    let asked = app
        .catalog
        .owe_placements(&missing, &wanted.store, migration.id, now)
        .await?;
    if asked > 0 {
        app.engine_bell.notify_one();
    }
    if read_back(app, &wanted.store, unread).await? && wanted.sample != Sample::ALL {
        read_all(app, migration).await?;
    }
    Ok(false)
}

/// Gives up on the sample: where one copy is damaged, others may be.
async fn read_all(app: &App, migration: &MigrationRow) -> Result<(), CatalogError> {
    tracing::warn!(migration = %migration.id, "a copy in the sample is damaged, so all of them are read");
    let patch = MigrationPatch {
        limits: Some(MigrationLimits {
            sample: Sample::ALL,
            ..migration.limits.clone()
        }),
        ..MigrationPatch::default()
    };
    let now = app.clock.now();
    match app.catalog.update_migration(migration, &patch, now).await {
        Ok(_) | Err(CatalogError::Conflict(Conflict::MigrationMoved)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads copies that were there before, a few at the same time; whether one of them is damaged.
async fn read_back(
    app: &App,
    store: &StoreName,
    unread: Vec<Uncovered>,
) -> Result<bool, CatalogError> {
    let mut reads = stream::iter(unread)
        .map(|it| look(app, store, it.object))
        .buffer_unordered(app.engine.concurrency);
    let mut found_damage = false;
    while let Some(is_damaged) = reads.next().await {
        found_damage |= is_damaged?;
    }
    Ok(found_damage)
}

/// Reads a copy and notes how it is; whether it is damaged.
async fn look(app: &App, name: &StoreName, object: ObjectRow) -> Result<bool, CatalogError> {
    let Some(store) = app.store(name).filter(|store| store.is_available()) else {
        return Ok(false);
    };
    match prove(app, &*store, &object, |_| {}).await {
        Ok(()) => {
            let now = app.clock.now();
            app.catalog.note_verified(object.id, name, now).await?;
            Ok(false)
        }
        Err(error) if is_wrong(&error) => {
            tracing::warn!(%error, object = %object.id, "a copy is damaged");
            app.doubt(object.id, name, error.detail()).await?;
            Ok(true)
        }
        Err(error) => {
            tracing::info!(%error, object = %object.id, store = %store.name(), "a copy cannot be read now");
            Ok(false)
        }
    }
}

/// Frees some copies; whether none is left that may be freed.
async fn free(
    app: &App,
    migration: &MigrationRow,
    place: &mut Place,
    freed: &Freed,
) -> Result<bool, CatalogError> {
    let objects = app
        .catalog
        .freeable(migration, freed, place.after, BATCH)
        .await?;
    let Some(last) = objects.last() else {
        let was_whole = place.after.is_none();
        *place = Place::default();
        return Ok(was_whole);
    };
    place.after = Some(*last);
    for object in objects {
        let now = app.clock.now();
        let remove_after = now.after(migration.limits.grace);
        app.catalog
            .free_placement(object, freed, migration.id, now, remove_after)
            .await?;
    }
    app.clearing_bell.notify_one();
    Ok(false)
}

/// Notes that a phase has come to its end, unless somebody changed it meanwhile.
async fn finish(app: &App, migration: &MigrationRow, now: Timestamp) -> Result<(), CatalogError> {
    let patch = MigrationPatch {
        state: Some(MigrationState::Finished),
        ..MigrationPatch::default()
    };
    match app.catalog.update_migration(migration, &patch, now).await {
        Ok(_) => {
            let (id, phase) = (migration.id, migration.phase.as_str());
            tracing::info!(migration = %id, phase, "a migration has done what it could");
            Ok(())
        }
        Err(CatalogError::Conflict(Conflict::MigrationMoved)) => Ok(()),
        Err(error) => Err(error),
    }
}
