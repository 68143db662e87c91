//! Failures: what a migration could not do, object by object, with the reason.
//!
//! Each is a placement with an error: a copy that is owed and could not be made, one that is to be relied
//! on and could not be read, one that was freed and could not be removed.

use stockroom_domain::{MigrationPhase, ObjectId, StoreName, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::Result;
use crate::migrating::{on_its_way, push_scope};
use crate::migrations::MigrationRow;
use crate::objects::{ObjectRow, object_columns};
use crate::row::Record;

/// What a migration could not do about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationFailure {
    /// The object.
    pub object: ObjectRow,
    /// The store on which its copy could not be made, read or removed.
    pub store: StoreName,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Timestamp,
    /// What went wrong last.
    pub error: String,
}

impl MigrationRow {
    /// The store that copies are made on, in the present phase.
    #[must_use]
    pub const fn made_on(&self) -> &StoreName {
        match self.phase {
            MigrationPhase::Copy | MigrationPhase::Retire => &self.target,
            MigrationPhase::Rollback => &self.source,
        }
    }

    /// The store that copies are removed from, in the present phase.
    #[must_use]
    pub const fn freed_on(&self) -> Option<&StoreName> {
        match self.phase {
            MigrationPhase::Copy => None,
            MigrationPhase::Retire => Some(&self.source),
            MigrationPhase::Rollback => Some(&self.target),
        }
    }
}

/// That a placement `p` is a failure of a migration.
fn push_failed(text: &mut Assembled, migration: &MigrationRow) {
    let (made_on, freed_on) = (migration.made_on(), migration.freed_on());
    text.push("p.last_error IS NOT NULL AND ((p.store = ");
    text.text(made_on.as_str());
    // What need not be read is no failure because it could not be.
    text.push(match freed_on {
        None => " AND p.state IN ('copying', 'suspect')",
        Some(_) => " AND p.state IN ('copying', 'suspect', 'present')",
    });
    text.push(concat!(" AND NOT ", on_its_way!(), ")"));
    if let Some(store) = freed_on {
        text.push(" OR (p.state = 'retiring' AND p.store = ");
        text.text(store.as_str()).push(")");
    }
    text.push(")");
}

impl Catalog {
    /// Up to `limit` failures of a migration, in the order of the objects' ids, with ids above `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn migration_failures(
        &self,
        migration: &MigrationRow,
        after: Option<ObjectId>,
        limit: u32,
    ) -> Result<Vec<MigrationFailure>> {
        let mut select = Assembled::new(concat!(
            "SELECT p.store AS failure_store, p.attempts AS failure_attempts,
                 p.next_attempt_at AS failure_next_attempt_at, p.last_error AS failure_error, ",
            object_columns!(),
            " FROM placements p JOIN objects o ON o.id = p.object_id WHERE "
        ));
        push_failed(&mut select, migration);
        select.push(" AND o.id > ");
        select.text(after.map_or_else(String::new, |id| id.to_string()));
        select.push(" AND");
        push_scope(&mut select, &migration.prefix);
        select.push(" ORDER BY o.id LIMIT ");
        select.number(i64::from(limit));
        let rows = self.fetch_all(select.finish()).await?;
        rows.iter()
            .map(|row| {
                let object = ObjectRow::read(row)?;
                let row = Record::new(row, "objects", "object_id");
                Ok(MigrationFailure {
                    object,
                    store: row.parsed("failure_store")?,
                    attempts: row.count("failure_attempts")?,
                    next_attempt_at: row.time("failure_next_attempt_at")?,
                    error: row.text("failure_error")?.to_owned(),
                })
            })
            .collect()
    }

    /// How many failures a migration has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_failures(&self, migration: &MigrationRow) -> Result<u64> {
        let mut select = Assembled::new(
            "SELECT 'all' AS id, count(*) AS failed
             FROM placements p JOIN objects o ON o.id = p.object_id WHERE ",
        );
        push_failed(&mut select, migration);
        select.push(" AND");
        push_scope(&mut select, &migration.prefix);
        let row = self.fetch_optional(select.finish()).await?;
        row.map_or(Ok(0), |row| {
            Record::new(&row, "placements", "id").count("failed")
        })
    }

    /// Has the failures of a migration tried again at once; how many there were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retry_failures(&self, migration: &MigrationRow, now: Timestamp) -> Result<u64> {
        let mut update = Assembled::new("UPDATE placements AS p SET next_attempt_at = ");
        update.number(now.unix_ms());
        update.push(", attempts = 0, last_error = NULL WHERE ");
        push_failed(&mut update, migration);
        update.push(" AND EXISTS (SELECT 1 FROM objects o WHERE o.id = p.object_id AND");
        push_scope(&mut update, &migration.prefix);
        update.push(")");
        self.execute(update.finish()).await
    }
}
