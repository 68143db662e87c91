//! Freeing: a live object loses its copy on one store, because another one is known to be well.
//!
//! A freed copy is `retiring` while its object stays live; readers leave it alone. A worker claims those
//! whose grace period is over and removes their bytes. That another copy has matched is asked in the
//! transaction that frees.

use stockroom_domain::{MigrationId, ObjectId, StoreName, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::claims::ClaimedPlacement;
use crate::error::Result;
use crate::migrating::{Read, push_read, push_sampled, push_scope};
use crate::migrations::MigrationRow;
use crate::placements::placement_columns;
use crate::row::Record;
use crate::run::{sql, still};

/// The copies that a migration frees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freed {
    /// Where they are.
    pub from: StoreName,
    /// Where another copy of the same object has to be.
    pub kept_on: StoreName,
    /// Which of those are to have been read; the others need only be there.
    pub read: Read,
    /// Only those that the migration itself gave.
    pub only_given: bool,
}

/// How far the freeing of a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FreeProgress {
    /// Live objects whose copy on the source is still there, and may not be freed yet or is not yet.
    pub kept: u64,
    /// The bytes of these.
    pub kept_bytes: u64,
    /// Those whose copy is about to be removed.
    pub freeing: u64,
    /// Those whose copy this migration has removed.
    pub freed: u64,
    /// The bytes of these.
    pub freed_bytes: u64,
}

impl Catalog {
    /// Up to `limit` live objects with ids above `after`, in the order of their ids, whose copy on a
    /// store may be freed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn freeable(
        &self,
        migration: &MigrationRow,
        freed: &Freed,
        after: Option<ObjectId>,
        limit: u32,
    ) -> Result<Vec<ObjectId>> {
        let mut select = Assembled::new(
            "SELECT o.id FROM objects o
             JOIN placements f ON f.object_id = o.id AND f.state = 'present' AND f.store = ",
        );
        select.text(freed.from.as_str());
        select.push(
            " JOIN placements p ON p.object_id = o.id AND p.state = 'present' AND p.store = ",
        );
        select.text(freed.kept_on.as_str()).push(" AND (");
        push_read(&mut select, freed.read.since);
        select.push(" OR NOT (");
        push_sampled(&mut select, freed.read.sample);
        select.push(")) WHERE o.id > ");
        select.text(after.map_or_else(String::new, |id| id.to_string()));
        if freed.only_given {
            select
                .push(" AND f.migration_id = ")
                .text(migration.id.to_string());
        }
        select.push(" AND");
        push_scope(&mut select, &migration.prefix);
        select.push(" ORDER BY o.id LIMIT ");
        select.number(i64::from(limit));
        let rows = self.fetch_all(select.finish()).await?;
        rows.iter()
            .map(|row| Record::new(row, "objects", "id").parsed("id"))
            .collect()
    }

    /// Frees the copies of live objects on a store: readers leave them alone from now on, and their bytes
    /// may be removed from `remove_after` on. Each only while the copy that is kept is present and has
    /// matched. It is one transaction, because each costs a sync of the disk. How many were freed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn free_placements(
        &self,
        objects: &[ObjectId],
        freed: &Freed,
        migration: MigrationId,
        now: Timestamp,
        remove_after: Timestamp,
    ) -> Result<u64> {
        self.retried(|| self.try_free_placements(objects, freed, migration, now, remove_after))
            .await
    }

    async fn try_free_placements(
        &self,
        objects: &[ObjectId],
        freed: &Freed,
        migration: MigrationId,
        now: Timestamp,
        remove_after: Timestamp,
    ) -> Result<u64> {
        let mut tx = self.begin().await?;
        let mut count = 0;
        for object_id in objects {
            // The copy that is kept is held, so that nobody doubts or frees it meanwhile.
            let held = tx
                .execute(
                    sql("UPDATE placements SET next_attempt_at = next_attempt_at
                         WHERE object_id = $1 AND store = $2 AND state = 'present'
                             AND ((verified_at >= $3 AND verified_at >
                                     (SELECT o.live_at FROM objects o WHERE o.id = object_id))
                                 OR substr(object_id, length(object_id) - 1) >= $4)")
                    .bind(object_id.to_string())
                    .bind(freed.kept_on.as_str().to_owned())
                    .bind(freed.read.since.unix_ms())
                    .bind(freed.read.sample.end()),
                )
                .await?;
            if held != 1 {
                continue;
            }
            count += tx
                .execute(
                    sql(
                        "UPDATE placements SET state = 'retiring', updated_at = $3, attempts = 0,
                             next_attempt_at = $4, migration_id = $5, last_error = NULL
                         WHERE object_id = $1 AND store = $2 AND state = 'present'
                             AND EXISTS (SELECT 1 FROM objects o
                                 WHERE o.id = object_id AND o.state = 'live')",
                    )
                    .bind(object_id.to_string())
                    .bind(freed.from.as_str().to_owned())
                    .bind(now.unix_ms())
                    .bind(remove_after.unix_ms())
                    .bind(migration.to_string()),
                )
                .await?;
        }
        tx.commit().await?;
        Ok(count)
    }

    /// Brings back copies on a store that a migration freed and whose bytes may still be there: they
    /// are read, and made again where that is needed. How many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unfree_placements(
        &self,
        store: &StoreName,
        migration: MigrationId,
        now: Timestamp,
    ) -> Result<u64> {
        self.execute(
            sql(
                "UPDATE placements SET state = 'suspect', updated_at = $3, attempts = 0,
                     next_attempt_at = $3
                 WHERE migration_id = $1 AND store = $2 AND state = 'retiring'
                     AND EXISTS (SELECT 1 FROM objects o
                         WHERE o.id = object_id AND o.state = 'live')",
            )
            .bind(migration.to_string())
            .bind(store.as_str().to_owned())
            .bind(now.unix_ms()),
        )
        .await
    }

    /// Takes up to `limit` freed copies on a store whose bytes may be removed now: those that are
    /// `retiring` while their object is live. Until `lease_until` nobody else is given them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_freed(
        &self,
        store: &StoreName,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedPlacement>> {
        self.claim(|| {
            sql(concat!(
                "WITH chosen AS MATERIALIZED (
                     SELECT p.object_id FROM placements p
                     WHERE p.store = $1 AND p.state = 'retiring' AND p.next_attempt_at <= $2
                         AND (SELECT o.state FROM objects o WHERE o.id = p.object_id) = 'live'
                     ORDER BY p.next_attempt_at LIMIT $4)
                 UPDATE placements SET next_attempt_at = $3, attempts = attempts + 1
                 WHERE store = $1 AND object_id IN (SELECT chosen.object_id FROM chosen) AND ",
                still!("state = 'retiring' AND next_attempt_at <= $2"),
                " RETURNING ",
                placement_columns!()
            ))
            .bind(store.as_str().to_owned())
            .bind(now.unix_ms())
            .bind(lease_until.unix_ms())
            .bind(i64::from(limit))
        })
        .await
    }

    /// Whether freed copies on a store could be removed now, or are being removed. Those that could not be
    /// removed are not among them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_removable(&self, store: &StoreName, now: Timestamp) -> Result<bool> {
        let row = self
            .fetch_optional(
                sql("SELECT p.object_id FROM placements p
                     JOIN objects o ON o.id = p.object_id AND o.state = 'live'
                     WHERE p.store = $1 AND p.state = 'retiring'
                         AND (p.next_attempt_at <= $2 OR p.attempts > 0)
                         AND p.last_error IS NULL LIMIT 1")
                .bind(store.as_str().to_owned())
                .bind(now.unix_ms()),
            )
            .await?;
        Ok(row.is_some())
    }

    /// How far the freeing of a store is. This looks at all live objects.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn free_progress(
        &self,
        migration: &MigrationRow,
        from: &StoreName,
    ) -> Result<FreeProgress> {
        let mut select = Assembled::new(
            "SELECT 'all' AS id,
                 count(CASE WHEN p.state NOT IN ('retiring', 'gone') THEN 1 END) AS kept,
                 coalesce(CAST(sum(CASE WHEN p.state NOT IN ('retiring', 'gone')
                     THEN o.size_bytes END) AS BIGINT), 0) AS kept_bytes,
                 count(CASE WHEN p.state = 'retiring' THEN 1 END) AS freeing,
                 count(CASE WHEN p.state = 'gone' THEN 1 END) AS freed,
                 coalesce(CAST(sum(CASE WHEN p.state = 'gone'
                     THEN o.size_bytes END) AS BIGINT), 0) AS freed_bytes
             FROM objects o JOIN placements p ON p.object_id = o.id AND p.store = ",
        );
        select.text(from.as_str());
        select.push(" WHERE");
        push_scope(&mut select, &migration.prefix);
        let row = self.fetch_optional(select.finish()).await?;
        let Some(row) = row else {
            return Ok(FreeProgress::default());
        };
        let row = Record::new(&row, "objects", "id");
        Ok(FreeProgress {
            kept: row.count("kept")?,
            kept_bytes: row.count("kept_bytes")?,
            freeing: row.count("freeing")?,
            freed: row.count("freed")?,
            freed_bytes: row.count("freed_bytes")?,
        })
    }
}
