//! Purchases: what lets buyers download.

use sqlx::any::AnyRow;
use stockroom_domain::{Entitlement, ModelId, PurchaseId, PurchaseStatus, Subject, Timestamp};

use crate::Catalog;
use crate::error::{CatalogError, Conflict, Noun, Result};
use crate::page::{Page, Paged};
use crate::row::{Record, check_text, to_number};
use crate::run::{Assembled, sql};

/// A purchase to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPurchase {
    /// Its id, if the order is new.
    pub id: PurchaseId,
    /// Who bought.
    pub buyer: Subject,
    /// What was bought.
    pub model_id: ModelId,
    /// The shop's own name of the order, at most [`NewPurchase::MAX_ORDER_REF_BYTES`] of UTF-8.
    /// An order applies once, for ever.
    pub order_ref: String,
    /// When it was bought.
    pub purchased_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// How many downloads it allows.
    pub download_limit: Option<u64>,
}

impl NewPurchase {
    /// The longest name of an order, in bytes of UTF-8.
    pub const MAX_ORDER_REF_BYTES: usize = 255;
}

/// A recorded purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchaseRow {
    /// Its id.
    pub id: PurchaseId,
    /// Who bought.
    pub buyer: Subject,
    /// What was bought.
    pub model_id: ModelId,
    /// The shop's own name of the order.
    pub order_ref: String,
    /// When it was bought.
    pub purchased_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// How many downloads it allows.
    pub download_limit: Option<u64>,
    /// How many downloads were made, as far as they are recorded.
    pub downloads: u64,
    /// When it was refunded.
    pub refunded_at: Option<Timestamp>,
}

/// What became of a purchase that was to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// The order was new.
    New(PurchaseRow),
    /// The order was recorded before, with the same contents.
    Same(PurchaseRow),
}

/// Which purchases a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PurchaseFilter {
    /// Only those of this buyer.
    pub buyer: Option<Subject>,
    /// Only those of this model.
    pub model_id: Option<ModelId>,
}

/// The columns of `purchases e`.
macro_rules! purchase_columns {
    () => {
        "e.id AS purchase_id, e.buyer AS purchase_buyer, e.model_id AS purchase_model_id, \
         e.order_ref AS purchase_order_ref, e.purchased_at AS purchase_purchased_at, \
         e.expires_at AS purchase_expires_at, e.download_limit AS purchase_download_limit, \
         e.downloads AS purchase_downloads, e.refunded_at AS purchase_refunded_at"
    };
}
pub(crate) use purchase_columns;

impl PurchaseRow {
    /// The purchase in the columns that [`purchase_columns`] names.
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        let row = record(row);
        Ok(Self {
            id: row.parsed("purchase_id")?,
            buyer: row.parsed("purchase_buyer")?,
            model_id: row.parsed("purchase_model_id")?,
            order_ref: row.text("purchase_order_ref")?.to_owned(),
            purchased_at: row.time("purchase_purchased_at")?,
            expires_at: row.time_or_null("purchase_expires_at")?,
            download_limit: row.count_or_null("purchase_download_limit")?,
            downloads: row.count("purchase_downloads")?,
            refunded_at: row.time_or_null("purchase_refunded_at")?,
        })
    }

    /// The same, or nothing where a left join found no purchase.
    pub(crate) fn read_if_there(row: &AnyRow) -> Result<Option<Self>> {
        record(row).is_there()?.then(|| Self::read(row)).transpose()
    }

    /// What the gate must know of the purchase, but for the downloads of one asset.
    #[must_use]
    pub const fn entitlement(&self) -> Entitlement {
        Entitlement {
            purchase: self.id,
            refunded_at: self.refunded_at,
            expires_at: self.expires_at,
            download_limit: self.download_limit,
            downloads: self.downloads,
            last_download: None,
        }
    }

    /// The status at the moment `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> PurchaseStatus {
        self.entitlement().status(now)
    }

    fn is_same_order(&self, new: &NewPurchase) -> bool {
        self.buyer == new.buyer
            && self.model_id == new.model_id
            && self.expires_at == new.expires_at
            && self.download_limit == new.download_limit
    }
}

const fn record(row: &AnyRow) -> Record<'_> {
    Record::new(row, "purchases", "purchase_id")
}

impl Catalog {
    /// Records a purchase, once: the same order again gives the purchase that it made.
    ///
    /// # Errors
    /// [`Conflict::Order`] when the order was recorded with another buyer, model, expiry or
    /// download limit; [`CatalogError::NotFound`] when the model is not there or was deleted;
    /// [`CatalogError::InvalidText`] for an `order_ref` that is empty, too long or has NUL.
    pub async fn record_purchase(&self, new: &NewPurchase) -> Result<Recorded> {
        check_order_ref(&new.order_ref)?;
        let limit = new
            .download_limit
            .map(|limit| to_number("download_limit", limit))
            .transpose()?;
        // The constraint on orders decides, so that of many calls at once exactly one records.
        let inserted = self
            .execute(
                sql(
                    "INSERT INTO purchases (id, buyer, model_id, order_ref, purchased_at,
                         expires_at, download_limit, downloads)
                     SELECT $1, $2, m.id, $4, $5, $6, $7, 0 FROM models m
                     WHERE m.id = $3 AND m.deleted_at IS NULL
                     ON CONFLICT (order_ref) DO NOTHING",
                )
                .bind(new.id.to_string())
                .bind(new.buyer.to_string())
                .bind(new.model_id.to_string())
                .bind(new.order_ref.clone())
                .bind(new.purchased_at.unix_ms())
                .bind(new.expires_at.map(Timestamp::unix_ms))
                .bind(limit),
            )
            .await?;
        let there = self
            .fetch_optional(
                sql(concat!(
                    "SELECT ",
                    purchase_columns!(),
                    " FROM purchases e WHERE e.order_ref = $1"
                ))
                .bind(new.order_ref.clone()),
            )
            .await?;
        let Some(row) = there else {
            return Err(CatalogError::NotFound(Noun::Model));
        };
        let row = PurchaseRow::read(&row)?;
        if inserted == 1 {
            Ok(Recorded::New(row))
        } else if row.is_same_order(new) {
            Ok(Recorded::Same(row))
        } else {
            Err(Conflict::Order.into())
        }
    }

    /// The purchase with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_purchase(&self, id: PurchaseId) -> Result<Option<PurchaseRow>> {
        self.fetch_optional(
            sql(concat!(
                "SELECT ",
                purchase_columns!(),
                " FROM purchases e WHERE e.id = $1"
            ))
            .bind(id.to_string()),
        )
        .await?
        .as_ref()
        .map(PurchaseRow::read)
        .transpose()
    }

    /// Purchases, newest first.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`].
    pub async fn list_purchases(
        &self,
        filter: &PurchaseFilter,
        page: &Page,
    ) -> Result<Paged<PurchaseRow>> {
        let mut select = Assembled::new(concat!(
            "SELECT ",
            purchase_columns!(),
            " FROM purchases e WHERE 1 = 1"
        ));
        if let Some(buyer) = &filter.buyer {
            select.push(" AND e.buyer = ").text(buyer.as_str());
        }
        if let Some(model_id) = filter.model_id {
            select.push(" AND e.model_id = ").text(model_id.to_string());
        }
        if let Some(after) = page.cursor::<PurchaseId>()? {
            select.push(" AND e.id < ").text(after.to_string());
        }
        select
            .push(" ORDER BY e.id DESC LIMIT ")
            .number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let purchases = rows.iter().map(PurchaseRow::read).collect::<Result<_>>()?;
        Ok(Paged::new(purchases, page, |row: &PurchaseRow| row.id))
    }

    /// Ends a purchase at once and gives it back. Again, it keeps the time of the first refund.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn refund_purchase(&self, id: PurchaseId, now: Timestamp) -> Result<PurchaseRow> {
        self.execute(
            sql("UPDATE purchases SET refunded_at = $2 WHERE id = $1 AND refunded_at IS NULL")
                .bind(id.to_string())
                .bind(now.unix_ms()),
        )
        .await?;
        self.find_purchase(id)
            .await?
            .ok_or(CatalogError::NotFound(Noun::Purchase))
    }
}

fn check_order_ref(order_ref: &str) -> Result<()> {
    const FIELD: &str = "order_ref";
    if order_ref.is_empty() || order_ref.len() > NewPurchase::MAX_ORDER_REF_BYTES {
        return Err(CatalogError::InvalidText {
            field: FIELD,
            reason: "must have 1 to 255 bytes",
        });
    }
    check_text(FIELD, order_ref)
}
