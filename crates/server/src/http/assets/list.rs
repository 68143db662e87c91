//! `GET /v1/models/{id}/assets`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use stockroom_domain::{Action, ModelId};
use utoipa::IntoParams;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::{Id, Query};
use crate::http::models::permitted;
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::AssetView;

/// Which files are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AssetsQuery {
    /// `all` lists older versions too; else only the newest of each file name.
    versions: Option<String>,
}

/// Lists the files of a model, newest first.
#[utoipa::path(get, path = "/v1/models/{id}/assets", tag = "assets",
    params(("id" = String, Path), AssetsQuery, PageQuery),
    responses(
        (status = 200, description = "A page of assets.", body = List<AssetView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<ModelId>,
    Query(query): Query<AssetsQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<AssetView>>, Problem> {
    permitted(&app, &identity, id, Action::ReadRecord).await?;
    let all_versions = match query.versions.as_deref() {
        None | Some("newest") => false,
        Some("all") => true,
        Some(_) => return Err(Problem::invalid("versions is newest or all.")),
    };
    let assets = app
        .catalog
        .list_assets(id, all_versions, &page.page()?)
        .await?;
    Ok(Json(List::of(assets, |row| AssetView::of(row, &identity))))
}
