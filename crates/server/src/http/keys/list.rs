//! `GET /v1/keys`

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Query;
use crate::http::keys::KeyView;
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};

/// Lists all keys, newest first, those that ended too.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(PageQuery),
    responses(
        (status = 200, description = "A page of keys.", body = List<KeyView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<KeyView>>, Problem> {
    identity.require_operator()?;
    let keys = app.catalog.list_keys(&page.page()?).await?;
    Ok(Json(List::of(keys, KeyView::from)))
}
