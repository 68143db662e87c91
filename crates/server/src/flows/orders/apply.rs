//! The effect of an event in the catalog: one transaction, the same however often it comes.

use stockroom_catalog::{CatalogError, NewPurchase, Noun, PurchaseRow, Recorded};
use stockroom_domain::PurchaseId;

use super::event::{NewOrder, OrderEvent};
use crate::app::App;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The order was new. Its purchase is refunded already when the refund came first.
    Recorded(PurchaseRow),
    /// The refund was new. It is remembered where the order did not come yet.
    Refunded(Option<PurchaseRow>),
    /// The same was known before.
    Unchanged(Option<PurchaseRow>),
    /// It has no effect here. The sentence says why.
    Ignored(&'static str),
}

/// Why an event has no effect although it should.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It names a model that is not there or was deleted.
    #[error("there is no such model")]
    NoSuchModel,
    /// The catalog failed, or the order was recorded before with other contents.
    #[error("{0}")]
    Catalog(#[from] CatalogError),
}

/// Gives an event its effect. Events of the same order may come twice, at the same time and in any
/// order: what is recorded in the end is the same.
///
/// # Errors
/// See [`ApplyError`]. When the catalog failed, the event may have had its effect or not: it is to be
/// sent again.
pub async fn apply(app: &App, event: OrderEvent) -> Result<Outcome, ApplyError> {
    match event {
        OrderEvent::Purchased(order) => record(app, order).await,
        OrderEvent::Refunded { order_ref, reason } => refund(app, &order_ref, reason).await,
        OrderEvent::Ignored(why) => Ok(Outcome::Ignored(why)),
    }
}

async fn record(app: &App, order: NewOrder) -> Result<Outcome, ApplyError> {
    let now = app.clock.now();
    let purchase = NewPurchase {
        id: PurchaseId::generate(now, &*app.entropy),
        buyer: order.buyer,
        model_id: order.model.parse().map_err(|_| ApplyError::NoSuchModel)?,
        order_ref: order.order_ref,
        purchased_at: now,
        expires_at: order.expires_at,
        download_limit: order.download_limit,
    };
    match app.catalog.record_purchase(&purchase).await {
        Ok(Recorded::New(row)) => Ok(Outcome::Recorded(row)),
        Ok(Recorded::Same(row)) => Ok(Outcome::Unchanged(Some(row))),
        Err(CatalogError::NotFound(Noun::Model)) => Err(ApplyError::NoSuchModel),
        Err(error) => Err(error.into()),
    }
}

async fn refund(app: &App, order_ref: &str, reason: Option<String>) -> Result<Outcome, ApplyError> {
    let now = app.clock.now();
    let refund = app
        .catalog
        .refund_order(order_ref, now, reason.as_deref())
        .await?;
    Ok(if refund.is_new {
        Outcome::Refunded(refund.purchase)
    } else {
        Outcome::Unchanged(refund.purchase)
    })
}
