//! Everything that is live, with what it is sold as: for whoever leaves, or looks from outside.

use stockroom_domain::{Key, KeyPrefix};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::assets::{AssetRow, asset_columns};
use crate::error::{CatalogError, Result};
use crate::models::{ModelRow, model_columns};
use crate::objects::{ObjectRow, object_columns, within};
use crate::page::{Page, Paged};
use crate::row::Record;

/// A live object, and the asset that it is the bytes of.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportRow {
    /// The object.
    pub object: ObjectRow,
    /// The asset with its model, if it is one.
    pub asset: Option<(AssetRow, ModelRow)>,
}

impl Catalog {
    /// Live objects whose key begins with `prefix`, in the order of the keys' bytes, with their
    /// assets. The cursor is the last key.
    ///
    /// # Errors
    /// [`crate::CatalogError::InvalidCursor`].
    pub async fn export(&self, prefix: &KeyPrefix, page: &Page) -> Result<Paged<ExportRow>> {
        let mut select = Assembled::new(concat!(
            "SELECT ",
            object_columns!(),
            ", ",
            asset_columns!(),
            ", ",
            model_columns!(),
            " FROM objects o
             LEFT JOIN assets a ON a.object_id = o.id AND a.deleted_at IS NULL
             LEFT JOIN models m ON m.id = a.model_id
             WHERE o.state = 'live'"
        ));
        within(&mut select, prefix, page.cursor::<Key>()?.as_ref());
        select.push(" ORDER BY o.key LIMIT ").number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let read = |row| {
            let object = ObjectRow::read(row)?;
            let is_asset = Record::new(row, "assets", "asset_id").is_there()?;
            let asset = is_asset
                .then(|| Ok::<_, CatalogError>((AssetRow::read(row)?, ModelRow::read(row)?)))
                .transpose()?;
            Ok(ExportRow { object, asset })
        };
        let rows = rows.iter().map(read).collect::<Result<_>>()?;
        Ok(Paged::new(rows, page, |row: &ExportRow| {
            row.object.key.clone()
        }))
    }
}
