//! Reading: reads copies that are to be relied on from now on, several at the same time, each by one of
//! the programs that work on a migration.
//!
//! As with copies that are made (`place.rs`), claims and notes go to the catalog in batches, because each
//! transaction costs a sync of the disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use stockroom_catalog::{CatalogError, MigrationRow, ObjectRow};
use stockroom_domain::{ObjectId, Timestamp};
use stockroom_storage::{Error, GuardedStore, Store as _};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::lease;
use super::pace::Pace;
use crate::app::App;
use crate::flows::prove::{is_wrong, prove};

/// How long new reads are begun in one go: afterwards somebody may have paused the migration.
const BEGUN_FOR: Duration = Duration::from_secs(2);

/// How many copies that matched are noted together, and how long the first of them waits for the others.
/// Those that a kill finds waiting are read again, so they are few.
const NOTED_TOGETHER: usize = 32;
const NOTED_AFTER: Duration = Duration::from_millis(100);

/// How many copies are read at the same time for each that may be copied: a read holds next to no memory,
/// and most of its time is waiting for the other side.
const READS_FOR_A_COPY: usize = 4;

/// What came of reading some copies.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The first of them that was not begun, because time was up.
    pub(super) not_begun: Option<ObjectId>,
    /// How many were read, or could not be; others read the rest just now.
    pub(super) read: usize,
    /// Whether one of them is damaged.
    pub(super) found_damage: bool,
}

/// Reads copies on a store in this order, and notes how they are. Those that others have read since
/// `listed_at`, when it was asked which there are, are left alone.
pub(super) async fn read_back(
    app: &App,
    migration: &MigrationRow,
    store: &Arc<GuardedStore>,
    unread: Vec<ObjectRow>,
    listed_at: Timestamp,
) -> Result<Seen, CatalogError> {
    let mut round = Round {
        app,
        store,
        listed_at,
        pace: app.migration_pace.of(Some(migration.id)),
        held: BTreeMap::new(),
        matched: Vec::new(),
        seen: Seen::default(),
    };
    round.run(unread.into()).await?;
    Ok(round.seen)
}

/// What is going on between the first claim and the last note.
struct Round<'a> {
    app: &'a App,
    store: &'a Arc<GuardedStore>,
    listed_at: Timestamp,
    pace: Option<Arc<Pace>>,
    /// What is ours to read, with the time at which the claim was made or renewed.
    held: BTreeMap<ObjectId, Instant>,
    /// Those that matched and are yet to be noted, with the time of the first.
    matched: Vec<(ObjectId, Instant)>,
    seen: Seen,
}

impl Round<'_> {
    async fn run(&mut self, mut unread: VecDeque<ObjectRow>) -> Result<(), CatalogError> {
        let at_once = READS_FOR_A_COPY * self.app.engine.concurrency;
        let until = Instant::now() + BEGUN_FOR;
        let mut renewal = tokio::time::interval_at(Instant::now() + lease::RENEWAL, lease::RENEWAL);
        let mut ready = VecDeque::new();
        // Tasks of their own, which go on while claims and notes wait for the disk.
        let mut reads = JoinSet::new();
        loop {
            let is_over = Instant::now() >= until || self.app.shutdown.is_cancelled();
            if !is_over && ready.len() < at_once && !unread.is_empty() {
                let some = unread.drain(..unread.len().min(2 * at_once)).collect();
                ready.extend(self.claim(some).await?);
            }
            while !is_over && reads.len() < at_once {
                let Some(object) = ready.pop_front() else {
                    break;
                };
                let (app, store) = (self.app.clone(), Arc::clone(self.store));
                reads.spawn(read(app, store, self.pace.clone(), object));
            }
            tokio::select! {
                Some(ended) = reads.join_next() => self.ended(ended).await?,
                _ = renewal.tick(), if !reads.is_empty() => self.renew().await?,
                else => break,
            }
            self.note_if_due().await?;
        }
        self.note().await?;
        let left: Vec<ObjectId> = ready.iter().map(|it: &ObjectRow| it.id).collect();
        let now = self.app.clock.now();
        let store = self.store.name();
        self.app.catalog.keep_reads(store, &left, now).await?;
        self.seen.not_begun = left.first().copied().or(unread.front().map(|it| it.id));
        Ok(())
    }

    /// Takes copies; those that others read just now are left to them.
    async fn claim(&mut self, some: Vec<ObjectRow>) -> Result<Vec<ObjectRow>, CatalogError> {
        let now = self.app.clock.now();
        let ids: Vec<ObjectId> = some.iter().map(|it| it.id).collect();
        let claimed = self
            .app
            .catalog
            .claim_reads(
                self.store.name(),
                &ids,
                self.listed_at,
                now,
                lease::until(now),
            )
            .await?;
        let at = Instant::now();
        self.held.extend(claimed.into_iter().map(|id| (id, at)));
        let mut ours = some;
        ours.retain(|it| self.held.contains_key(&it.id));
        Ok(ours)
    }

    async fn renew(&mut self) -> Result<(), CatalogError> {
        let old = self
            .held
            .iter()
            .filter(|(_, at)| at.elapsed() >= lease::RENEWAL);
        let old: Vec<ObjectId> = old.map(|(id, _)| *id).collect();
        let lease_until = lease::until(self.app.clock.now());
        let store = self.store.name();
        self.app
            .catalog
            .keep_reads(store, &old, lease_until)
            .await?;
        let at = Instant::now();
        self.held.extend(old.into_iter().map(|id| (id, at)));
        Ok(())
    }

    async fn ended(
        &mut self,
        ended: Result<(ObjectRow, Result<(), Error>), JoinError>,
    ) -> Result<(), CatalogError> {
        let (object, outcome) = match ended {
            Ok(ended) => ended,
            Err(stopped) => {
                tracing::error!(%stopped, "reading a copy ended in a panic");
                return Ok(());
            }
        };
        let (app, store) = (self.app, self.store.name());
        let id = object.id;
        self.seen.read += 1;
        match outcome {
            Ok(()) => {
                self.matched.push((id, Instant::now()));
                return Ok(());
            }
            Err(error) if is_wrong(&error) => {
                tracing::warn!(%error, object = %id, "a copy is damaged");
                app.doubt(id, store, error.detail()).await?;
                self.seen.found_damage = true;
            }
            Err(error) => {
                tracing::warn!(%error, object = %id, %store, "a copy cannot be read");
                let (why, now) = (error.to_string(), app.clock.now());
                app.catalog.note_unreadable(id, store, &why, now).await?;
            }
        }
        self.held.remove(&id);
        Ok(())
    }

    async fn note_if_due(&mut self) -> Result<(), CatalogError> {
        let first = self.matched.first();
        let is_due = self.matched.len() >= NOTED_TOGETHER
            || first.is_some_and(|(_, at)| at.elapsed() >= NOTED_AFTER);
        if is_due { self.note().await } else { Ok(()) }
    }

    async fn note(&mut self) -> Result<(), CatalogError> {
        let matched = std::mem::take(&mut self.matched);
        let matched: Vec<ObjectId> = matched.into_iter().map(|(id, _)| id).collect();
        for id in &matched {
            self.held.remove(id);
        }
        let (store, now) = (self.store.name(), self.app.clock.now());
        self.app
            .catalog
            .note_reads(store, &matched, now)
            .await
            .map(drop)
    }
}

/// Reads one copy, at the pace of the migration.
async fn read(
    app: App,
    store: Arc<GuardedStore>,
    pace: Option<Arc<Pace>>,
    object: ObjectRow,
) -> (ObjectRow, Result<(), Error>) {
    if let Some(pace) = pace {
        pace.spend(object.size_bytes).await;
    }
    let outcome = prove(&app, &*store, &object, |_| {}).await;
    (object, outcome)
}
