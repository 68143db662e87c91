//! Endpoints: where events are sent, which ones, and what they are signed with.

use std::collections::BTreeSet;
use std::fmt;

use sqlx::any::AnyRow;
use stockroom_domain::{EndpointId, EndpointState, EventId, EventKind, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::{CatalogError, Noun, Result};
use crate::outbox::TestFacts;
use crate::page::{Page, Paged};
use crate::row::{Record, check_text, to_json, unless_damaged};
use crate::run::{Tx, sql};

/// What the row of a subscription to all kinds of events has.
const ALL_KINDS: &str = "*";

/// A secret that events are signed with, as text. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointSecret(pub String);

impl fmt::Debug for EndpointSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointSecret(..)")
    }
}

/// Where events are sent. What follows the host is often a secret, so its `Debug` form does not show
/// it.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl(pub String);

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointUrl(..)")
    }
}

/// Which events an endpoint is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscriptions {
    /// All, also kinds that later versions add.
    All,
    /// These.
    Only(BTreeSet<EventKind>),
}

impl Subscriptions {
    fn kinds(&self) -> Vec<&'static str> {
        match self {
            Self::All => vec![ALL_KINDS],
            Self::Only(kinds) => kinds.iter().map(|kind| kind.as_str()).collect(),
        }
    }
}

/// An endpoint to be stored. It is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Its id.
    pub id: EndpointId,
    /// Where events are sent.
    pub url: EndpointUrl,
    /// What it is, for people.
    pub description: Option<String>,
    /// Which events.
    pub events: Subscriptions,
    /// What they are signed with.
    pub secret: EndpointSecret,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A stored endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// Its id.
    pub id: EndpointId,
    /// Where events are sent.
    pub url: EndpointUrl,
    /// What it is, for people.
    pub description: Option<String>,
    /// Which events.
    pub events: Subscriptions,
    /// Whether events are sent.
    pub state: EndpointState,
    /// Why not, where it was not an operator who wanted that.
    pub disabled_reason: Option<String>,
    /// What events are signed with.
    pub secret: EndpointSecret,
    /// What they are signed with too, each until the moment given; newest first.
    pub old_secrets: Vec<(EndpointSecret, Timestamp)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A change of an endpoint: `None` leaves a value, `Some(None)` clears it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointPatch {
    /// Another place.
    pub url: Option<EndpointUrl>,
    /// Another description, or none any more.
    pub description: Option<Option<String>>,
    /// Other events.
    pub events: Option<Subscriptions>,
    /// Enables or disables it.
    pub is_enabled: Option<bool>,
}

/// The columns of `endpoints w`, with the kinds in one text with commas between.
macro_rules! select_endpoints {
    () => {
        "SELECT w.id AS endpoint_id, w.url AS endpoint_url, w.description AS endpoint_description, \
         w.state AS endpoint_state, w.disabled_reason AS endpoint_disabled_reason, \
         w.secret AS endpoint_secret, w.old_secrets AS endpoint_old_secrets, \
         w.created_at AS endpoint_created_at, w.updated_at AS endpoint_updated_at, \
         (SELECT string_agg(s.kind, ',') FROM subscriptions s WHERE s.endpoint_id = w.id) \
             AS endpoint_kinds \
         FROM endpoints w"
    };
}

/// When the delivery is due that waits for an endpoint for longest: the first of an index.
macro_rules! waiting_since {
    () => {
        "(SELECT min(d.next_attempt_at) FROM deliveries d \
         WHERE d.endpoint_id = w.id AND d.state = 'waiting')"
    };
}

const FIND: &str = concat!(
    select_endpoints!(),
    " WHERE w.id = $1 AND w.state <> 'deleted'"
);

impl EndpointRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "endpoints", "endpoint_id");
        let old_secrets: Vec<(String, i64)> = row.json("endpoint_old_secrets")?;
        Ok(Self {
            id: row.parsed("endpoint_id")?,
            url: EndpointUrl(row.text("endpoint_url")?.to_owned()),
            description: row.text_or_null("endpoint_description")?.map(str::to_owned),
            events: read_kinds(row)?,
            state: row.parsed("endpoint_state")?,
            disabled_reason: row
                .text_or_null("endpoint_disabled_reason")?
                .map(str::to_owned),
            secret: EndpointSecret(row.text("endpoint_secret")?.to_owned()),
            old_secrets: old_secrets
                .into_iter()
                .map(|(text, until)| (EndpointSecret(text), Timestamp::from_unix_ms(until)))
                .collect(),
            created_at: row.time("endpoint_created_at")?,
            updated_at: row.time("endpoint_updated_at")?,
        })
    }
}

fn read_kinds(row: Record<'_>) -> Result<Subscriptions> {
    const COLUMN: &str = "endpoint_kinds";
    let mut kinds = BTreeSet::new();
    let texts = row.text_or_null(COLUMN)?.unwrap_or("").split(',');
    for text in texts.filter(|text| !text.is_empty()) {
        if text == ALL_KINDS {
            return Ok(Subscriptions::All);
        }
        // A kind that only a later version knows happens only there.
        kinds.extend(text.parse::<EventKind>());
    }
    Ok(Subscriptions::Only(kinds))
}

impl Catalog {
    /// Stores an endpoint.
    ///
    /// # Errors
    /// [`CatalogError::InvalidText`] when a text has NUL.
    pub async fn insert_endpoint(&self, new: &NewEndpoint) -> Result<EndpointRow> {
        check_text("url", &new.url.0)?;
        check_text("description", new.description.as_deref().unwrap_or(""))?;
        self.retried(|| self.try_insert_endpoint(new)).await
    }

    async fn try_insert_endpoint(&self, new: &NewEndpoint) -> Result<EndpointRow> {
        let mut tx = self.begin().await?;
        tx.execute(
            sql("INSERT INTO endpoints
                     (id, url, description, state, secret, old_secrets, created_at, updated_at)
                 VALUES ($1, $2, $3, 'enabled', $4, '[]', $5, $5)")
            .bind(new.id.to_string())
            .bind(new.url.0.clone())
            .bind(new.description.clone())
            .bind(new.secret.0.clone())
            .bind(new.created_at.unix_ms()),
        )
        .await?;
        tx.subscribe(new.id, &new.events).await?;
        let row = tx.endpoint(new.id).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// The endpoint with this id, unless it was deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_endpoint(&self, id: EndpointId) -> Result<Option<EndpointRow>> {
        self.fetch_optional(sql(FIND).bind(id.to_string()))
            .await?
            .as_ref()
            .map(EndpointRow::read)
            .transpose()
    }

    /// Endpoints that were not deleted, newest first.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`].
    pub async fn list_endpoints(&self, page: &Page) -> Result<Paged<EndpointRow>> {
        let mut select =
            Assembled::new(concat!(select_endpoints!(), " WHERE w.state <> 'deleted'"));
        if let Some(after) = page.cursor::<EndpointId>()? {
            select.push(" AND w.id < ").text(after.to_string());
        }
        select
            .push(" ORDER BY w.id DESC LIMIT ")
            .number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let endpoints = rows.iter().map(EndpointRow::read).collect::<Result<_>>()?;
        Ok(Paged::new(endpoints, page, |row: &EndpointRow| row.id))
    }

    /// Changes an endpoint and gives it back as it is now. While it is disabled, what waits for it
    /// goes on waiting and nothing is added.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::InvalidText`] when a text has NUL.
    pub async fn update_endpoint(
        &self,
        id: EndpointId,
        patch: &EndpointPatch,
        now: Timestamp,
    ) -> Result<EndpointRow> {
        check_text("url", patch.url.as_ref().map_or("", |url| &url.0))?;
        let description = patch.description.as_ref().and_then(Option::as_deref);
        check_text("description", description.unwrap_or(""))?;
        self.retried(|| self.try_update_endpoint(id, patch, now))
            .await
    }

    async fn try_update_endpoint(
        &self,
        id: EndpointId,
        patch: &EndpointPatch,
        now: Timestamp,
    ) -> Result<EndpointRow> {
        let mut tx = self.begin().await?;
        tx.hold_endpoint(id, now).await?;
        let row = tx.endpoint(id).await?;
        let (state, disabled_reason) = match patch.is_enabled {
            None => (row.state, row.disabled_reason),
            Some(true) => (EndpointState::Enabled, None),
            Some(false) => (EndpointState::Disabled, None),
        };
        tx.execute(
            sql(
                "UPDATE endpoints SET url = $2, description = $3, state = $4, disabled_reason = $5
                 WHERE id = $1",
            )
            .bind(id.to_string())
            .bind(patch.url.clone().unwrap_or(row.url).0)
            .bind(patch.description.clone().unwrap_or(row.description))
            .bind(state.as_str())
            .bind(disabled_reason),
        )
        .await?;
        if let Some(events) = &patch.events {
            tx.execute(
                sql("DELETE FROM subscriptions WHERE endpoint_id = $1").bind(id.to_string()),
            )
            .await?;
            tx.subscribe(id, events).await?;
        }
        let row = tx.endpoint(id).await?;
        // What waited meanwhile may be sent again.
        tx.ring_on_commit();
        tx.commit().await?;
        Ok(row)
    }

    /// How many secrets count beside the present one at most.
    pub const MAX_OLD_SECRETS: usize = 4;

    /// Has events signed with another secret, and with the present one too until `old_until`. Others
    /// that still count go on counting, so that a call whose answer was lost can be repeated; of too
    /// many the oldest ends.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn rotate_endpoint_secret(
        &self,
        id: EndpointId,
        secret: &EndpointSecret,
        old_until: Timestamp,
        now: Timestamp,
    ) -> Result<EndpointRow> {
        self.retried(|| self.try_rotate_endpoint_secret(id, secret, old_until, now))
            .await
    }

    async fn try_rotate_endpoint_secret(
        &self,
        id: EndpointId,
        secret: &EndpointSecret,
        old_until: Timestamp,
        now: Timestamp,
    ) -> Result<EndpointRow> {
        let mut tx = self.begin().await?;
        tx.hold_endpoint(id, now).await?;
        let row = tx.endpoint(id).await?;
        let mut old: Vec<(String, i64)> = vec![(row.secret.0, old_until.unix_ms())];
        let counting = row
            .old_secrets
            .into_iter()
            .filter(|(_, until)| now < *until);
        old.extend(counting.map(|(secret, until)| (secret.0, until.unix_ms())));
        old.truncate(Self::MAX_OLD_SECRETS);
        tx.execute(
            sql("UPDATE endpoints SET secret = $2, old_secrets = $3 WHERE id = $1")
                .bind(id.to_string())
                .bind(secret.0.clone())
                .bind(to_json(&old)?),
        )
        .await?;
        let row = tx.endpoint(id).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Ends an endpoint: nothing is sent any more, and what waits is given up.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when it is not there or was deleted before.
    pub async fn delete_endpoint(&self, id: EndpointId, now: Timestamp) -> Result<()> {
        self.retried(|| self.try_delete_endpoint(id, now)).await
    }

    async fn try_delete_endpoint(&self, id: EndpointId, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.hold_endpoint(id, now).await?;
        tx.execute(
            sql("UPDATE endpoints SET state = 'deleted' WHERE id = $1").bind(id.to_string()),
        )
        .await?;
        tx.give_up_waiting(id, "the endpoint was deleted", now)
            .await?;
        tx.commit().await
    }

    /// Records an event that tells nothing, for one endpoint alone, whatever it is sent otherwise.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn test_endpoint(&self, id: EndpointId, now: Timestamp) -> Result<EventId> {
        self.retried(|| self.try_test_endpoint(id, now)).await
    }

    async fn try_test_endpoint(&self, id: EndpointId, now: Timestamp) -> Result<EventId> {
        let mut tx = self.begin().await?;
        tx.hold_endpoint(id, now).await?;
        let event = tx
            .tell_to(
                &[id],
                EventKind::EndpointTest,
                now,
                &TestFacts { endpoint: id },
            )
            .await?
            .ok_or(CatalogError::NotFound(Noun::Endpoint))?;
        tx.commit().await?;
        Ok(event)
    }
}

impl Tx {
    /// The endpoint with this id, unless it was deleted.
    async fn endpoint(&mut self, id: EndpointId) -> Result<EndpointRow> {
        let row = self.fetch_optional(sql(FIND).bind(id.to_string())).await?;
        row.as_ref()
            .map(EndpointRow::read)
            .ok_or(CatalogError::NotFound(Noun::Endpoint))?
    }

    /// Keeps others from changing an endpoint until this transaction ends.
    async fn hold_endpoint(&mut self, id: EndpointId, now: Timestamp) -> Result<()> {
        let held = self
            .execute(
                sql("UPDATE endpoints SET updated_at = $2 WHERE id = $1 AND state <> 'deleted'")
                    .bind(id.to_string())
                    .bind(now.unix_ms()),
            )
            .await?;
        if held == 1 {
            Ok(())
        } else {
            Err(CatalogError::NotFound(Noun::Endpoint))
        }
    }

    async fn subscribe(&mut self, id: EndpointId, events: &Subscriptions) -> Result<()> {
        let kinds = events.kinds();
        if kinds.is_empty() {
            return Ok(());
        }
        let mut insert = Assembled::new("INSERT INTO subscriptions (endpoint_id, kind) VALUES ");
        insert.rows(kinds, |row, kind| {
            row.text(id.to_string()).comma();
            row.text(kind);
            Ok(())
        })?;
        self.execute(insert.finish()).await.map(drop)
    }
}

impl Catalog {
    /// Enabled endpoints for which something waits that is due, at most `limit`, those that waited
    /// longest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_endpoints(&self, now: Timestamp, limit: u32) -> Result<Vec<EndpointRow>> {
        let rows = self
            .fetch_all(
                sql(concat!(
                    select_endpoints!(),
                    " WHERE w.state = 'enabled' AND ",
                    waiting_since!(),
                    " <= $1 ORDER BY ",
                    waiting_since!(),
                    " LIMIT $2"
                ))
                .bind(now.unix_ms())
                .bind(i64::from(limit)),
            )
            .await?;
        let mut endpoints = Vec::with_capacity(rows.len());
        for row in &rows {
            endpoints.extend(unless_damaged(EndpointRow::read(row))?);
        }
        Ok(endpoints)
    }
}
