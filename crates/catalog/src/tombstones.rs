//! Tombstones: rows of uploads that were given up and of objects that are gone. They outlive
//! every retry.
//!
//! A request that was under way when everybody had given it up may reach a store after the bytes
//! were removed. So the bytes of each tombstone are removed a second time, [`SECOND_LOOK`] later.

use std::time::Duration;

use sqlx::any::AnyRow;
use stockroom_domain::{Key, ObjectId, Timestamp};

use crate::Catalog;
use crate::error::Result;
use crate::row::{Record, unless_damaged};
use crate::run::{sql, still};

/// How long after the bytes of an object were removed they are removed again: longer than a
/// request can be under way.
pub const SECOND_LOOK: Duration = Duration::from_secs(3_600);

/// A row whose bytes are to be removed from every store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The id of the object.
    pub object_id: ObjectId,
    /// The key that readers knew the object by, or would have known it by.
    pub key: Key,
    /// The key under which its bytes lie on the stores.
    pub location: Key,
    /// Whether it ever was an object that readers could see. When not, it is an upload that
    /// nobody finished.
    pub was_live: bool,
}

impl Tombstone {
    fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "objects", "id");
        Ok(Self {
            object_id: row.parsed("id")?,
            key: row.parsed("key")?,
            location: row.parsed("location")?,
            was_live: row.time_or_null("live_at")?.is_some(),
        })
    }
}

impl Catalog {
    /// Takes up to `limit` rows whose bytes nobody may have: uploads that nobody cares for any
    /// more, because their lease is over, and tombstones whose second look is due. From now on
    /// the uploads cannot be recorded. Until `lease_until` nobody else is given the rows; a worker
    /// that dies needs do nothing. Remove their bytes, then call [`Catalog::finish_tombstone`].
    /// A row that is damaged is logged and not given out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_tombstones(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        self.retried(|| self.try_claim_tombstones(now, lease_until, limit))
            .await
    }

    async fn try_claim_tombstones(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        let mut tx = self.begin().await?;
        let rows = tx
            .fetch_all(
                sql(concat!(
                    "WITH chosen AS MATERIALIZED (
                         SELECT o.id FROM objects o
                         WHERE o.lease_until <= $1 AND o.state IN ('receiving', 'gone')
                         ORDER BY o.lease_until LIMIT $3)
                     UPDATE objects SET state = 'gone', gone_at = coalesce(gone_at, $1),
                         lease_until = $2
                     WHERE id IN (SELECT chosen.id FROM chosen) AND ",
                    still!("lease_until <= $1 AND state IN ('receiving', 'gone')"),
                    " RETURNING id, key, location, live_at"
                ))
                .bind(now.unix_ms())
                .bind(lease_until.unix_ms())
                .bind(i64::from(limit)),
            )
            .await?;
        tx.commit().await?;
        // What is damaged stays leased, so that the next call comes to the others.
        rows.iter()
            .filter_map(|row| unless_damaged(Tombstone::read(row)).transpose())
            .collect()
    }

    /// Notes that the bytes of a tombstone are gone from every store. It is given out once more
    /// when [`SECOND_LOOK`] has passed since it became one, and after that never again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_tombstone(&self, object_id: ObjectId, now: Timestamp) -> Result<()> {
        self.execute(
            sql("UPDATE objects SET lease_until =
                     CASE WHEN gone_at > $2 THEN gone_at + $3 END
                 WHERE id = $1 AND state = 'gone'")
            .bind(object_id.to_string())
            .bind(now.before(SECOND_LOOK).unix_ms())
            .bind(second_look_ms()),
        )
        .await
        .map(drop)
    }
}

fn second_look_ms() -> i64 {
    Timestamp::from_unix_ms(0).after(SECOND_LOOK).unix_ms()
}
