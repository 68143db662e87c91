//! `stockroom migrate plan`: what a migration would do.

use clap::Args;
use indicatif::{HumanBytes, HumanDuration};
use serde_json::{Value, json};

use super::super::error::CliError;
use super::super::{Context, settle};
use super::Scope;
use crate::exit::Exit;
use crate::flows::migrate::plan::{Cost, Plan, plan};

/// What would be moved.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub(super) scope: Scope,
    /// Do not list the target, which takes a request for each thousand objects there
    #[arg(long)]
    no_listing: bool,
}

pub(super) async fn run(context: &Context, args: PlanArgs) -> Result<Exit, CliError> {
    show(context, &args.scope, !args.no_listing).await
}

/// Looks and prints. Changes nothing but for a probe on the target, which goes again.
pub(super) async fn show(
    context: &Context,
    scope: &Scope,
    lists_target: bool,
) -> Result<Exit, CliError> {
    let app = context.app().await?;
    let from = scope.from.as_ref();
    let outcome = plan(&app, &scope.to, from, &scope.prefix, lists_target).await;
    let concurrency = app.engine.concurrency;
    settle(&app).await;
    let plan = outcome?;
    if context.output.is_json() {
        context.output.record(&record(&plan, concurrency))?;
    } else {
        for line in lines(&plan, concurrency) {
            context.output.line(&line)?;
        }
    }
    Ok(match plan.rate {
        Ok(_) => Exit::Ok,
        Err(_) => Exit::Failed,
    })
}

fn record(plan: &Plan, concurrency: usize) -> Value {
    let counts = &plan.counts;
    json!({
        "source": plan.source.as_str(), "target": plan.target.as_str(),
        "objects": counts.objects, "bytes": counts.bytes,
        "on_target": counts.on_target, "on_target_bytes": counts.on_target_bytes,
        "to_copy": counts.to_copy, "to_copy_bytes": counts.to_copy_bytes,
        "unverified": counts.unverified, "without_source": counts.without_source,
        "collisions": plan.collisions.as_ref().map(|it| it.count),
        "collision_keys": plan.collisions.as_ref().map(|it| &it.keys),
        "bytes_per_second": plan.rate.as_ref().ok().map(|it| it.bytes_per_second.round()),
        "seconds": plan.duration(concurrency).map(|it| it.as_secs()),
        "problem": plan.rate.as_ref().err(),
        "usd_per_month_before": plan.cost.as_ref().map(|it| it.before_usd),
        "usd_per_month_after": plan.cost.as_ref().map(|it| it.after_usd),
    })
}

fn lines(plan: &Plan, concurrency: usize) -> Vec<String> {
    let (counts, target) = (&plan.counts, &plan.target);
    let (bytes, to_copy) = (HumanBytes(counts.bytes), HumanBytes(counts.to_copy_bytes));
    let there = HumanBytes(counts.on_target_bytes);
    let mut lines = vec![
        format!(
            "{} objects ({bytes}) from {} to {target}.",
            counts.objects, plan.source
        ),
        format!(
            "To copy: {} ({to_copy}). There already: {} ({there}).",
            counts.to_copy, counts.on_target,
        ),
    ];
    if counts.unverified > 0 {
        lines.push(format!(
            "{} of them were not read since they were stored; each is compared with its hash while \
             it is copied.",
            counts.unverified
        ));
    }
    if counts.without_source > 0 {
        lines.push(format!(
            "{} have no copy that is known to be well, and fail unless one turns out to be; \
             stockroom verify names them.",
            counts.without_source
        ));
    }
    lines.extend(in_the_way(plan));
    match &plan.rate {
        Ok(rate) => {
            let speed = HumanBytes(rate.bytes_per_second as u64);
            let took = match plan.duration(concurrency).unwrap_or_default() {
                short if short.as_secs() == 0 => "less than a second".to_owned(),
                took => format!("about {}", HumanDuration(took)),
            };
            lines.push(format!(
                "A probe went at {speed} in a second, so {took} at {concurrency} at a time."
            ));
        }
        Err(error) => lines.push(format!("{target} takes nothing now: {error}.")),
    }
    lines.push(match &plan.cost {
        Some(cost) => format!(
            "Keeping the bytes costs about {:.2} USD a month now and {:.2} afterwards, with {}; \
             requests and traffic are not counted.",
            cost.before_usd,
            cost.after_usd,
            prices(cost),
        ),
        None => "What the bucket costs is not known for its endpoint.".to_owned(),
    });
    lines
}

fn prices(cost: &Cost) -> String {
    let prices = cost.prices.iter().map(|price| {
        format!(
            "{} USD for a GB at {} (as of {})",
            price.usd_per_gb_month, price.provider, price.as_of
        )
    });
    prices.collect::<Vec<_>>().join(" and ")
}

fn in_the_way(plan: &Plan) -> Vec<String> {
    let target = &plan.target;
    match &plan.collisions {
        Some(found) if found.count > 0 => {
            let count = found.count;
            let head = format!(
                "{count} places on {target} hold bytes that nobody recorded; copies replace them:"
            );
            let keys = found.keys.iter().map(|key| format!("  {key}"));
            std::iter::once(head).chain(keys).collect()
        }
        Some(_) => vec![format!("Nothing is in the way on {target}.")],
        None => vec![format!("{target} was not listed.")],
    }
}
