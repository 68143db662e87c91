//! `/v1/models`: listings.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod restore;
pub mod update;

use stockroom_catalog::{ModelRow, Page, PurchaseFilter, PurchaseRow};
use stockroom_domain::{
    Action, AssetFacts, Decision, Entitlement, ModelId, ModelStatus, PurchaseStatus, Timestamp,
    permits,
};

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::problem::Problem;

/// The model, if the caller may do this with it.
///
/// # Errors
/// What the gate says; 404 when there is no such model.
pub async fn permitted(
    app: &App,
    identity: &Identity,
    id: ModelId,
    action: Action,
) -> Result<ModelRow, Problem> {
    let model = app
        .catalog
        .find_model(id)
        .await?
        .ok_or_else(Problem::not_found)?;
    let entitlement = entitlement(app, identity, &model).await?;
    gate(identity, &model, entitlement, action, app.clock.now())?;
    Ok(model)
}

/// Asks the gate about a model.
///
/// # Errors
/// What the gate says.
fn gate(
    identity: &Identity,
    model: &ModelRow,
    entitlement: Option<Entitlement>,
    action: Action,
    now: Timestamp,
) -> Result<(), Problem> {
    let facts = AssetFacts {
        artist: model.artist.clone(),
        model_status: model.status,
        deleted: model.deleted_at.is_some(),
        entitlement,
    };
    match permits(&identity.caller, &facts, action, now) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(denial) => Err(denial.into()),
    }
}

/// The purchase by which a user may see a model that is not on show any more.
async fn entitlement(
    app: &App,
    identity: &Identity,
    model: &ModelRow,
) -> Result<Option<Entitlement>, Problem> {
    let Some(subject) = identity.caller.subject() else {
        return Ok(None);
    };
    if model.status == ModelStatus::Published || *subject == model.artist {
        return Ok(None);
    }
    let filter = PurchaseFilter {
        buyer: Some(subject.clone()),
        model_id: Some(model.id),
    };
    let page = Page::first(Page::MAX_LIMIT);
    let bought = app.catalog.list_purchases(&filter, &page).await?;
    let now = app.clock.now();
    let best = bought
        .items
        .iter()
        .find(|it| it.status(now) == PurchaseStatus::Active);
    Ok(best.map(PurchaseRow::entitlement))
}

/// Reads a status as callers write it.
///
/// # Errors
/// 400 when there is none of that name.
pub fn parse_status(text: &str) -> Result<ModelStatus, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid("status is draft or published."))
}
