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

use stockroom_catalog::{AssetDetails, AssetQuery};
use stockroom_domain::{Action, AssetId, Decision, Grant, permits};

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
    pub details: AssetDetails,
    /// Why the caller may.
    pub grant: Grant,
}

/// What a link to an asset is made for.
#[must_use]
pub fn link_to(account: Option<&Account>) -> LinkTo {
    account.map_or(LinkTo::Asset, |account| {
        LinkTo::Purchased(account.purchase())
    })
}

/// Recognises the caller and asks the gate, with one query for both.
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
    let query = AssetQuery {
        asset_id: id,
        key_hash: credentials.key_hash(),
        acting_for: credentials.acting_for(),
        now,
    };
    let view = app.catalog.asset_view(query).await?;
    let identity = credentials.recognise(app, view.key.as_ref(), now)?;
    let Some(details) = view.asset else {
        // A stranger is asked for a key first, whether the asset exists or not.
        return Err(match (identity.role, action) {
            (None, Action::Download | Action::SignUrl) => Problem::unauthenticated(),
            _ => Problem::not_found(),
        });
    };
    match permits(&identity.caller, &details.facts(), action, now) {
        Decision::Allow(grant) => Ok(Permitted {
            identity,
            details,
            grant,
        }),
        Decision::Deny(denial) => Err(denial.into()),
    }
}
