//! The outbox: what happened is recorded in the transaction in which it did, for every endpoint that
//! wants to know. A worker delivers it afterwards; see `deliveries.rs`.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use sqlx::any::AnyRow;
use stockroom_domain::{
    AssetId, Download, DownloadId, EndpointId, Entropy, EventId, EventKind, Filename, Key, ModelId,
    ModelStatus, ObjectId, PlacementState, PurchaseId, Sha256Digest, StoreName, Subject, Timestamp,
};
use tokio::sync::Notify;

use crate::assembled::Assembled;
use crate::assets::AssetRow;
use crate::error::Result;
use crate::models::ModelRow;
use crate::purchases::PurchaseRow;
use crate::row::{Record, to_json};
use crate::run::{Tx, sql};

/// Where events get their ids, and who is told that there are some.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) bell: Arc<Notify>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbox")
    }
}

/// What is sent. Source of the form:
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
#[derive(Serialize)]
struct Body<'a, D> {
    id: EventId,
    r#type: EventKind,
    timestamp: Timestamp,
    data: &'a D,
}

/// How many rows one statement carries; SQLite takes 32,766 values.
const ROWS: usize = 200;

/// Something that happened, with what is sent of it.
pub(crate) struct Event {
    id: EventId,
    kind: EventKind,
    at: Timestamp,
    body: String,
}

/// What an event says of a model.
#[derive(Serialize)]
pub(crate) struct ModelFacts<'a> {
    model: ModelId,
    artist: &'a Subject,
    title: &'a str,
    status: ModelStatus,
}

impl<'a> From<&'a ModelRow> for ModelFacts<'a> {
    fn from(row: &'a ModelRow) -> Self {
        Self {
            model: row.id,
            artist: &row.artist,
            title: &row.title,
            status: row.status,
        }
    }
}

/// What an event says of an asset.
#[derive(Serialize)]
pub(crate) struct AssetFacts<'a> {
    asset: AssetId,
    model: ModelId,
    filename: &'a Filename,
    version: u32,
    format: &'a str,
    size: u64,
    sha256: Sha256Digest,
    key: &'a Key,
}

impl<'a> From<&'a AssetRow> for AssetFacts<'a> {
    fn from(row: &'a AssetRow) -> Self {
        Self {
            asset: row.id,
            model: row.model_id,
            filename: &row.filename,
            version: row.version,
            format: &row.format,
            size: row.object.size_bytes,
            sha256: row.object.sha256,
            key: &row.object.key,
        }
    }
}

/// What an event says of a purchase.
#[derive(Serialize)]
pub(crate) struct PurchaseFacts<'a> {
    purchase: PurchaseId,
    buyer: &'a Subject,
    model: ModelId,
    order_ref: &'a str,
    purchased_at: Timestamp,
    expires_at: Option<Timestamp>,
    download_limit: Option<u64>,
    refunded_at: Option<Timestamp>,
}

impl<'a> From<&'a PurchaseRow> for PurchaseFacts<'a> {
    fn from(row: &'a PurchaseRow) -> Self {
        Self {
            purchase: row.id,
            buyer: &row.buyer,
            model: row.model_id,
            order_ref: &row.order_ref,
            purchased_at: row.purchased_at,
            expires_at: row.expires_at,
            download_limit: row.download_limit,
            refunded_at: row.refunded_at,
        }
    }
}

/// What an event says of a download.
#[derive(Serialize)]
pub(crate) struct DownloadFacts<'a> {
    download: DownloadId,
    purchase: PurchaseId,
    buyer: &'a Subject,
    model: ModelId,
    asset: AssetId,
    order_ref: &'a str,
    size: u64,
}

impl<'a> DownloadFacts<'a> {
    /// A download of an asset that began on the account of a purchase.
    pub(crate) fn new(row: &'a PurchaseRow, asset: AssetId, download: &Download) -> Self {
        Self {
            download: download.id,
            purchase: row.id,
            buyer: &row.buyer,
            model: row.model_id,
            asset,
            order_ref: &row.order_ref,
            size: download.size_bytes,
        }
    }
}

/// What an event says of a placement.
#[derive(Serialize)]
struct PlacementFacts<'a> {
    object: ObjectId,
    key: Key,
    store: &'a StoreName,
    state: PlacementState,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// What a test says: nothing but where it goes.
#[derive(Serialize)]
pub(crate) struct TestFacts {
    pub(crate) endpoint: EndpointId,
}

impl Tx {
    /// Records that something happened, for every endpoint that wants to know.
    pub(crate) async fn tell(
        &mut self,
        kind: EventKind,
        now: Timestamp,
        facts: &impl Serialize,
    ) -> Result<()> {
        let listeners = self.listeners(kind).await?;
        self.tell_to(&listeners, kind, now, facts).await.map(drop)
    }

    /// The endpoints that want to know of such events. Where it takes work to say what happened,
    /// it is only done when there are any.
    pub(crate) async fn listeners(&mut self, kind: EventKind) -> Result<Vec<EndpointId>> {
        read_listeners(&self.fetch_all(select_listeners(kind).finish()).await?)
    }

    /// Records that something happened, for these endpoints; none when there are none.
    pub(crate) async fn tell_to(
        &mut self,
        listeners: &[EndpointId],
        kind: EventKind,
        now: Timestamp,
        facts: &impl Serialize,
    ) -> Result<Option<EventId>> {
        if listeners.is_empty() {
            return Ok(None);
        }
        let event = self.event(kind, now, facts)?;
        let id = event.id;
        self.tell_all(listeners, &[event]).await?;
        Ok(Some(id))
    }

    /// Something that happened, to be recorded.
    pub(crate) fn event(
        &self,
        kind: EventKind,
        at: Timestamp,
        facts: &impl Serialize,
    ) -> Result<Event> {
        let id = EventId::generate(at, &*self.outbox().entropy);
        let body = to_json(&Body {
            id,
            r#type: kind,
            timestamp: at,
            data: facts,
        })?;
        Ok(Event { id, kind, at, body })
    }

    /// Records several things that happened, for these endpoints.
    pub(crate) async fn tell_all(
        &mut self,
        listeners: &[EndpointId],
        events: &[Event],
    ) -> Result<()> {
        for some in events.chunks(ROWS) {
            let mut insert =
                Assembled::new("INSERT INTO events (id, kind, body, created_at) VALUES ");
            insert.rows(some, |row, event| {
                row.text(event.id.to_string()).comma();
                row.text(event.kind.as_str()).comma();
                row.text(event.body.as_str()).comma();
                row.number(event.at.unix_ms());
                Ok(())
            })?;
            self.execute(insert.finish()).await?;
        }
        let deliveries: Vec<(&Event, &EndpointId)> = events
            .iter()
            .flat_map(|event| listeners.iter().map(move |endpoint| (event, endpoint)))
            .collect();
        for some in deliveries.chunks(ROWS) {
            let mut insert = Assembled::new(
                "INSERT INTO deliveries
                     (event_id, endpoint_id, state, attempts, next_attempt_at, updated_at) VALUES ",
            );
            insert.rows(some, |row, (event, endpoint)| {
                row.text(event.id.to_string()).comma();
                row.text(endpoint.to_string()).push(", 'waiting', 0, ");
                row.number(event.at.unix_ms()).comma();
                row.number(event.at.unix_ms());
                Ok(())
            })?;
            self.execute(insert.finish()).await?;
        }
        self.ring_on_commit();
        Ok(())
    }

    /// Records that copies of several objects are there. Whether anybody wants to know is asked once.
    pub(crate) async fn tell_of_present(
        &mut self,
        objects: &[ObjectId],
        store: &StoreName,
        now: Timestamp,
    ) -> Result<()> {
        if self
            .listeners(EventKind::PlacementPresent)
            .await?
            .is_empty()
        {
            return Ok(());
        }
        for object in objects {
            self.tell_of_placement(*object, store, PlacementState::Present, None, now)
                .await?;
        }
        Ok(())
    }

    /// Records what became of a copy, where somebody outside may care. A copy that is owed, or about
    /// to be removed, is the engine's own business.
    pub(crate) async fn tell_of_placement(
        &mut self,
        object: ObjectId,
        store: &StoreName,
        state: PlacementState,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let kind = match state {
            PlacementState::Present => EventKind::PlacementPresent,
            PlacementState::Suspect => EventKind::PlacementSuspect,
            PlacementState::Gone => EventKind::PlacementGone,
            PlacementState::Copying | PlacementState::Retiring => return Ok(()),
        };
        let listeners = self.listeners(kind).await?;
        if listeners.is_empty() {
            return Ok(());
        }
        let row = self
            .fetch_optional(
                sql("SELECT o.id, o.key FROM objects o WHERE o.id = $1").bind(object.to_string()),
            )
            .await?;
        let Some(row) = row else { return Ok(()) };
        let facts = PlacementFacts {
            object,
            key: Record::new(&row, "objects", "id").parsed("key")?,
            store,
            state,
            reason,
        };
        self.tell_to(&listeners, kind, now, &facts).await.map(drop)
    }
}

/// The endpoints that want to know of such events.
pub(crate) fn select_listeners(kind: EventKind) -> Assembled {
    let mut select = Assembled::new(
        "SELECT DISTINCT w.id FROM subscriptions s
         JOIN endpoints w ON w.id = s.endpoint_id
         WHERE s.kind IN (",
    );
    select.text(kind.as_str());
    select.push(", '*') AND w.state = 'enabled'");
    select
}

pub(crate) fn read_listeners(rows: &[AnyRow]) -> Result<Vec<EndpointId>> {
    rows.iter()
        .map(|row| Record::new(row, "endpoints", "id").parsed("id"))
        .collect()
}
