//! A buyer's library: what was bought, with the files.

use std::collections::BTreeMap;

use stockroom_domain::{ModelId, PurchaseId, Subject};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::assets::{AssetRow, is_newest, select_assets};
use crate::error::Result;
use crate::models::{ModelRow, model_columns};
use crate::page::{Page, Paged};
use crate::purchases::{PurchaseRow, purchase_columns};

/// A purchase with what it lets its buyer download.
#[derive(Debug, Clone, PartialEq)]
pub struct LibraryEntry {
    /// The purchase, which may be refunded or expired.
    pub purchase: PurchaseRow,
    /// The model, which may have been deleted.
    pub model: ModelRow,
    /// The newest version of each file of the model that was not deleted, newest first, up to
    /// [`LibraryEntry::MAX_ASSETS`].
    pub assets: Vec<AssetRow>,
}

impl LibraryEntry {
    /// How many assets of one model a library shows at most.
    pub const MAX_ASSETS: i64 = 100;
}

impl Catalog {
    /// What a user bought, newest first, with the files.
    ///
    /// # Errors
    /// [`crate::CatalogError::InvalidCursor`].
    pub async fn library(&self, buyer: &Subject, page: &Page) -> Result<Paged<LibraryEntry>> {
        let mut select = Assembled::new(concat!(
            "SELECT ",
            purchase_columns!(),
            ", ",
            model_columns!(),
            " FROM purchases e JOIN models m ON m.id = e.model_id WHERE e.buyer = "
        ));
        push_page_of(&mut select, buyer, page)?;
        let rows = self.fetch_all(select.finish()).await?;
        let bought = rows
            .iter()
            .map(|row| Ok((PurchaseRow::read(row)?, ModelRow::read(row)?)))
            .collect::<Result<_>>()?;
        let bought = Paged::new(bought, page, |(purchase, _): &(PurchaseRow, _)| purchase.id);
        let files = self.library_assets(buyer, page).await?;
        let items = bought
            .items
            .into_iter()
            .map(|(purchase, model)| LibraryEntry {
                assets: files.get(&model.id).cloned().unwrap_or_default(),
                purchase,
                model,
            })
            .collect();
        Ok(Paged {
            items,
            next: bought.next,
        })
    }

    /// The files of the models on one page of a library.
    async fn library_assets(
        &self,
        buyer: &Subject,
        page: &Page,
    ) -> Result<BTreeMap<ModelId, Vec<AssetRow>>> {
        let mut select = Assembled::new(concat!(
            select_assets!(),
            " JOIN (SELECT a.id,
                        row_number() OVER (PARTITION BY a.model_id ORDER BY a.id DESC) AS place
                    FROM assets a WHERE a.deleted_at IS NULL",
            is_newest!(),
            " AND a.model_id IN (SELECT e.model_id FROM purchases e WHERE e.buyer = "
        ));
        push_page_of(&mut select, buyer, page)?;
        select
            .push(")) shown ON shown.id = a.id WHERE shown.place <= ")
            .number(LibraryEntry::MAX_ASSETS)
            .push(" ORDER BY a.id DESC");
        let rows = self.fetch_all(select.finish()).await?;
        let mut files: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in &rows {
            let asset = AssetRow::read(row)?;
            files.entry(asset.model_id).or_default().push(asset);
        }
        Ok(files)
    }
}

/// The end of a statement over `purchases e WHERE e.buyer =`.
fn push_page_of(select: &mut Assembled, buyer: &Subject, page: &Page) -> Result<()> {
    select.text(buyer.as_str());
    if let Some(after) = page.cursor::<PurchaseId>()? {
        select.push(" AND e.id < ").text(after.to_string());
    }
    select
        .push(" ORDER BY e.id DESC LIMIT ")
        .number(page.rows());
    Ok(())
}
