//! `GET /v1/objects`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use stockroom_domain::{Action, KeyPrefix};
use utoipa::IntoParams;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::codes::Code;
use crate::http::extract::Query;
use crate::http::objects::permitted;
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::ObjectView;

/// Which objects are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ObjectsQuery {
    /// Only those whose keys begin with this.
    prefix: Option<String>,
}

/// Lists objects by key.
#[utoipa::path(get, path = "/v1/objects", tag = "objects", params(ObjectsQuery, PageQuery),
    responses(
        (status = 200, description = "A page of objects.", body = List<ObjectView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    Query(query): Query<ObjectsQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<ObjectView>>, Problem> {
    permitted(&app, &identity, Action::ReadRecord)?;
    let prefix: KeyPrefix = query.prefix.unwrap_or_default().parse().map_err(|error| {
        Problem::new(
            Code::InvalidKey,
            format!("The prefix fits no key: {error}."),
        )
    })?;
    let objects = app.catalog.list_objects(&prefix, &page.page()?).await?;
    Ok(Json(List::of(objects, ObjectView::from)))
}
