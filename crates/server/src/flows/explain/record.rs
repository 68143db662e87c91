//! What is recorded of a file's bytes: the facts they are held against, and where they lie.

use stockroom_catalog::{CatalogError, ObjectDetails, PlacementRow};
use stockroom_domain::{ObjectState, PlacementState};
use stockroom_storage::{CHUNK_BYTES, ChunkSums, Identity};

use super::chain::Outcome;
use super::files::MEND_THE_RECORD;
use crate::app::App;
use crate::doctor::finding::clause;

/// The fourth link: is the object live, and do its facts fit together?
pub(super) fn facts(details: &ObjectDetails) -> Outcome {
    let object = &details.object;
    if object.state != ObjectState::Live {
        return Outcome::broken(
            format!(
                "The file is recorded, but its bytes are {} as if it had been deleted.",
                object.state.as_str()
            ),
            MEND_THE_RECORD,
        );
    }
    let size_bytes = object.size_bytes;
    match ChunkSums::from_bytes(&details.chunk_sums) {
        Ok(sums) if sums.fits(size_bytes) => Outcome::ok(format!(
            "{size_bytes} bytes with the SHA-256 {} are recorded.",
            object.sha256
        )),
        Ok(sums) => Outcome::broken(
            format!(
                "{} chunk sums are recorded, and {size_bytes} bytes have {}, so that no download \
                 can be checked.",
                sums.len(),
                size_bytes.div_ceil(CHUNK_BYTES as u64)
            ),
            MEND_THE_RECORD,
        ),
        Err(error) => Outcome::warning(
            format!("Its chunk sums cannot be read ({error}), so downloads are not checked."),
            MEND_THE_RECORD,
        ),
    }
}

/// The fifth link: is there a copy that a download may read, on a store that is configured?
pub(super) async fn placements(
    app: &App,
    details: &ObjectDetails,
) -> Result<Outcome, CatalogError> {
    let rows = app.catalog.placements_of(details.object.id).await?;
    let said: Vec<String> = rows.iter().map(|row| said(app, row)).collect();
    let detail = if said.is_empty() {
        "No copy is recorded.".to_owned()
    } else {
        format!("Recorded: {}.", said.join("; "))
    };
    let is_configured = |row: &PlacementRow| app.store(&row.store).is_some();
    let is_well = |row: &PlacementRow| row.state == PlacementState::Present && is_configured(row);
    let mut readable = rows.iter().filter(|row| row.state.is_readable());
    Ok(if readable.clone().any(is_configured) {
        if rows.iter().all(is_well) {
            Outcome::ok(detail)
        } else {
            Outcome::warning(
                detail,
                "See that stockroom serve runs, which makes and replaces copies; the buyer need \
                 not wait for it.",
            )
        }
    } else if let Some(elsewhere) = readable.next() {
        Outcome::broken(
            detail,
            format!(
                "Set up the store {} again: it is recorded, and this server has no settings for it.",
                elsewhere.store
            ),
        )
    } else {
        Outcome::broken(
            detail,
            "No copy can be read: run stockroom verify --repair, and if none is found, have the \
             artist upload the file again.",
        )
    })
}

fn said(app: &App, row: &PlacementRow) -> String {
    let store = &row.store;
    let state = match row.state {
        PlacementState::Present => format!("present on {store}"),
        PlacementState::Suspect => format!("doubted on {store} since {}", row.updated_at),
        PlacementState::Copying => format!("missing on {store} since {}", row.updated_at),
        PlacementState::Retiring => format!("being removed from {store}"),
        PlacementState::Gone => format!("removed from {store}"),
    };
    let why = match &row.last_error {
        Some(error) if row.state != PlacementState::Present => format!(" ({})", clause(error)),
        _ => String::new(),
    };
    let about_store = match app.store(store) {
        None => ", which is not configured",
        Some(store) if store.identity() == Identity::Foreign => {
            ", which carries the id of another Stockroom"
        }
        Some(_) => "",
    };
    format!("{state}{why}{about_store}")
}
