//! `POST /v1/webhook-endpoints/{id}/rotate-secret`

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde::Deserialize;
use stockroom_catalog::EndpointSecret;
use stockroom_domain::EndpointId;
use utoipa::ToSchema;

use super::EndpointWithSecretView;
use crate::app::App;
use crate::flows::signatures::standard::SigningSecret;
use crate::http::auth::Identity;
use crate::http::extract::{Id, JsonOrNothing};
use crate::http::problem::{Problem, ProblemBody};

/// How long the old secret counts too when the caller does not say: a day.
const DEFAULT_OVERLAP_S: u64 = 86_400;
/// How long it may: a week.
const MAX_OVERLAP_S: u64 = 7 * 86_400;

/// How a secret is exchanged.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// How many seconds events are signed with the old secret too, 0 to 604800; 86400 when left out.
    #[schema(minimum = 0, maximum = 604_800)]
    overlap: Option<u64>,
}

/// Exchanges the secret that events are signed with. The new one is in this answer and nowhere else.
/// For a while events carry both signatures, so that the receiver can be changed without haste.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/rotate-secret", tag = "webhooks",
    request_body = Option<RotateBody>, params(("id" = String, Path)),
    responses(
        (status = 200, description = "The endpoint, with its new secret.", body = EndpointWithSecretView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn rotate(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<EndpointId>,
    body: Result<JsonOrNothing<RotateBody>, Problem>,
) -> Result<Response, Problem> {
    identity.require_operator()?;
    let JsonOrNothing(body) = body?;
    let overlap_s = body.overlap.unwrap_or(DEFAULT_OVERLAP_S);
    if overlap_s > MAX_OVERLAP_S {
        return Err(Problem::invalid(format!(
            "overlap is 0 to {MAX_OVERLAP_S} seconds."
        )));
    }
    let now = app.clock.now();
    let secret = EndpointSecret(SigningSecret::generate(&*app.entropy));
    let old_until = now.after(Duration::from_secs(overlap_s));
    let row = app
        .catalog
        .rotate_endpoint_secret(id, &secret, old_until, now)
        .await?;
    let headers = [(header::CACHE_CONTROL, "no-store")];
    let view = EndpointWithSecretView::of(row, now);
    Ok((headers, axum::Json(view)).into_response())
}
