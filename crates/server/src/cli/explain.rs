//! `stockroom explain`: why the buyer of an order can or cannot download.

use clap::Args;
use serde_json::json;
use stockroom_domain::AssetId;

use super::error::CliError;
use super::output::Output;
use super::{Context, settle};
use crate::app::App;
use crate::exit::Exit;
use crate::flows::explain::{self as flow, Question};
use crate::http::purchases::explain::{ExplanationView, OutcomeView};

/// Which order, and how closely to look.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The shop's own name for the order, or the id of the purchase
    order: String,
    /// Look at this file of the model only; else at the newest version of each, up to 20
    #[arg(long, value_name = "ID")]
    asset: Option<AssetId>,
    /// Read every copy and compare its hash, too
    #[arg(long)]
    deep: bool,
}

/// Prints the chain from the purchase to the bytes, with the first link that does not hold.
///
/// # Errors
/// There is no such order, or the database fails.
pub async fn run(context: &Context, args: ExplainArgs) -> Result<Exit, CliError> {
    let app = context.app().await?;
    let outcome = explain(&app, &args).await;
    settle(&app).await;
    let explanation = outcome?;
    if context.output.is_json() {
        print_records(&context.output, &explanation)?;
    } else {
        print_chain(&context.output, &explanation)?;
    }
    Ok(if explanation.ok {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

async fn explain(app: &App, args: &ExplainArgs) -> Result<ExplanationView, CliError> {
    let question = Question {
        asset: args.asset,
        // Whoever waits at the command line can stop waiting.
        max_read_bytes: args.deep.then_some(u64::MAX),
        patience: Question::PATIENCE,
    };
    let purchase = flow::find(app, &args.order)
        .await?
        .ok_or_else(no_such_order)?;
    Ok(flow::explain(app, purchase, question).await?.into())
}

fn no_such_order() -> CliError {
    CliError::failed("not_found", "No purchase was recorded for this order.").with_fix(
        "Check in the shop that it was paid, under which order_ref it is told, and whether the \
         webhook or the call of POST /v1/purchases for it was answered with success; sending it \
         again records it once.",
    )
}

fn print_records(output: &Output, explanation: &ExplanationView) -> Result<(), CliError> {
    for step in &explanation.steps {
        output.record(step)?;
    }
    output.record(&json!({"summary": {
        "purchase": explanation.purchase,
        "order_ref": explanation.order_ref,
        "buyer": explanation.buyer,
        "model": explanation.model,
        "ok": explanation.ok,
        "first_broken": explanation.first_broken,
        "fix": explanation.fix,
    }}))
}

fn print_chain(output: &Output, explanation: &ExplanationView) -> Result<(), CliError> {
    output.line(&format!(
        "{} ({}): {} bought {}",
        explanation.order_ref, explanation.purchase, explanation.buyer, explanation.model
    ))?;
    for step in &explanation.steps {
        let is_first = explanation.first_broken == Some(step.step);
        print_outcome(output, step.step, &step.outcome, is_first)?;
        for asset in &step.assets {
            let OutcomeView { state, detail, .. } = &asset.outcome;
            let name = &asset.filename;
            output.line(&format!(
                "{:14}{name} ({}): {state}: {detail}",
                "", asset.asset
            ))?;
        }
    }
    match explanation.first_broken {
        None => output.line("Nothing keeps the buyer from downloading."),
        Some(step) => output.line(&format!("First to mend: {step}.")),
    }
}

/// A line for a link, and what to do about it: where it is the first to mend, and for warnings.
fn print_outcome(
    output: &Output,
    step: &str,
    outcome: &OutcomeView,
    is_first: bool,
) -> Result<(), CliError> {
    let mark = match outcome.ok {
        Some(true) if outcome.state == "ok" => '✓',
        Some(true) => '!',
        Some(false) => '✗',
        None => '-',
    };
    output.line(&format!("{mark} {step:10}  {}", outcome.detail))?;
    match &outcome.fix {
        Some(fix) if is_first || outcome.ok == Some(true) => {
            output.line(&format!("{:12}-> {fix}", ""))
        }
        _ => Ok(()),
    }
}
