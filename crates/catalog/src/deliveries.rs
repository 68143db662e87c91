//! Deliveries: one event on its way to one endpoint. A worker claims those that are due, tries, and
//! notes what came of it.

use sqlx::any::AnyRow;
use stockroom_domain::{DeliveryState, EndpointId, EventId, EventKind, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::endpoints::EndpointRow;
use crate::error::{CatalogError, Noun, Result};
use crate::page::{Page, Paged};
use crate::placements::without_nul;
use crate::row::{Record, unless_damaged};
use crate::run::{Tx, sql, still};

/// A delivery as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The event.
    pub event_id: EventId,
    /// Its kind.
    pub kind: EventKind,
    /// What is sent.
    pub body: String,
    /// How far it has come.
    pub state: DeliveryState,
    /// How often it was tried since it was last begun.
    pub attempts: u32,
    /// When it is tried next, while it waits.
    pub next_attempt_at: Timestamp,
    /// How the endpoint answered last.
    pub last_status: Option<u16>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When the event happened.
    pub created_at: Timestamp,
    /// When the delivery last changed.
    pub updated_at: Timestamp,
}

/// A delivery that a worker has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// The event.
    pub event_id: EventId,
    /// What is to be sent.
    pub body: String,
    /// Which attempt this is, from 1 on.
    pub attempt: u32,
    /// Until when it is ours. What came of the attempt is noted only while nobody has taken it since.
    pub lease_until: Timestamp,
}

/// What came of an attempt. A text must hold no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The endpoint took the event.
    Delivered {
        /// How it answered.
        status: u16,
    },
    /// It is to be tried again.
    Again {
        /// How the endpoint answered, if it did.
        status: Option<u16>,
        /// What went wrong.
        error: String,
        /// When.
        next_attempt_at: Timestamp,
    },
    /// It is given up.
    Failed {
        /// How the endpoint answered, if it did.
        status: Option<u16>,
        /// What went wrong.
        error: String,
    },
}

macro_rules! select_deliveries {
    () => {
        "SELECT d.event_id AS delivery_event_id, v.kind AS delivery_kind, v.body AS delivery_body, \
         d.state AS delivery_state, d.attempts AS delivery_attempts, \
         d.next_attempt_at AS delivery_next_attempt_at, d.last_status AS delivery_last_status, \
         d.last_error AS delivery_last_error, v.created_at AS delivery_created_at, \
         d.updated_at AS delivery_updated_at \
         FROM deliveries d JOIN events v ON v.id = d.event_id"
    };
}

impl DeliveryRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "deliveries", "delivery_event_id");
        Ok(Self {
            event_id: row.parsed("delivery_event_id")?,
            kind: row.parsed("delivery_kind")?,
            body: row.text("delivery_body")?.to_owned(),
            state: row.parsed("delivery_state")?,
            attempts: row.count("delivery_attempts")?,
            next_attempt_at: row.time("delivery_next_attempt_at")?,
            last_status: row.count_or_null("delivery_last_status")?,
            last_error: row.text_or_null("delivery_last_error")?.map(str::to_owned),
            created_at: row.time("delivery_created_at")?,
            updated_at: row.time("delivery_updated_at")?,
        })
    }
}

impl Catalog {
    /// Takes up to `limit` deliveries to an endpoint that are due, oldest events first. Until
    /// `lease_until` nobody else is given them; a worker that dies needs do nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_deliveries(
        &self,
        endpoint: EndpointId,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>> {
        self.retried(|| self.try_claim_deliveries(endpoint, now, lease_until, limit))
            .await
    }

    async fn try_claim_deliveries(
        &self,
        endpoint: EndpointId,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>> {
        let mut tx = self.begin().await?;
        let rows = tx
            .fetch_all(
                sql(concat!(
                    "WITH chosen AS MATERIALIZED (
                         SELECT d.event_id FROM deliveries d
                         WHERE d.endpoint_id = $1 AND d.state = 'waiting'
                             AND d.next_attempt_at <= $2
                         ORDER BY d.next_attempt_at, d.event_id LIMIT $4)
                     UPDATE deliveries SET next_attempt_at = $3
                     WHERE endpoint_id = $1
                         AND event_id IN (SELECT chosen.event_id FROM chosen) AND ",
                    still!("state = 'waiting' AND next_attempt_at <= $2"),
                    " RETURNING event_id, attempts,
                         (SELECT v.body FROM events v WHERE v.id = event_id) AS body"
                ))
                .bind(endpoint.to_string())
                .bind(now.unix_ms())
                .bind(lease_until.unix_ms())
                .bind(i64::from(limit)),
            )
            .await?;
        tx.commit_unnoticed().await?;
        let mut claimed = rows
            .iter()
            .map(|row| {
                let row = Record::new(row, "deliveries", "event_id");
                Ok(ClaimedDelivery {
                    event_id: row.parsed("event_id")?,
                    body: row.text("body")?.to_owned(),
                    attempt: row.count::<u32>("attempts")?.saturating_add(1),
                    lease_until,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        claimed.sort_by_key(|delivery| delivery.event_id);
        Ok(claimed)
    }

    /// Notes what came of an attempt, and counts it. A delivery that somebody began anew or took
    /// since stays as it is. Whether it was noted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_attempt(
        &self,
        endpoint: EndpointId,
        claim: &ClaimedDelivery,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<bool> {
        let (state, status, error, next) = match attempt {
            Attempt::Delivered { status } => (DeliveryState::Delivered, Some(*status), None, now),
            Attempt::Again {
                status,
                error,
                next_attempt_at,
            } => (
                DeliveryState::Waiting,
                *status,
                Some(error.clone()),
                *next_attempt_at,
            ),
            Attempt::Failed { status, error } => {
                (DeliveryState::Failed, *status, Some(error.clone()), now)
            }
        };
        let noted = self
            .retried(|| {
                self.execute(
                    sql(
                        "UPDATE deliveries SET state = $3, last_status = $4, last_error = $5,
                             next_attempt_at = $6, updated_at = $7, attempts = attempts + 1
                         WHERE endpoint_id = $1 AND event_id = $2 AND state = 'waiting'
                             AND next_attempt_at = $8",
                    )
                    .bind(endpoint.to_string())
                    .bind(claim.event_id.to_string())
                    .bind(state.as_str())
                    .bind(status.map(i64::from))
                    .bind(error.as_deref().map(without_nul))
                    .bind(next.unix_ms())
                    .bind(now.unix_ms())
                    .bind(claim.lease_until.unix_ms()),
                )
            })
            .await?;
        Ok(noted == 1)
    }

    /// Disables an endpoint that does not want events any more, and gives up what waits for it. One
    /// that was disabled, or got another URL, since it said so stays as it is. Whether it was
    /// disabled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn disable_endpoint(
        &self,
        endpoint: &EndpointRow,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool> {
        self.retried(|| self.try_disable_endpoint(endpoint, reason, now))
            .await
    }

    async fn try_disable_endpoint(
        &self,
        endpoint: &EndpointRow,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let disabled = tx
            .execute(
                sql(
                    "UPDATE endpoints SET state = 'disabled', disabled_reason = $2, updated_at = $3
                     WHERE id = $1 AND state = 'enabled' AND url = $4",
                )
                .bind(endpoint.id.to_string())
                .bind(reason.to_owned())
                .bind(now.unix_ms())
                .bind(endpoint.url.0.clone()),
            )
            .await?;
        if disabled != 1 {
            return Ok(false);
        }
        tx.give_up_waiting(endpoint.id, reason, now).await?;
        tx.commit_unnoticed().await?;
        Ok(true)
    }

    /// Deliveries to an endpoint, newest events first, in one state or in any.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`].
    pub async fn list_deliveries(
        &self,
        endpoint: EndpointId,
        state: Option<DeliveryState>,
        page: &Page,
    ) -> Result<Paged<DeliveryRow>> {
        let mut select = Assembled::new(select_deliveries!());
        select.push(" WHERE d.endpoint_id = ");
        select.text(endpoint.to_string());
        if let Some(state) = state {
            select.push(" AND d.state = ").text(state.as_str());
        }
        if let Some(after) = page.cursor::<EventId>()? {
            select.push(" AND d.event_id < ").text(after.to_string());
        }
        select
            .push(" ORDER BY d.event_id DESC LIMIT ")
            .number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let mut deliveries = Vec::with_capacity(rows.len());
        for row in &rows {
            deliveries.extend(unless_damaged(DeliveryRow::read(row))?);
        }
        Ok(Paged::new(deliveries, page, |row: &DeliveryRow| {
            row.event_id
        }))
    }

    /// The deliveries of the oldest and of the newest event that are in this state for an endpoint.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ends_of_deliveries(
        &self,
        endpoint: EndpointId,
        state: DeliveryState,
    ) -> Result<Option<(DeliveryRow, DeliveryRow)>> {
        let asked = |text| {
            sql(text)
                .bind(endpoint.to_string())
                .bind(state.as_str().to_owned())
        };
        let oldest = asked(concat!(
            select_deliveries!(),
            " WHERE d.endpoint_id = $1 AND d.state = $2 ORDER BY d.event_id LIMIT 1"
        ));
        let newest = asked(concat!(
            select_deliveries!(),
            " WHERE d.endpoint_id = $1 AND d.state = $2 ORDER BY d.event_id DESC LIMIT 1"
        ));
        let oldest = self.fetch_optional(oldest).await?;
        let newest = self.fetch_optional(newest).await?;
        oldest
            .zip(newest)
            .map(|(oldest, newest)| Ok((DeliveryRow::read(&oldest)?, DeliveryRow::read(&newest)?)))
            .transpose()
    }

    /// Begins a delivery anew, whatever came of it, and gives it back as it is now.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when the event never went to this endpoint, or is forgotten.
    pub async fn redeliver(
        &self,
        endpoint: EndpointId,
        event: EventId,
        now: Timestamp,
    ) -> Result<DeliveryRow> {
        self.retried(|| self.try_redeliver(endpoint, event, now))
            .await
    }

    async fn try_redeliver(
        &self,
        endpoint: EndpointId,
        event: EventId,
        now: Timestamp,
    ) -> Result<DeliveryRow> {
        let mut tx = self.begin().await?;
        tx.execute(
            sql(
                "UPDATE deliveries SET state = 'waiting', attempts = 0, next_attempt_at = $3,
                     updated_at = $3
                 WHERE endpoint_id = $1 AND event_id = $2 AND EXISTS (SELECT 1 FROM endpoints w
                     WHERE w.id = endpoint_id AND w.state <> 'deleted')",
            )
            .bind(endpoint.to_string())
            .bind(event.to_string())
            .bind(now.unix_ms()),
        )
        .await?;
        let row = tx
            .fetch_optional(
                sql(concat!(
                    select_deliveries!(),
                    " WHERE d.endpoint_id = $1 AND d.event_id = $2"
                ))
                .bind(endpoint.to_string())
                .bind(event.to_string()),
            )
            .await?
            .ok_or(CatalogError::NotFound(Noun::Delivery))?;
        tx.ring_on_commit();
        tx.commit_unnoticed().await?;
        DeliveryRow::read(&row)
    }

    /// Begins anew the deliveries to an endpoint that were given up, of events since a moment; how
    /// many there were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn redeliver_failed(
        &self,
        endpoint: EndpointId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<u64> {
        self.retried(|| self.try_redeliver_failed(endpoint, since, now))
            .await
    }

    async fn try_redeliver_failed(
        &self,
        endpoint: EndpointId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<u64> {
        let mut tx = self.begin().await?;
        let begun = tx
            .execute(
                sql(
                    "UPDATE deliveries SET state = 'waiting', attempts = 0, next_attempt_at = $3,
                         updated_at = $3
                     WHERE endpoint_id = $1 AND state = 'failed'
                         AND (SELECT v.created_at FROM events v WHERE v.id = event_id) >= $2",
                )
                .bind(endpoint.to_string())
                .bind(since.unix_ms())
                .bind(now.unix_ms()),
            )
            .await?;
        tx.ring_on_commit();
        tx.commit_unnoticed().await?;
        Ok(begun)
    }

    /// Forgets up to `limit` events that happened before a moment, with their deliveries, unless one
    /// of these still waits for an endpoint that is there; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_events(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let rows = self
            .fetch_all(
                sql("SELECT v.id FROM events v
                     WHERE v.created_at < $1 AND NOT EXISTS (SELECT 1 FROM deliveries d
                         JOIN endpoints w ON w.id = d.endpoint_id AND w.state <> 'deleted'
                         WHERE d.event_id = v.id AND d.state = 'waiting')
                     ORDER BY v.created_at LIMIT $2")
                .bind(before.unix_ms())
                .bind(i64::from(limit)),
            )
            .await?;
        let ids = rows
            .iter()
            .map(|row| Ok(Record::new(row, "events", "id").text("id")?.to_owned()))
            .collect::<Result<Vec<_>>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        self.retried(|| self.try_forget(&ids)).await
    }

    async fn try_forget(&self, ids: &[String]) -> Result<u64> {
        let mut tx = self.begin().await?;
        let push_ids = |delete: &mut Assembled| {
            delete
                .rows(ids, |row, id| {
                    row.text(id.as_str());
                    Ok(())
                })
                .map(drop)
        };
        // Asked once more, because one may have been begun anew meanwhile.
        let mut delete = Assembled::new("DELETE FROM deliveries WHERE event_id IN (VALUES ");
        push_ids(&mut delete)?;
        delete.push(
            ") AND (state <> 'waiting' OR EXISTS (SELECT 1 FROM endpoints w
                 WHERE w.id = endpoint_id AND w.state = 'deleted'))",
        );
        tx.execute(delete.finish()).await?;
        let mut delete = Assembled::new("DELETE FROM events WHERE id IN (VALUES ");
        push_ids(&mut delete)?;
        delete.push(") AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = events.id)");
        let forgotten = tx.execute(delete.finish()).await?;
        tx.commit_unnoticed().await?;
        Ok(forgotten)
    }
}

impl Tx {
    /// Gives up everything that waits for an endpoint.
    pub(crate) async fn give_up_waiting(
        &mut self,
        endpoint: EndpointId,
        why: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.execute(
            sql(
                "UPDATE deliveries SET state = 'failed', last_error = $2, next_attempt_at = $3,
                     updated_at = $3
                 WHERE endpoint_id = $1 AND state = 'waiting'",
            )
            .bind(endpoint.to_string())
            .bind(why.to_owned())
            .bind(now.unix_ms()),
        )
        .await
        .map(drop)
    }
}
