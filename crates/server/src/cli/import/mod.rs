//! `stockroom import`: takes over what another service kept, in a folder or in the bucket.

mod map;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::pin;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use stockroom_domain::{KeyPrefix, StoreName};
use stockroom_storage::SourceFolder;
use tokio_util::sync::CancellationToken;

use super::error::{CliError, sentence};
use super::output::Output;
use super::progress::Progress;
use super::{Context, settle};
use crate::app::App;
use crate::exit::Exit;
use crate::flows::import::{
    ImportError, Listener, Map, MapFault, Options, Origin, Outcome, Report, Summary, import,
};

/// What names an object in a bucket.
const SCHEME: &str = "s3://";

/// What to import, and how.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A folder with models/, thumbnails/ and images/, or s3://BUCKET/PREFIX for what lies in the
    /// bucket already
    source: PathBuf,
    /// Remove each file of the folder once its object is recorded and durable
    #[arg(long = "move")]
    remove_sources: bool,
    /// Give the files a second name in the storage folder in the place of copying them, and take
    /// files that have one; whoever writes to the other name damages the object
    #[arg(long)]
    link: bool,
    /// A CSV file that says what files are sold as: path,artist,title,model,filename,license,price,
    /// currency
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Publish the models of the map whose files are all there; else they are drafts
    #[arg(long, requires = "map")]
    publish: bool,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// How many files to read at the same time; without it as many as ENGINE_CONCURRENCY
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Option<u16>,
}

/// Imports, prints what became of the files and how it ended.
///
/// # Errors
/// The folder or the map cannot be used, a store is not there or not the one that the database
/// knows, or the database fails. What was taken until then stays; running it again goes on.
pub async fn run(context: &Context, args: ImportArgs) -> Result<Exit, CliError> {
    let map = match &args.map {
        Some(path) => read_map(&context.output, path)?,
        None => Map::default(),
    };
    let origin = origin(context, &args)?;
    let app = context.app().await?;
    let outcome = take(context, &app, args, origin, map).await;
    settle(&app).await;
    outcome
}

fn read_map(output: &Output, path: &Path) -> Result<Map, CliError> {
    let file = File::open(path).map_err(|error| {
        let detail = format!("{} cannot be read: {error}.", path.display());
        CliError::failed("file_unreadable", detail)
    })?;
    map::read(file).map_err(|faults| invalid_map(output, &faults))
}

/// Tells everything that is wrong with the map.
fn invalid_map(output: &Output, faults: &[MapFault]) -> CliError {
    for fault in faults {
        let (line, detail) = (fault.line, &fault.detail);
        let told = if output.is_json() {
            output.record(&json!({ "line": line, "detail": detail }))
        } else {
            output.line(&format!("line {line}: {detail}"))
        };
        if let Err(error) = told {
            return error;
        }
    }
    let count = match faults.len() {
        1 => "a fault".to_owned(),
        count => format!("{count} faults"),
    };
    CliError::bad_argument("invalid_map", format!("The map has {count}."))
        .with_fix("Nothing was changed; correct the map and import again.")
}

fn origin(context: &Context, args: &ImportArgs) -> Result<Origin, CliError> {
    let text = args.source.to_str().and_then(|it| it.strip_prefix(SCHEME));
    let Some(text) = text else {
        let folder = SourceFolder::open(&args.source).map_err(|error| {
            let detail = format!("{} cannot be read: {error}.", args.source.display());
            CliError::failed("file_unreadable", detail)
        })?;
        return Ok(Origin::Folder(folder));
    };
    if args.remove_sources || args.link {
        return Err(CliError::usage(
            "What lies in the bucket is adopted where it lies: --move and --link are for folders.",
        ));
    }
    let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
    let settings = context.loaded.config.storage.s3.as_ref();
    let configured = settings.map(|settings| settings.bucket.as_str());
    if configured != Some(bucket) {
        let configured = configured.map_or_else(
            || "no bucket is configured".to_owned(),
            |name| format!("the configured bucket is {name}"),
        );
        let detail = format!("The bucket {bucket} cannot be imported from: {configured}.");
        return Err(CliError::bad_argument("unknown_bucket", detail)
            .with_fix("Set the S3_ settings to this bucket; objects are adopted where they lie."));
    }
    let is_prefix = prefix.parse::<KeyPrefix>().map(drop);
    is_prefix.map_err(|error| {
        let detail = format!("No key begins with {prefix}: {error}.");
        CliError::bad_argument("invalid_key", detail).with_fix(
            "Objects are adopted where they lie, so their names have to begin with models/, \
             thumbnails/ or images/.",
        )
    })?;
    Ok(Origin::Bucket(prefix.to_owned()))
}

async fn take(
    context: &Context,
    app: &App,
    args: ImportArgs,
    origin: Origin,
    map: Map,
) -> Result<Exit, CliError> {
    let output = &context.output;
    if let Origin::Folder(folder) = &origin {
        check_folder(context, app, &args, folder)?;
    }
    let interruption = CancellationToken::new();
    let is_bucket = matches!(origin, Origin::Bucket(_));
    let options = Options {
        origin,
        link: args.link,
        remove_sources: args.remove_sources,
        map,
        publish: args.publish,
        dry_run: args.dry_run,
        concurrency: args.concurrency.map_or(app.engine.concurrency, usize::from),
        interruption: interruption.clone(),
    };
    let mut printer = Printer::new(output);
    let outcome = {
        let mut importing = pin!(import(app, options, &mut printer));
        tokio::select! {
            outcome = &mut importing => outcome,
            Ok(()) = tokio::signal::ctrl_c() => {
                interruption.cancel();
                output.note("stockroom: ending with the files that were begun");
                tokio::select! {
                    outcome = importing => outcome,
                    Ok(()) = tokio::signal::ctrl_c() => return Err(CliError::interrupted()),
                }
            }
        }
    };
    printer.progress = None;
    if let Some(error) = printer.failure {
        return Err(error);
    }
    let summary = outcome.map_err(|error| of_import_error(output, error))?;
    print_summary(output, &summary, is_bucket)?;
    Ok(if summary.problems() > 0 {
        Exit::Partly
    } else {
        Exit::Ok
    })
}

/// Refuses what cannot be meant of this folder.
fn check_folder(
    context: &Context,
    app: &App,
    args: &ImportArgs,
    folder: &SourceFolder,
) -> Result<(), CliError> {
    let unreadable = |error: std::io::Error| {
        let detail = format!("{} cannot be read: {error}.", args.source.display());
        CliError::failed("file_unreadable", detail)
    };
    let is_own = match &app.local {
        Some(local) => local.is_at(folder).map_err(unreadable)?,
        None => false,
    };
    if is_own {
        if args.remove_sources {
            return Err(CliError::usage(
                "Files of the storage folder are adopted where they lie: there is nothing to move.",
            ));
        }
        return Ok(());
    }
    if args.link && app.storage.store(&StoreName::LOCAL).is_none() {
        return Err(CliError::usage(
            "--link needs the storage folder, which is not part of the mode.",
        ));
    }
    let source = args.source.canonicalize().map_err(unreadable)?;
    let Ok(own) = context.loaded.config.storage.dir.canonicalize() else {
        return Ok(());
    };
    if source.starts_with(&own) || own.starts_with(&source) {
        let (source, own) = (args.source.display(), own.display());
        return Err(CliError::usage(format!(
            "{source} and the storage folder {own} lie within one another."
        ))
        .with_fix("Import the storage folder itself, or a folder outside of it."));
    }
    Ok(())
}

fn of_import_error(output: &Output, error: ImportError) -> CliError {
    const AGAIN: &str = "What was imported until then stays; import again to go on.";
    match error {
        ImportError::Map(faults) => invalid_map(output, &faults),
        ImportError::ForeignStore { .. } => {
            CliError::failed("foreign_store", sentence(&error.to_string())).with_fix(
                "stockroom doctor says whose it is; stockroom verify --accept-store takes it over.",
            )
        }
        ImportError::NoStore(_) => CliError::failed("configuration", sentence(&error.to_string()))
            .with_fix("Set the S3_ settings; stockroom doctor looks closer."),
        ImportError::Folder(_) => {
            CliError::failed("file_unreadable", sentence(&error.to_string())).with_fix(AGAIN)
        }
        ImportError::Store(error) => {
            let code = match error.kind() {
                stockroom_storage::ErrorKind::Unavailable => "storage_unavailable",
                stockroom_storage::ErrorKind::Full => "storage_full",
                _ => "storage_error",
            };
            CliError::failed(code, sentence(&error.to_string())).with_fix(AGAIN)
        }
        ImportError::Catalog(error) => error.into(),
        ImportError::Task(error) => {
            CliError::failed("internal_error", sentence(&error.to_string()))
        }
        ImportError::Stopped => CliError::reader_left(),
        ImportError::Interrupted => CliError::interrupted().with_fix(AGAIN),
    }
}

/// Prints what becomes of files as they come: to programs of each, to people of those that they
/// have to look at.
struct Printer<'a> {
    output: &'a Output,
    progress: Option<Progress>,
    /// Why stdout could not be written.
    failure: Option<CliError>,
}

impl<'a> Printer<'a> {
    const fn new(output: &'a Output) -> Self {
        Self {
            output,
            progress: None,
            failure: None,
        }
    }

    fn print(&self, report: &Report) -> Result<(), CliError> {
        if self.output.is_json() {
            return self.output.record(report);
        }
        if !report.outcome.is_problem() && report.reason.is_none() {
            return Ok(());
        }
        let reason = report.reason.as_deref().unwrap_or_default();
        let (outcome, path) = (report.outcome, &report.path);
        self.output
            .line(&format!("{outcome:<9}  {path:<40}  {reason}"))
    }
}

impl Listener for Printer<'_> {
    fn counted(&mut self, _files: u64, bytes: u64) {
        self.progress = Some(self.output.progress("import", Some(bytes)));
    }

    fn report(&mut self, report: Report) -> ControlFlow<()> {
        match self.print(&report) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn progress(&mut self, bytes: u64) {
        if let Some(progress) = &mut self.progress {
            progress.advance(bytes);
        }
    }
}

fn print_summary(output: &Output, summary: &Summary, is_bucket: bool) -> Result<(), CliError> {
    if output.is_json() {
        return output.record(&json!({ "summary": summary }));
    }
    let counts: Vec<String> = summary
        .outcomes
        .iter()
        .map(|(outcome, count)| {
            let bytes = summary.outcome_bytes.get(outcome).copied().unwrap_or(0);
            format!("{count} {} ({})", words(*outcome), HumanBytes(bytes))
        })
        .collect();
    let counts = if counts.is_empty() {
        "nothing to import".to_owned()
    } else {
        counts.join(", ")
    };
    let would = if summary.dry_run { "would be: " } else { "" };
    let ignored = summary.ignored;
    output.line(&format!("{would}{counts}; {ignored} ignored"))?;
    if summary.removed > 0 {
        output.line(&format!("{} removed from the folder", summary.removed))?;
    }
    if summary.published > 0 {
        let models = match summary.published {
            1 => "a model".to_owned(),
            count => format!("{count} models"),
        };
        output.line(&format!("{models} published"))?;
    }
    if summary.dry_run && is_bucket {
        let bytes = HumanBytes(summary.read_bytes);
        output.line(&format!(
            "{bytes} would be read from the bucket; some providers charge for what leaves it"
        ))?;
    }
    Ok(())
}

/// An outcome in the words of a summary.
const fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::CopyAdopted => "known as another copy",
        Outcome::ToCompare => "to compare",
        Outcome::Unlisted => "not listed as the map wants",
        Outcome::Conflict => "in conflict",
        Outcome::LeftOut => "left out",
        other => other.as_str(),
    }
}
