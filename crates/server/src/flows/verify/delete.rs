//! What a repair deletes: known in full before the first deletion, and refused when it is too
//! much.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use stockroom_catalog::CatalogError;
use stockroom_domain::{ObjectId, Sha256Digest, StoreName, Timestamp};
use stockroom_storage::{Identity, Store as _};

use super::finding::{Finding, Outcome};
use super::remove::{Neighbour, Remover, is_young, kept_while_young};
use super::{AT_ONCE, Run, VerifyError};
use crate::workers::identity::{self, LookError, Verdict};

/// The most deletions that are kept in mind, on all stores together.
const MOST_DELETIONS: usize = 1_000_000;

/// Why nothing was deleted that should have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is too large a share of what the store has.
    TooMany {
        /// The store.
        store: StoreName,
        /// How many objects would be deleted, or lose older versions; at least so many.
        deletions: u64,
        /// How many objects the store has.
        listed: u64,
    },
    /// The store turned out not to be the one that the catalog knows.
    ForeignStore {
        /// The store.
        store: StoreName,
        /// What speaks against it.
        reason: &'static str,
    },
}

impl Refusal {
    /// This many deletions on a store are never too many, so that a small store can be repaired.
    pub const ALWAYS_ALLOWED: u64 = 10;
}

/// Whether so many deletions are more than the share of the listed objects that is allowed.
fn is_too_many(deletions: u64, listed: u64, max_percent: u8) -> bool {
    let allowed = u128::from(listed) * u128::from(max_percent) / 100;
    deletions > Refusal::ALWAYS_ALLOWED && u128::from(deletions) > allowed
}

fn refused() -> Outcome {
    Outcome::not_repaired("nothing is deleted")
}

impl Run<'_> {
    /// Keeps in mind to delete what was found, or only tells of it.
    pub(super) fn discard(&mut self, at: usize, finding: Finding) -> Result<(), VerifyError> {
        let Some(finding) = self.may_change(at, finding)? else {
            return Ok(());
        };
        let planned: usize = self.subjects.iter().map(|it| it.deletions.len()).sum();
        let subject = &mut self.subjects[at];
        if planned < MOST_DELETIONS {
            subject.deletions.push(finding);
            return Ok(());
        }
        self.refusal.get_or_insert_with(|| Refusal::TooMany {
            store: subject.store.name().clone(),
            deletions: subject.deletions.len() as u64 + 1,
            listed: subject.summary.listed,
        });
        self.tell(finding.with_outcome(refused()))
    }

    /// The same for bytes at a location that no row has, which were last written at this time.
    pub(super) fn discard_unrecorded(
        &mut self,
        at: usize,
        finding: Finding,
        modified_at: Timestamp,
    ) -> Result<(), VerifyError> {
        let is_kept =
            !self.options.delete_unrecorded && is_young(modified_at, self.app.clock.now());
        if is_kept && self.options.repair {
            return self.tell(finding.with_outcome(kept_while_young()));
        }
        self.discard(at, finding)
    }

    /// Deletes what was planned, if all of it may be.
    pub(super) async fn delete(&mut self) -> Result<(), VerifyError> {
        if self.refusal.is_none() {
            self.refusal = self.reason_to_refuse().await?;
        }
        // Nothing more is found from here on.
        let lost = Arc::new(std::mem::take(&mut self.lost));
        // One store after the other: the same location may be planned on both.
        for at in 0..self.subjects.len() {
            let deletions = std::mem::take(&mut self.subjects[at].deletions);
            if self.refusal.is_some() {
                for finding in deletions {
                    self.tell(finding.with_outcome(refused()))?;
                }
                continue;
            }
            let remover = self.remover(at, &lost);
            let mut done = stream::iter(deletions)
                .map(|finding| {
                    let remover = remover.clone();
                    async move {
                        let outcome = remover.remove(&finding).await?;
                        Ok(finding.with_outcome(outcome))
                    }
                })
                .buffer_unordered(AT_ONCE);
            while let Some(finding) = done.next().await {
                let finding: Result<Finding, CatalogError> = finding;
                self.tell(finding?)?;
            }
        }
        Ok(())
    }

    fn remover(&self, at: usize, lost: &Arc<HashMap<ObjectId, Sha256Digest>>) -> Remover {
        let subject = &self.subjects[at];
        let others = self.app.stores.iter();
        let others = others.filter(|store| store.name() != subject.store.name());
        let neighbours = others.map(|store| Neighbour {
            store: Arc::clone(store),
            is_compared: store.identity() == Identity::Ours
                && self
                    .subjects
                    .iter()
                    .any(|it| it.is_listed && it.store.name() == store.name()),
        });
        Remover {
            app: self.app.clone(),
            neighbours: neighbours.collect(),
            delete_unrecorded: self.options.delete_unrecorded,
            store: Arc::clone(&subject.store),
            is_in_mode: subject.is_in_mode,
            is_listed: subject.is_listed,
            started_at: self.started_at,
            lost: Arc::clone(lost),
        }
    }

    async fn reason_to_refuse(&self) -> Result<Option<Refusal>, CatalogError> {
        for subject in &self.subjects {
            let (deletions, listed) = (subject.deletions.len() as u64, subject.summary.listed);
            // What a store has is not known after a list that broke off; nothing is deleted there.
            if deletions == 0 || !subject.is_listed {
                continue;
            }
            let store = subject.store.name().clone();
            if is_too_many(deletions, listed, self.options.max_delete_percent) {
                return Ok(Some(Refusal::TooMany {
                    store,
                    deletions,
                    listed,
                }));
            }
            // Hours may have passed since the first look.
            match identity::look(self.app, &subject.store).await {
                Ok(Verdict::Ours) => {}
                Ok(Verdict::Foreign(reason)) => {
                    subject.store.set_identity(Identity::Foreign);
                    return Ok(Some(Refusal::ForeignStore { store, reason }));
                }
                Err(LookError::Catalog(error)) => return Err(error),
                Err(LookError::Store(_)) => subject.store.set_identity(Identity::Unknown),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_a_large_store_and_a_few_of_a_small_one_may_go() {
        assert!(!is_too_many(10, 0, 10));
        assert!(!is_too_many(10, 10, 0));
        assert!(is_too_many(11, 100, 10));
        assert!(!is_too_many(11, 110, 10));
        assert!(is_too_many(11, 109, 10));
        assert!(!is_too_many(1_000, 1_000, 100));
        assert!(is_too_many(11, u64::MAX, 0));
        assert!(!is_too_many(u64::MAX, u64::MAX, 100));
    }
}
