//! Hashes on a budget: the copies that were not read for longest are read.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use stockroom_catalog::{CatalogError, ClaimedPlacement};
use stockroom_storage::{Error, GuardedStore, Store as _};

use super::finding::{Finding, Kind};
use super::look::{Look, confirm};
use super::{HashBudget, Run, Step, VerifyError};
use crate::app::App;
use crate::flows::prove::{is_wrong, prove};

/// How many copies are read at once.
const READERS: usize = 4;

/// How many copies are claimed at once.
const CLAIMED: u32 = 8;

/// How long a claimed copy is left alone by others. Two that read the same one do no harm.
const LEASE: Duration = Duration::from_secs(600);

/// How many claims are given back at the end, so that the next verification finds the same damage;
/// more than that run out by themselves.
const MOST_GIVEN_BACK: usize = 100_000;

impl Run<'_> {
    /// Reads copies of all stores until the budget is spent or every copy was read since the run
    /// began. The store of which fewest bytes were read is next, so that a small budget reaches
    /// all of them.
    pub(super) async fn hash(&mut self) -> Result<(), VerifyError> {
        // A store that did not answer a moment ago need not be asked again.
        let subjects = self.subjects.iter();
        let mut is_done: Vec<bool> = subjects
            .map(|it| it.store.health().breaker.is_open())
            .collect();
        let mut give_back = Vec::new();
        loop {
            let waiting = (0..self.subjects.len()).filter(|at| !is_done[*at]);
            let next = waiting.min_by_key(|at| self.subjects[*at].summary.hashed_bytes);
            let Some(at) = next.filter(|_| self.left_bytes() > 0) else {
                break;
            };
            is_done[at] = !self.hash_some(at, &mut give_back).await?;
        }
        for (store, claim) in give_back {
            self.give_back(&store, &claim).await?;
        }
        (0..self.subjects.len()).try_for_each(|at| self.tell_unanswered(at))
    }

    fn left_bytes(&self) -> u64 {
        let HashBudget::Bytes(budget) = self.options.hash_budget else {
            return u64::MAX;
        };
        let stores = self.subjects.iter();
        let spent = stores.map(|subject| subject.summary.hashed_bytes).sum();
        budget.saturating_sub(spent)
    }

    /// Reads a few copies of a store; whether there may be more to read.
    async fn hash_some(
        &mut self,
        at: usize,
        give_back: &mut Vec<(Arc<GuardedStore>, ClaimedPlacement)>,
    ) -> Result<bool, VerifyError> {
        let store = Arc::clone(self.store(at));
        let now = self.app.clock.now();
        let mut claimed = self
            .app
            .catalog
            .claim_unverified(
                store.name(),
                self.started_at,
                now,
                now.after(LEASE),
                CLAIMED,
            )
            .await?;
        if claimed.is_empty() {
            return Ok(false);
        }
        // The claim gives those that were not read for longest, in no order.
        claimed.sort_by_key(|claim| claim.placement.verified_at);
        let mut left_bytes = self.left_bytes();
        let mut to_read = Vec::new();
        for claim in claimed {
            if left_bytes == 0 {
                self.give_back(&store, &claim).await?;
                continue;
            }
            left_bytes = left_bytes.saturating_sub(claim.object.size_bytes);
            to_read.push(claim);
        }
        let app = self.app.clone();
        let reads = stream::iter(to_read)
            .map(|claim| {
                let (app, store) = (app.clone(), Arc::clone(&store));
                async move {
                    let (bytes, seen) = hash(&app, &store, &claim).await;
                    (claim, bytes, seen)
                }
            })
            .buffer_unordered(READERS)
            .collect::<Vec<_>>();
        let mut does_answer = true;
        for (claim, bytes, seen) in reads.await {
            self.listener.progress(Step::Hash, store.name(), bytes);
            let summary = &mut self.subjects[at].summary;
            summary.hashed_bytes += bytes;
            let look = match seen? {
                Look::Right => {
                    summary.hashed += 1;
                    continue;
                }
                look => look,
            };
            let id = claim.object.id;
            let is_known = self.subjects[at].wrong.contains(&id);
            match look {
                Look::Wrong(copy) if !is_known => self.wrong(at, *copy).await?,
                Look::Wrong(_) | Look::Right | Look::Moot => {}
                Look::Unknown(error) => {
                    does_answer &= !error.is_transient();
                    let finding =
                        |why| Finding::of_copy(Kind::Unreadable, store.name(), &claim.object, why);
                    self.unreadable(at, finding, &error)?;
                }
            }
            if give_back.len() < MOST_GIVEN_BACK {
                give_back.push((Arc::clone(&store), claim));
            }
        }
        Ok(does_answer)
    }

    /// Lets others have a claimed copy at once, if it still is as it was.
    async fn give_back(
        &self,
        store: &GuardedStore,
        claim: &ClaimedPlacement,
    ) -> Result<(), CatalogError> {
        tracing::trace!(store = %store.name(), object = %claim.object.id, "a claim is given back");
        let now = self.app.clock.now();
        self.app
            .catalog
            .keep_reads(store.name(), &[claim.object.id], now)
            .await
    }
}

/// Reads a copy, a second time when it is wrong: bits flip on the way too. How many bytes were
/// read comes first.
async fn hash(
    app: &App,
    store: &GuardedStore,
    claim: &ClaimedPlacement,
) -> (u64, Result<Look, CatalogError>) {
    let object = &claim.object;
    let mut bytes = 0;
    let mut outcome = prove(app, store, object, |more| bytes += more).await;
    if outcome.as_ref().is_err_and(is_wrong) {
        outcome = prove(app, store, object, |more| bytes += more).await;
    }
    let seen = match outcome {
        Ok(()) => {
            let now = app.clock.now();
            let noted = app
                .catalog
                .note_verified(object.id, store.name(), now)
                .await;
            noted.map(|_| Look::Right)
        }
        Err(error) if is_wrong(&error) => {
            let (kind, detail) = wrong(&error);
            confirm(app, store, object.id, kind, detail).await
        }
        Err(error) => Ok(Look::Unknown(error)),
    };
    (bytes, seen)
}

fn wrong(error: &Error) -> (Kind, String) {
    if error.is_not_found() {
        return (Kind::Missing, "the store has no such object".to_owned());
    }
    (Kind::WrongHash, error.detail().to_owned())
}
