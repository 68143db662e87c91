//! `POST /v1/models`

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use stockroom_catalog::NewModel;
use stockroom_domain::{ModelId, ModelStatus, Money, Role, Subject};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::audit::Target;
use crate::http::auth::Identity;
use crate::http::codes::Code;
use crate::http::extract::Json;
use crate::http::fields;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::{ModelView, PriceView};

/// A new listing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModelBody {
    /// One line.
    title: String,
    /// What the artist says of it.
    description: Option<String>,
    /// The licence that buyers get.
    license: Option<String>,
    /// Words to find it by.
    #[serde(default)]
    tags: Vec<String>,
    /// `{amount, currency}`, the amount in minor units.
    #[schema(value_type = Option<PriceView>)]
    price: Option<Money>,
    /// Who sells it. Operators and services say it; for others it is the caller.
    #[schema(value_type = Option<String>)]
    artist: Option<Subject>,
}

/// Makes a listing. It is a draft until it is published.
#[utoipa::path(post, path = "/v1/models", tag = "models", request_body = NewModelBody,
    responses(
        (status = 201, description = "The listing, a draft.", body = ModelView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn create(
    State(app): State<App>,
    identity: Identity,
    body: Result<Json<NewModelBody>, Problem>,
) -> Result<Response, Problem> {
    identity.require(&[Role::Operator, Role::Service, Role::Artist])?;
    let Json(body) = body?;
    let now = app.clock.now();
    let model = NewModel {
        id: ModelId::generate(now, &*app.entropy),
        artist: artist(&identity, body.artist)?,
        title: fields::title(&body.title)?,
        description: body
            .description
            .as_deref()
            .map(fields::description)
            .transpose()?,
        license: body.license.as_deref().map(fields::license).transpose()?,
        tags: fields::tags(&body.tags)?,
        price: body.price,
        status: ModelStatus::Draft,
        created_at: now,
    };
    let model = app.catalog.insert_model(model).await?;
    let made = Extension(Target(model.id.to_string()));
    Ok((
        StatusCode::CREATED,
        made,
        axum::Json(ModelView::from(model)),
    )
        .into_response())
}

/// Who sells the model: the caller, unless the caller runs the shop.
fn artist(identity: &Identity, named: Option<Subject>) -> Result<Subject, Problem> {
    match (identity.caller.subject(), named) {
        (None, Some(named)) => Ok(named),
        (None, None) => Err(Problem::invalid(
            "Say whose model it is: send artist, or the header Stockroom-Act-As.",
        )),
        (Some(subject), None) => Ok(subject.clone()),
        (Some(subject), Some(named)) if *subject == named => Ok(named),
        (Some(_), Some(_)) => Err(Problem::new(
            Code::Forbidden,
            "An artist makes models only in the own name. Leave artist out.",
        )),
    }
}
