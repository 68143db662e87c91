//! `/v1/models`: listings.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod restore;
pub mod update;

use stockroom_catalog::ModelRow;
use stockroom_domain::{
    Action, AssetFacts, Decision, Grant, ModelId, ModelStatus, Timestamp, permits,
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
    gate(identity, &model, action, app.clock.now())?;
    Ok(model)
}

/// Asks the gate about a model.
///
/// # Errors
/// What the gate says.
fn gate(
    identity: &Identity,
    model: &ModelRow,
    action: Action,
    now: Timestamp,
) -> Result<Grant, Problem> {
    let facts = AssetFacts {
        artist: model.artist.clone(),
        model_status: model.status,
        deleted: model.deleted_at.is_some(),
        entitlement: None,
    };
    match permits(&identity.caller, &facts, action, now) {
        Decision::Allow(grant) => Ok(grant),
        Decision::Deny(denial) => Err(denial.into()),
    }
}

/// Reads a status as callers write it.
///
/// # Errors
/// 400 when there is none of that name.
pub fn parse_status(text: &str) -> Result<ModelStatus, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid("status is draft or published."))
}
