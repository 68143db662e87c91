//! `POST /v1/purchases`

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use stockroom_catalog::{CatalogError, NewPurchase, Recorded};
use stockroom_domain::{ModelId, PurchaseId, Subject, Timestamp};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::audit::Target;
use crate::http::auth::Identity;
use crate::http::extract::Json;
use crate::http::fields;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::purchases::SHOP;
use crate::http::views::PurchaseView;

/// A purchase that the shop tells of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPurchaseBody {
    /// The user who bought.
    #[schema(value_type = String)]
    buyer: Subject,
    /// The model that was bought.
    #[schema(value_type = String)]
    model: String,
    /// The shop's own name for the order. It is recorded once, however often it is sent.
    order_ref: String,
    /// When it ends, RFC 3339; never when left out.
    #[schema(value_type = Option<String>)]
    expires_at: Option<Timestamp>,
    /// How many downloads it allows; any number when left out.
    download_limit: Option<u64>,
}

/// Records a purchase. The same order with the same body is recorded once and answered with 200
/// ever after; with another body it is a conflict.
#[utoipa::path(post, path = "/v1/purchases", tag = "purchases", request_body = NewPurchaseBody,
    responses(
        (status = 201, description = "The purchase.", body = PurchaseView),
        (status = 200, description = "The purchase, which was recorded before.", body = PurchaseView),
        (status = 409, description = "`order_conflict`", body = ProblemBody),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn create(
    State(app): State<App>,
    identity: Identity,
    body: Result<Json<NewPurchaseBody>, Problem>,
) -> Result<Response, Problem> {
    identity.require(&SHOP)?;
    let Json(body) = body?;
    let now = app.clock.now();
    let purchase = NewPurchase {
        id: PurchaseId::generate(now, &*app.entropy),
        buyer: body.buyer,
        model_id: model_id(&body.model)?,
        order_ref: fields::order_ref(&body.order_ref)?,
        purchased_at: now,
        expires_at: body.expires_at,
        download_limit: body.download_limit,
    };
    let (status, row) = match app.catalog.record_purchase(&purchase).await {
        Ok(Recorded::New(row)) => (StatusCode::CREATED, row),
        Ok(Recorded::Same(row)) => (StatusCode::OK, row),
        Err(CatalogError::NotFound(_)) => return Err(no_such_model()),
        Err(error) => return Err(error.into()),
    };
    let made = Extension(Target(row.id.to_string()));
    Ok((status, made, axum::Json(PurchaseView::of(row, now))).into_response())
}

fn model_id(text: &str) -> Result<ModelId, Problem> {
    text.parse().map_err(|_| no_such_model())
}

fn no_such_model() -> Problem {
    Problem::new(
        crate::http::codes::Code::NotFound,
        "There is no such model.",
    )
}
