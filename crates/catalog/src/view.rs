//! The one query behind every download: the caller's key, the asset with its model, object and
//! placements, and the caller's best purchase, in one round trip; and the one behind every link.

use std::sync::Arc;

use sqlx::any::AnyRow;
use stockroom_domain::{
    AssetFacts, AssetId, Download, Entitlement, Key, ModelStatus, ObjectState, PurchaseId, Subject,
    Timestamp,
};

use crate::Catalog;
use crate::assets::{AssetRow, asset_columns};
use crate::downloads::{download_columns, read_download};
use crate::error::Result;
use crate::keys::{KeyHash, KeyRow, key_columns};
use crate::objects::{ObjectDetails, object_details_columns};
use crate::purchases::{PurchaseRow, purchase_columns};
use crate::row::Record;
use crate::run::sql;

/// Who asks for which asset.
#[derive(Debug, Clone, Copy)]
pub struct AssetQuery<'a> {
    /// The asset.
    pub asset_id: AssetId,
    /// The hash of the caller's key, if one was sent.
    pub key_hash: Option<KeyHash>,
    /// The user the caller says to act for. It counts for keys of services and operators only.
    pub acting_for: Option<&'a Subject>,
    /// The present moment.
    pub now: Timestamp,
}

/// What is known of the caller and of the asset. Each may be missing without the other.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetView {
    /// The caller's key, also when it was revoked or has ended: ask [`KeyRow::is_usable`].
    pub key: Option<KeyRow>,
    /// The asset, also when it was deleted.
    pub asset: Option<Arc<AssetDetails>>,
}

impl AssetView {
    /// Whether the same question may get the same answer for a moment. A limit is counted in the database.
    pub(crate) fn may_be_kept(&self) -> bool {
        let purchase = self.asset.as_ref().map(|asset| asset.purchase.as_ref());
        let is_limited = purchase.map(|it| it.is_some_and(|it| it.download_limit.is_some()));
        self.key.is_some() && is_limited == Some(false)
    }
}

/// All that a download needs to know of an asset.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetDetails {
    /// The asset with its object and placements.
    pub asset: AssetRow,
    /// The checksums of the object's chunks, as whoever recorded them wrote them.
    pub chunk_sums: Vec<u8>,
    /// Who sells the model.
    pub artist: Subject,
    /// Whether the model is on show.
    pub model_status: ModelStatus,
    /// The asset or its model was deleted.
    pub deleted: bool,
    /// The best purchase of the model by the user on whose behalf the call is made: one that
    /// lets them download now before others, then the newest.
    pub purchase: Option<PurchaseRow>,
    /// The newest download of the asset with that purchase, looked up where it has a limit.
    pub last_download: Option<Download>,
}

impl AssetDetails {
    /// What the gate must know.
    #[must_use]
    pub fn facts(&self) -> AssetFacts {
        AssetFacts {
            artist: self.artist.clone(),
            model_status: self.model_status,
            deleted: self.deleted,
            entitlement: self.purchase.as_ref().map(|purchase| Entitlement {
                last_download: self.last_download,
                ..purchase.entitlement()
            }),
        }
    }

    fn read(row: &AnyRow, asset: AssetRow) -> Result<Self> {
        let chunk_sums = ObjectDetails::read(row)?.chunk_sums;
        let model = Record::new(row, "models", "model_id");
        let model_deleted = model.time_or_null("model_deleted_at")?.is_some();
        Ok(Self {
            chunk_sums,
            artist: model.parsed("model_artist")?,
            model_status: model.parsed("model_status")?,
            deleted: model_deleted
                || asset.deleted_at.is_some()
                || asset.object.state != ObjectState::Live,
            purchase: PurchaseRow::read_if_there(row)?,
            last_download: read_download(row)?,
            asset,
        })
    }
}

/// What [`AssetDetails`] reads.
macro_rules! details_columns {
    () => {
        concat!(
            asset_columns!(),
            ", ",
            object_details_columns!(),
            ", ",
            purchase_columns!(),
            ", ",
            download_columns!(),
            ", m.id AS model_id, m.artist AS model_artist, m.status AS model_status,
               m.deleted_at AS model_deleted_at"
        )
    };
}

/// The newest download of `assets a` with `purchases e`. Without a limit nobody asks for it.
macro_rules! last_download {
    () => {
        " LEFT JOIN downloads d ON e.download_limit IS NOT NULL \
             AND d.purchase_id = e.id AND d.asset_id = a.id"
    };
}

/// The row of one that stands first is there also when nothing else is.
const ASSET_VIEW: &str = concat!(
    "SELECT ",
    key_columns!(),
    ", ",
    details_columns!(),
    " FROM (SELECT 1 AS one) anchor
     LEFT JOIN keys k ON k.hash = $1
     LEFT JOIN assets a ON a.id = $2
     LEFT JOIN models m ON m.id = a.model_id
     LEFT JOIN objects o ON o.id = a.object_id
     LEFT JOIN purchases e ON e.id = (
         SELECT b.id FROM purchases b
         WHERE b.model_id = a.model_id
             AND b.buyer = CASE WHEN k.role IN ('service', 'operator') THEN $3 ELSE k.subject END
         ORDER BY CASE WHEN b.refunded_at IS NULL
                 AND (b.expires_at IS NULL OR b.expires_at > $4)
                 AND (b.download_limit IS NULL OR b.downloads < b.download_limit)
             THEN 0 ELSE 1 END, b.id DESC
         LIMIT 1)",
    last_download!()
);

/// The asset whose bytes lie at a location, seen from a purchase of its model.
const LINKED_ASSET: &str = concat!(
    "SELECT ",
    details_columns!(),
    " FROM objects o
     JOIN assets a ON a.object_id = o.id
     JOIN models m ON m.id = a.model_id
     JOIN purchases e ON e.id = $2 AND e.model_id = m.id",
    last_download!(),
    " WHERE o.location = $1 AND o.live_at IS NOT NULL"
);

impl Catalog {
    /// Everything that a download needs, in one query.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn asset_view(&self, query: AssetQuery<'_>) -> Result<Arc<AssetView>> {
        let generation = self.views.generation();
        let view = Arc::new(self.read_view(query).await?);
        self.views.keep(&query, &view, generation);
        Ok(view)
    }

    async fn read_view(&self, query: AssetQuery<'_>) -> Result<AssetView> {
        let row = self
            .fetch_optional(
                sql(ASSET_VIEW)
                    .bind(query.key_hash.map(|hash| hash.0.to_vec()))
                    .bind(query.asset_id.to_string())
                    .bind(query.acting_for.map(ToString::to_string))
                    .bind(query.now.unix_ms()),
            )
            .await?;
        let Some(row) = row else {
            return Ok(AssetView {
                key: None,
                asset: None,
            });
        };
        let asset = AssetRow::read_if_there(&row)?
            .map(|asset| AssetDetails::read(&row, asset).map(Arc::new))
            .transpose()?;
        Ok(AssetView {
            key: KeyRow::read_if_there(&row)?,
            asset,
        })
    }

    /// The asset whose bytes lie at `location`, with this purchase of its model: what a link needs
    /// that was made for the purchase. Nothing when there is no such asset, or the purchase is of
    /// another model.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn linked_asset(
        &self,
        location: &Key,
        purchase: PurchaseId,
    ) -> Result<Option<AssetDetails>> {
        let row = self
            .fetch_optional(
                sql(LINKED_ASSET)
                    .bind(location.as_str().to_owned())
                    .bind(purchase.to_string()),
            )
            .await?;
        row.as_ref()
            .map(|row| AssetDetails::read(row, AssetRow::read(row)?))
            .transpose()
    }
}
