//! `stockroom migrate run`: works on a migration until everything that can be done is done.

use std::time::Duration;

use clap::Args;
use stockroom_catalog::{MigrationLimits, MigrationRow, Sample};
use stockroom_domain::{MigrationPhase, MigrationState};
use tokio::time::Instant;

use super::super::error::CliError;
use super::super::progress::Progress;
use super::super::{Context, interruptible, settle};
use super::status::{StatusView, pause_after, print, print_failures};
use super::{Scope, plan};
use crate::app::App;
use crate::config::parse_size;
use crate::exit::Exit;
use crate::flows::migrate::hours::Hours;
use crate::flows::migrate::{self as flow, DEFAULT_GRACE, MigrateError, Request, Status};
use crate::workers::{engine, identity, migrate};

/// How many failures are named at the end.
const NAMED: u64 = 20;

/// What to move, and how.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub(super) scope: Scope,
    /// How many bytes to move in a second at most, such as 20MB or 20MB/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    max_rate: Option<u64>,
    /// The hours of the day, in UTC, in which to work, such as 22-06
    #[arg(long, value_name = "HOURS")]
    hours: Option<Hours>,
    /// How many objects to copy at the same time; ENGINE_CONCURRENCY when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Option<u16>,
    /// Try at once what failed before
    #[arg(long)]
    retry_failed: bool,
    /// Begin another migration, which reads also those copies again that one before has read
    #[arg(long)]
    fresh: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Come back at once; a running server does the work
    #[arg(long)]
    detach: bool,
}

fn rate(text: &str) -> Result<u64, String> {
    let bytes = text.strip_suffix("/s").unwrap_or(text);
    let rate = parse_size(bytes).map_err(|form| format!("{form}, in a second: 20MB/s"))?;
    match rate {
        0 => Err("nothing would be moved; stockroom migrate pause pauses".to_owned()),
        rate => Ok(rate),
    }
}

pub(super) async fn run(context: &Context, args: RunArgs) -> Result<Exit, CliError> {
    if args.dry_run {
        return plan::show(context, &args.scope, true).await;
    }
    let app = match args.concurrency {
        Some(concurrency) => {
            context
                .app_with_concurrency(usize::from(concurrency))
                .await?
        }
        None => context.app().await?,
    };
    let outcome = begin_and_work(context, &app, &args).await;
    app.shutdown.cancel();
    settle(&app).await;
    outcome
}

async fn begin_and_work(context: &Context, app: &App, args: &RunArgs) -> Result<Exit, CliError> {
    let says_limits = args.max_rate.is_some() || args.hours.is_some();
    let request = Request {
        target: args.scope.to.clone(),
        source: args.scope.from.clone(),
        prefix: args.scope.prefix.clone(),
        limits: says_limits.then(|| MigrationLimits {
            max_bytes_per_second: args.max_rate,
            hours: args.hours.map(|hours| hours.to_string()),
            grace: DEFAULT_GRACE,
            sample: Sample::ALL,
        }),
        is_fresh: args.fresh,
    };
    let migration = flow::begin(app, &request).await?;
    if args.retry_failed {
        flow::retry_failed(app, &migration).await?;
    }
    if args.detach {
        return print(context, app).await;
    }
    work(context, app).await
}

/// Turns the migration to another phase and works on it.
pub(super) async fn turn(
    context: &Context,
    detach: bool,
    turn: impl AsyncFnOnce(&App) -> Result<MigrationRow, MigrateError>,
) -> Result<Exit, CliError> {
    let app = context.app().await?;
    let outcome = async {
        turn(&app).await?;
        match detach {
            true => print(context, &app).await,
            false => work(context, &app).await,
        }
    }
    .await;
    app.shutdown.cancel();
    settle(&app).await;
    outcome
}

/// Works on the migration in this process, beside any server that does, until it is finished or
/// paused. Ctrl-C ends this process; the migration goes on where a server runs.
async fn work(context: &Context, app: &App) -> Result<Exit, CliError> {
    identity::settle_all(app).await;
    app.tasks.spawn(engine::run_for_migration(app.clone()));
    app.tasks.spawn(migrate::run(app.clone()));
    interruptible(async {
        let status = follow(context, app).await?;
        print_failures(context, app, NAMED).await?;
        let exit = print(context, app).await?;
        if status.migration.state == MigrationState::Paused {
            let note = "It is paused; stockroom migrate resume goes on.";
            context.output.note(note);
        }
        Ok(exit)
    })
    .await
}

/// Shows how far the migration is until it is finished or paused.
pub(super) async fn follow(context: &Context, app: &App) -> Result<Status, CliError> {
    let mut shown: Option<(&str, Progress)> = None;
    loop {
        let began = Instant::now();
        let status = flow::status(app).await?;
        let pause = pause_after(began.elapsed());
        if status.migration.state != MigrationState::Running {
            return Ok(status);
        }
        if context.output.is_json() {
            context.output.record(&StatusView::of(&status))?;
            tokio::time::sleep(pause.max(Duration::from_secs(1))).await;
            continue;
        }
        let (done, total, verb) = measures(&status);
        let (_, progress) = match shown.take().filter(|(before, _)| *before == verb) {
            Some(same) => shown.insert(same),
            None => {
                let (source, target) = (&status.migration.source, &status.migration.target);
                let label = format!("{verb} {source} -> {target}");
                shown.insert((verb, context.output.progress(label, total)))
            }
        };
        progress.advance(done.saturating_sub(progress.done_bytes()));
        tokio::time::sleep(pause).await;
    }
}

/// The bytes that are done and those there are, and what is being done.
const fn measures(status: &Status) -> (u64, Option<u64>, &'static str) {
    let (copied, source) = (&status.copied, &status.source);
    match status.migration.phase {
        MigrationPhase::Copy => (copied.copied_bytes, Some(copied.bytes), "copy"),
        MigrationPhase::Retire if copied.unread() > 0 => (
            copied.verified_bytes,
            Some(copied.copied_bytes),
            "read back",
        ),
        MigrationPhase::Retire => (source.freed_bytes, None, "free"),
        MigrationPhase::Rollback => (source.kept_bytes, Some(copied.bytes), "roll back"),
    }
}
