//! `/v1/models/{id}/assets` and `/v1/assets`: the files of models.

pub mod between;
pub mod delete;
pub mod download;
pub mod form;
pub mod get;
pub mod list;
pub mod put;
pub mod restore;
pub mod sign;

use std::sync::Arc;

use stockroom_catalog::{AssetDetails, AssetQuery, AssetView};
use stockroom_domain::{Action, AssetId, Decision, Grant, Timestamp, permits};

use crate::app::App;
use crate::flows::deliver::LinkTo;
use crate::flows::ledger::Account;
use crate::http::auth::{Credentials, Identity};
use crate::http::problem::Problem;

/// An asset that the caller may do something with.
#[derive(Debug)]
pub struct Permitted {
    /// Who calls.
    pub identity: Identity,
    /// The asset with its object and where the bytes lie.
    pub details: Arc<AssetDetails>,
    /// Why the caller may.
    pub grant: Grant,
    /// Whether nobody asked the database, so that where the bytes lie is what was known some
    /// seconds ago.
    pub is_kept: bool,
}

/// What a link to an asset is made for.
#[must_use]
pub fn link_to(account: Option<&Account>) -> LinkTo {
    account.map_or(LinkTo::Asset, |account| {
        LinkTo::Purchased(account.purchase())
    })
}

/// Recognises the caller and asks the gate. What was known a moment ago may let the caller in; it
/// never keeps one out.
///
/// # Errors
/// What the gate says; 404 when there is no such asset.
pub async fn permitted(
    app: &App,
    credentials: &Credentials,
    id: AssetId,
    action: Action,
) -> Result<Permitted, Problem> {
    let now = app.clock.now();
    let query = query(credentials, id, now);
    if let Some(view) = app.catalog.kept_view(&query)
        && let Ok((identity, grant)) = judge(credentials, &view, action, now)
        && let Some(details) = view.asset.clone()
    {
        credentials.admit(app, view.key.as_ref(), &identity, now)?;
        return Ok(Permitted {
            identity,
            details,
            grant,
            is_kept: true,
        });
    }
    permitted_now(app, credentials, id, action).await
}

/// The same with one query to the database, whatever is known already.
///
/// # Errors
/// As [`permitted`].
pub async fn permitted_now(
    app: &App,
    credentials: &Credentials,
    id: AssetId,
    action: Action,
) -> Result<Permitted, Problem> {
    let now = app.clock.now();
    let view = app.catalog.asset_view(query(credentials, id, now)).await?;
    let identity = credentials.recognise(app, view.key.as_ref(), now)?;
    let grant = gate(&identity, &view, action, now)?;
    let details = view.asset.clone().ok_or_else(Problem::not_found)?;
    Ok(Permitted {
        identity,
        details,
        grant,
        is_kept: false,
    })
}

fn query(credentials: &Credentials, asset_id: AssetId, now: Timestamp) -> AssetQuery<'_> {
    AssetQuery {
        asset_id,
        key_hash: credentials.key_hash(),
        acting_for: credentials.acting_for(),
        now,
    }
}

fn judge(
    credentials: &Credentials,
    view: &AssetView,
    action: Action,
    now: Timestamp,
) -> Result<(Identity, Grant), Problem> {
    let identity = credentials.identify(view.key.as_ref(), now)?;
    let grant = gate(&identity, view, action, now)?;
    Ok((identity, grant))
}

fn gate(
    identity: &Identity,
    view: &AssetView,
    action: Action,
    now: Timestamp,
) -> Result<Grant, Problem> {
    let Some(details) = &view.asset else {
        // A stranger is asked for a key first, whether the asset exists or not.
        return Err(match (identity.role, action) {
            (None, Action::Download | Action::SignUrl) => Problem::unauthenticated(),
            _ => Problem::not_found(),
        });
    };
    match permits(&identity.caller, &details.facts(), action, now) {
        Decision::Allow(grant) => Ok(grant),
        Decision::Deny(denial) => Err(denial.into()),
    }
}
