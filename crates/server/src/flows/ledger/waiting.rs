//! What waits to be written.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stockroom_catalog::{GrantBatch, GrantEnd, LateEnd, NewGrant};
use stockroom_domain::GrantId;

/// Grants in the order in which they were given, and ends of grants that were taken before.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    batch: GrantBatch,
    places: HashMap<GrantId, usize>,
}

impl Waiting {
    /// How much waits.
    pub(super) fn len(&self) -> usize {
        let contents = self.lock();
        contents.batch.grants.len() + contents.batch.ends.len()
    }

    /// Adds a grant; whether nothing waited before, so that somebody should flush soon.
    pub(super) fn add(&self, grant: NewGrant) -> bool {
        let mut contents = self.lock();
        let was_empty = contents.batch.is_empty();
        let place = contents.batch.grants.len();
        contents.places.insert(grant.id, place);
        contents.batch.grants.push((grant, None));
        was_empty
    }

    /// Adds the end of a grant; whether nothing waited before.
    pub(super) fn end(&self, late: LateEnd) -> bool {
        let mut contents = self.lock();
        let was_empty = contents.batch.is_empty();
        match contents.places.get(&late.grant_id).copied() {
            Some(place) => {
                let end: &mut Option<GrantEnd> = &mut contents.batch.grants[place].1;
                *end = Some(late.end);
            }
            None => contents.batch.ends.push(late),
        }
        was_empty
    }

    /// Takes everything.
    pub(super) fn take(&self) -> GrantBatch {
        std::mem::take(&mut *self.lock()).batch
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
