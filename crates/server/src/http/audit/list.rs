//! `GET /v1/audit`

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use stockroom_catalog::AuditRow;
use stockroom_domain::{AuditId, KeyId, Timestamp};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Query;
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};

/// Which part of the record is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what was done with this key.
    key: Option<String>,
}

/// One thing that an operator did, or tried to do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditView {
    /// `aud_...`
    #[schema(value_type = String)]
    id: AuditId,
    /// When it was answered.
    #[schema(value_type = String)]
    at: Timestamp,
    /// The key it was done with; `null` on the command line.
    #[schema(value_type = Option<String>)]
    key: Option<KeyId>,
    /// Method and route, or the command.
    action: String,
    /// What it was done to: what the path names, or what was made.
    target: Option<String>,
    /// The status of the answer; `null` when the caller went away before there was one, and on the
    /// command line.
    status: Option<u16>,
    /// The id of the request, as in the log.
    request_id: Option<String>,
    /// Where the call came from.
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            key: row.key,
            action: row.action,
            target: row.target,
            status: row.status,
            request_id: row.request_id,
            address: row.address,
        }
    }
}

/// Lists what operators did, newest first: every call with an operator's key that is no GET or
/// HEAD, accepted or refused, and keys that were made or revoked on the command line.
#[utoipa::path(get, path = "/v1/audit", tag = "keys", params(AuditQuery, PageQuery),
    responses(
        (status = 200, description = "A page of the record.", body = List<AuditView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    Query(query): Query<AuditQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<AuditView>>, Problem> {
    identity.require_operator()?;
    let key = match query.key.as_deref().map(str::parse) {
        None => None,
        Some(Ok(key)) => Some(key),
        // What is no id names no key, with which nothing was done.
        Some(Err(_)) => return Ok(Json(List::whole(Vec::new()))),
    };
    let entries = app.catalog.list_audit(key, &page.page()?).await?;
    Ok(Json(List::of(entries, AuditView::from)))
}
