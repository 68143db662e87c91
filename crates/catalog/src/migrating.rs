//! What a migration still lacks, found by comparing it with the placements.
//!
//! While it copies, a copy on the target counts when it is there. Before the source is freed, it counts
//! when it was read and matched since the migration began. What a migration gives an object, or takes from
//! one (`freeing.rs`), carries its id, so that it can be undone.

use stockroom_domain::{KeyPrefix, MigrationId, ObjectId, PlacementState, StoreName, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::Result;
use crate::migrations::MigrationRow;
use crate::objects::{ObjectRow, object_columns, successor};
use crate::row::{Record, unless_damaged};
use crate::run::sql;
use crate::sample::Sample;

/// The copies that a migration wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where they are to be.
    pub store: StoreName,
    /// Which of them are to have been read; none when being there is enough.
    pub read: Option<Read>,
    /// Only those of objects that the migration gave a copy, or took one from.
    pub only_given: bool,
}

/// Copies that are to have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Since when their bytes are to have matched.
    pub since: Timestamp,
    /// Which of them.
    pub sample: Sample,
}

/// An object that a migration lacks a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncovered {
    /// The object.
    pub object: ObjectRow,
    /// What is known of its copy there; none when it never had one.
    pub state: Option<PlacementState>,
}

/// How far the copying of a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyProgress {
    /// Live objects that the migration is about.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those with a copy on the target.
    pub copied: u64,
    /// The bytes of these.
    pub copied_bytes: u64,
    /// Those whose copy on the target was read and matched since the migration began.
    pub verified: u64,
    /// The bytes of these.
    pub verified_bytes: u64,
    /// Those whose copy on the target was not read, and need not be: it is outside of the sample.
    pub outside_sample: u64,
    /// Those whose copy on the target could not be read.
    pub unreadable: u64,
    /// Those that are being copied, or are next.
    pub under_way: u64,
}

impl CopyProgress {
    /// Those whose copy on the target is yet to be read before the source may be freed.
    #[must_use]
    pub const fn unread(&self) -> u64 {
        let settled = self.verified + self.outside_sample + self.unreadable;
        self.copied.saturating_sub(settled)
    }
}

/// What a migration would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanCounts {
    /// Live objects that it would be about.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that have a copy on the target.
    pub on_target: u64,
    /// The bytes of these.
    pub on_target_bytes: u64,
    /// The bytes of those that have a copy on another store.
    pub on_others_bytes: u64,
    /// Those that would be copied.
    pub to_copy: u64,
    /// The bytes of these.
    pub to_copy_bytes: u64,
    /// Those of them that have no copy which is known to be well: they are read first, and refused
    /// when they are not.
    pub without_source: u64,
    /// Those of them whose copy was never read since it was recorded.
    pub unverified: u64,
}

/// That objects `o` are live and their keys begin like this.
pub(crate) fn push_scope(select: &mut Assembled, prefix: &KeyPrefix) {
    select.push(" o.state = 'live'");
    if !prefix.as_str().is_empty() {
        select.push(" AND o.key >= ").text(prefix.as_str());
        if let Some(end) = successor(prefix.as_str()) {
            select.push(" AND o.key < ").text(end);
        }
    }
}

/// That copies `p` of objects `o` were read and matched since a moment. That an object was stored since
/// then is not enough: whoever stores one has not read it.
pub(crate) fn push_read(select: &mut Assembled, since: Timestamp) {
    select
        .push("(coalesce(p.verified_at, 0) >= ")
        .number(since.unix_ms());
    select.push(" AND coalesce(p.verified_at, 0) > coalesce(o.live_at, 0))");
}

/// That a copy `p` is owed and did not fail. One that was just doubted carries the reason, and nobody has
/// tried to heal it.
macro_rules! on_its_way {
    () => {
        "(p.state IN ('copying', 'suspect')
             AND (p.last_error IS NULL OR (p.state = 'suspect' AND p.attempts = 0)))"
    };
}
pub(crate) use on_its_way;

/// That objects `o` are in a sample. The end of an id is random.
pub(crate) fn push_sampled(select: &mut Assembled, sample: Sample) {
    select.push("substr(o.id, length(o.id) - 1) < ");
    select.text(sample.end());
}

impl Catalog {
    /// Up to `limit` live objects with ids above `after`, in the order of their ids, that have no
    /// copy on a store, or one that is to have been read and was not. Those that are already owed are
    /// not among them, nor are those that could not be read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn uncovered(
        &self,
        migration: &MigrationRow,
        wanted: &Wanted,
        after: Option<ObjectId>,
        limit: u32,
    ) -> Result<Vec<Uncovered>> {
        let mut select = Assembled::new(concat!(
            "SELECT p.state AS wanted_state, ",
            object_columns!(),
            " FROM objects o LEFT JOIN placements p ON p.object_id = o.id AND p.store = "
        ));
        select.text(wanted.store.as_str());
        select.push(" WHERE o.id > ");
        select.text(after.map_or_else(String::new, |id| id.to_string()));
        select.push(" AND");
        push_scope(&mut select, &migration.prefix);
        if wanted.only_given {
            select.push(
                " AND EXISTS (SELECT 1 FROM placements g
                     WHERE g.object_id = o.id AND g.migration_id = ",
            );
            select.text(migration.id.to_string());
            select.push(")");
        }
        // As a `CASE`, so that PostgreSQL walks along the ids and does not look at all copies first, because
        // it thinks that hardly any object lacks one.
        select.push(" AND CASE WHEN p.state IS NULL OR p.state = 'gone'");
        if let Some(Read { since, sample }) = wanted.read {
            select.push(" OR (p.state = 'present' AND p.last_error IS NULL AND NOT ");
            push_read(&mut select, since);
            select.push(" AND ");
            push_sampled(&mut select, sample);
            select.push(")");
        }
        select.push(" THEN 1 ELSE 0 END = 1 ORDER BY o.id LIMIT ");
        select.number(i64::from(limit));
        let rows = self.fetch_all(select.finish()).await?;
        let mut uncovered = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(object) = unless_damaged(ObjectRow::read(row))? else {
                continue;
            };
            let row = Record::new(row, "objects", "object_id");
            let state = row.parsed_or_null("wanted_state")?;
            uncovered.push(Uncovered { object, state });
        }
        Ok(uncovered)
    }

    /// Has the engine make copies of live objects on a store, on behalf of a migration: where there
    /// never was one, or it is gone. How many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owe_placements(
        &self,
        objects: &[ObjectId],
        store: &StoreName,
        migration: MigrationId,
        now: Timestamp,
    ) -> Result<u64> {
        if objects.is_empty() {
            return Ok(0);
        }
        let mut insert = Assembled::new(
            "INSERT INTO placements (object_id, store, state, updated_at, attempts,
                 next_attempt_at, migration_id) SELECT o.id, ",
        );
        insert.text(store.as_str()).push(", 'copying', CAST(");
        insert.number(now.unix_ms()).push(" AS BIGINT), 0, CAST(");
        insert.number(now.unix_ms()).push(" AS BIGINT), ");
        insert.text(migration.to_string());
        insert.push(" FROM objects o WHERE o.state = 'live' AND o.id IN (VALUES ");
        insert.rows(objects, |row, id| {
            row.text(id.to_string());
            Ok(())
        })?;
        insert.push(
            ") ON CONFLICT (object_id, store) DO UPDATE SET state = 'copying',
                 updated_at = excluded.updated_at, attempts = 0,
                 next_attempt_at = excluded.next_attempt_at, last_error = NULL,
                 migration_id = coalesce(placements.migration_id, excluded.migration_id)
             WHERE placements.state = 'gone'",
        );
        self.execute(insert.finish()).await
    }

    /// Takes back copies that a migration had asked for and that nobody has begun to make; how many.
    /// They are asked for again when it goes on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdraw_owed(&self, migration: MigrationId) -> Result<u64> {
        self.execute(
            sql("DELETE FROM placements
                 WHERE migration_id = $1 AND state = 'copying' AND attempts = 0
                     AND verified_at IS NULL")
            .bind(migration.to_string()),
        )
        .await
    }

    /// How many copies on the target are owed and did not fail: what is under way or next.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_owed(&self, store: &StoreName) -> Result<u64> {
        let row = self
            .fetch_optional(
                sql(concat!(
                    "SELECT $1 AS id, count(*) AS owed FROM placements p
                     JOIN objects o ON o.id = p.object_id AND o.state = 'live'
                     WHERE p.store = $1 AND p.state IN ('copying', 'suspect') AND ",
                    on_its_way!()
                ))
                .bind(store.as_str().to_owned()),
            )
            .await?;
        row.map_or(Ok(0), |row| {
            Record::new(&row, "placements", "id").count("owed")
        })
    }

    /// How far the copying is. This looks at all live objects: some seconds for some million.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn copy_progress(&self, migration: &MigrationRow) -> Result<CopyProgress> {
        let since = migration.began_at;
        let mut select = Assembled::new(
            "SELECT 'all' AS id, count(*) AS objects,
                 coalesce(CAST(sum(o.size_bytes) AS BIGINT), 0) AS bytes,
                 count(CASE WHEN p.state = 'present' THEN 1 END) AS copied,
                 coalesce(CAST(sum(CASE WHEN p.state = 'present' THEN o.size_bytes END) AS BIGINT), 0)
                     AS copied_bytes,
                 count(CASE WHEN p.state = 'present' AND ",
        );
        push_read(&mut select, since);
        select.push(
            " THEN 1 END) AS verified,
                 coalesce(CAST(sum(CASE WHEN p.state = 'present' AND ",
        );
        push_read(&mut select, since);
        select.push(
            " THEN o.size_bytes END) AS BIGINT), 0) AS verified_bytes,
                 count(CASE WHEN p.state = 'present' AND NOT ",
        );
        push_read(&mut select, since);
        select.push(" AND NOT (");
        push_sampled(&mut select, migration.limits.sample);
        select
            .push(") THEN 1 END) AS outside_sample, count(CASE WHEN p.state = 'present' AND NOT ");
        push_read(&mut select, since);
        select.push(concat!(
            " AND p.last_error IS NOT NULL THEN 1 END) AS unreadable, count(CASE WHEN ",
            on_its_way!(),
            " THEN 1 END) AS under_way
             FROM objects o LEFT JOIN placements p ON p.object_id = o.id AND p.store = ",
        ));
        select.text(migration.target.as_str());
        select.push(" WHERE");
        push_scope(&mut select, &migration.prefix);
        let row = self.fetch_optional(select.finish()).await?;
        let Some(row) = row else {
            return Ok(CopyProgress::default());
        };
        let row = Record::new(&row, "objects", "id");
        Ok(CopyProgress {
            objects: row.count("objects")?,
            bytes: row.count("bytes")?,
            copied: row.count("copied")?,
            copied_bytes: row.count("copied_bytes")?,
            verified: row.count("verified")?,
            verified_bytes: row.count("verified_bytes")?,
            outside_sample: row.count("outside_sample")?,
            unreadable: row.count("unreadable")?,
            under_way: row.count("under_way")?,
        })
    }

    /// What a migration to a store would find. This looks at all live objects, and at the copies of
    /// each in one go: the groups have SQLite walk through both tables in the order of the ids, in
    /// which they mostly lie in the file, and not in that of the keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_counts(&self, target: &StoreName, prefix: &KeyPrefix) -> Result<PlanCounts> {
        let mut select = Assembled::new(
            "SELECT 'all' AS id, count(*) AS objects,
                 coalesce(CAST(sum(x.size_bytes) AS BIGINT), 0) AS bytes,
                 count(CASE WHEN x.is_there = 1 THEN 1 END) AS on_target,
                 coalesce(CAST(sum(CASE WHEN x.is_there = 1 THEN x.size_bytes END) AS BIGINT), 0)
                     AS on_target_bytes,
                 coalesce(CAST(sum(CASE WHEN x.is_well = 1 THEN x.size_bytes END) AS BIGINT), 0)
                     AS on_others_bytes,
                 count(CASE WHEN x.is_there = 0 THEN 1 END) AS to_copy,
                 coalesce(CAST(sum(CASE WHEN x.is_there = 0 THEN x.size_bytes END) AS BIGINT), 0)
                     AS to_copy_bytes,
                 count(CASE WHEN x.is_there = 0 AND x.is_well = 0 THEN 1 END) AS without_source,
                 count(CASE WHEN x.is_there = 0 AND x.is_well = 1 AND x.is_read = 0 THEN 1 END)
                     AS unverified
             FROM (SELECT o.size_bytes, max(CASE WHEN s.state = 'present' AND s.store = ",
        );
        select.text(target.as_str());
        select.push(
            " THEN 1 ELSE 0 END) AS is_there, max(CASE WHEN s.state = 'present' AND s.store <> ",
        );
        select.text(target.as_str());
        select.push(
            " THEN 1 ELSE 0 END) AS is_well, max(CASE WHEN s.state = 'present'
                 AND s.verified_at > o.live_at AND s.store <> ",
        );
        select.text(target.as_str());
        select.push(
            " THEN 1 ELSE 0 END) AS is_read
             FROM objects o LEFT JOIN placements s ON s.object_id = o.id WHERE",
        );
        push_scope(&mut select, prefix);
        select.push(" GROUP BY o.id) x");
        let row = self.fetch_optional(select.finish()).await?;
        let Some(row) = row else {
            return Ok(PlanCounts::default());
        };
        let row = Record::new(&row, "objects", "id");
        Ok(PlanCounts {
            objects: row.count("objects")?,
            bytes: row.count("bytes")?,
            on_target: row.count("on_target")?,
            on_target_bytes: row.count("on_target_bytes")?,
            on_others_bytes: row.count("on_others_bytes")?,
            to_copy: row.count("to_copy")?,
            to_copy_bytes: row.count("to_copy_bytes")?,
            without_source: row.count("without_source")?,
            unverified: row.count("unverified")?,
        })
    }
}
