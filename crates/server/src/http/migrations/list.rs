//! `GET /v1/migrations`

use axum::Json;
use axum::extract::State;

use super::MigrationView;
use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Query;
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};

/// Lists all migrations, newest first.
#[utoipa::path(get, path = "/v1/migrations", tag = "migrations", params(PageQuery),
    responses(
        (status = 200, description = "A page of migrations.", body = List<MigrationView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<MigrationView>>, Problem> {
    identity.require_operator()?;
    let migrations = app.catalog.list_migrations(&page.page()?).await?;
    Ok(Json(List::of(migrations, MigrationView::from)))
}
