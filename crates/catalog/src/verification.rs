//! What a comparison of catalog and stores asks: which copies to read again, what is recorded at
//! a location, and every object in turn.

use stockroom_domain::{Key, ObjectId, ObjectState, StoreName, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::claims::ClaimedPlacement;
use crate::error::Result;
use crate::objects::{ObjectRow, object_columns};
use crate::placements::{Placement, placement_columns, read_placements};
use crate::row::{Record, unless_damaged};
use crate::run::{sql, still};

/// What is recorded at a location, in whatever state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAt {
    /// The object's id.
    pub object_id: ObjectId,
    /// The key that readers know it by.
    pub key: Key,
    /// The location.
    pub location: Key,
    /// Where it is in its life.
    pub state: ObjectState,
    /// How many bytes it has; unknown while they are received.
    pub size_bytes: Option<u64>,
    /// Whether a server is at work on it: it receives its bytes or removes them.
    pub is_leased: bool,
    /// Where its bytes are, in the order of the stores' names.
    pub placements: Vec<Placement>,
}

/// How many locations one statement asks for. It is a fixed number, so that the statement is
/// always the same text, which the databases prepare once.
const LOCATIONS: usize = 100;

impl Catalog {
    /// Takes up to `limit` copies on a store that did not match their hash since
    /// `verified_before`, those that were not looked at for longest first. They are `present`
    /// copies of live objects. Until `lease_until` nobody else is given them here; a worker that
    /// dies needs do nothing. [`Catalog::note_verified`] says that a copy matched,
    /// [`Catalog::step_placement`] that it is doubted, and [`Catalog::postpone_placement`] that it
    /// could not be read for now. One whose row is damaged is logged and not given out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_unverified(
        &self,
        store: &StoreName,
        verified_before: Timestamp,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedPlacement>> {
        self.claim(|| {
            sql(concat!(
                "WITH chosen AS MATERIALIZED (
                     SELECT p.object_id FROM placements p
                     WHERE p.store = $1 AND p.state = 'present'
                         AND coalesce(p.verified_at, 0) < $2 AND p.next_attempt_at <= $3
                         AND (SELECT o.state FROM objects o WHERE o.id = p.object_id) = 'live'
                     ORDER BY coalesce(p.verified_at, 0) LIMIT $5)
                 UPDATE placements SET next_attempt_at = $4, attempts = attempts + 1
                 WHERE store = $1 AND object_id IN (SELECT chosen.object_id FROM chosen) AND ",
                still!(
                    "state = 'present' AND coalesce(verified_at, 0) < $2 AND next_attempt_at <= $3"
                ),
                " RETURNING ",
                placement_columns!()
            ))
            .bind(store.as_str().to_owned())
            .bind(verified_before.unix_ms())
            .bind(now.unix_ms())
            .bind(lease_until.unix_ms())
            .bind(i64::from(limit))
        })
        .await
    }

    /// What is recorded at these locations, in no particular order. A location that no row has
    /// or had is not in the answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn objects_at(&self, locations: &[Key], now: Timestamp) -> Result<Vec<ObjectAt>> {
        let mut found = Vec::with_capacity(locations.len());
        for some in locations.chunks(LOCATIONS) {
            let mut select = Assembled::new(concat!(
                "SELECT o.id AS object_id, o.key AS object_key, o.location AS object_location,
                     o.state AS object_state, o.size_bytes AS object_size_bytes,
                     o.lease_until AS object_lease_until, ",
                crate::placements::placements_text!(),
                " FROM objects o WHERE o.location IN ("
            ));
            // The last location again and again where there are fewer.
            let padded = some.iter().chain(some.last().into_iter().cycle());
            for (index, location) in padded.take(LOCATIONS).enumerate() {
                if index > 0 {
                    select.push(", ");
                }
                select.text(location.as_str());
            }
            select.push(")");
            for row in &self.fetch_all(select.finish()).await? {
                let row = Record::new(row, "objects", "object_id");
                found.push(ObjectAt {
                    object_id: row.parsed("object_id")?,
                    key: row.parsed("object_key")?,
                    location: row.parsed("object_location")?,
                    state: row.parsed("object_state")?,
                    size_bytes: row.count_or_null("object_size_bytes")?,
                    is_leased: row
                        .time_or_null("object_lease_until")?
                        .is_some_and(|lease_until| lease_until > now),
                    placements: read_placements(row)?,
                });
            }
        }
        Ok(found)
    }

    /// Up to `limit` live and retiring objects with ids above `after`, in the order of their ids:
    /// every object that has bytes, when called again with the last id until none comes. One whose
    /// row is damaged is logged and left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_recorded(
        &self,
        after: Option<ObjectId>,
        limit: u32,
    ) -> Result<Vec<ObjectRow>> {
        // Every id is above the empty text.
        let mut after = after.map_or_else(String::new, |id| id.to_string());
        let mut missing = i64::from(limit);
        let mut objects = Vec::new();
        loop {
            let rows = self
                .fetch_all(
                    sql(concat!(
                        "SELECT ",
                        object_columns!(),
                        " FROM objects o WHERE o.id > $1 AND o.state IN ('live', 'retiring')
                         ORDER BY o.id LIMIT $2"
                    ))
                    .bind(after)
                    .bind(missing),
                )
                .await?;
            let mut damaged = 0;
            for row in &rows {
                match unless_damaged(ObjectRow::read(row))? {
                    Some(object) => objects.push(object),
                    None => damaged += 1,
                }
            }
            // An empty answer would say that this was the end, so others take their places.
            let Some(last) = rows.last().filter(|_| damaged > 0) else {
                return Ok(objects);
            };
            after = Record::new(last, "objects", "object_id")
                .text("object_id")?
                .to_owned();
            missing = damaged;
        }
    }
}
