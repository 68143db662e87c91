//! `stockroom migrate status`: how far the migration is.

use std::time::Duration;

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;
use stockroom_catalog::{FreeProgress, MigrationFailure};
use stockroom_domain::{
    Key, MigrationId, MigrationPhase, MigrationState, ObjectId, StoreName, Timestamp,
};

use super::super::error::CliError;
use super::super::{Context, settle};
use super::run::follow;
use crate::app::App;
use crate::exit::Exit;
use crate::flows::migrate::{self as flow, MigrateError, Status};

/// What to show.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Go on until the migration is finished or paused; others do the work
    #[arg(long)]
    follow: bool,
    /// List every object whose copy could not be made, read back or removed, with the reason
    #[arg(long)]
    failed: bool,
}

/// A migration and how far it is.
#[derive(Debug, Serialize)]
pub(super) struct StatusView<'a> {
    migration: MigrationId,
    source: &'a str,
    target: &'a str,
    prefix: &'a str,
    phase: MigrationPhase,
    state: MigrationState,
    objects: u64,
    bytes: u64,
    copied: u64,
    copied_bytes: u64,
    verified: u64,
    verified_bytes: u64,
    outside_sample: u64,
    failed: u64,
    under_way: u64,
    on_source: u64,
    on_source_bytes: u64,
    being_freed: u64,
    freed: u64,
    freed_bytes: u64,
    max_bytes_per_second: Option<u64>,
    hours: Option<&'a str>,
    sample_percent: u8,
    began_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> StatusView<'a> {
    pub(super) fn of(status: &'a Status) -> Self {
        let Status {
            migration,
            copied,
            source,
            ..
        } = status;
        let freed = status.freed();
        Self {
            migration: migration.id,
            source: migration.source.as_str(),
            target: migration.target.as_str(),
            prefix: migration.prefix.as_str(),
            phase: migration.phase,
            state: migration.state,
            objects: copied.objects,
            bytes: copied.bytes,
            copied: copied.copied,
            copied_bytes: copied.copied_bytes,
            verified: copied.verified,
            verified_bytes: copied.verified_bytes,
            outside_sample: copied.outside_sample,
            failed: status.failed,
            under_way: copied.under_way,
            on_source: source.kept,
            on_source_bytes: source.kept_bytes,
            being_freed: freed.freeing,
            freed: freed.freed,
            freed_bytes: freed.freed_bytes,
            max_bytes_per_second: migration.limits.max_bytes_per_second,
            hours: migration.limits.hours.as_deref(),
            sample_percent: migration.limits.sample.percent(),
            began_at: migration.began_at,
            updated_at: migration.updated_at,
        }
    }
}

/// Prints how far the migration is.
///
/// # Errors
/// There never was one; the database fails.
pub(super) async fn run(context: &Context, args: StatusArgs) -> Result<Exit, CliError> {
    let app = context.app().await?;
    let outcome = async {
        if args.follow {
            follow(context, &app).await?;
        }
        if args.failed {
            print_failures(context, &app, u64::MAX).await?;
        }
        print(context, &app).await
    }
    .await;
    settle(&app).await;
    outcome
}

/// Prints the present status; the exit says whether something failed.
pub(super) async fn print(context: &Context, app: &App) -> Result<Exit, CliError> {
    let status = flow::status(app).await?;
    if context.output.is_json() {
        context.output.record(&StatusView::of(&status))?;
    } else {
        for line in lines(&status) {
            context.output.line(&line)?;
        }
    }
    Ok(match status.failed {
        0 => Exit::Ok,
        _ => Exit::Partly,
    })
}

fn lines(status: &Status) -> Vec<String> {
    let migration = &status.migration;
    let phase = match migration.phase {
        MigrationPhase::Copy => "copying",
        MigrationPhase::Retire => "freeing the source",
        MigrationPhase::Rollback => "rolling back",
    };
    let what = match migration.prefix.as_str() {
        "" => "all objects".to_owned(),
        prefix => format!("objects under {prefix}"),
    };
    let mut lines = vec![format!(
        "{}: {what} from {} to {}; {phase}: {}",
        migration.id, migration.source, migration.target, migration.state
    )];
    if let Some(target) = &status.target {
        lines.push(there(&migration.source, &status.source));
        lines.push(format!(
            "{}; {} failed",
            there(&migration.target, target),
            status.failed
        ));
    } else {
        let copied = &status.copied;
        lines.push(format!(
            "{}: {} of {} objects copied, {} of {}; {} under way, {} failed",
            migration.target,
            copied.copied,
            copied.objects,
            HumanBytes(copied.copied_bytes),
            HumanBytes(copied.bytes),
            copied.under_way,
            status.failed,
        ));
        lines.push(format!(
            "{}: {} of {} copies read back",
            migration.target, copied.verified, copied.copied
        ));
        if migration.phase == MigrationPhase::Retire && copied.outside_sample > 0 {
            lines.push(format!(
                "{}: {} of the others are outside of the sample of {} %",
                migration.target,
                copied.outside_sample,
                migration.limits.sample.percent(),
            ));
        }
        lines.push(there(&migration.source, &status.source));
    }
    lines
}

fn there(store: &StoreName, progress: &FreeProgress) -> String {
    format!(
        "{store}: {} copies there ({}), {} about to go, {} gone ({})",
        progress.kept,
        HumanBytes(progress.kept_bytes),
        progress.freeing,
        progress.freed,
        HumanBytes(progress.freed_bytes),
    )
}

#[derive(Serialize)]
struct FailureView<'a> {
    failed: ObjectId,
    key: &'a Key,
    store: &'a StoreName,
    size: u64,
    attempts: u32,
    next_attempt_at: Timestamp,
    error: &'a str,
}

/// Lists what could not be done, up to so many.
pub(super) async fn print_failures(
    context: &Context,
    app: &App,
    most: u64,
) -> Result<(), CliError> {
    let current = app.catalog.current_migration().await?;
    let migration = current.ok_or(MigrateError::None)?;
    let (mut after, mut listed) = (None, 0);
    loop {
        let failures = app
            .catalog
            .migration_failures(&migration, after, 100)
            .await?;
        let Some(last) = failures.last() else {
            return Ok(());
        };
        after = Some(last.object.id);
        for failure in &failures {
            if listed == most {
                let more = "There are more; stockroom migrate status --failed lists all of them.";
                context.output.note(more);
                return Ok(());
            }
            print_failure(context, failure)?;
            listed += 1;
        }
    }
}

fn print_failure(context: &Context, failure: &MigrationFailure) -> Result<(), CliError> {
    let view = FailureView {
        failed: failure.object.id,
        key: &failure.object.key,
        store: &failure.store,
        size: failure.object.size_bytes,
        attempts: failure.attempts,
        next_attempt_at: failure.next_attempt_at,
        error: &failure.error,
    };
    let text = format!("failed: {}: {}", view.key, view.error);
    context.output.result(&view, &text)
}

/// How long to wait before the next look: looking is never more than a small part of the work.
pub(super) fn pause_after(look: Duration) -> Duration {
    (look * 10).clamp(Duration::from_millis(250), Duration::from_secs(10))
}
