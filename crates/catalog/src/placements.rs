//! Placements: where an object's bytes are, or should be.

use std::time::Duration;

use sqlx::any::AnyRow;
use stockroom_domain::{MigrationId, ObjectId, PlacementState, StoreName, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::{CatalogError, Conflict, Noun, Result};
use crate::row::Record;
use crate::run::sql;

/// A placement as lists and downloads need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The store.
    pub store: StoreName,
    /// What is known of the bytes there.
    pub state: PlacementState,
    /// When the bytes there last matched their hash.
    pub verified_at: Option<Timestamp>,
}

/// A placement with all that workers need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementRow {
    /// The object.
    pub object_id: ObjectId,
    /// The store.
    pub store: StoreName,
    /// What is known of the bytes there.
    pub state: PlacementState,
    /// When the bytes there last matched their hash.
    pub verified_at: Option<Timestamp>,
    /// When the state last changed.
    pub updated_at: Timestamp,
    /// How often a worker took the placement since its state last changed or, while it is
    /// `present`, since its bytes last matched.
    pub attempts: u32,
    /// When a worker may take it.
    pub next_attempt_at: Timestamp,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// The migration that gave the object this copy, or took it away.
    pub migration: Option<MigrationId>,
}

/// A step of a placement from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacementStep<'a> {
    /// The object.
    pub object_id: ObjectId,
    /// The store.
    pub store: &'a StoreName,
    /// The state that the caller knows.
    pub from: PlacementState,
    /// The state that it shall have.
    pub to: PlacementState,
    /// Why, if something went wrong. It must hold no secret and no signed URL.
    pub error: Option<&'a str>,
}

/// Copies on one store that were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The store.
    pub store: &'a StoreName,
    /// The state that they were claimed in.
    pub from: PlacementState,
    /// Whose copies they are.
    pub objects: &'a [ObjectId],
    /// Whether they were read and matched their hash just now. Else the store has compared what it took.
    pub was_read: bool,
}

/// The placements of `objects o` in one text, `store=state=verified_at` with commas between:
/// neither names of stores nor states nor numbers contain these signs.
macro_rules! placements_text {
    () => {
        "(SELECT string_agg(p.store || '=' || p.state || '=' \
             || coalesce(CAST(p.verified_at AS TEXT), ''), ',') \
          FROM placements p WHERE p.object_id = o.id) AS object_placements"
    };
}
pub(crate) use placements_text;

/// Reads what [`placements_text`] wrote, in the order of the stores' names.
pub(crate) fn read_placements(row: Record<'_>) -> Result<Vec<Placement>> {
    const COLUMN: &str = "object_placements";
    let mut placements = row
        .text_or_null(COLUMN)?
        .unwrap_or("")
        .split(',')
        .filter(|text| !text.is_empty())
        .map(|text| parse_placement(text).ok_or_else(|| row.corrupt(COLUMN, &text)))
        .collect::<Result<Vec<_>>>()?;
    placements.sort_by(|a, b| a.store.cmp(&b.store));
    Ok(placements)
}

fn parse_placement(text: &str) -> Option<Placement> {
    let mut parts = text.split('=');
    let store = parts.next()?.parse().ok()?;
    let state = parts.next()?.parse().ok()?;
    let verified_at = match parts.next()? {
        "" => None,
        unix_ms => Some(Timestamp::from_unix_ms(unix_ms.parse().ok()?)),
    };
    Some(Placement {
        store,
        state,
        verified_at,
    })
}

macro_rules! placement_columns {
    () => {
        "object_id AS placement_object_id, store AS placement_store, state AS placement_state, \
         verified_at AS placement_verified_at, updated_at AS placement_updated_at, \
         attempts AS placement_attempts, next_attempt_at AS placement_next_attempt_at, \
         last_error AS placement_last_error, migration_id AS placement_migration_id"
    };
}
pub(crate) use placement_columns;

impl PlacementRow {
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "placements", "placement_object_id");
        Ok(Self {
            object_id: row.parsed("placement_object_id")?,
            store: row.parsed("placement_store")?,
            state: row.parsed("placement_state")?,
            verified_at: row.time_or_null("placement_verified_at")?,
            updated_at: row.time("placement_updated_at")?,
            attempts: row.count("placement_attempts")?,
            next_attempt_at: row.time("placement_next_attempt_at")?,
            last_error: row.text_or_null("placement_last_error")?.map(str::to_owned),
            migration: row.parsed_or_null("placement_migration_id")?,
        })
    }
}

impl Catalog {
    /// All placements of an object, in the order of the stores' names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn placements_of(&self, object_id: ObjectId) -> Result<Vec<PlacementRow>> {
        let rows = self
            .fetch_all(
                sql(concat!(
                    "SELECT ",
                    placement_columns!(),
                    " FROM placements WHERE object_id = $1 ORDER BY store"
                ))
                .bind(object_id.to_string()),
            )
            .await?;
        rows.iter().map(PlacementRow::read).collect()
    }

    /// Adds a placement in the state `copying`, so that the bytes are brought to a store where
    /// they are not yet. One that is there already is left as it is. Whether one was added.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when the object is not live.
    pub async fn add_placement(
        &self,
        object_id: ObjectId,
        store: &StoreName,
        now: Timestamp,
    ) -> Result<bool> {
        let added = self
            .execute(
                sql("INSERT INTO placements
                         (object_id, store, state, updated_at, attempts, next_attempt_at)
                     SELECT o.id, $2, 'copying', $3, 0, $3 FROM objects o
                     WHERE o.id = $1 AND o.state = 'live'
                     ON CONFLICT (object_id, store) DO NOTHING")
                .bind(object_id.to_string())
                .bind(store.as_str())
                .bind(now.unix_ms()),
            )
            .await?;
        if added == 1 {
            return Ok(true);
        }
        self.fetch_optional(
            sql("SELECT o.id FROM objects o WHERE o.id = $1 AND o.state = 'live'")
                .bind(object_id.to_string()),
        )
        .await?
        .map(|_| false)
        .ok_or(CatalogError::NotFound(Noun::Object))
    }

    /// Takes a placement from one state to another, if it still is in the first. A step to
    /// `present` says that the bytes there matched their hash just now. A step from `suspect` to
    /// `copying` leaves the claim as it is, because whoever found the bytes to be wrong now
    /// replaces them; every other step ends it.
    ///
    /// # Errors
    /// [`Conflict::IllegalStep`]; [`Conflict::PlacementMoved`] when it is in another state by
    /// now: who has copied bytes meanwhile must look whether they may stay;
    /// [`CatalogError::NotFound`].
    pub async fn step_placement(&self, step: PlacementStep<'_>, now: Timestamp) -> Result<()> {
        let to = step.from.step(step.to).map_err(Conflict::from)?;
        if self
            .retried(|| self.try_step_placement(step, to, now))
            .await?
        {
            return Ok(());
        }
        let there = self.placements_of(step.object_id).await?;
        match there.iter().find(|row| row.store == *step.store) {
            Some(row) => Err(Conflict::PlacementMoved { found: row.state }.into()),
            None => Err(CatalogError::NotFound(Noun::Placement)),
        }
    }

    /// Whether the placement was in the state that the step begins in.
    async fn try_step_placement(
        &self,
        step: PlacementStep<'_>,
        to: PlacementState,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let verified_at = (to == PlacementState::Present).then_some(now.unix_ms());
        let error = step.error.map(without_nul);
        let changed = tx
            .execute(
                sql("UPDATE placements SET state = $4, updated_at = $5,
                         next_attempt_at = CASE WHEN $3 = 'suspect' AND $4 = 'copying'
                             THEN next_attempt_at ELSE $5 END,
                         attempts = CASE WHEN $3 = 'suspect' AND $4 = 'copying'
                             THEN attempts ELSE 0 END,
                         verified_at = coalesce($6, verified_at), last_error = $7
                     WHERE object_id = $1 AND store = $2 AND state = $3")
                .bind(step.object_id.to_string())
                .bind(step.store.as_str())
                .bind(step.from.as_str())
                .bind(to.as_str())
                .bind(now.unix_ms())
                .bind(verified_at)
                .bind(error.clone()),
            )
            .await?;
        if changed != 1 {
            return Ok(false);
        }
        tx.tell_of_placement(step.object_id, step.store, to, error.as_deref(), now)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Takes placements of a store to `present`, those of them that still are in the state that they
    /// were claimed in. It is one transaction, because each costs a sync of the disk. Which ones it
    /// took; what became of one of the others, [`Catalog::placements_of`] tells.
    ///
    /// # Errors
    /// [`Conflict::IllegalStep`].
    pub async fn note_placed(&self, placed: Placed<'_>, now: Timestamp) -> Result<Vec<ObjectId>> {
        let to = PlacementState::Present;
        let to = placed.from.step(to).map_err(Conflict::from)?;
        if placed.objects.is_empty() {
            return Ok(Vec::new());
        }
        self.retried(|| self.try_note_placed(placed, to, now)).await
    }

    async fn try_note_placed(
        &self,
        placed: Placed<'_>,
        to: PlacementState,
        now: Timestamp,
    ) -> Result<Vec<ObjectId>> {
        let Placed {
            store,
            from,
            objects,
            was_read,
        } = placed;
        let now_ms = now.unix_ms();
        let mut update = Assembled::new("UPDATE placements SET state = ");
        update.text(to.as_str());
        update.push(", attempts = 0, last_error = NULL, updated_at = ");
        update.number(now_ms);
        update.push(", next_attempt_at = ").number(now_ms);
        // What matched before was another copy.
        update.push(", verified_at = nullif(CAST(");
        update.number(if was_read { now_ms } else { 0 });
        update.push(" AS BIGINT), 0)");
        update.push(" WHERE store = ").text(store.as_str());
        update.push(" AND object_id IN (");
        push_ids(&mut update, objects.iter().copied());
        // As a `CASE` for the reason that `still!` gives.
        update.push(") AND CASE WHEN state = ").text(from.as_str());
        update.push(" THEN 1 ELSE 0 END = 1 RETURNING object_id");
        let mut tx = self.begin().await?;
        let rows = tx.fetch_all(update.finish()).await?;
        let noted = rows
            .iter()
            .map(|row| Record::new(row, "placements", "object_id").parsed("object_id"))
            .collect::<Result<Vec<ObjectId>>>()?;
        tx.tell_of_present(&noted, store, now).await?;
        tx.commit().await?;
        Ok(noted)
    }

    /// Notes that the bytes of a placement that is `present` matched their hash just now, which
    /// ends a claim of it. Whether it was still present.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_verified(
        &self,
        object_id: ObjectId,
        store: &StoreName,
        now: Timestamp,
    ) -> Result<bool> {
        Ok(self.note_reads(store, &[object_id], now).await? == 1)
    }

    /// Notes that an attempt failed and leaves the placement's state. Nobody is given it before
    /// `wait` has passed. A placement that has left `state` is not touched.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn postpone_placement(
        &self,
        row: &PlacementRow,
        error: &str,
        now: Timestamp,
        wait: Duration,
    ) -> Result<()> {
        self.execute(
            sql("UPDATE placements SET next_attempt_at = $4, last_error = $5
                 WHERE object_id = $1 AND store = $2 AND state = $3")
            .bind(row.object_id.to_string())
            .bind(row.store.as_str())
            .bind(row.state.as_str())
            .bind(now.after(wait).unix_ms())
            .bind(without_nul(error)),
        )
        .await
        .map(drop)
    }
}

/// Adds ids with commas between.
pub(crate) fn push_ids(text: &mut Assembled, ids: impl IntoIterator<Item = ObjectId>) {
    for (index, id) in ids.into_iter().enumerate() {
        if index > 0 {
            text.comma();
        }
        text.text(id.to_string());
    }
}

/// A placement of an object whose upload has ended.
pub(crate) type NewPlacement<'a> = (ObjectId, &'a StoreName, PlacementState);

/// Inserts placements.
pub(crate) fn insert_placements(
    placements: &[NewPlacement<'_>],
    now: Timestamp,
) -> Result<Assembled> {
    let mut insert = Assembled::new(
        "INSERT INTO placements
             (object_id, store, state, verified_at, updated_at, attempts, next_attempt_at) VALUES ",
    );
    insert.rows(placements, |row, (object_id, store, state)| {
        let is_there = *state == PlacementState::Present;
        row.text(object_id.to_string()).comma();
        row.text(store.as_str()).comma();
        row.text(state.as_str()).push(", nullif(CAST(");
        row.number(if is_there { now.unix_ms() } else { 0 });
        row.push(" AS BIGINT), 0), ");
        row.number(now.unix_ms()).push(", 0, ");
        row.number(now.unix_ms());
        Ok(())
    })?;
    Ok(insert)
}

/// PostgreSQL's texts cannot hold NUL, and an error's text is not worth an error of its own.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
