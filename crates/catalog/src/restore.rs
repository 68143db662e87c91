//! Restoring: what was deleted comes back while the grace period lasts and nobody has begun to
//! remove its bytes.
//!
//! The row of an object decides between a restore and [`Catalog::claim_retiring`]: a claim puts a
//! lease on it in the same transaction in which it puts the placements to `retiring`, and a restore
//! takes no row with a lease. Placements keep their states, so what was owed is owed again.

use std::time::Duration;

use stockroom_domain::{AssetId, EventKind, Key, ModelId, ObjectId, Timestamp};

use crate::Catalog;
use crate::assets::{AssetRow, select_assets};
use crate::error::{CatalogError, Conflict, Noun, Result};
use crate::models::{ModelRow, model_columns};
use crate::objects::ObjectRow;
use crate::outbox::{AssetFacts, ModelFacts};
use crate::row::Record;
use crate::run::{Statement, Tx, sql};

/// The model with an id, deleted or not.
const FIND: &str = concat!(
    "SELECT ",
    model_columns!(),
    " FROM models m WHERE m.id = $1"
);

/// Makes those of `objects` live again that a condition chooses and that may be restored at $1.
macro_rules! make_live_again {
    ($condition:literal) => {
        concat!(
            "UPDATE objects SET state = 'live', retire_after = NULL
             WHERE state = 'retiring' AND retire_after > $1 AND lease_until IS NULL
                 AND NOT EXISTS (
                     SELECT 1 FROM placements p WHERE p.object_id = objects.id
                         AND p.state IN ('retiring', 'gone'))
                 AND ",
            $condition
        )
    };
}

impl Catalog {
    /// Brings back the object of this key that was deleted or replaced last.
    ///
    /// # Errors
    /// [`Conflict::KeyTaken`] when the key has a live object; [`Conflict::AssetObject`] when the
    /// object holds the bytes of a deleted asset; [`CatalogError::NotFound`] when no object of the
    /// key is retiring, when its grace period is over or its bytes are being removed.
    pub async fn restore_object(&self, key: &Key, now: Timestamp) -> Result<ObjectRow> {
        self.retried(|| self.try_restore_object(key, now))
            .await
            .map_err(key_taken)
    }

    async fn try_restore_object(&self, key: &Key, now: Timestamp) -> Result<ObjectRow> {
        let mut tx = self.begin().await?;
        tx.lock_key(key).await?;
        let live = tx
            .fetch_optional(
                sql("SELECT o.id FROM objects o WHERE o.key = $1 AND o.state = 'live'")
                    .bind(key.as_str()),
            )
            .await?;
        if live.is_some() {
            return Err(Conflict::KeyTaken.into());
        }
        let id = tx
            .last_retired(key)
            .await?
            .ok_or(CatalogError::NotFound(Noun::Object))?;
        let restored = tx
            .execute(
                sql(make_live_again!("id = $2"))
                    .bind(now.unix_ms())
                    .bind(id.to_string()),
            )
            .await?;
        if restored == 0 {
            return Err(CatalogError::NotFound(Noun::Object));
        }
        let object = tx.object(&id.to_string()).await?;
        tx.commit().await?;
        Ok(object)
    }

    /// Brings back a deleted asset and those older versions of the same file that were deleted
    /// together with it: all of them or none. An asset that is not deleted is given back as it is.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when there is no such asset, when the grace period is over or
    /// bytes are being removed; [`Conflict::ModelDeleted`]; [`Conflict::KeyTaken`] when another
    /// object took the key of one of them.
    pub async fn restore_asset(&self, id: AssetId, now: Timestamp) -> Result<AssetRow> {
        self.retried(|| self.try_restore_asset(id, now))
            .await
            .map_err(key_taken)
    }

    async fn try_restore_asset(&self, id: AssetId, now: Timestamp) -> Result<AssetRow> {
        let mut tx = self.begin().await?;
        let model = tx.asset(id).await?.model_id;
        tx.hold_model(model, now)
            .await
            .map_err(|error| match error {
                CatalogError::NotFound(_) => Conflict::ModelDeleted { model }.into(),
                other => other,
            })?;
        // Read again, because only now nobody else can change it.
        let asset = tx.asset(id).await?;
        let Some(deleted_at) = asset.deleted_at else {
            return Ok(asset);
        };
        let with_asset = |statement: Statement| {
            statement
                .bind(model.to_string())
                .bind(asset.filename.as_str().to_owned())
                .bind(i64::from(asset.version))
                .bind(deleted_at.unix_ms())
        };
        let objects = tx
            .execute(with_asset(
                sql(make_live_again!(
                    "id IN (SELECT a.object_id FROM assets a
                         WHERE a.model_id = $2 AND a.filename = $3 AND a.version <= $4
                             AND a.deleted_at = $5)"
                ))
                .bind(now.unix_ms()),
            ))
            .await?;
        let assets = tx
            .execute(with_asset(sql(
                "UPDATE assets SET deleted_at = NULL
                 WHERE model_id = $1 AND filename = $2 AND version <= $3 AND deleted_at = $4",
            )))
            .await?;
        if objects != assets {
            return Err(CatalogError::NotFound(Noun::Asset));
        }
        let asset = tx.asset(id).await?;
        tx.tell(EventKind::AssetRestored, now, &AssetFacts::from(&asset))
            .await?;
        tx.commit().await?;
        Ok(asset)
    }

    /// Brings back a deleted model and the assets that were deleted together with it: all of them
    /// or none. Assets that had been deleted before stay deleted. A model that is not deleted is
    /// given back as it is.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when there is no such model, when the grace period of its assets
    /// is over or their bytes are being removed; [`Conflict::KeyTaken`] when another object took
    /// the key of one of them.
    pub async fn restore_model(&self, id: ModelId, now: Timestamp) -> Result<ModelRow> {
        self.retried(|| self.try_restore_model(id, now))
            .await
            .map_err(key_taken)
    }

    async fn try_restore_model(&self, id: ModelId, now: Timestamp) -> Result<ModelRow> {
        let mut tx = self.begin().await?;
        // The row is taken first, so that of several restores the others find it done.
        tx.execute(
            sql("UPDATE models SET updated_at = $2 WHERE id = $1 AND deleted_at IS NOT NULL")
                .bind(id.to_string())
                .bind(now.unix_ms()),
        )
        .await?;
        let model = tx.model(id).await?;
        let Some(deleted_at) = model.deleted_at else {
            return Ok(model);
        };
        let objects = tx
            .execute(
                sql(make_live_again!(
                    "id IN (SELECT a.object_id FROM assets a
                         WHERE a.model_id = $2 AND a.deleted_at = $3)"
                ))
                .bind(now.unix_ms())
                .bind(id.to_string())
                .bind(deleted_at.unix_ms()),
            )
            .await?;
        let assets = tx
            .execute(
                sql("UPDATE assets SET deleted_at = NULL WHERE model_id = $1 AND deleted_at = $2")
                    .bind(id.to_string())
                    .bind(deleted_at.unix_ms()),
            )
            .await?;
        if objects != assets {
            return Err(CatalogError::NotFound(Noun::Model));
        }
        tx.execute(sql("UPDATE models SET deleted_at = NULL WHERE id = $1").bind(id.to_string()))
            .await?;
        let model = ModelRow {
            deleted_at: None,
            ..model
        };
        tx.tell(EventKind::ModelRestored, now, &ModelFacts::from(&model))
            .await?;
        tx.commit().await?;
        Ok(model)
    }

    /// The model with this id, also when it was deleted: whoever restores one must be known to be
    /// allowed to first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_model_deleted_or_not(&self, id: ModelId) -> Result<Option<ModelRow>> {
        self.fetch_optional(sql(FIND).bind(id.to_string()))
            .await?
            .as_ref()
            .map(ModelRow::read)
            .transpose()
    }
}

impl Tx {
    /// The time to write down for a deletion of a held model or of its assets: `now`, or a moment
    /// later when something of the model was deleted then. Equal times therefore mean one and the
    /// same deletion, and a restore brings back what that one took.
    pub(crate) async fn moment_of_deletion(
        &mut self,
        id: ModelId,
        now: Timestamp,
    ) -> Result<Timestamp> {
        let row = self
            .fetch_optional(
                sql(
                    "SELECT $1 AS id, max(a.deleted_at) AS deleted_at FROM assets a
                     WHERE a.model_id = $1",
                )
                .bind(id.to_string()),
            )
            .await?;
        let last = row
            .map(|row| Record::new(&row, "assets", "id").time_or_null("deleted_at"))
            .transpose()?
            .flatten();
        Ok(last.map_or(now, |last| last.after(Duration::from_millis(1)).max(now)))
    }

    /// The retiring object of a key that was retired last.
    async fn last_retired(&mut self, key: &Key) -> Result<Option<ObjectId>> {
        let row = self
            .fetch_optional(
                sql("SELECT o.id, a.id AS asset_id FROM objects o
                     LEFT JOIN assets a ON a.object_id = o.id
                     WHERE o.key = $1 AND o.state = 'retiring'
                     ORDER BY o.retire_after DESC, o.live_at DESC, o.id DESC LIMIT 1")
                .bind(key.as_str()),
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let row = Record::new(&row, "objects", "id");
        if let Some(asset) = row.parsed_or_null("asset_id")? {
            return Err(Conflict::AssetObject { asset }.into());
        }
        row.parsed("id").map(Some)
    }

    /// The asset with this id, deleted or not.
    pub(crate) async fn asset(&mut self, id: AssetId) -> Result<AssetRow> {
        let row = self
            .fetch_optional(sql(concat!(select_assets!(), " WHERE a.id = $1")).bind(id.to_string()))
            .await?
            .ok_or(CatalogError::NotFound(Noun::Asset))?;
        AssetRow::read(&row)
    }

    /// The model with this id, deleted or not.
    pub(crate) async fn model(&mut self, id: ModelId) -> Result<ModelRow> {
        let row = self
            .fetch_optional(sql(FIND).bind(id.to_string()))
            .await?
            .ok_or(CatalogError::NotFound(Noun::Model))?;
        ModelRow::read(&row)
    }
}

/// The constraint that a key has one live object is what another object's upload meets too; here
/// it means that the key was taken while the object was deleted.
fn key_taken(error: CatalogError) -> CatalogError {
    match error {
        CatalogError::Conflict(Conflict::ObjectKey) => Conflict::KeyTaken.into(),
        other => other,
    }
}
