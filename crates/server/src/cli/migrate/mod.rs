//! `stockroom migrate`: moves the objects of a shop from one store to another while it does business.

mod plan;
mod run;
mod status;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use stockroom_catalog::{MigrationRow, Sample};
use stockroom_domain::{KeyPrefix, StoreName};

use super::error::{CliError, sentence};
use super::{Context, settle};
use crate::app::App;
use crate::config::parse_duration;
use crate::exit::Exit;
use crate::flows::migrate::{self as flow, MigrateError};

/// What to do about a migration.
#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// Say what a migration would do; changes nothing
    Plan(plan::PlanArgs),
    /// Begin a migration, or go on with it, until every object has a copy on the target
    Run(run::RunArgs),
    /// Say how far the migration is
    Status(status::StatusArgs),
    /// Begin nothing new until the migration is resumed
    Pause,
    /// Go on after a pause; a running server, or migrate run, does the work
    Resume,
    /// Read back the copies on the target, and free the source of those whose object has one that matched
    Retire(RetireArgs),
    /// Go back to the state before the migration
    Rollback(RollbackArgs),
}

/// What to do about a migration, and with which bucket.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// A file with the S3_ settings of another bucket, which is what --to s3 means then;
    /// S3_SECOND_FILE when left out
    #[arg(long, global = true, value_name = "FILE")]
    pub target_config: Option<PathBuf>,
    #[command(subcommand)]
    command: MigrateCommand,
}

/// Where objects are to be, and which.
#[derive(Debug, Args)]
pub struct Scope {
    /// The store that objects are to be moved to: s3, local, or the S3_STORE_NAME of a bucket
    #[arg(long, value_name = "STORE")]
    to: StoreName,
    /// The store that objects leave; needed where there are several
    #[arg(long, value_name = "STORE")]
    from: Option<StoreName>,
    /// Only objects whose keys begin like this
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: KeyPrefix,
}

/// What to free.
#[derive(Debug, Args)]
pub struct RetireArgs {
    /// The store that the objects leave: local or s3
    #[arg(long, value_name = "STORE")]
    from: StoreName,
    /// How long the bytes stay after readers have left them alone, such as 1h; 7d at first
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    grace: Option<Duration>,
    /// Read back only this share of the copies on the target, such as 5%, and free the source of all when
    /// these matched
    #[arg(long, value_name = "PERCENT", value_parser = sample)]
    sample: Option<Sample>,
    /// Come back at once; a running server does the work
    #[arg(long)]
    detach: bool,
}

/// How to go back.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// How long the bytes that the migration made stay on the target, such as 1h; 7d at first
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    grace: Option<Duration>,
    /// Come back at once; a running server does the work
    #[arg(long)]
    detach: bool,
}

impl Scope {
    /// With the file of another bucket, `s3` is that bucket.
    fn settle(&mut self, context: &Context, is_elsewhere: bool) {
        if let Some(second) = &context.loaded.config.storage.second
            && is_elsewhere
            && self.to == StoreName::S3
        {
            self.to = second.name.clone();
        }
    }
}

fn sample(text: &str) -> Result<Sample, String> {
    let percent = text.strip_suffix('%').unwrap_or(text);
    let sample = percent.parse().ok().and_then(Sample::of_percent);
    sample.ok_or_else(|| "write a share of a hundred, from 1% to 100%".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(str::to_owned)
}

/// Does what was asked for.
///
/// # Errors
/// There is no such migration, or it cannot do that now; the database fails.
pub async fn run(context: &Context, args: MigrateArgs) -> Result<Exit, CliError> {
    let is_elsewhere = args.target_config.is_some();
    match args.command {
        MigrateCommand::Plan(mut args) => {
            args.scope.settle(context, is_elsewhere);
            plan::run(context, args).await
        }
        MigrateCommand::Run(mut args) => {
            args.scope.settle(context, is_elsewhere);
            run::run(context, args).await
        }
        MigrateCommand::Status(args) => status::run(context, args).await,
        MigrateCommand::Pause => changed(context, async |app| flow::pause(app).await).await,
        MigrateCommand::Resume => changed(context, async |app| flow::resume(app).await).await,
        MigrateCommand::Retire(args) => {
            let RetireArgs {
                from,
                grace,
                sample,
                detach,
            } = args;
            run::turn(context, detach, async |app| {
                flow::retire(app, &from, grace, sample.unwrap_or_default()).await
            })
            .await
        }
        MigrateCommand::Rollback(args) => {
            let RollbackArgs { grace, detach } = args;
            run::turn(context, detach, async |app| {
                flow::roll_back(app, grace).await
            })
            .await
        }
    }
}

/// Changes the migration and says what it is now.
async fn changed(
    context: &Context,
    change: impl AsyncFnOnce(&App) -> Result<MigrationRow, MigrateError>,
) -> Result<Exit, CliError> {
    let app = context.app().await?;
    let outcome = async {
        change(&app).await?;
        status::print(context, &app).await
    }
    .await;
    settle(&app).await;
    outcome
}

impl From<MigrateError> for CliError {
    fn from(error: MigrateError) -> Self {
        let detail = sentence(&error.to_string());
        let (code, fix) = match error {
            MigrateError::Catalog(error) => return error.into(),
            MigrateError::NoSuchStore(_) => (
                "no_such_store",
                "Set S3_ENDPOINT, S3_BUCKET and the other S3_ settings, or STORAGE_DIR; the mode \
                 need not be hybrid."
                    .to_owned(),
            ),
            MigrateError::NoSource => (
                "no_such_store",
                "Configure both stores: the one that objects are on and the one they are to go to."
                    .to_owned(),
            ),
            MigrateError::ForeignStore { store, .. } => (
                "foreign_store",
                format!(
                    "Check the settings of {store}: bucket, endpoint and database belong together; \
                     stockroom doctor looks closer. If the store was replaced on purpose, run \
                     stockroom verify --accept-store {store}."
                ),
            ),
            MigrateError::SeveralSources(_) => (
                "usage",
                "Say which of them the objects leave, with --from.".to_owned(),
            ),
            MigrateError::ToItself(_) => {
                ("usage", "Say another store with --from or --to.".to_owned())
            }
            MigrateError::None => (
                "not_found",
                "stockroom migrate run --to s3 begins one.".to_owned(),
            ),
            MigrateError::AnotherAtWork { .. } => (
                "migration_at_work",
                "Let it finish with stockroom migrate run and the same arguments, or roll it back."
                    .to_owned(),
            ),
            MigrateError::NotCopied => (
                "migration_at_work",
                "stockroom migrate run goes on with it; stockroom migrate status says how far it is."
                    .to_owned(),
            ),
            MigrateError::RolledBack => (
                "rolled_back",
                "stockroom migrate run --fresh begins another one.".to_owned(),
            ),
            MigrateError::OtherSource(source) => ("usage", format!("Say --from {source}.")),
            MigrateError::InMode { store, other } => {
                let settings = match (store == StoreName::LOCAL, other == StoreName::LOCAL) {
                    (true, _) => "Set STORAGE_MODE=s3".to_owned(),
                    (_, true) => "Set STORAGE_MODE=local".to_owned(),
                    _ => format!(
                        "Let the S3_ settings name {other} and S3_SECOND_FILE a file with those of \
                         {store}, each with its S3_STORE_NAME"
                    ),
                };
                (
                    "in_mode",
                    format!(
                        "{settings}, start the servers again, run stockroom migrate run once more \
                         for what came meanwhile, and then repeat this."
                    ),
                )
            }
            MigrateError::Moved => ("conflict", "Look at stockroom migrate status.".to_owned()),
        };
        Self::failed(code, detail).with_fix(fix)
    }
}
