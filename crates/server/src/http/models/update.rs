//! `PATCH /v1/models/{id}`

use axum::extract::State;
use serde::Deserialize;
use stockroom_catalog::ModelPatch;
use stockroom_domain::{Action, ModelId, Money};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::{Id, Json, given};
use crate::http::fields;
use crate::http::models::{parse_status, permitted};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::{ModelView, PriceView};

/// What changes. What is left out stays; `null` clears what can be empty.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelPatchBody {
    /// One line.
    title: Option<String>,
    /// What the artist says of it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// The licence that buyers get.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    license: Option<Option<String>>,
    /// Words to find it by.
    tags: Option<Vec<String>>,
    /// `{amount, currency}`, the amount in minor units.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<PriceView>)]
    price: Option<Option<Money>>,
    /// `published` puts it on show, `draft` takes it off.
    status: Option<String>,
}

/// Changes a listing, or publishes it.
#[utoipa::path(patch, path = "/v1/models/{id}", tag = "models", request_body = ModelPatchBody,
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The listing as it is now.", body = ModelView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn update(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<ModelId>,
    body: Result<Json<ModelPatchBody>, Problem>,
) -> Result<axum::Json<ModelView>, Problem> {
    permitted(&app, &identity, id, Action::Change).await?;
    let Json(body) = body?;
    let patch = patch(body)?;
    let model = app.catalog.update_model(id, patch, app.clock.now()).await?;
    Ok(axum::Json(model.into()))
}

fn patch(body: ModelPatchBody) -> Result<ModelPatch, Problem> {
    let check = |text: Option<Option<String>>, rule: fn(&str) -> Result<String, Problem>| {
        text.map(|text| text.as_deref().map(rule).transpose())
            .transpose()
    };
    Ok(ModelPatch {
        title: body.title.as_deref().map(fields::title).transpose()?,
        description: check(body.description, fields::description)?,
        license: check(body.license, fields::license)?,
        tags: body.tags.as_deref().map(fields::tags).transpose()?,
        price: body.price,
        status: body.status.as_deref().map(parse_status).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_clears_and_absence_keeps() {
        let body: ModelPatchBody =
            serde_json::from_str(r#"{"description": null, "status": "published"}"#).unwrap();
        let patch = patch(body).unwrap();
        assert_eq!(patch.description, Some(None));
        assert_eq!(patch.license, None);
        assert!(patch.status.is_some());
        assert!(serde_json::from_str::<ModelPatchBody>(r#"{"artist": "x"}"#).is_err());
    }
}
