//! `stockroom rm`: deletes an object.

use clap::Args;
use serde::Serialize;
use stockroom_domain::{Key, Timestamp};

use super::error::CliError;
use super::{Context, object_key, settle};
use crate::exit::Exit;
use crate::flows::objects;

/// Which object.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The key of the object
    key: String,
}

/// What was deleted.
#[derive(Serialize)]
struct Deleted<'a> {
    key: &'a Key,
    deleted: bool,
    /// From when on a running server removes the bytes.
    bytes_until: Timestamp,
}

/// Deletes an object: at once for readers, its bytes after the grace period.
///
/// # Errors
/// There is no such object, an asset needs it, or the database fails.
pub async fn run(context: &Context, args: RmArgs) -> Result<Exit, CliError> {
    let key = object_key(&args.key)?;
    let app = context.app().await?;
    let bytes_until = context.clock.now().after(app.limits.delete_grace);
    let outcome = objects::retire(&app, &key).await;
    settle(&app).await;
    outcome?;
    let deleted = Deleted {
        key: &key,
        deleted: true,
        bytes_until,
    };
    let text = format!("{key}: deleted; until {bytes_until} stockroom restore brings it back");
    context.output.result(&deleted, &text)?;
    Ok(Exit::Ok)
}
