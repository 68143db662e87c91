//! Claims: placements that a worker has taken for a while, with what it needs to work on them.

use std::collections::BTreeMap;

use stockroom_domain::{ObjectId, StoreName, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::Result;
use crate::objects::{ObjectDetails, ObjectRow, object_details_columns};
use crate::placements::{PlacementRow, placement_columns, push_ids};
use crate::row::unless_damaged;
use crate::run::{Statement, Tx, sql, still};

/// A placement that a worker has taken, with the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedPlacement {
    /// The placement.
    pub placement: PlacementRow,
    /// The object. Its state may have changed; bytes are copied for live objects only.
    pub object: ObjectRow,
    /// The checksums of its chunks, as whoever recorded them wrote them.
    pub chunk_sums: Vec<u8>,
}

/// Due placements of live objects in one state, longest waiting first. The object is looked up by
/// its id: as a join, PostgreSQL without statistics walks through all live objects for each row.
macro_rules! due_in_state {
    ($state:literal) => {
        concat!(
            "SELECT p.object_id, p.next_attempt_at FROM placements p \
             WHERE p.store = $1 AND p.state = '",
            $state,
            "' AND p.next_attempt_at <= $2 \
                 AND (SELECT o.state FROM objects o WHERE o.id = p.object_id) = 'live' \
             ORDER BY p.next_attempt_at LIMIT $4"
        )
    };
}

impl Catalog {
    /// Takes up to `limit` placements of a store that are owed and due: those of live objects
    /// that are `copying` or `suspect`, longest waiting first. Until `lease_until` nobody else is
    /// given them, and the object's bytes are not removed; a worker that dies needs do nothing,
    /// and one that needs longer calls [`Catalog::renew_placement`]. Why a copy was doubted is
    /// forgotten then, so that an error is always one of an attempt. One whose row is damaged is
    /// logged and not given out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_placements(
        &self,
        store: &StoreName,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedPlacement>> {
        self.claim(|| {
            // One query for each state reads the index in its order and stops at the limit,
            // however many are owed.
            sql(concat!(
                "WITH chosen AS MATERIALIZED (
                     SELECT due.object_id FROM (
                         SELECT * FROM (",
                due_in_state!("copying"),
                ") owed UNION ALL SELECT * FROM (",
                due_in_state!("suspect"),
                ") doubted
                     ) due ORDER BY due.next_attempt_at LIMIT $4)
                 UPDATE placements SET next_attempt_at = $3, attempts = attempts + 1,
                     last_error = CASE WHEN state = 'suspect' AND attempts = 0 THEN NULL
                         ELSE last_error END
                 WHERE store = $1 AND object_id IN (SELECT chosen.object_id FROM chosen) AND ",
                still!("state IN ('copying', 'suspect') AND next_attempt_at <= $2"),
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

    /// Runs a statement that claims placements and returns them, and adds their objects. What is
    /// damaged is left out and stays claimed, so that the next call comes to the others.
    pub(crate) async fn claim(
        &self,
        statement: impl Fn() -> Statement,
    ) -> Result<Vec<ClaimedPlacement>> {
        self.retried(|| self.try_claim(statement())).await
    }

    async fn try_claim(&self, statement: Statement) -> Result<Vec<ClaimedPlacement>> {
        let mut tx = self.begin().await?;
        let rows = tx.fetch_all(statement).await?;
        let mut placements = Vec::with_capacity(rows.len());
        for row in &rows {
            placements.extend(unless_damaged(PlacementRow::read(row))?);
        }
        let claimed = tx.with_objects(placements).await?;
        tx.commit_unnoticed().await?;
        Ok(claimed)
    }

    /// Gives claimed placements back of which nothing was tried: they are due at once, as if nobody
    /// had taken them. What has left its state meanwhile is not touched.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn return_placements(
        &self,
        store: &StoreName,
        objects: &[ObjectId],
        now: Timestamp,
    ) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let mut update = Assembled::new("UPDATE placements SET next_attempt_at = ");
        update.number(now.unix_ms());
        update.push(", attempts = attempts - 1 WHERE store = ");
        update.text(store.as_str());
        update.push(concat!(
            " AND ",
            still!("state IN ('copying', 'suspect') AND attempts > 0"),
            " AND object_id IN ("
        ));
        push_ids(&mut update, objects.iter().copied());
        update.push(")");
        self.execute_unnoticed(update.finish()).await.map(drop)
    }

    /// Keeps a claimed placement until `lease_until`. Call it while bytes are copied. Whether it
    /// still is `copying` or `suspect`; when not, the copy is not wanted any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew_placement(
        &self,
        object_id: ObjectId,
        store: &StoreName,
        lease_until: Timestamp,
    ) -> Result<bool> {
        let changed = self
            .execute(
                sql("UPDATE placements SET next_attempt_at = $3
                     WHERE object_id = $1 AND store = $2 AND state IN ('copying', 'suspect')")
                .bind(object_id.to_string())
                .bind(store.as_str())
                .bind(lease_until.unix_ms()),
            )
            .await?;
        Ok(changed == 1)
    }
}

impl Tx {
    /// Placements with their objects, in one query. Where the object's row is damaged, it is logged
    /// and the placement is left out.
    async fn with_objects(
        &mut self,
        placements: Vec<PlacementRow>,
    ) -> Result<Vec<ClaimedPlacement>> {
        if placements.is_empty() {
            return Ok(Vec::new());
        }
        let mut select = Assembled::new(concat!(
            "SELECT ",
            object_details_columns!(),
            " FROM objects o WHERE o.id IN ("
        ));
        push_ids(&mut select, placements.iter().map(|it| it.object_id));
        select.push(")");
        let mut objects = BTreeMap::new();
        for row in &self.fetch_all(select.finish()).await? {
            if let Some(details) = unless_damaged(ObjectDetails::read(row))? {
                objects.insert(details.object.id, details);
            }
        }
        let claimed = placements.into_iter().filter_map(|placement| {
            let ObjectDetails { object, chunk_sums } = objects.remove(&placement.object_id)?;
            Some(ClaimedPlacement {
                placement,
                object,
                chunk_sums,
            })
        });
        Ok(claimed.collect())
    }
}
