//! What waits to be written.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stockroom_catalog::{GrantEnd, GrantRecord, LateEnd, NewGrant};
use stockroom_domain::{GrantId, PurchaseId};

/// Grants in the order in which they were given, and ends of grants that are written.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Batch>);

/// What is written in one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) grants: Vec<GrantRecord>,
    pub(super) ends: Vec<LateEnd>,
    /// Some of it may be in the catalog, because an attempt to write it failed.
    pub(super) is_again: bool,
    places: HashMap<GrantId, usize>,
}

impl Waiting {
    /// How much waits.
    pub(super) fn len(&self) -> usize {
        let batch = self.lock();
        batch.grants.len() + batch.ends.len()
    }

    /// Adds a grant; whether nothing waited before, so that somebody should flush soon.
    pub(super) fn add(&self, grant: NewGrant) -> bool {
        let mut batch = self.lock();
        let was_empty = batch.is_empty();
        batch.push(GrantRecord { grant, end: None });
        was_empty
    }

    /// Adds the end of a grant; whether nothing waited before.
    pub(super) fn end(&self, purchase_id: PurchaseId, grant_id: GrantId, end: GrantEnd) -> bool {
        let mut batch = self.lock();
        let was_empty = batch.is_empty();
        batch.end(LateEnd {
            purchase_id,
            grant_id,
            end,
        });
        was_empty
    }

    /// Takes everything.
    pub(super) fn take(&self) -> Batch {
        std::mem::take(&mut *self.lock())
    }

    /// Puts back what was taken, before what came meanwhile.
    pub(super) fn put_back(&self, mut taken: Batch) {
        let mut batch = self.lock();
        let since = std::mem::take(&mut *batch);
        taken.is_again = true;
        for record in since.grants {
            taken.push(record);
        }
        // An end that came meanwhile may be that of a grant that was just put back.
        for end in since.ends {
            taken.end(end);
        }
        *batch = taken;
    }

    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    pub(super) const fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.ends.is_empty()
    }

    /// Leaves out the grants that are in the catalog, and keeps their ends.
    pub(super) fn settle(&mut self, recorded: &HashSet<GrantId>) {
        if recorded.is_empty() {
            return;
        }
        let grants = std::mem::take(&mut self.grants);
        self.places.clear();
        for record in grants {
            if !recorded.contains(&record.grant.id) {
                self.push(record);
            } else if let Some(end) = record.end {
                self.ends.push(LateEnd {
                    purchase_id: record.grant.purchase_id,
                    grant_id: record.grant.id,
                    end,
                });
            }
        }
    }

    fn push(&mut self, record: GrantRecord) {
        self.places.insert(record.grant.id, self.grants.len());
        self.grants.push(record);
    }

    fn end(&mut self, late: LateEnd) {
        match self.places.get(&late.grant_id) {
            Some(place) => self.grants[*place].end = Some(late.end),
            None => self.ends.push(late),
        }
    }
}
