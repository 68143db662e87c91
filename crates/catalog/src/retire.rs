//! Retiring: removing the bytes of deleted objects once their grace period is over.
//!
//! A worker claims objects ([`Catalog::claim_retiring`]), removes the bytes store by store and
//! takes each placement from `retiring` to `gone`, then says that all of it is done
//! ([`Catalog::finish_retire`]). From the claim on the object cannot be restored any more.

use std::time::Duration;

use stockroom_domain::{ObjectId, ObjectState, PlacementState, StoreName, Timestamp};

use crate::Catalog;
use crate::error::{CatalogError, Conflict, Noun, Result};
use crate::objects::ObjectRow;
use crate::row::{Record, unless_damaged};
use crate::run::{Tx, sql};
use crate::tombstones::SECOND_LOOK;

/// Objects whose grace period is over, of those with a certain lease, in an order. Nobody may be
/// copying them.
macro_rules! due {
    ($lease:literal, $order:literal) => {
        concat!(
            "SELECT o.id, coalesce(o.lease_until, 0) AS lease_until, o.retire_after
             FROM objects o
             WHERE o.state = 'retiring' AND o.retire_after <= $1
                 AND coalesce(o.lease_until, 0) ",
            $lease,
            " AND coalesce((SELECT max(p.next_attempt_at) FROM placements p
                     WHERE p.object_id = o.id AND p.state IN ('copying', 'suspect')), 0)
                     <= $1
             ORDER BY ",
            $order,
            " LIMIT $2"
        )
    };
}

impl Catalog {
    /// Takes up to `limit` objects whose grace period is over and puts their placements to
    /// `retiring`: those that nobody took yet first, then those whose lease is over for longest.
    /// So objects whose bytes cannot be removed never stand before the others. Until `lease_until`
    /// nobody else is given them; a worker that dies needs do nothing. After the bytes are gone
    /// from every store, call [`Catalog::finish_retire`].
    ///
    /// An object to which a worker may still be copying is left for later: its bytes could arrive
    /// after they were removed. One whose row is damaged is logged and not given out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_retiring(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ObjectRow>> {
        let due = self
            .fetch_all(
                // One query for each of the two reads the index in its order and stops at the limit;
                // as one, it would walk through all that are still in their grace period.
                sql(concat!(
                    "SELECT due.id FROM (SELECT * FROM (",
                    due!("= 0", "o.retire_after"),
                    ") due_first UNION ALL SELECT * FROM (",
                    due!(
                        "BETWEEN 1 AND $1",
                        "coalesce(o.lease_until, 0), o.retire_after"
                    ),
                    ") due_again) due ORDER BY due.lease_until, due.retire_after LIMIT $2"
                ))
                .bind(now.unix_ms())
                .bind(i64::from(limit)),
            )
            .await?;
        let mut claimed = Vec::with_capacity(due.len());
        for row in &due {
            let id = Record::new(row, "objects", "id").text("id")?;
            // One transaction for each object, so that one that turns out to be written to can be
            // left as it was.
            let object = self
                .retried(|| self.try_claim_retiring(id, now, lease_until))
                .await?;
            claimed.extend(object);
        }
        Ok(claimed)
    }

    async fn try_claim_retiring(
        &self,
        id: &str,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<ObjectRow>> {
        let mut tx = self.begin().await?;
        let taken = tx
            .execute(
                sql("UPDATE objects SET lease_until = $3
                     WHERE id = $1 AND state = 'retiring' AND retire_after <= $2
                         AND coalesce(lease_until, 0) <= $2")
                .bind(id.to_owned())
                .bind(now.unix_ms())
                .bind(lease_until.unix_ms()),
            )
            .await?;
        if taken == 0 {
            return Ok(None);
        }
        tx.execute(
            sql(
                "UPDATE placements SET state = 'retiring', updated_at = $2, attempts = 0,
                     next_attempt_at = $2
                 WHERE object_id = $1 AND (state = 'present'
                     OR (state IN ('copying', 'suspect') AND next_attempt_at <= $2))",
            )
            .bind(id.to_owned())
            .bind(now.unix_ms()),
        )
        .await?;
        // A worker that took a placement a moment ago is seen only now, after its row was waited
        // for. Dropping the transaction leaves everything to it.
        let written_to = tx
            .fetch_optional(
                sql("SELECT p.object_id FROM placements p
                     WHERE p.object_id = $1 AND p.state NOT IN ('retiring', 'gone')")
                .bind(id.to_owned()),
            )
            .await?
            .is_some();
        if written_to {
            return Ok(None);
        }
        let object = unless_damaged(tx.object(id).await)?;
        tx.commit().await?;
        Ok(object)
    }

    /// Notes that some bytes of a claimed object could not be removed yet. Nobody is given it
    /// before `wait` has passed. An object that is not claimed is not touched.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn postpone_retire(
        &self,
        object_id: ObjectId,
        now: Timestamp,
        wait: Duration,
    ) -> Result<()> {
        self.execute(
            sql("UPDATE objects SET lease_until = $2
                 WHERE id = $1 AND state = 'retiring' AND lease_until IS NOT NULL")
            .bind(object_id.to_string())
            .bind(now.after(wait).unix_ms()),
        )
        .await
        .map(drop)
    }

    /// Notes that the bytes of an object are gone from every store. The row stays, so that its
    /// location is never used again, and gets its second look when [`SECOND_LOOK`] has passed.
    ///
    /// # Errors
    /// [`Conflict::NotRetiring`] when nobody has claimed it; [`CatalogError::NotFound`]. For an
    /// object that is gone already this does nothing.
    pub async fn finish_retire(&self, object_id: ObjectId, now: Timestamp) -> Result<()> {
        self.retried(|| self.try_finish_retire(object_id, now))
            .await
    }

    async fn try_finish_retire(&self, object_id: ObjectId, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        // A placement that a claim did not put to `retiring` may have bytes that nobody removed.
        let changed = tx
            .execute(
                sql(
                    "UPDATE objects SET state = 'gone', gone_at = $2, lease_until = $3
                     WHERE id = $1 AND state = 'retiring' AND lease_until IS NOT NULL
                         AND NOT EXISTS (
                             SELECT 1 FROM placements p WHERE p.object_id = objects.id
                                 AND p.state NOT IN ('retiring', 'gone'))",
                )
                .bind(object_id.to_string())
                .bind(now.unix_ms())
                .bind(now.after(SECOND_LOOK).unix_ms()),
            )
            .await?;
        if changed == 0 {
            return tx.explain_unfinished(object_id).await;
        }
        let gone = tx
            .fetch_all(
                sql(
                    "UPDATE placements SET state = 'gone', updated_at = $2, last_error = NULL
                     WHERE object_id = $1 AND state = 'retiring'
                     RETURNING object_id, store",
                )
                .bind(object_id.to_string())
                .bind(now.unix_ms()),
            )
            .await?;
        for row in &gone {
            let store: StoreName = Record::new(row, "placements", "object_id").parsed("store")?;
            tx.tell_of_placement(object_id, &store, PlacementState::Gone, None, now)
                .await?;
        }
        tx.commit().await
    }
}

impl Tx {
    async fn explain_unfinished(&mut self, object: ObjectId) -> Result<()> {
        let row = self
            .fetch_optional(
                sql("SELECT o.id, o.state FROM objects o WHERE o.id = $1").bind(object.to_string()),
            )
            .await?
            .ok_or(CatalogError::NotFound(Noun::Object))?;
        match Record::new(&row, "objects", "id").parsed("state")? {
            ObjectState::Gone => Ok(()),
            _ => Err(Conflict::NotRetiring { object }.into()),
        }
    }
}
