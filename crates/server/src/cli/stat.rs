//! `stockroom stat`: what is known of an object, and where its bytes are.

use clap::Args;
use serde::Serialize;
use stockroom_catalog::ObjectRow;
use stockroom_domain::Key;

use super::error::CliError;
use super::output::Output;
use super::{Context, object_key, settle};
use crate::exit::Exit;
use crate::flows::objects;
use crate::http::views::ObjectView;

/// Which object.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// The key of the object
    key: String,
}

/// The object as callers of the HTTP API see it, and where its bytes lie on the stores.
#[derive(Serialize)]
struct Stat {
    #[serde(flatten)]
    object: ObjectView,
    location: Key,
}

/// Shows what is recorded of an object.
///
/// # Errors
/// There is no such object, or the database fails.
pub async fn run(context: &Context, args: StatArgs) -> Result<Exit, CliError> {
    let key = object_key(&args.key)?;
    let app = context.app().await?;
    let found = objects::find(&app, &key).await;
    settle(&app).await;
    show(&context.output, found?.object)?;
    Ok(Exit::Ok)
}

/// Prints an object.
///
/// # Errors
/// Stdout cannot be written.
pub(super) fn show(output: &Output, row: ObjectRow) -> Result<(), CliError> {
    let stat = Stat {
        location: row.location.clone(),
        object: row.into(),
    };
    if output.is_json() {
        return output.record(&stat);
    }
    for (name, value) in lines(&stat) {
        output.line(&format!("{name:<12}  {value}"))?;
    }
    Ok(())
}

fn lines(stat: &Stat) -> Vec<(&str, String)> {
    let object = &stat.object;
    let mut lines = vec![
        ("key", object.key.to_string()),
        ("id", object.id.to_string()),
        ("size", format!("{} bytes", object.size)),
        ("sha256", object.sha256.to_string()),
        ("content type", object.content_type.clone()),
        ("created at", object.created_at.to_string()),
        ("location", stat.location.to_string()),
    ];
    for (name, value) in &object.metadata {
        lines.push(("metadata", format!("{name}: {value}")));
    }
    for placement in &object.placements {
        let verified = placement
            .verified_at
            .map(|at| format!(", verified at {at}"));
        let (store, state) = (&placement.store, placement.state);
        lines.push((
            "copy",
            format!("{store}: {state}{}", verified.unwrap_or_default()),
        ));
    }
    lines
}
