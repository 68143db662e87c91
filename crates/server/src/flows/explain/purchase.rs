//! The first link: does the purchase let its buyer download? The gate itself is asked.

use stockroom_catalog::{CatalogError, ModelRow, Page, PurchaseFilter, PurchaseRow};
use stockroom_domain::{
    Action, AssetFacts, Caller, Decision, Denial, ModelStatus, Timestamp, permits,
};

use super::chain::Outcome;
use crate::app::App;

/// Asks the gate. The buyer may have bought the model twice; that is said then.
pub(super) async fn examine(
    app: &App,
    purchase: &PurchaseRow,
    model: &ModelRow,
) -> Result<Outcome, CatalogError> {
    let now = app.clock.now();
    let denial = match gate(purchase, model, now) {
        Decision::Allow(_) => return Ok(Outcome::ok(allowed(purchase))),
        Decision::Deny(denial) => denial,
    };
    let (detail, fix) = denied(purchase, denial);
    Ok(match another(app, purchase, model, now).await? {
        None => Outcome::broken(detail, fix),
        Some(other) => Outcome::broken(
            format!(
                "{detail} The same buyer can download the model with the order {:?}.",
                other.order_ref
            ),
            format!("Ask about the order {:?}, which counts.", other.order_ref),
        ),
    })
}

/// What the gate says to the buyer who comes with this purchase. Whether the model and its files
/// are still there is the business of later links.
fn gate(purchase: &PurchaseRow, model: &ModelRow, now: Timestamp) -> Decision {
    let buyer = Caller::Buyer(purchase.buyer.clone());
    let facts = AssetFacts {
        artist: model.artist.clone(),
        model_status: model.status,
        deleted: false,
        entitlement: Some(purchase.entitlement()),
    };
    permits(&buyer, &facts, Action::Download, now)
}

/// Another purchase of the model by the same buyer that opens it now.
async fn another(
    app: &App,
    purchase: &PurchaseRow,
    model: &ModelRow,
    now: Timestamp,
) -> Result<Option<PurchaseRow>, CatalogError> {
    let filter = PurchaseFilter {
        buyer: Some(purchase.buyer.clone()),
        model_id: Some(purchase.model_id),
    };
    let page = Page::first(Page::MAX_LIMIT);
    let others = app.catalog.list_purchases(&filter, &page).await?;
    let opens = |other: &PurchaseRow| matches!(gate(other, model, now), Decision::Allow(_));
    Ok(others.items.into_iter().find(opens))
}

fn allowed(purchase: &PurchaseRow) -> String {
    let end = match purchase.expires_at {
        Some(end) => format!("until {end}"),
        None => "without an end".to_owned(),
    };
    let downloads = match purchase.download_limit {
        Some(limit) => format!("{} of {limit} downloads were made", purchase.downloads),
        None => "any number of downloads is allowed".to_owned(),
    };
    format!("It lets its buyer download {end}; {downloads}.")
}

fn denied(purchase: &PurchaseRow, denial: Denial) -> (String, &'static str) {
    match denial {
        Denial::Refunded => (
            match purchase.refunded_at {
                Some(at) => format!("It was refunded at {at}."),
                None => "It was refunded.".to_owned(),
            },
            "If the refund was a mistake, record a new purchase under another order_ref; a refund \
             cannot be taken back.",
        ),
        Denial::Expired => (
            match purchase.expires_at {
                Some(at) => format!("Its time ended at {at}."),
                None => "Its time is over.".to_owned(),
            },
            "If the buyer should have more time, record a new purchase under another order_ref, \
             with a later expires_at or none.",
        ),
        Denial::DownloadLimitReached => (
            format!(
                "All downloads that it allows were made: {} of {}.",
                purchase.downloads,
                purchase.download_limit.unwrap_or_default()
            ),
            "If the buyer should have more downloads, record a new purchase under another \
             order_ref, with a higher download_limit or none.",
        ),
        other => (
            format!("The gate says no: {other:?}."),
            "This is not what a recorded purchase should meet: tell the operator.",
        ),
    }
}

/// The second link: is the model there? A draft is no obstacle to whoever bought it.
pub(super) fn model(app: &App, model: &ModelRow) -> Outcome {
    let Some(deleted_at) = model.deleted_at else {
        return Outcome::ok(match model.status {
            ModelStatus::Published => format!("{:?} is published.", model.title),
            ModelStatus::Draft => format!(
                "{:?} is a draft; whoever bought it can download it all the same.",
                model.title
            ),
        });
    };
    let id = model.id;
    Outcome::broken(
        format!("{:?} was deleted at {deleted_at}.", model.title),
        if app.clock.now() < deleted_at.after(app.limits.delete_grace) {
            format!(
                "Restore it soon, with POST /v1/models/{id}/restore: then it can be downloaded."
            )
        } else {
            format!(
                "Try POST /v1/models/{id}/restore; when its bytes were removed already, ask the \
                 artist for the files, or refund the order."
            )
        },
    )
}
