//! What callers see of models, assets, purchases and objects.

use std::collections::BTreeMap;

use serde::Serialize;
use stockroom_catalog::{AssetRow, ModelRow, ObjectRow, Placement, PurchaseRow};
use stockroom_domain::{
    AssetId, Filename, Key, ModelId, ModelStatus, Money, ObjectId, PlacementState, PurchaseId,
    PurchaseStatus, Role, Sha256Digest, StoreName, Subject, Timestamp,
};
use stockroom_formats::Format;
use stockroom_storage::SignedUrl;
use utoipa::ToSchema;

use crate::http::auth::Identity;

/// A listing by an artist.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
pub struct ModelView {
    /// `mdl_...`
    #[schema(value_type = String)]
    pub id: ModelId,
    /// The user who sells it.
    #[schema(value_type = String)]
    pub artist: Subject,
    /// Its title.
    pub title: String,
    /// What the artist says of it.
    pub description: Option<String>,
    /// The licence that buyers get.
    pub license: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// `{amount, currency}`, the amount in minor units.
    #[schema(value_type = Option<PriceView>)]
    pub price: Option<Money>,
    /// `draft` or `published`.
    #[schema(value_type = String)]
    pub status: ModelStatus,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
}

/// A price.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Price)]
pub struct PriceView {
    /// In minor units: cents.
    pub amount: i64,
    /// ISO 4217, such as `EUR`.
    pub currency: String,
}

/// One version of one file of a model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Asset)]
pub struct AssetView {
    /// `ast_...`
    #[schema(value_type = String)]
    pub id: AssetId,
    /// The model it belongs to.
    #[schema(value_type = String)]
    pub model: ModelId,
    /// The name the artist gave it.
    #[schema(value_type = String)]
    pub filename: Filename,
    /// What it is, by its content: `stl`, `obj`, `3mf`, `glb`, ...
    pub format: String,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes in hex.
    #[schema(value_type = String)]
    pub sha256: Sha256Digest,
    /// Its media type.
    pub content_type: String,
    /// 1 for the first file of this name, one more for each that replaced it.
    pub version: u32,
    /// Where its bytes lie.
    #[schema(value_type = String)]
    pub key: Key,
    /// What the check of the file found.
    #[schema(value_type = Object)]
    pub report: Option<serde_json::Value>,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// On which stores the bytes lie; for operators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placements: Option<Vec<PlacementView>>,
}

/// What is known of the bytes on one store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Placement)]
pub struct PlacementView {
    /// `local` or `s3`.
    #[schema(value_type = String)]
    pub store: StoreName,
    /// `copying`, `present`, `suspect`, `retiring` or `gone`.
    #[schema(value_type = String)]
    pub state: PlacementState,
    /// When the bytes there were last known to match their hash.
    #[schema(value_type = Option<String>)]
    pub verified_at: Option<Timestamp>,
}

/// What lets a buyer download a model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Purchase)]
pub struct PurchaseView {
    /// `pur_...`
    #[schema(value_type = String)]
    pub id: PurchaseId,
    /// The user who bought it.
    #[schema(value_type = String)]
    pub buyer: Subject,
    /// The model that was bought.
    #[schema(value_type = String)]
    pub model: ModelId,
    /// The shop's own name for the order.
    pub order_ref: String,
    /// `active`, `refunded` or `expired`.
    #[schema(value_type = String)]
    pub status: PurchaseStatus,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub purchased_at: Timestamp,
    /// When it ends; `null` for never.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// How many downloads it allows; `null` for any number.
    pub download_limit: Option<u64>,
    /// How many downloads were made.
    pub downloads: u64,
}

/// A purchase with what was bought.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LibraryEntry)]
pub struct LibraryEntryView {
    /// The purchase.
    #[serde(flatten)]
    pub purchase: PurchaseView,
    /// The model; `null` when it was deleted.
    pub model_details: Option<ModelView>,
    /// The newest version of each of its files.
    pub assets: Vec<AssetView>,
}

/// An object of the storage facade.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Object)]
pub struct ObjectView {
    /// `obj_...`; another one after each replacement.
    #[schema(value_type = String)]
    pub id: ObjectId,
    /// Its key.
    #[schema(value_type = String)]
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes in hex.
    #[schema(value_type = String)]
    pub sha256: Sha256Digest,
    /// Its media type.
    pub content_type: String,
    /// Its user metadata.
    pub metadata: BTreeMap<String, String>,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// On which stores the bytes lie.
    pub placements: Vec<PlacementView>,
}

/// A URL that carries its own permission.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignedUrl)]
pub struct SignedUrlView {
    /// Whoever has it can read the file until it ends.
    pub url: String,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
}

impl From<ModelRow> for ModelView {
    fn from(row: ModelRow) -> Self {
        Self {
            id: row.id,
            artist: row.artist,
            title: row.title,
            description: row.description,
            license: row.license,
            tags: row.tags,
            price: row.price,
            status: row.status,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl AssetView {
    /// What this caller sees of an asset.
    #[must_use]
    pub fn of(row: AssetRow, viewer: &Identity) -> Self {
        let is_operator = viewer.role == Some(Role::Operator);
        let content_type = content_type(&row);
        Self {
            id: row.id,
            model: row.model_id,
            filename: row.filename,
            format: row.format,
            size: row.object.size_bytes,
            sha256: row.object.sha256,
            content_type,
            version: row.version,
            key: row.object.key,
            report: row.report,
            created_at: row.created_at,
            placements: is_operator.then(|| placements(row.object.placements)),
        }
    }
}

/// The media type of an asset: that of its format, which was told by its content. The object's
/// own was guessed by the file name, before the first byte came.
#[must_use]
pub fn content_type(row: &AssetRow) -> String {
    let known = row.format.parse().ok().map(Format::content_type);
    known.unwrap_or(&row.object.content_type).to_owned()
}

impl From<Placement> for PlacementView {
    fn from(placement: Placement) -> Self {
        Self {
            store: placement.store,
            state: placement.state,
            verified_at: placement.verified_at,
        }
    }
}

fn placements(placements: Vec<Placement>) -> Vec<PlacementView> {
    placements.into_iter().map(PlacementView::from).collect()
}

impl PurchaseView {
    /// The purchase as it is at the moment `now`.
    #[must_use]
    pub fn of(row: PurchaseRow, now: Timestamp) -> Self {
        Self {
            id: row.id,
            status: row.status(now),
            buyer: row.buyer,
            model: row.model_id,
            order_ref: row.order_ref,
            purchased_at: row.purchased_at,
            expires_at: row.expires_at,
            download_limit: row.download_limit,
            downloads: row.downloads,
        }
    }
}

impl From<ObjectRow> for ObjectView {
    fn from(row: ObjectRow) -> Self {
        Self {
            id: row.id,
            key: row.key,
            size: row.size_bytes,
            sha256: row.sha256,
            content_type: row.content_type,
            metadata: row.metadata,
            created_at: row.live_at,
            placements: placements(row.placements),
        }
    }
}

impl From<SignedUrl> for SignedUrlView {
    fn from(signed: SignedUrl) -> Self {
        Self {
            url: signed.url,
            expires_at: signed.expires_at,
        }
    }
}
