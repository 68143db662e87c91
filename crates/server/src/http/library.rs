//! `GET /v1/library`

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::flows::ledger;
use crate::http::auth::Identity;
use crate::http::extract::Query;
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::{AssetView, LibraryEntryView, PurchaseView};

/// Lists what the caller bought, newest first, each with the model and its files.
#[utoipa::path(get, path = "/v1/library", tag = "purchases", params(PageQuery),
    responses(
        (status = 200, description = "A page of purchases.", body = List<LibraryEntryView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn library(
    State(app): State<App>,
    identity: Identity,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<LibraryEntryView>>, Problem> {
    let subject = identity.require_subject()?;
    // Without it the counts are a moment old, which is no reason to refuse.
    let _ = ledger::flush(&app).await;
    let entries = app.catalog.library(subject, &page.page()?).await?;
    let now = app.clock.now();
    let list = List::of(entries, |entry| LibraryEntryView {
        purchase: PurchaseView::of(entry.purchase, now),
        model_details: entry.model.deleted_at.is_none().then(|| entry.model.into()),
        assets: entry
            .assets
            .into_iter()
            .map(|row| AssetView::of(row, &identity))
            .collect(),
    });
    Ok(Json(list))
}
