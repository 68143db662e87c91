//! The command line: what can be asked for, and who answers.
//!
//! A command is a variant of [`Command`], a line in its `run`, and a file with its arguments and a
//! function `run(&Context, Args) -> Result<Exit, CliError>`.

pub mod check;
pub mod config;
pub mod doctor;
pub mod error;
pub mod explain;
pub mod export;
pub mod get;
pub mod import;
pub mod key;
pub mod ls;
pub mod migrate;
pub mod output;
pub mod progress;
pub mod put;
pub mod restore;
pub mod rm;
pub mod serve;
pub mod sign;
pub mod signing_key;
pub mod stat;
pub mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use stockroom_catalog::{Catalog, ConnectOptions};
use stockroom_domain::{Clock, Entropy, Key};
use tracing::Level;

use crate::app::App;
use crate::assemble::assemble;
use crate::config::{Config, Loaded};
use crate::exit::Exit;
use crate::flows::publish;
use error::CliError;
use key::KeyCommand;
use migrate::MigrateArgs;
use output::Output;
use signing_key::SigningKeyCommand;

/// The stockroom behind a shop that sells digital files.
#[derive(Debug, Parser)]
#[command(name = "stockroom", version, arg_required_else_help = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalOptions {
    /// Print one JSON object per line on stdout, errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Read this file in place of ./stockroom.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read this file in place of ./.env
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server until Ctrl-C or SIGTERM; running downloads may end then
    Serve(serve::ServeArgs),
    /// Look for everything that is wrong, and say how to mend it
    Doctor,
    /// Try every operation on the stores of the mode, with a small object of its own
    Check,
    /// Store a file
    Put(put::PutArgs),
    /// Read an object into a file
    Get(get::GetArgs),
    /// List objects
    Ls(ls::LsArgs),
    /// Show what is known of an object, and where its bytes are
    Stat(stat::StatArgs),
    /// Delete an object
    Rm(rm::RmArgs),
    /// Bring back an object that was deleted, while its bytes are kept
    Restore(restore::RestoreArgs),
    /// Make a URL with which anybody can read an object for a while
    Sign(sign::SignArgs),
    /// Say why the buyer of an order can or cannot download, link by link
    Explain(explain::ExplainArgs),
    /// Take over what another service kept, in a folder or in the bucket
    Import(import::ImportArgs),
    /// Write down every object with its hash, and what it is sold as
    Export(export::ExportArgs),
    /// Compare the database with the stores, and mend what differs
    Verify(verify::VerifyArgs),
    /// Move objects from one store to another while the shop does business
    Migrate(MigrateArgs),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Exchange the keys that this server's own links are signed with
    #[command(subcommand)]
    SigningKey(SigningKeyCommand),
    /// Show every setting in force, and where it was set; secrets are left out
    Config,
}

impl Command {
    /// The least important events that are logged when nobody chose a filter: a server tells what
    /// it does, a command tells what is unusual.
    #[must_use]
    pub const fn log_level(&self) -> Level {
        match self {
            Self::Serve(_) => Level::INFO,
            // Their findings say all there is to say.
            Self::Doctor | Self::Explain(_) | Self::Verify(_) | Self::Migrate(_) => Level::ERROR,
            _ => Level::WARN,
        }
    }
}

impl Command {
    /// The file with the settings of a second bucket, if the arguments name one.
    #[must_use]
    pub fn second_file(&self) -> Option<&Path> {
        match self {
            Self::Migrate(args) => args.target_config.as_deref(),
            _ => None,
        }
    }
}

/// What every command works with. Made once, in `main`.
#[derive(Debug)]
pub struct Context {
    /// The settings.
    pub loaded: Loaded,
    /// Where results, words and errors go.
    pub output: Output,
    /// The present moment.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Context {
    /// The catalog, connected and brought up to date.
    ///
    /// # Errors
    /// The database cannot be reached, or belongs to a newer version.
    pub async fn catalog(&self) -> Result<Catalog, CliError> {
        let url = self.loaded.config.database.url();
        Ok(Catalog::connect(url.expose(), &ConnectOptions::default()).await?)
    }

    /// Everything a command needs that works with objects. It binds nothing: without a
    /// `PUBLIC_URL`, links are made for the address that a server would listen on.
    ///
    /// # Errors
    /// A part cannot be used.
    pub async fn app(&self) -> Result<App, CliError> {
        self.app_of(&self.loaded.config).await
    }

    /// The same, with another number of copies that are made at the same time.
    ///
    /// # Errors
    /// A part cannot be used.
    pub async fn app_with_concurrency(&self, concurrency: usize) -> Result<App, CliError> {
        let mut config = self.loaded.config.clone();
        config.engine.concurrency = concurrency;
        self.app_of(&config).await
    }

    async fn app_of(&self, config: &Config) -> Result<App, CliError> {
        let public_url = config.http.public_url(config.http.listen);
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        Ok(assemble(config, &public_url, clock, entropy).await?)
    }
}

/// Ends what a command has left to do in the background, and closes the database.
async fn settle(app: &App) {
    app.tasks.close();
    app.tasks.wait().await;
    app.catalog.close().await;
}

/// Reads a key from the command line.
fn object_key(text: &str) -> Result<Key, CliError> {
    Ok(publish::object_key(text)?)
}

/// Runs a command to its end, or until Ctrl-C, and reports its error.
pub async fn run(context: &Context, command: Command) -> Exit {
    for warning in &context.loaded.warnings {
        context.output.warning(&warning.to_string());
    }
    let outcome = match command {
        Command::Serve(args) => serve::run(context, args).await,
        Command::Doctor => interruptible(doctor::run(context)).await,
        Command::Check => check::run(context).await,
        Command::Put(args) => put::run(context, args).await,
        Command::Get(args) => interruptible(get::run(context, args)).await,
        Command::Ls(args) => interruptible(ls::run(context, args)).await,
        Command::Stat(args) => interruptible(stat::run(context, args)).await,
        Command::Rm(args) => interruptible(rm::run(context, args)).await,
        Command::Restore(args) => interruptible(restore::run(context, args)).await,
        Command::Sign(args) => interruptible(sign::run(context, args)).await,
        Command::Explain(args) => interruptible(explain::run(context, args)).await,
        Command::Import(args) => import::run(context, args).await,
        Command::Export(args) => interruptible(export::run(context, args)).await,
        Command::Verify(args) => interruptible(verify::run(context, args)).await,
        Command::Migrate(args) => interruptible(migrate::run(context, args)).await,
        Command::Key(command) => interruptible(key::run(context, command)).await,
        Command::SigningKey(command) => interruptible(signing_key::run(context, command)).await,
        Command::Config => config::run(context).await,
    };
    outcome.unwrap_or_else(|error| {
        if error.exit() != Exit::Ok {
            context.output.error(&error);
        }
        error.exit()
    })
}

/// Runs something that Ctrl-C may end at any moment.
///
/// # Errors
/// Those of `work`, or [`CliError::interrupted`].
pub async fn interruptible(
    work: impl Future<Output = Result<Exit, CliError>>,
) -> Result<Exit, CliError> {
    tokio::select! {
        outcome = work => outcome,
        // Where no handler can be installed, Ctrl-C ends the process in its own way.
        Ok(()) = tokio::signal::ctrl_c() => Err(CliError::interrupted()),
    }
}
