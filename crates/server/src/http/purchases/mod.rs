//! `/v1/purchases`: what lets buyers download.

pub mod create;
pub mod explain;
pub mod get;
pub mod list;
pub mod receipt;
pub mod refund;

use stockroom_catalog::PurchaseRow;
use stockroom_domain::{PurchaseId, Role};

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::problem::Problem;

/// Who records and refunds purchases: the shop.
pub const SHOP: [Role; 2] = [Role::Operator, Role::Service];

/// A purchase that the caller may see: the shop any, a user the own ones.
///
/// # Errors
/// 401 without a key; 404 when there is none or it is somebody else's.
pub async fn visible(
    app: &App,
    identity: &Identity,
    id: PurchaseId,
) -> Result<PurchaseRow, Problem> {
    if identity.role.is_none() {
        return Err(Problem::unauthenticated());
    }
    let row = app
        .catalog
        .find_purchase(id)
        .await?
        .ok_or_else(Problem::not_found)?;
    let is_own = identity.caller.subject() == Some(&row.buyer);
    if !is_own && !identity.caller.runs_the_shop() {
        return Err(Problem::not_found());
    }
    Ok(row)
}
