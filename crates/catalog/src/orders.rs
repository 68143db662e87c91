//! What a question about an order needs: the purchase by the shop's own name for it, and the files
//! of its model with those that were deleted.

use stockroom_domain::{AssetId, ModelId};

use crate::Catalog;
use crate::assets::{AssetRow, select_assets};
use crate::error::Result;
use crate::page::Page;
use crate::purchases::{PurchaseRow, purchase_columns};
use crate::run::sql;

impl Catalog {
    /// The purchase that was recorded for this order of the shop.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_purchase_by_order(&self, order_ref: &str) -> Result<Option<PurchaseRow>> {
        // PostgreSQL holds no NUL and refuses to compare with one; no order has one either.
        if order_ref.contains('\0') {
            return Ok(None);
        }
        self.fetch_optional(
            sql(concat!(
                "SELECT ",
                purchase_columns!(),
                " FROM purchases e WHERE e.order_ref = $1"
            ))
            .bind(order_ref.to_owned()),
        )
        .await?
        .as_ref()
        .map(PurchaseRow::read)
        .transpose()
    }

    /// The asset with this id, also when it was deleted: whoever explains why it cannot be
    /// downloaded must be able to say so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_asset_deleted_or_not(&self, id: AssetId) -> Result<Option<AssetRow>> {
        self.fetch_optional(sql(concat!(select_assets!(), " WHERE a.id = $1")).bind(id.to_string()))
            .await?
            .as_ref()
            .map(AssetRow::read)
            .transpose()
    }

    /// Some deleted assets of a model, at most [`Page::MAX_LIMIT`]: the newest version of each
    /// file name, in the order of the names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deleted_assets(&self, model_id: ModelId) -> Result<Vec<AssetRow>> {
        let rows = self
            .fetch_all(
                sql(concat!(
                    select_assets!(),
                    " WHERE a.model_id = $1 AND a.deleted_at IS NOT NULL
                         AND NOT EXISTS (SELECT 1 FROM assets n WHERE n.model_id = a.model_id
                             AND n.filename = a.filename AND n.version > a.version)
                     ORDER BY a.filename LIMIT $2"
                ))
                .bind(model_id.to_string())
                .bind(i64::from(Page::MAX_LIMIT)),
            )
            .await?;
        rows.iter().map(AssetRow::read).collect()
    }
}
