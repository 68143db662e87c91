//! Adoption: bytes that lie on a store already become an object, without an upload.
//!
//! There is no intent row for them. The row of an upload says that whatever lies at its location
//! may be removed when nobody finishes the upload, and these bytes were there before: they are
//! their owner's until the one transaction here, and an object's from then on.

use stockroom_domain::{EventKind, ObjectId, PlacementState, StoreName, Timestamp};

use crate::Catalog;
use crate::assets::{AssetRow, NewAsset, select_assets};
use crate::error::{CatalogError, Conflict, Noun, Result};
use crate::objects::ObjectRow;
use crate::outbox::AssetFacts;
use crate::placements::insert_placements;
use crate::row::check_text;
use crate::run::{Tx, sql};
use crate::uploads::{NewUpload, ReceivedUpload, insert_uploads};

impl Catalog {
    /// Records bytes that lie at the place of their key as its live object, and as an asset of a
    /// model if one is given, in one transaction. `new` says what the object is; its lease does not
    /// matter.
    ///
    /// # Errors
    /// [`Conflict::LocationTaken`] when any object or upload has or had the location;
    /// [`Conflict::ObjectKey`] when the key names another object; [`Conflict::NothingDurable`];
    /// [`CatalogError::NotFound`] when the model is not there. Nothing is recorded then, and the
    /// bytes stay whose they are.
    pub async fn adopt_object(
        &self,
        new: &NewUpload,
        received: &ReceivedUpload,
        asset: Option<&NewAsset>,
        now: Timestamp,
    ) -> Result<ObjectRow> {
        check_text("content_type", &new.content_type)?;
        for (name, value) in &new.metadata {
            check_text("metadata", name)?;
            check_text("metadata", value)?;
        }
        self.retried(|| self.try_adopt_object(new, received, asset, now))
            .await
    }

    async fn try_adopt_object(
        &self,
        new: &NewUpload,
        received: &ReceivedUpload,
        asset: Option<&NewAsset>,
        now: Timestamp,
    ) -> Result<ObjectRow> {
        let mut tx = self.begin().await?;
        // In the order of `record_assets`, so that the two never wait for each other.
        if let Some(asset) = asset {
            tx.hold_model(asset.model_id, now).await?;
        }
        tx.lock_key(&new.key).await?;
        let inserted = tx
            .fetch_all(insert_uploads(&[(new, new.key.clone())])?.finish())
            .await?;
        if inserted.is_empty() {
            return Err(Conflict::LocationTaken.into());
        }
        tx.make_live(received, now).await?;
        if let Some(asset) = asset {
            tx.make_asset(asset, now).await?;
        }
        let object = tx.object(&new.object_id.to_string()).await?;
        tx.commit().await?;
        Ok(object)
    }

    /// Makes an asset of a live object that is none yet. The object in `asset.upload` counts, its
    /// facts and placements are not looked at.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when the model or the live object is not there;
    /// [`Conflict::ObjectInUse`] when it is or was an asset's already.
    pub async fn attach_asset(&self, asset: &NewAsset, now: Timestamp) -> Result<AssetRow> {
        check_text("format", &asset.format)?;
        self.retried(|| self.try_attach_asset(asset, now)).await
    }

    async fn try_attach_asset(&self, asset: &NewAsset, now: Timestamp) -> Result<AssetRow> {
        let mut tx = self.begin().await?;
        tx.hold_model(asset.model_id, now).await?;
        let object_id = asset.upload.object_id.to_string();
        let live = tx
            .fetch_optional(
                sql("SELECT o.id FROM objects o WHERE o.id = $1 AND o.state = 'live'")
                    .bind(object_id.clone()),
            )
            .await?;
        if live.is_none() {
            return Err(CatalogError::NotFound(Noun::Object));
        }
        let taken = tx
            .fetch_optional(
                sql(concat!(select_assets!(), " WHERE a.object_id = $1")).bind(object_id),
            )
            .await?;
        if let Some(row) = taken {
            let asset = AssetRow::read(&row)?.id;
            return Err(Conflict::ObjectInUse { asset }.into());
        }
        let row = tx.make_asset(asset, now).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// The asset whose bytes are this object, deleted or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn asset_of_object(&self, object_id: ObjectId) -> Result<Option<AssetRow>> {
        self.fetch_optional(
            sql(concat!(select_assets!(), " WHERE a.object_id = $1")).bind(object_id.to_string()),
        )
        .await?
        .as_ref()
        .map(AssetRow::read)
        .transpose()
    }

    /// Records that a live object has a copy on one more store, whose bytes were read just now and
    /// matched. Whether it was recorded: a store that has a placement of the object keeps it.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when the object is not live.
    pub async fn adopt_copy(
        &self,
        object_id: ObjectId,
        store: &StoreName,
        now: Timestamp,
    ) -> Result<bool> {
        self.retried(|| self.try_adopt_copy(object_id, store, now))
            .await
    }

    async fn try_adopt_copy(
        &self,
        object_id: ObjectId,
        store: &StoreName,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        // Changed to itself, so that nobody deletes the object until this is over.
        let live = tx
            .execute(
                sql("UPDATE objects SET state = 'live' WHERE id = $1 AND state = 'live'")
                    .bind(object_id.to_string()),
            )
            .await?;
        if live == 0 {
            return Err(CatalogError::NotFound(Noun::Object));
        }
        let there = tx
            .fetch_optional(
                sql("SELECT p.object_id FROM placements p
                     WHERE p.object_id = $1 AND p.store = $2")
                .bind(object_id.to_string())
                .bind(store.as_str().to_owned()),
            )
            .await?;
        if there.is_some() {
            return Ok(false);
        }
        let present = PlacementState::Present;
        let placement = (object_id, store, present);
        tx.execute(insert_placements(&[placement], now)?.finish())
            .await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Tx {
    async fn make_asset(&mut self, asset: &NewAsset, now: Timestamp) -> Result<AssetRow> {
        let row = self.insert_asset(asset, now).await?;
        self.tell(EventKind::AssetCreated, now, &AssetFacts::from(&row))
            .await?;
        Ok(row)
    }
}
