//! Reading: copies that are there are read by several programs side by side, each copy by one of them.

use stockroom_domain::{ObjectId, StoreName, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::Result;
use crate::placements::{push_ids, without_nul};
use crate::row::Record;
use crate::run::sql;

impl Catalog {
    /// Takes copies on a store that are `present`, to read them: those of them that nobody else reads, or has
    /// read since `listed_at`, when the caller asked which there are.
    /// Until `lease_until` nobody else is given them here; a program that dies needs do nothing, and one
    /// that needs longer calls [`Catalog::keep_reads`]. Who has taken one for more than twice as long is no
    /// reader of this kind ([`Catalog::claim_unverified`]), and may read it at the same time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_reads(
        &self,
        store: &StoreName,
        objects: &[ObjectId],
        listed_at: Timestamp,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<ObjectId>> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        // Somebody who looked at the clock after this caller may have come to the database before.
        let longest = lease_until.after(lease_until.since(now));
        let rows = self
            .retried(|| async {
                let mut update = leased(store, objects, lease_until);
                update.push(" AND coalesce(verified_at, 0) < ");
                update.number(listed_at.unix_ms());
                update.push(" AND (next_attempt_at <= ");
                update.number(now.unix_ms());
                update.push(" OR next_attempt_at > ");
                update.number(longest.unix_ms());
                update.push(") RETURNING object_id");
                let mut tx = self.begin().await?;
                let rows = tx.fetch_all(update.finish()).await?;
                tx.commit_unnoticed().await?;
                Ok(rows)
            })
            .await?;
        rows.iter()
            .map(|row| Record::new(row, "placements", "object_id").parsed("object_id"))
            .collect()
    }

    /// Keeps copies that were taken by [`Catalog::claim_reads`] until `lease_until`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_reads(
        &self,
        store: &StoreName,
        objects: &[ObjectId],
        lease_until: Timestamp,
    ) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let update = leased(store, objects, lease_until);
        self.execute_unnoticed(update.finish()).await.map(drop)
    }

    /// Notes that copies on a store matched their hash just now, which ends a claim of them. Those that
    /// are not `present` any more are left alone. How many were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_reads(
        &self,
        store: &StoreName,
        objects: &[ObjectId],
        now: Timestamp,
    ) -> Result<u64> {
        if objects.is_empty() {
            return Ok(0);
        }
        let mut update =
            Assembled::new("UPDATE placements SET attempts = 0, last_error = NULL, verified_at = ");
        update.number(now.unix_ms());
        update.push(", next_attempt_at = ").number(now.unix_ms());
        push_present(&mut update, store, objects);
        self.execute(update.finish()).await
    }

    /// Notes that a copy could not be read, which ends a claim of it. A migration leaves it alone from
    /// now on; [`Catalog::retry_failures`] takes that back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_unreadable(
        &self,
        object_id: ObjectId,
        store: &StoreName,
        error: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.execute_unnoticed(
            sql("UPDATE placements SET last_error = $3, next_attempt_at = $4
                 WHERE object_id = $1 AND store = $2 AND state = 'present'")
            .bind(object_id.to_string())
            .bind(store.as_str().to_owned())
            .bind(without_nul(error))
            .bind(now.unix_ms()),
        )
        .await
        .map(drop)
    }
}

/// The beginning of a statement that takes copies for a while.
fn leased(store: &StoreName, objects: &[ObjectId], lease_until: Timestamp) -> Assembled {
    let mut update = Assembled::new("UPDATE placements SET next_attempt_at = ");
    update.number(lease_until.unix_ms());
    push_present(&mut update, store, objects);
    update
}

/// Of some copies on a store those that are `present`.
fn push_present(update: &mut Assembled, store: &StoreName, objects: &[ObjectId]) {
    update.push(" WHERE store = ").text(store.as_str());
    update.push(" AND object_id IN (");
    push_ids(update, objects.iter().copied());
    // As a `CASE` for the reason that `still!` gives.
    update.push(") AND CASE WHEN state = 'present' THEN 1 ELSE 0 END = 1");
}
