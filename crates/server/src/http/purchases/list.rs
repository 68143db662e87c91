//! `GET /v1/purchases`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use stockroom_catalog::PurchaseFilter;
use stockroom_domain::Subject;
use utoipa::IntoParams;

use crate::app::App;
use crate::flows::ledger;
use crate::http::auth::Identity;
use crate::http::codes::Code;
use crate::http::extract::Query;
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::PurchaseView;

/// Which purchases are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PurchasesQuery {
    /// Only those by this user. Callers that do not run the shop see their own alone.
    #[param(value_type = Option<String>)]
    buyer: Option<Subject>,
    /// Only those of this model.
    model: Option<String>,
}

/// Lists purchases, newest first: all of them for the shop, the own ones for a user.
#[utoipa::path(get, path = "/v1/purchases", tag = "purchases", params(PurchasesQuery, PageQuery),
    responses(
        (status = 200, description = "A page of purchases.", body = List<PurchaseView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    Query(query): Query<PurchasesQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<PurchaseView>>, Problem> {
    let model_id = match query.model.as_deref().map(str::parse) {
        None => None,
        Some(Ok(id)) => Some(id),
        // What is no id names no model, which nobody has bought.
        Some(Err(_)) => return Ok(Json(List::whole(Vec::new()))),
    };
    let filter = PurchaseFilter {
        buyer: buyer(&identity, query.buyer)?,
        model_id,
    };
    // Without it the counts are a moment old, which is no reason to refuse.
    let _ = ledger::flush(&app).await;
    let purchases = app.catalog.list_purchases(&filter, &page.page()?).await?;
    let now = app.clock.now();
    Ok(Json(List::of(purchases, |row| PurchaseView::of(row, now))))
}

fn buyer(identity: &Identity, asked: Option<Subject>) -> Result<Option<Subject>, Problem> {
    if identity.caller.runs_the_shop() {
        return Ok(asked);
    }
    let subject = identity.require_subject()?;
    match asked {
        Some(buyer) if buyer != *subject => Err(Problem::new(
            Code::Forbidden,
            "A user sees only the own purchases. Leave buyer out.",
        )),
        _ => Ok(Some(subject.clone())),
    }
}
