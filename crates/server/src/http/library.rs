//! `GET /v1/library`

use axum::Json;
use axum::extract::State;
use stockroom_catalog::LibraryEntry;
use stockroom_domain::{Action, AssetFacts, Caller, Decision, Timestamp, permits};

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
    let list = List::of(entries, |entry| {
        let is_shown = may_see(&identity.caller, &entry, now);
        LibraryEntryView {
            model_details: is_shown.then(|| entry.model.into()),
            assets: entry
                .assets
                .into_iter()
                .filter(|_| is_shown)
                .map(|row| AssetView::of(row, &identity))
                .collect(),
            purchase: PurchaseView::of(entry.purchase, now),
        }
    });
    Ok(Json(list))
}

/// Whether the caller may know of a model that was bought, and of its files: not when it was deleted,
/// and not when it is hidden and the purchase has ended.
fn may_see(caller: &Caller, entry: &LibraryEntry, now: Timestamp) -> bool {
    let facts = AssetFacts {
        artist: entry.model.artist.clone(),
        model_status: entry.model.status,
        deleted: entry.model.deleted_at.is_some(),
        entitlement: Some(entry.purchase.entitlement()),
    };
    let decision = permits(caller, &facts, Action::ReadRecord, now);
    matches!(decision, Decision::Allow(_))
}
