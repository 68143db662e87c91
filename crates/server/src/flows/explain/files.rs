//! The third link: which files does the model have?

use stockroom_catalog::{AssetRow, CatalogError, ModelRow, Page};
use stockroom_domain::AssetId;

use super::MAX_ASSETS;
use super::chain::Outcome;
use crate::app::App;

/// How many deleted files are named.
const MAX_NAMED: usize = 10;

/// What to do where the record itself is damaged.
pub(super) const MEND_THE_RECORD: &str = "The record is damaged: have the artist upload the file \
    again, which makes a new version, and restore the database from a backup if more is wrong.";

/// The files that are looked at further, and what is said of all.
pub(super) async fn examine(
    app: &App,
    model: &ModelRow,
    asked: Option<AssetId>,
) -> Result<(Outcome, Vec<AssetRow>), CatalogError> {
    let found = match asked {
        Some(id) => one(app, model, id).await,
        None => all(app, model).await,
    };
    match found {
        // A row that cannot be read is what keeps the buyer from the file.
        Err(CatalogError::Corrupt { table, id, reason }) => {
            let detail = format!("The row {id} of {table} cannot be read: {reason}.");
            Ok((Outcome::broken(detail, MEND_THE_RECORD), Vec::new()))
        }
        other => other,
    }
}

async fn one(
    app: &App,
    model: &ModelRow,
    id: AssetId,
) -> Result<(Outcome, Vec<AssetRow>), CatalogError> {
    let Some(asset) = app.catalog.find_asset_deleted_or_not(id).await? else {
        let outcome = Outcome::broken(
            format!("There is no file {id}."),
            "Give the id of one of the model's files, or none to look at all of them.",
        );
        return Ok((outcome, Vec::new()));
    };
    let (name, version) = (&asset.filename, asset.version);
    if asset.model_id != model.id {
        let outcome = Outcome::broken(
            format!(
                "{name} is a file of the model {}, which this order does not cover.",
                asset.model_id
            ),
            "Ask about the order with which that model was bought, or record one if it was paid.",
        );
        return Ok((outcome, Vec::new()));
    }
    if let Some(deleted_at) = asset.deleted_at {
        let detail = format!("{name}, version {version}, was deleted at {deleted_at}.");
        return Ok((Outcome::broken(detail, restore(model, &asset)), Vec::new()));
    }
    let outcome = Outcome::ok(format!("{name}, version {version}, is there."));
    Ok((outcome, vec![asset]))
}

async fn all(app: &App, model: &ModelRow) -> Result<(Outcome, Vec<AssetRow>), CatalogError> {
    let page = Page::first(MAX_ASSETS);
    let live = app.catalog.list_assets(model.id, false, &page).await?;
    let is_cut = live.next.is_some();
    let live = live.items;
    let deleted = app.catalog.deleted_assets(model.id).await?;
    let said = match named(&deleted) {
        Some(names) => format!(" Deleted: {names}."),
        None => String::new(),
    };
    let Some(first) = live.first() else {
        let fix = match deleted.first() {
            Some(newest) => restore(model, newest),
            None => format!(
                "Have the artist upload a file, with PUT /v1/models/{}/assets/FILENAME.",
                model.id
            ),
        };
        let outcome = Outcome::broken(format!("The model has no file.{said}"), fix);
        return Ok((outcome, live));
    };
    let detail = match (live.len(), is_cut) {
        (1, false) => format!("{}, version {}, is there.", first.filename, first.version),
        (count, false) => format!("{count} files are there."),
        (count, true) => format!(
            "More than {count} files are there; the newest {count} are looked at. Name another \
             one to look at it."
        ),
    };
    Ok((Outcome::ok(detail + &said), live))
}

fn restore(model: &ModelRow, asset: &AssetRow) -> String {
    if model.deleted_at.is_some() {
        return "It was deleted with its model: restore the model.".to_owned();
    }
    format!(
        "Restore it with POST /v1/assets/{}/restore while its bytes are kept, or have the artist \
         upload it again.",
        asset.id
    )
}

fn named(assets: &[AssetRow]) -> Option<String> {
    let names: Vec<&str> = assets
        .iter()
        .take(MAX_NAMED)
        .map(|asset| asset.filename.as_str())
        .collect();
    let more = assets.len() - names.len();
    let names = names.join(", ");
    match (names.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(names),
        (false, more) => Some(format!("{names} and {more} more")),
    }
}
