//! `stockroom config`: every setting in force, and where it was set.

use super::Context;
use super::error::CliError;
use crate::exit::Exit;

/// Prints the report of the configuration.
///
/// # Errors
/// The output cannot be written.
pub async fn run(context: &Context) -> Result<Exit, CliError> {
    let report = context.loaded.report();
    if context.output.is_json() {
        for line in report {
            context.output.record(line)?;
        }
        return Ok(Exit::Ok);
    }
    let rows = report.iter().map(|line| {
        [
            line.name.to_owned(),
            line.value.clone(),
            line.source.to_string(),
        ]
    });
    context.output.table(["name", "value", "source"], rows)?;
    Ok(Exit::Ok)
}
