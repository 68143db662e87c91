//! Migrate: says which copies the engine is to make and which may go, until a migration has what it
//! wants. It moves no byte itself: copies are made by `place.rs`, read by `reading.rs`, and freed ones
//! removed by `retire.rs`.
//!
//! Only a few copies are asked for at a time, so that a pause comes into force soon and a million
//! objects are no million rows. Several programs may work on the same migration: each asks for what
//! nobody has asked for yet.

use std::time::Duration;

use stockroom_catalog::{
    CatalogError, Conflict, Freed, MigrationLimits, MigrationPatch, MigrationRow, Read, Sample,
    Uncovered, Wanted,
};
use stockroom_domain::{
    MigrationId, MigrationPhase, MigrationState, ObjectId, PlacementState, Timestamp,
};

use super::reading::read_back;
use crate::app::App;
use crate::flows::migrate::hours::Hours;

/// How long the worker sleeps when there is nothing to do.
const TICK: Duration = Duration::from_secs(2);

/// How long it waits for the engine when enough is asked for.
const MOMENT: Duration = Duration::from_millis(50);

/// How many copies are asked for at a time.
const WINDOW: u64 = 256;

/// How many copies are freed in one transaction, which others that write wait for.
const BATCH: u32 = 64;

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

/// How far the work on a phase has come. Whoever begins anew begins at the beginning: what is done is
/// not found again.
#[derive(Debug, Default)]
pub struct Place {
    /// What it is the work on. When that is turned to something else, the work begins anew.
    of: Option<(MigrationId, MigrationPhase, Sample)>,
    stage: Stage,
    /// The last object that the walk of this stage came to.
    after: Option<ObjectId>,
    /// Whether this walk has found anything so far.
    found: bool,
    /// Whether the next walk is to wait until the engine has made what is owed.
    awaits_owed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Objects get the copies that they are to have.
    #[default]
    Cover,
    /// The others are freed.
    Free,
    /// What was freed is removed.
    Clear,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// There is more to do here.
    More,
    /// The engine has enough to do for a moment.
    Engine,
    /// Other programs are at work on the rest.
    Others,
    /// Nothing is left but what failed.
    Nothing,
}

impl Place {
    /// Begins a stage.
    fn go_to(&mut self, stage: Stage) {
        *self = Self {
            of: self.of,
            stage,
            ..Self::default()
        };
    }
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
    let of = Some((migration.id, migration.phase, migration.limits.sample));
    if place.of != of {
        *place = Place {
            of,
            ..Place::default()
        };
    }
    let next = match migration.phase {
        MigrationPhase::Copy => copy(app, &migration, place).await?,
        MigrationPhase::Retire => retire(app, &migration, place).await?,
        MigrationPhase::Rollback => roll_back(app, &migration, place).await?,
    };
    Ok(match next {
        Next::More => Duration::ZERO,
        Next::Engine => MOMENT,
        Next::Others => TICK,
        Next::Nothing => {
            *place = Place::default();
            finish(app, &migration, now).await?;
            TICK
        }
    })
}

/// Everything gets a copy on the target.
async fn copy(
    app: &App,
    migration: &MigrationRow,
    place: &mut Place,
) -> Result<Next, CatalogError> {
    let wanted = Wanted {
        store: migration.target.clone(),
        read: None,
        only_given: false,
    };
    cover(app, migration, place, &wanted).await
}

/// First the copies on the target are read, then those on the source are freed.
async fn retire(
    app: &App,
    migration: &MigrationRow,
    place: &mut Place,
) -> Result<Next, CatalogError> {
    let read = Read {
        since: migration.began_at,
        sample: migration.limits.sample,
    };
    let wanted = Wanted {
        store: migration.target.clone(),
        read: Some(read),
        only_given: false,
    };
    let freed = Freed {
        from: migration.source.clone(),
        kept_on: migration.target.clone(),
        read,
        only_given: false,
    };
    cover_then_free(app, migration, place, &wanted, &freed).await
}

/// First everything is on the source again and was read there; then what the migration gave is freed.
async fn roll_back(
    app: &App,
    migration: &MigrationRow,
    place: &mut Place,
) -> Result<Next, CatalogError> {
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
    let read = Read {
        since: migration.phase_began_at,
        sample: Sample::ALL,
    };
    let wanted = Wanted {
        store: source.clone(),
        read: Some(read),
        only_given: true,
    };
    let freed = Freed {
        from: migration.target.clone(),
        kept_on: source.clone(),
        read,
        only_given: true,
    };
    cover_then_free(app, migration, place, &wanted, &freed).await
}

/// Frees copies once those that are kept are covered.
async fn cover_then_free(
    app: &App,
    migration: &MigrationRow,
    place: &mut Place,
    wanted: &Wanted,
    freed: &Freed,
) -> Result<Next, CatalogError> {
    let (next, then) = match place.stage {
        Stage::Cover => (cover(app, migration, place, wanted).await?, Stage::Free),
        Stage::Free => (free(app, migration, place, freed).await?, Stage::Clear),
        Stage::Clear => {
            // The engine removes freed copies whose grace period is over.
            let now = app.clock.now();
            return Ok(match app.catalog.has_removable(&freed.from, now).await? {
                true => Next::Engine,
                false => Next::Nothing,
            });
        }
    };
    if next != Next::Nothing {
        return Ok(next);
    }
    place.go_to(then);
    Ok(Next::More)
}

/// Asks for copies that are missing and reads those that are to have been read.
async fn cover(
    app: &App,
    migration: &MigrationRow,
    place: &mut Place,
    wanted: &Wanted,
) -> Result<Next, CatalogError> {
    let Some(store) = app.store(&wanted.store).filter(|it| it.is_available()) else {
        // Nothing can be said of a copy while its store does not answer.
        return Ok(Next::Others);
    };
    let owed = app.catalog.count_owed(&wanted.store).await?;
    let Some(free) = WINDOW.checked_sub(owed).filter(|free| *free > WINDOW / 4) else {
        return Ok(Next::Engine);
    };
    if place.awaits_owed && owed > 0 {
        return Ok(Next::Engine);
    }
    let limit = u32::try_from(free).unwrap_or(u32::MAX);
    let begun_after = place.after;
    let listed_at = app.clock.now();
    let uncovered = app
        .catalog
        .uncovered(migration, wanted, begun_after, limit)
        .await?;
    let Some(last) = uncovered.last() else {
        // Once more from the beginning, until a whole walk finds nothing: an object may have become
        // live behind this one.
        let was_whole = begun_after.is_none() || !place.found;
        place.go_to(Stage::Cover);
        place.awaits_owed = owed > 0;
        return Ok(match was_whole && owed == 0 {
            true => Next::Nothing,
            false => Next::More,
        });
    };
    place.after = Some(last.object.id);
    place.found = true;
    let ids: Vec<ObjectId> = uncovered.iter().map(|it| it.object.id).collect();
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
    let unread = unread.into_iter().map(|it| it.object).collect();
    let seen = read_back(app, migration, &store, unread, listed_at).await?;
    if let Some(first) = seen.not_begun {
        let before = ids.into_iter().take_while(|id| *id != first);
        place.after = before.last().or(begun_after);
    }
    if seen.found_damage && wanted.read.is_some_and(|it| it.sample != Sample::ALL) {
        read_all(app, migration).await?;
    }
    Ok(match asked == 0 && seen.read == 0 {
        true => Next::Others,
        false => Next::More,
    })
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

/// Frees some copies.
async fn free(
    app: &App,
    migration: &MigrationRow,
    place: &mut Place,
    freed: &Freed,
) -> Result<Next, CatalogError> {
    let objects = app
        .catalog
        .freeable(migration, freed, place.after, BATCH)
        .await?;
    let Some(last) = objects.last() else {
        let was_whole = place.after.is_none();
        place.go_to(Stage::Free);
        return Ok(match was_whole {
            true => Next::Nothing,
            false => Next::More,
        });
    };
    place.after = Some(*last);
    let now = app.clock.now();
    let remove_after = now.after(migration.limits.grace);
    app.catalog
        .free_placements(&objects, freed, migration.id, now, remove_after)
        .await?;
    app.clearing_bell.notify_one();
    Ok(Next::More)
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
