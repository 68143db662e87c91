//! `GET /v1/models`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use stockroom_catalog::{ModelFilter, VisibleTo};
use stockroom_domain::{Caller, Subject};
use utoipa::IntoParams;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Query;
use crate::http::models::parse_status;
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::ModelView;

/// Which listings are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ModelsQuery {
    /// Only those of this user.
    #[param(value_type = Option<String>)]
    artist: Option<Subject>,
    /// Only `draft` or `published` ones.
    status: Option<String>,
    /// Only those with these words in title, description or tags.
    q: Option<String>,
}

/// Lists what the caller may know of, newest first: what is published, and an artist's own.
#[utoipa::path(get, path = "/v1/models", tag = "models", params(ModelsQuery, PageQuery),
    responses(
        (status = 200, description = "A page of listings.", body = List<ModelView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    Query(query): Query<ModelsQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<ModelView>>, Problem> {
    let filter = ModelFilter {
        artist: query.artist,
        status: query.status.as_deref().map(parse_status).transpose()?,
        q: query.q,
        visible_to: visible_to(&identity.caller),
    };
    let models = app.catalog.list_models(&filter, &page.page()?).await?;
    Ok(Json(List::of(models, ModelView::from)))
}

fn visible_to(caller: &Caller) -> VisibleTo {
    match caller {
        Caller::Operator | Caller::Service { acting_for: None } => VisibleTo::All,
        Caller::Service {
            acting_for: Some(subject),
        }
        | Caller::Artist(subject) => VisibleTo::Subject(subject.clone()),
        Caller::Anonymous | Caller::Buyer(_) => VisibleTo::Everyone,
    }
}
