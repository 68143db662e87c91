//! `POST /v1/webhook-endpoints`

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Deserialize;
use stockroom_catalog::{EndpointSecret, NewEndpoint};
use stockroom_domain::EndpointId;
use utoipa::ToSchema;

use super::{EndpointWithSecretView, parse_events, parse_url};
use crate::app::App;
use crate::flows::signatures::standard::SigningSecret;
use crate::http::audit::Target;
use crate::http::auth::Identity;
use crate::http::extract::Json;
use crate::http::fields;
use crate::http::problem::{Problem, ProblemBody};

/// A new endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpointBody {
    /// Where events are to be sent: https, in no network that is not public unless the server's
    /// settings allow it.
    url: String,
    /// Which kinds of events; `["*"]` for all.
    events: Vec<String>,
    /// What it is, for people.
    description: Option<String>,
}

/// Has events sent somewhere from now on. The secret that they are signed with is in this answer and
/// nowhere else.
#[utoipa::path(post, path = "/v1/webhook-endpoints", tag = "webhooks", request_body = NewEndpointBody,
    responses(
        (status = 201, description = "The endpoint, with its secret.", body = EndpointWithSecretView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn create(
    State(app): State<App>,
    identity: Identity,
    body: Result<Json<NewEndpointBody>, Problem>,
) -> Result<Response, Problem> {
    identity.require_operator()?;
    let Json(body) = body?;
    let now = app.clock.now();
    let description = body.description.as_deref();
    let endpoint = NewEndpoint {
        id: EndpointId::generate(now, &*app.entropy),
        url: parse_url(&body.url, app.event_sender.targets())?,
        description: description.map(fields::endpoint_description).transpose()?,
        events: parse_events(&body.events)?,
        secret: EndpointSecret(SigningSecret::generate(&*app.entropy)),
        created_at: now,
    };
    let row = app.catalog.insert_endpoint(&endpoint).await?;
    let made = Extension(Target(row.id.to_string()));
    let headers = [(header::CACHE_CONTROL, "no-store")];
    let view = EndpointWithSecretView::of(row, now);
    Ok((StatusCode::CREATED, headers, made, axum::Json(view)).into_response())
}
