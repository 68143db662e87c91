//! Assets: the files of models, in versions.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::any::AnyRow;
use stockroom_domain::{AssetId, EventKind, Filename, ModelId, Timestamp};

use crate::Catalog;
use crate::assembled::{Assembled, pieces};
use crate::error::{CatalogError, Noun, Result};
use crate::models::hold_models;
use crate::objects::ObjectRow;
use crate::outbox::{AssetFacts, read_listeners, select_listeners};
use crate::page::{Page, Paged};
use crate::row::{Record, check_text, to_json, unless_damaged};
use crate::run::{Tx, sql};
use crate::steps::Step;
use crate::uploads::{ReceivedUpload, make_live};

/// A file of a model whose bytes were received.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAsset {
    /// Its id.
    pub id: AssetId,
    /// The model.
    pub model_id: ModelId,
    /// What the artist calls the file.
    pub filename: Filename,
    /// What the content was found to be, such as `stl`.
    pub format: String,
    /// What the check of the content found.
    pub report: Option<serde_json::Value>,
    /// The bytes.
    pub upload: ReceivedUpload,
}

/// One version of one file of a model, with its object.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetRow {
    /// Its id.
    pub id: AssetId,
    /// The model.
    pub model_id: ModelId,
    /// What the artist calls the file.
    pub filename: Filename,
    /// 1 for the first upload under this name, and one more for each later one.
    pub version: u32,
    /// What the content was found to be.
    pub format: String,
    /// What the check of the content found.
    pub report: Option<serde_json::Value>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it was deleted, by itself or with its model.
    pub deleted_at: Option<Timestamp>,
    /// Its bytes.
    pub object: ObjectRow,
}

/// The columns of `assets a`, without those of its object.
macro_rules! asset_columns {
    () => {
        "a.id AS asset_id, a.model_id AS asset_model_id, a.filename AS asset_filename, \
         a.version AS asset_version, a.format AS asset_format, a.report AS asset_report, \
         a.created_at AS asset_created_at, a.deleted_at AS asset_deleted_at"
    };
}
pub(crate) use asset_columns;

/// Assets with their objects.
macro_rules! select_assets {
    () => {
        concat!(
            "SELECT ",
            crate::assets::asset_columns!(),
            ", ",
            crate::objects::object_columns!(),
            " FROM assets a JOIN objects o ON o.id = a.object_id"
        )
    };
}
pub(crate) use select_assets;

/// The condition that no newer version of the same file is there.
macro_rules! is_newest {
    () => {
        " AND NOT EXISTS (SELECT 1 FROM assets n WHERE n.model_id = a.model_id \
             AND n.filename = a.filename AND n.version > a.version AND n.deleted_at IS NULL)"
    };
}
pub(crate) use is_newest;

impl AssetRow {
    /// The asset in the columns that [`asset_columns`] and `object_columns` name.
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        let object = ObjectRow::read(row)?;
        let row = record(row);
        Ok(Self {
            id: row.parsed("asset_id")?,
            model_id: row.parsed("asset_model_id")?,
            filename: row.parsed("asset_filename")?,
            version: row.count("asset_version")?,
            format: row.text("asset_format")?.to_owned(),
            report: match row.text_or_null("asset_report")? {
                Some(_) => Some(row.json("asset_report")?),
                None => None,
            },
            created_at: row.time("asset_created_at")?,
            deleted_at: row.time_or_null("asset_deleted_at")?,
            object,
        })
    }

    /// The same, or nothing where a left join found no asset.
    pub(crate) fn read_if_there(row: &AnyRow) -> Result<Option<Self>> {
        record(row).is_there()?.then(|| Self::read(row)).transpose()
    }
}

const fn record(row: &AnyRow) -> Record<'_> {
    Record::new(row, "assets", "asset_id")
}

impl Catalog {
    /// Makes received uploads live and records them as assets, all or none, in one transaction.
    /// Each gets the version after the newest that its model ever had under its file name.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when a model is not there or was deleted meanwhile;
    /// [`crate::Conflict::UploadClosed`], [`crate::Conflict::NothingDurable`],
    /// [`crate::Conflict::ObjectKey`] when another object is live under an asset's key. In each
    /// case nothing was recorded; the caller removes the bytes and discards the uploads. After a
    /// transient error it asks [`Catalog::abandon_upload`] first.
    pub async fn record_assets(
        &self,
        assets: &[NewAsset],
        now: Timestamp,
    ) -> Result<Vec<AssetRow>> {
        for asset in assets {
            check_text("format", &asset.format)?;
        }
        let call = Recording {
            assets: assets.to_vec(),
            now,
        };
        self.together.join(self, call).await
    }

    /// The assets of a model that were not deleted, newest first: the newest version of each
    /// file, or all versions. The list is empty for a model that is not there.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`].
    pub async fn list_assets(
        &self,
        model_id: ModelId,
        all_versions: bool,
        page: &Page,
    ) -> Result<Paged<AssetRow>> {
        let mut select = Assembled::new(select_assets!());
        select.push(" WHERE a.deleted_at IS NULL AND a.model_id = ");
        select.text(model_id.to_string());
        if !all_versions {
            select.push(is_newest!());
        }
        if let Some(after) = page.cursor::<AssetId>()? {
            select.push(" AND a.id < ").text(after.to_string());
        }
        select
            .push(" ORDER BY a.id DESC LIMIT ")
            .number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let assets = rows.iter().map(AssetRow::read).collect::<Result<_>>()?;
        Ok(Paged::new(assets, page, |asset: &AssetRow| asset.id))
    }

    /// The asset with this id, unless it was deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_asset(&self, id: AssetId) -> Result<Option<AssetRow>> {
        self.fetch_optional(
            sql(concat!(
                select_assets!(),
                " WHERE a.id = $1 AND a.deleted_at IS NULL"
            ))
            .bind(id.to_string()),
        )
        .await?
        .as_ref()
        .map(AssetRow::read)
        .transpose()
    }

    /// Deletes an asset and all older versions of the same file for readers at once, so that no
    /// older version takes its place. The bytes may be removed from `retire_after` on; until then
    /// [`Catalog::restore_asset`] brings them back.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when it is not there or was deleted before.
    pub async fn retire_asset(
        &self,
        id: AssetId,
        now: Timestamp,
        retire_after: Timestamp,
    ) -> Result<()> {
        self.retried(|| self.try_retire_asset(id, now, retire_after))
            .await
    }

    async fn try_retire_asset(
        &self,
        id: AssetId,
        now: Timestamp,
        retire_after: Timestamp,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        let row = tx
            .fetch_optional(
                sql("SELECT a.id, a.model_id, a.filename, a.version FROM assets a WHERE a.id = $1")
                    .bind(id.to_string()),
            )
            .await?
            .ok_or(CatalogError::NotFound(Noun::Asset))?;
        let row = Record::new(&row, "assets", "id");
        let model_id: ModelId = row.parsed("model_id")?;
        tx.hold_model(model_id, now)
            .await
            .map_err(asset_of_deleted_model)?;
        let deleted_at = tx.moment_of_deletion(model_id, now).await?;
        tx.execute(
            sql("UPDATE objects SET state = 'retiring', retire_after = $4
                 WHERE state = 'live' AND id IN (
                     SELECT a.object_id FROM assets a
                     WHERE a.model_id = $1 AND a.filename = $2 AND a.version <= $3
                         AND a.deleted_at IS NULL)")
            .bind(model_id.to_string())
            .bind(row.text("filename")?.to_owned())
            .bind(row.number("version")?)
            .bind(retire_after.unix_ms()),
        )
        .await?;
        let deleted = tx
            .execute(
                sql("UPDATE assets SET deleted_at = $4
                     WHERE model_id = $1 AND filename = $2 AND version <= $3
                         AND deleted_at IS NULL")
                .bind(model_id.to_string())
                .bind(row.text("filename")?.to_owned())
                .bind(row.number("version")?)
                .bind(deleted_at.unix_ms()),
            )
            .await?;
        // This asset has the highest of these versions, so when it is gone, so are the others.
        if deleted == 0 {
            return Err(CatalogError::NotFound(Noun::Asset));
        }
        tx.tell_of_deleted_asset(id, now).await?;
        tx.end_access().await?;
        tx.commit().await
    }
}

/// To a reader, an asset of a deleted model is an asset that is not there.
fn asset_of_deleted_model(error: CatalogError) -> CatalogError {
    match error {
        CatalogError::NotFound(Noun::Model) => CatalogError::NotFound(Noun::Asset),
        other => other,
    }
}

impl Tx {
    /// Makes the uploads of several calls live and records them as assets; the rows of each call.
    pub(crate) async fn record_assets(
        &mut self,
        calls: &[&Recording],
    ) -> Result<Vec<Vec<AssetRow>>> {
        // They came while the one before was recorded, so that their moments hardly differ.
        let Some(now) = calls.iter().map(|call| call.now).max() else {
            return Ok(Vec::new());
        };
        let assets: Vec<&NewAsset> = calls.iter().flat_map(|call| &call.assets).collect();
        let uploads: Vec<&ReceivedUpload> = assets.iter().map(|it| &it.upload).collect();
        let models: BTreeSet<ModelId> = assets.iter().map(|it| it.model_id).collect();
        let models: Vec<ModelId> = models.into_iter().collect();
        // By themselves: a text for each number of models and of uploads would be too many.
        self.run(hold_models(self.dialect(), &models, now)?).await?;
        let mut steps = make_live(self.dialect(), &uploads, now)?;
        steps.extend(insert_assets(&assets, now)?);
        steps.push(select_listeners(EventKind::AssetCreated).into());
        let mut answers = self.run(steps).await?;
        let listeners = read_listeners(&answers.pop().unwrap_or_default())?;
        let mut rows = read_inserted(&assets, &answers)?.into_iter();
        if !listeners.is_empty() {
            let facts = rows.as_slice().iter().map(AssetFacts::from);
            let events = facts.map(|facts| self.event(EventKind::AssetCreated, now, &facts));
            let events = events.collect::<Result<Vec<_>>>()?;
            self.tell_all(&listeners, &events).await?;
        }
        let of_call = |call: &&Recording| rows.by_ref().take(call.assets.len()).collect();
        Ok(calls.iter().map(of_call).collect())
    }

    /// Inserts an asset and gives its row back. Its model is held, so nobody else counts versions of it now.
    pub(crate) async fn insert_asset(
        &mut self,
        asset: &NewAsset,
        now: Timestamp,
    ) -> Result<AssetRow> {
        let answers = self.run(insert_assets(&[asset], now)?).await?;
        let mut rows = read_inserted(&[asset], &answers)?;
        rows.pop().ok_or(CatalogError::NotFound(Noun::Asset))
    }

    /// A row that is damaged can be deleted too; of that nobody is told.
    async fn tell_of_deleted_asset(&mut self, id: AssetId, now: Timestamp) -> Result<()> {
        let listeners = self.listeners(EventKind::AssetDeleted).await?;
        if listeners.is_empty() {
            return Ok(());
        }
        if let Some(asset) = unless_damaged(self.asset(id).await)? {
            let facts = AssetFacts::from(&asset);
            self.tell_to(&listeners, EventKind::AssetDeleted, now, &facts)
                .await?;
        }
        Ok(())
    }
}

/// One call that records assets.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    assets: Vec<NewAsset>,
    now: Timestamp,
}

/// The steps that do for several assets, whose models are held, what [`Tx::insert_asset`] does for one.
fn insert_assets(assets: &[&NewAsset], now: Timestamp) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for piece in pieces(assets) {
        steps.push(insert_piece(piece, now)?.into());
        let mut select = Assembled::new(concat!(select_assets!(), " WHERE a.id IN (VALUES "));
        select.rows(piece, |row, asset| {
            row.text(asset.id.to_string());
            Ok(())
        })?;
        select.push(")");
        steps.push(select.into());
    }
    Ok(steps)
}

/// The rows of assets, in their order, from what the steps that inserted them gave.
fn read_inserted(assets: &[&NewAsset], answers: &[Vec<AnyRow>]) -> Result<Vec<AssetRow>> {
    let mut rows = BTreeMap::new();
    for row in answers.iter().flatten() {
        let row = AssetRow::read(row)?;
        rows.insert(row.id, row);
    }
    let in_order = assets.iter().map(|asset| rows.remove(&asset.id));
    let rows: Option<Vec<AssetRow>> = in_order.collect();
    rows.ok_or(CatalogError::NotFound(Noun::Asset))
}

fn insert_piece(assets: &[&NewAsset], now: Timestamp) -> Result<Assembled> {
    let mut insert = Assembled::new(
        "INSERT INTO assets
             (id, model_id, filename, version, format, object_id, report, created_at)
         SELECT v.column1, v.column2, v.column3,
             coalesce((SELECT max(a.version) FROM assets a
                 WHERE a.model_id = v.column2 AND a.filename = v.column3), 0)
                 + row_number() OVER (PARTITION BY v.column2, v.column3 ORDER BY v.column7),
             v.column4, v.column5, nullif(v.column6, ''), ",
    );
    insert.number(now.unix_ms()).push(" FROM (VALUES ");
    insert.rows(assets.iter().zip(0..), |row, (asset, ordinal)| {
        let report = asset.report.as_ref().map(to_json).transpose()?;
        row.text(asset.id.to_string()).comma();
        row.text(asset.model_id.to_string()).comma();
        row.text(asset.filename.as_str()).comma();
        row.text(asset.format.as_str()).comma();
        row.text(asset.upload.object_id.to_string()).comma();
        // Nothing that is JSON is an empty text.
        row.text(report.unwrap_or_default()).comma();
        row.number(ordinal);
        Ok(())
    })?;
    insert.push(") v");
    Ok(insert)
}
