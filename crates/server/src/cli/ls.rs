//! `stockroom ls`: lists objects by key.

use clap::Args;
use stockroom_catalog::{ObjectRow, Page};
use stockroom_domain::KeyPrefix;

use super::error::CliError;
use super::{Context, settle};
use crate::app::App;
use crate::exit::Exit;
use crate::flows::error::FlowError;
use crate::http::views::ObjectView;

/// What to list.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Only objects whose keys begin with this, such as models/42/
    prefix: Option<String>,
}

/// Lists objects in the order of their keys.
///
/// # Errors
/// The prefix fits no key, or the database fails.
pub async fn run(context: &Context, args: LsArgs) -> Result<Exit, CliError> {
    let prefix = args.prefix.unwrap_or_default().parse().map_err(|error| {
        CliError::bad_argument("invalid_key", format!("The prefix fits no key: {error}."))
            .with_fix("Keys begin with models/, thumbnails/, images/ or temp/.")
    })?;
    let app = context.app().await?;
    let outcome = list(context, &app, &prefix).await;
    settle(&app).await;
    outcome.map(|()| Exit::Ok)
}

/// Prints page by page, so that a long list begins at once and needs no memory. The columns have
/// fixed widths for that, and the key comes last.
async fn list(context: &Context, app: &App, prefix: &KeyPrefix) -> Result<(), CliError> {
    if !context.output.is_json() {
        context
            .output
            .line(&columns("size", "created_at", "stores", "key"))?;
    }
    let mut page = Page::first(Page::MAX_LIMIT);
    loop {
        let objects = app
            .catalog
            .list_objects(prefix, &page)
            .await
            .map_err(FlowError::from)?;
        for object in objects.items {
            let text = line(&object);
            context.output.result(&ObjectView::from(object), &text)?;
        }
        page.after = objects.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}

fn line(object: &ObjectRow) -> String {
    let stores: Vec<&str> = object
        .placements
        .iter()
        .filter(|placement| placement.state.is_readable())
        .map(|placement| placement.store.as_str())
        .collect();
    columns(
        &object.size_bytes.to_string(),
        &object.live_at.to_string(),
        &stores.join(","),
        object.key.as_str(),
    )
}

fn columns(size: &str, created_at: &str, stores: &str, key: &str) -> String {
    format!("{size:>14}  {created_at:<24}  {stores:<8}  {key}")
}
