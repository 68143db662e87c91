//! Bounds the bytes that the copies of a migration move, beside what bounds all copies.

use std::sync::{Arc, Mutex, PoisonError};

use stockroom_domain::MigrationId;

use crate::workers::pace::Pace;

/// The bound of the migration that is at work.
#[derive(Debug, Default)]
pub struct MigrationPace(Mutex<Option<Bound>>);

#[derive(Debug)]
struct Bound {
    migration: MigrationId,
    bytes_per_second: Option<u64>,
    pace: Arc<Pace>,
}

impl MigrationPace {
    /// Sets the bound of a migration. The same again leaves what was spent as it is.
    pub fn set(&self, migration: MigrationId, bytes_per_second: Option<u64>) {
        let mut bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = bound
            .as_ref()
            .is_some_and(|it| it.migration == migration && it.bytes_per_second == bytes_per_second);
        if !is_same {
            *bound = Some(Bound {
                migration,
                bytes_per_second,
                pace: Arc::new(Pace::per_second(bytes_per_second)),
            });
        }
    }

    /// The bound of a migration, where one is known here.
    #[must_use]
    pub fn of(&self, migration: Option<MigrationId>) -> Option<Arc<Pace>> {
        let bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bound = bound.as_ref().filter(|it| Some(it.migration) == migration);
        bound.map(|it| Arc::clone(&it.pace))
    }
}
