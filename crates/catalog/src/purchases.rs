//! Purchases: what lets buyers download.

use sqlx::any::AnyRow;
use stockroom_domain::{
    Entitlement, EventKind, ModelId, PurchaseId, PurchaseStatus, Subject, Timestamp,
};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::{CatalogError, Conflict, Noun, Result};
use crate::outbox::PurchaseFacts;
use crate::page::{Page, Paged};
use crate::row::{Record, check_text, to_number};
use crate::run::{Tx, sql};

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

/// The refund of an order. The first one stays; later ones change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundedOrder {
    /// Whether this was the first one.
    pub is_new: bool,
    /// When the first one came.
    pub refunded_at: Timestamp,
    /// Why, as the first one said it.
    pub reason: Option<String>,
    /// The purchase of the order, refunded; none when it was not recorded yet.
    pub purchase: Option<PurchaseRow>,
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
    pub fn entitlement(&self) -> Entitlement {
        Entitlement {
            purchase: self.id,
            buyer: self.buyer.clone(),
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
    /// Records a purchase, once: the same order again gives the purchase that it made. An order
    /// whose refund came before is recorded as refunded, at the time of that refund.
    ///
    /// # Errors
    /// [`Conflict::Order`] when the order was recorded with another buyer, model, expiry or
    /// download limit; [`CatalogError::NotFound`] when the model is not there or was deleted;
    /// [`CatalogError::InvalidText`] for an `order_ref` that is empty, too long or has NUL.
    pub async fn record_purchase(&self, new: &NewPurchase) -> Result<Recorded> {
        check_order_ref(&new.order_ref)?;
        self.retried(|| self.try_record_purchase(new)).await
    }

    async fn try_record_purchase(&self, new: &NewPurchase) -> Result<Recorded> {
        let limit = new
            .download_limit
            .map(|limit| to_number("download_limit", limit))
            .transpose()?;
        let mut tx = self.begin().await?;
        // A refund that is about to be remembered would not see a purchase that is about to be
        // recorded, and the other way round.
        tx.lock_order(&new.order_ref).await?;
        let inserted = tx
            .execute(
                sql(
                    "INSERT INTO purchases (id, buyer, model_id, order_ref, purchased_at,
                         expires_at, download_limit, downloads, refunded_at)
                     SELECT $1, $2, m.id, $4, $5, $6, $7, 0,
                         (SELECT r.refunded_at FROM refunds r WHERE r.order_ref = $4)
                     FROM models m WHERE m.id = $3 AND m.deleted_at IS NULL
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
        let row = tx
            .purchase_of_order(&new.order_ref)
            .await?
            .ok_or(CatalogError::NotFound(Noun::Model))?;
        if inserted == 1 {
            let facts = PurchaseFacts::from(&row);
            tx.tell(EventKind::PurchaseCreated, new.purchased_at, &facts)
                .await?;
            if row.refunded_at.is_some() {
                tx.tell(EventKind::PurchaseRefunded, new.purchased_at, &facts)
                    .await?;
            }
            tx.commit().await?;
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
        let not_found = CatalogError::NotFound(Noun::Purchase);
        let Some(purchase) = self.find_purchase(id).await? else {
            return Err(not_found);
        };
        // The order of a purchase never changes.
        let refund = self.refund_order(&purchase.order_ref, now, None).await?;
        refund.purchase.ok_or(not_found)
    }

    /// Remembers for ever that an order was refunded, and ends its purchase at once. Where the
    /// order was not recorded yet, it will be recorded as refunded.
    ///
    /// # Errors
    /// [`CatalogError::InvalidText`] for an `order_ref` that is empty, too long or has NUL, and for
    /// a `reason` that has NUL.
    pub async fn refund_order(
        &self,
        order_ref: &str,
        now: Timestamp,
        reason: Option<&str>,
    ) -> Result<RefundedOrder> {
        check_order_ref(order_ref)?;
        if let Some(reason) = reason {
            check_text("reason", reason)?;
        }
        self.retried(|| self.try_refund_order(order_ref, now, reason))
            .await
    }

    async fn try_refund_order(
        &self,
        order_ref: &str,
        now: Timestamp,
        reason: Option<&str>,
    ) -> Result<RefundedOrder> {
        let mut tx = self.begin().await?;
        tx.lock_order(order_ref).await?;
        let inserted = tx
            .execute(
                sql(
                    "INSERT INTO refunds (order_ref, refunded_at, reason) VALUES ($1, $2, $3)
                     ON CONFLICT (order_ref) DO NOTHING",
                )
                .bind(order_ref.to_owned())
                .bind(now.unix_ms())
                .bind(reason.map(str::to_owned)),
            )
            .await?;
        tx.execute(
            sql("UPDATE purchases SET refunded_at = $2
                 WHERE order_ref = $1 AND refunded_at IS NULL")
            .bind(order_ref.to_owned())
            .bind(now.unix_ms()),
        )
        .await?;
        let refund = tx
            .fetch_optional(
                sql(
                    "SELECT order_ref AS id, refunded_at, reason FROM refunds WHERE order_ref = $1",
                )
                .bind(order_ref.to_owned()),
            )
            .await?
            // It is there since the first statement of this transaction.
            .ok_or(CatalogError::Database(sqlx::Error::RowNotFound))?;
        let refund = Record::new(&refund, "refunds", "id");
        let refunded = RefundedOrder {
            is_new: inserted == 1,
            refunded_at: refund.time("refunded_at")?,
            reason: refund.text_or_null("reason")?.map(str::to_owned),
            purchase: tx.purchase_of_order(order_ref).await?,
        };
        if let (true, Some(row)) = (refunded.is_new, &refunded.purchase) {
            tx.tell(EventKind::PurchaseRefunded, now, &PurchaseFacts::from(row))
                .await?;
        }
        tx.end_access().await?;
        tx.commit().await?;
        Ok(refunded)
    }
}

impl Tx {
    /// The purchase that this order made.
    async fn purchase_of_order(&mut self, order_ref: &str) -> Result<Option<PurchaseRow>> {
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
