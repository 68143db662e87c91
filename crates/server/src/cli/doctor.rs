//! `stockroom doctor`: what is wrong, and how to mend it.

use super::error::CliError;
use super::output::Output;
use super::{Context, config};
use crate::doctor::{self, Finding, Severity};
use crate::exit::Exit;

/// Runs all checks and prints their findings; for people, behind the settings in force.
///
/// # Errors
/// The output cannot be written.
pub async fn run(context: &Context) -> Result<Exit, CliError> {
    let output = &context.output;
    if !output.is_json() {
        config::run(context).await?;
        output.line("")?;
    }
    let settings = &context.loaded.config;
    let findings = doctor::examine(settings, &context.clock, &context.entropy).await;
    for finding in &findings {
        if output.is_json() {
            output.record(finding)?;
        } else {
            say(output, finding)?;
        }
    }
    let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    output.note(&format!("errors: {errors}, warnings: {warnings}"));
    Ok(if errors == 0 { Exit::Ok } else { Exit::Failed })
}

fn say(output: &Output, finding: &Finding) -> Result<(), CliError> {
    let Finding { id, severity, .. } = finding;
    output.line(&format!("{severity:8} {id}: {}", finding.sentence))?;
    match &finding.fix {
        Some(fix) => output.line(&format!("{:8} {fix}", "")),
        None => Ok(()),
    }
}
