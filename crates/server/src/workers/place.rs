//! Place: give a store the copy that it owes, verified by hash.
//!
//! Bytes move in tasks of their own: a few copies are written at the same time, and as many others
//! that were written are read back meanwhile, where that is due, so that the line is in use both ways
//! and nothing waits for an answer that could write. What is claimed and noted in the
//! catalog goes by in batches beside them (`booking.rs`): each transaction costs a sync of the disk,
//! which takes longer than copying a small object does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use stockroom_catalog::{CatalogError, ObjectDetails, PlacementRow};
use stockroom_domain::{PlacementState, StoreName};
use stockroom_storage::{Error, ErrorKind, GuardedStore, Operation, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::booking::{self, Ahead, Booked, Copied, Order, Proof};
use super::lease::holding;
use super::transfer::{sources, transfer};
use super::versions::remove_old_versions;
use crate::app::App;
use crate::flows::prove::{is_wrong, prove};

/// The longest wait between two attempts when the failure may pass by itself. It is short: when a
/// store comes back after an outage, nothing should wait longer than a moment.
const TRANSIENT_WAIT: Duration = Duration::from_secs(30);

/// The longest wait when somebody has to mend something.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The wait when there is no whole copy to heal a doubted one from. Looking costs reading all of it.
const HOPELESS_WAIT: Duration = Duration::from_secs(3_600);

/// How long copies that are under way may keep the engine from looking for more.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How many copies that are there are noted together, and how long the first of them waits for
/// the others. Those that a kill finds waiting are copied again, so they are few.
const NOTED_TOGETHER: usize = 16;
const NOTED_AFTER: Duration = Duration::from_millis(20);

/// What was read with a claim is read again when that is longer ago.
const FRESH: Duration = Duration::from_secs(1);

/// How one placement went.
enum Settled {
    /// The copy is there; that is yet to be noted.
    Copied(Box<Copied>),
    /// It was deleted meanwhile.
    Moot,
    /// It is owed still.
    Owed,
    /// It is owed still, because no store that has a copy answers. So it is with all others that
    /// this store owes.
    NoSource(StoreName),
}

/// Places what is due on all stores that answer, a few at the same time; how many were placed.
pub(super) async fn due(app: &App) -> Result<usize, CatalogError> {
    let mut round = Round::new(app);
    round.run().await;
    booking::give_back(app, round.ahead).await;
    round.failure.map_or(Ok(round.placed), Err)
}

/// What is going on between the first claim and the last note.
struct Round<'a> {
    app: &'a App,
    /// Claimed, to begin as soon as others end. They are few, so that a pause comes into force soon.
    ahead: VecDeque<Ahead>,
    working: JoinSet<Result<Settled, CatalogError>>,
    /// A permit for each copy that may be written at the same time.
    writing: Arc<Semaphore>,
    copied: Vec<Copied>,
    /// What the catalog is being asked for, one thing at a time.
    booking: JoinSet<Booked>,
    /// Whether more than was claimed may be due.
    may_be_more: bool,
    without_source: BTreeSet<StoreName>,
    placed: usize,
    failure: Option<CatalogError>,
}

impl<'a> Round<'a> {
    fn new(app: &'a App) -> Self {
        Self {
            app,
            ahead: VecDeque::new(),
            working: JoinSet::new(),
            writing: Arc::new(Semaphore::new(app.engine.concurrency)),
            copied: Vec::new(),
            booking: JoinSet::new(),
            may_be_more: true,
            without_source: BTreeSet::new(),
            placed: 0,
            failure: None,
        }
    }

    /// Works until nothing is under way and nothing more is due.
    async fn run(&mut self) {
        loop {
            self.book();
            let is_busy = !self.working.is_empty() || !self.booking.is_empty();
            let waits = self.booking.is_empty() && !self.copied.is_empty();
            let note_at = self.note_at().unwrap_or_else(Instant::now);
            let next = self.next();
            tokio::select! {
                Ok(permit) = Arc::clone(&self.writing).acquire_owned(), if next.is_some() => {
                    self.begin(next, permit);
                }
                Some(ended) = self.working.join_next() => self.ended(ended),
                Some(booked) = self.booking.join_next() => self.booked(booked),
                () = tokio::time::sleep_until(note_at), if waits => {}
                // One copy may take hours, and what comes to be owed meanwhile need not wait for it.
                () = self.app.engine_bell.notified(), if is_busy => self.may_be_more = true,
                () = tokio::time::sleep(LOOK_AGAIN), if is_busy => {
                    self.may_be_more = true;
                    booking::renew(self.app, &mut self.ahead).await;
                }
                else => return,
            }
        }
    }

    /// Which claim is the next to be worked on, as soon as another copy may be written.
    fn next(&self) -> Option<usize> {
        // As many again as may be written are read back.
        if self.is_over() || self.working.len() >= 2 * self.app.engine.concurrency {
            return None;
        }
        let has_source = |it: &Ahead| !self.without_source.contains(it.store.name());
        self.ahead.iter().position(has_source)
    }

    fn begin(&mut self, next: Option<usize>, permit: OwnedSemaphorePermit) {
        if let Some(next) = next.and_then(|index| self.ahead.remove(index)) {
            let app = self.app.clone();
            self.working.spawn(settle(app, next, permit));
        }
    }

    /// Whether nothing new is to begin in this round.
    fn is_over(&self) -> bool {
        self.failure.is_some() || self.app.shutdown.is_cancelled()
    }

    /// When the copies that are there are to be noted at the latest.
    fn note_at(&self) -> Option<Instant> {
        self.copied.first().map(|it| it.at + NOTED_AFTER)
    }

    /// Has copies noted and others claimed, when either is worth it.
    fn book(&mut self) {
        if !self.booking.is_empty() {
            return;
        }
        let notes = self.copied.len() >= NOTED_TOGETHER
            || self.working.is_empty()
            || self.note_at().is_some_and(|it| it <= Instant::now());
        let concurrency = self.app.engine.concurrency;
        let claims = self.may_be_more && !self.is_over() && self.ahead.len() <= concurrency / 2;
        // Whoever rings from now on may mean what this claim does not see yet.
        self.may_be_more &= !claims;
        let order = Order {
            copied: match notes {
                true => std::mem::take(&mut self.copied),
                false => Vec::new(),
            },
            limit: match claims {
                true => 2 * concurrency - self.ahead.len(),
                false => 0,
            },
            without_source: self.without_source.clone(),
        };
        if !order.copied.is_empty() || order.limit > 0 {
            self.booking.spawn(booking::book(self.app.clone(), order));
        }
    }

    fn booked(&mut self, booked: Result<Booked, JoinError>) {
        let Ok(booked) = booked else {
            tracing::error!("a note of copies ended in a panic");
            return;
        };
        self.placed += booked.placed;
        self.may_be_more |= booked.may_be_more;
        self.ahead.extend(booked.claimed);
        self.failure = self.failure.take().or(booked.failure);
    }

    fn ended(&mut self, ended: Result<Result<Settled, CatalogError>, JoinError>) {
        match ended {
            Ok(Ok(Settled::Copied(copied))) => self.copied.push(*copied),
            Ok(Ok(Settled::Moot | Settled::Owed)) => {}
            Ok(Ok(Settled::NoSource(store))) => drop(self.without_source.insert(store)),
            Ok(Err(error)) => self.failure = Some(error),
            Err(stopped) => tracing::error!(%stopped, "a copy ended in a panic"),
        }
    }
}

/// Tries one placement; what is left to do is noting that the copy is there.
async fn settle(
    app: App,
    next: Ahead,
    permit: OwnedSemaphorePermit,
) -> Result<Settled, CatalogError> {
    let Ahead {
        store,
        placement,
        mut details,
        claimed_at,
        ..
    } = next;
    let object_id = placement.object_id;
    if claimed_at.elapsed() > FRESH {
        match app.catalog.find_object_by_id(object_id).await? {
            Some(fresh) => details = fresh,
            None => return Ok(Settled::Moot),
        }
    }
    match holding(
        &app,
        &placement,
        place(&app, &store, &details, &placement, permit),
    )
    .await
    {
        Ok(proof) => {
            // Before it counts, so that whoever dies in between leaves it owed, and this is done again:
            // one who was killed earlier may have left the same bytes there.
            remove_old_versions(&app, &store, &details.object).await;
            Ok(Settled::Copied(Box::new(Copied {
                store,
                placement,
                object: details.object,
                proof,
                at: Instant::now(),
            })))
        }
        Err(failure) => {
            let (error, wait) = (&failure.error, failure.wait(placement.attempts));
            tracing::warn!(%error, object = %object_id, store = %store.name(), "a copy is still owed");
            let now = app.clock.now();
            app.catalog
                .postpone_placement(&placement, &error.to_string(), now, wait)
                .await?;
            let is_away = error.is_transient() && error.store() != store.name();
            Ok(if is_away {
                Settled::NoSource(store.name().clone())
            } else {
                Settled::Owed
            })
        }
    }
}

/// Why a copy is still owed.
struct Failure {
    error: Error,
    /// Whether there is nothing to copy from.
    is_hopeless: bool,
}

impl Failure {
    fn wait(&self, attempts: u32) -> Duration {
        let longest = match self.error.kind() {
            _ if self.is_hopeless => return HOPELESS_WAIT,
            ErrorKind::Unavailable => TRANSIENT_WAIT,
            _ => LONGEST_WAIT,
        };
        Duration::from_secs(1 << attempts.min(9)).min(longest)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            is_hopeless: false,
        }
    }
}

/// Makes sure that the store holds the right bytes. A doubted copy is looked at first: it may be
/// well, and where it is the only one, it stays as the last resort. The permit is for writing.
async fn place(
    app: &App,
    store: &GuardedStore,
    details: &ObjectDetails,
    placement: &PlacementRow,
    permit: OwnedSemaphorePermit,
) -> Result<Proof, Failure> {
    let object = &details.object;
    if placement.state == PlacementState::Suspect {
        match prove(app, store, object, |_| {}).await {
            Ok(()) => return Ok(Proof::Read),
            Err(error) if is_wrong(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let sources = sources(app, object, store);
    if sources.is_empty() {
        let detail = "no other copy is left to heal this one from";
        let error = Error::new(store.name(), Operation::Get, ErrorKind::Corrupt, detail);
        return Err(Failure {
            error: error.about(&object.location),
            is_hopeless: true,
        });
    }
    let pace = app.migration_pace.of(placement.migration);
    let written = transfer(app, sources, store, details, pace.as_deref()).await;
    drop(permit);
    if let Err(error) = written {
        let is_hopeless = error.store() != store.name() && is_wrong(&error);
        return Err(Failure { error, is_hopeless });
    }
    // A migration at work reads its copies before it frees the source. Until then the source is there, too.
    let is_read_later = pace.is_some() && placement.state == PlacementState::Copying;
    if is_read_later && store.compares_digests() {
        return Ok(Proof::Acknowledged);
    }
    // What the destination acknowledged is what it will give back: that is seen, not believed.
    prove(app, store, object, |_| {}).await?;
    Ok(Proof::Read)
}
