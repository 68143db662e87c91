//! `stockroom restore`: brings back a deleted object.

use clap::Args;
use stockroom_catalog::CatalogError;

use super::error::CliError;
use super::{Context, object_key, settle, stat};
use crate::exit::Exit;
use crate::flows::error::FlowError;
use crate::flows::objects;

/// Which object.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The key of the object
    key: String,
}

/// Brings back the object of a key that was deleted last, while its bytes are kept, and shows it.
///
/// # Errors
/// There is nothing to restore, the key names an object, or the database fails.
pub async fn run(context: &Context, args: RestoreArgs) -> Result<Exit, CliError> {
    let key = object_key(&args.key)?;
    let app = context.app().await?;
    let restored = objects::restore(&app, &key).await;
    settle(&app).await;
    let object = restored.map_err(|error| match error {
        FlowError::Catalog(CatalogError::NotFound(_)) => CliError::failed(
            "not_found",
            "There is no deleted object of this key whose bytes are still kept.",
        )
        .with_fix("A longer DELETE_GRACE keeps the bytes of what is deleted for longer."),
        other => other.into(),
    })?;
    stat::show(&context.output, object)?;
    Ok(Exit::Ok)
}
