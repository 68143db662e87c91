//! `stockroom verify`: compares the database with the stores, and mends what differs.

use std::ops::ControlFlow;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use stockroom_domain::StoreName;
use stockroom_storage::Store as _;

use super::error::{CliError, sentence};
use super::output::Output;
use super::progress::Progress;
use super::{Context, settle};
use crate::app::App;
use crate::config::parse_size;
use crate::exit::Exit;
use crate::flows::verify::{
    Finding, HashBudget, Listener, Options, Refusal, Step, StoreSummary, Summary, VerifyError,
    verify,
};
use crate::workers::identity::{self, AcceptError, LookError};

/// What to compare, and what to do about what differs.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Mend what can be mended; without it nothing is changed
    #[arg(long)]
    repair: bool,
    /// Compare this store only, local or s3; may be given several times
    #[arg(long, value_name = "NAME")]
    store: Vec<String>,
    /// How many bytes to read and hash, those not read for longest first: such as 10GiB, all or
    /// none
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = parse_budget)]
    hash_budget: HashBudget,
    /// Delete nothing when more than this share of a store's objects would go
    #[arg(long, value_name = "PERCENT", default_value_t = 10,
          value_parser = clap::value_parser!(u8).range(..=100))]
    max_delete_share: u8,
    /// Delete bytes at locations that the database has never known, however young they are; without
    /// it only those older than 30 days
    #[arg(long, requires = "repair")]
    delete_unrecorded: bool,
    /// Take over a store that carries another id than the database knows, or none; may be given
    /// several times
    #[arg(long, value_name = "NAME")]
    accept_store: Vec<String>,
}

fn parse_budget(text: &str) -> Result<HashBudget, String> {
    match text {
        "all" => Ok(HashBudget::All),
        "none" => Ok(HashBudget::Bytes(0)),
        _ => parse_size(text)
            .map(HashBudget::Bytes)
            .map_err(|form| format!("{form}, all or none")),
    }
}

/// Compares the database with the stores, prints what differs and how the comparison ended.
///
/// # Errors
/// A store is not there, or is not the one that the database knows; too much would be deleted; the
/// database fails.
pub async fn run(context: &Context, args: VerifyArgs) -> Result<Exit, CliError> {
    let app = context.app().await?;
    let outcome = compare(context, &app, args).await;
    settle(&app).await;
    outcome
}

async fn compare(context: &Context, app: &App, args: VerifyArgs) -> Result<Exit, CliError> {
    let options = Options {
        repair: args.repair,
        stores: configured(app, &args.store)?,
        hash_budget: args.hash_budget,
        max_delete_percent: args.max_delete_share,
        delete_unrecorded: args.delete_unrecorded,
    };
    for name in configured(app, &args.accept_store)? {
        accept(app, &name).await?;
        let taken_over =
            format!("The store {name} is the one that the database knows from now on.");
        context.output.note(&taken_over);
    }
    let mut printer = Printer::new(&context.output);
    let outcome = verify(app, &options, &mut printer).await;
    printer.progress = None;
    if let Some(error) = printer.failure {
        return Err(error);
    }
    let summary = outcome?;
    print_summary(&context.output, &summary, options.repair)?;
    if let Some(refusal) = &summary.refusal {
        return Err(refused(refusal, options.max_delete_percent));
    }
    Ok(match (summary.remaining, summary.repaired) {
        (0, _) => Exit::Ok,
        (_, 0) => Exit::Failed,
        (_, _) => Exit::Partly,
    })
}

/// The names of configured stores, typed as they are.
fn configured(app: &App, names: &[String]) -> Result<Vec<StoreName>, CliError> {
    let known: Vec<StoreName> = app
        .stores
        .iter()
        .map(|store| store.name().clone())
        .collect();
    let find = |name: &String| {
        let found = known.iter().find(|known| known.as_str() == name);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(StoreName::as_str).collect();
            let names = names.join(" and ");
            CliError::usage(format!("There is no store {name}; configured: {names}."))
        })
    };
    names.iter().map(find).collect()
}

async fn accept(app: &App, name: &StoreName) -> Result<(), CliError> {
    let Some(store) = app.store(name) else {
        return Ok(());
    };
    match identity::accept(app, &store).await {
        Ok(()) => Ok(()),
        Err(AcceptError::Taken(other)) => {
            let detail = format!("The store {name} cannot be taken over: it is {other} as well.");
            let fix = "Name another bucket in one of the two settings.";
            Err(CliError::failed("foreign_store", detail).with_fix(fix))
        }
        Err(AcceptError::Look(LookError::Catalog(error))) => Err(error.into()),
        Err(AcceptError::Look(LookError::Store(error))) => {
            let detail = format!("The store {name} cannot be taken over: {}", error.detail());
            let fix = "stockroom doctor looks for the cause.";
            Err(CliError::failed("storage_error", sentence(&detail)).with_fix(fix))
        }
    }
}

/// Prints findings and progress as they come.
struct Printer<'a> {
    output: &'a Output,
    has_header: bool,
    /// What is being done with which store, and how far it is.
    progress: Option<(Step, StoreName, Progress)>,
    /// Why stdout could not be written.
    failure: Option<CliError>,
}

impl<'a> Printer<'a> {
    const fn new(output: &'a Output) -> Self {
        Self {
            output,
            has_header: false,
            progress: None,
            failure: None,
        }
    }

    fn print(&mut self, finding: &Finding) -> Result<(), CliError> {
        if self.output.is_json() {
            return self.output.record(finding);
        }
        if !self.has_header {
            self.has_header = true;
            let header = row("finding", "store", "repaired", "key", "detail");
            self.output.line(&header)?;
        }
        self.output.line(&line(finding))
    }
}

impl Listener for Printer<'_> {
    fn finding(&mut self, finding: Finding) -> ControlFlow<()> {
        match self.print(&finding) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn progress(&mut self, step: Step, store: &StoreName, bytes: u64) {
        let progress = self.progress.take();
        let same = progress.filter(|(of, on, _)| *of == step && on == store);
        let (_, _, progress) = self.progress.insert(same.unwrap_or_else(|| {
            let label = match step {
                Step::Compare => format!("compare {store}"),
                Step::Hash => format!("hash {store}"),
            };
            (step, store.clone(), self.output.progress(label, None))
        }));
        progress.advance(bytes);
    }
}

fn line(finding: &Finding) -> String {
    let store = finding.store.as_ref().map_or("", StoreName::as_str);
    let repaired = match finding.repaired {
        None => "",
        Some(true) => "yes",
        Some(false) => "no",
    };
    // What nobody has a key for is known by its place.
    let key = finding.key.as_ref().or(finding.location.as_ref());
    let key = key.map_or("", |key| key.as_str());
    let done = finding.done.as_ref().map(|done| format!(" ({done})"));
    let detail = format!("{}{}", finding.detail, done.unwrap_or_default());
    row(finding.kind.as_str(), store, repaired, key, &detail)
}

/// The columns have fixed widths, so that a long table begins at once and needs no memory.
fn row(kind: &str, store: &str, repaired: &str, key: &str, detail: &str) -> String {
    format!("{kind:<13}  {store:<6}  {repaired:<8}  {key:<40}  {detail}")
}

fn print_summary(output: &Output, summary: &Summary, repair: bool) -> Result<(), CliError> {
    if output.is_json() {
        return output.record(&json!({ "summary": summary }));
    }
    for store in &summary.stores {
        output.line(&store_line(store))?;
    }
    let (repaired, remaining) = (summary.repaired, summary.remaining);
    if repair {
        output.note(&format!("repaired: {repaired}, remaining: {remaining}"));
    } else if remaining > 0 {
        output.note("stockroom verify --repair mends what can be mended.");
    }
    Ok(())
}

fn store_line(summary: &StoreSummary) -> String {
    let findings = summary.findings.iter();
    let findings: Vec<String> = findings
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    let findings = if findings.is_empty() {
        "nothing found".to_owned()
    } else {
        findings.join(", ")
    };
    format!(
        "{}: {} listed ({}), {} present, {} hashed ({}); {findings}",
        summary.store,
        summary.listed,
        HumanBytes(summary.listed_bytes),
        summary.present,
        summary.hashed,
        HumanBytes(summary.hashed_bytes),
    )
}

fn refused(refusal: &Refusal, max_percent: u8) -> CliError {
    match refusal {
        Refusal::ForeignStore { store, reason } => foreign(store, reason),
        Refusal::TooMany { store, deletions, listed } => CliError::failed(
            "too_many_deletions",
            format!(
                "Nothing was deleted: {deletions} of {listed} objects on {store} would go, more than \
                 {max_percent} percent."
            ),
        )
        .with_fix(
            "Find out why they are not recorded: a database that was restored from an older backup \
             does not know newer objects. If they may go, raise --max-delete-share.",
        ),
    }
}

fn foreign(store: &StoreName, reason: &str) -> CliError {
    let detail = format!(
        "Nothing was deleted: the store {store} is not the one that the database knows: {reason}."
    );
    CliError::failed("foreign_store", detail).with_fix(format!(
        "Check STORAGE_DIR, the S3_ settings and DATABASE_URL. stockroom verify without --repair \
         shows what is there; if it is the right store all the same, add --accept-store {store}."
    ))
}

impl From<VerifyError> for CliError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Catalog(error) => error.into(),
            VerifyError::ForeignStore { store, reason } => foreign(&store, reason),
            VerifyError::Stopped => Self::reader_left(),
        }
    }
}
