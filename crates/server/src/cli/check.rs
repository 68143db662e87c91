//! `stockroom check`: nine steps that show whether the storage works.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Context;
use super::error::CliError;
use crate::check::{Check, Step, StepResult};
use crate::exit::Exit;

/// Does all steps and prints how each of them ended.
///
/// # Errors
/// Ctrl-C, or stdout cannot be written; the object of the check is removed first.
pub async fn run(context: &Context) -> Result<Exit, CliError> {
    let interruption = CancellationToken::new();
    let _stop_listening = cancel_at_ctrl_c(&interruption);
    let (clock, entropy) = (Arc::clone(&context.clock), Arc::clone(&context.entropy));
    let mut check = Check::new(&context.loaded.config, clock, entropy);
    let (mut is_ok, mut printed) = (true, Ok(()));
    for step in Step::ALL {
        let result = check.run(step, &interruption).await;
        is_ok &= result.ok;
        // When nobody reads any more, the remaining steps still clean up.
        printed = printed.and_then(|()| print(context, &result));
    }
    printed?;
    if interruption.is_cancelled() {
        return Err(CliError::interrupted());
    }
    if is_ok {
        return Ok(Exit::Ok);
    }
    context.output.note("stockroom doctor looks for the cause.");
    Ok(Exit::Failed)
}

fn print(context: &Context, result: &StepResult) -> Result<(), CliError> {
    let mark = if result.ok { '✓' } else { '✗' };
    let (step, ms, detail) = (result.step.as_str(), result.ms, &result.detail);
    let text = format!("{mark} {step:<10} {ms:>6} ms  {detail}");
    context.output.result(result, &text)
}

/// Cancels at Ctrl-C, until the guard is dropped.
fn cancel_at_ctrl_c(token: &CancellationToken) -> AbortOnDropHandle<()> {
    let token = token.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            token.cancel();
        }
    }))
}
