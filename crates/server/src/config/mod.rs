//! The configuration: environment over `.env` over `stockroom.toml` over default.
//!
//! [`Config::load`] reads everything, checks everything and gives either typed settings or the
//! list of all problems. It writes nothing and binds nothing. Problems name a setting, the place
//! where it stands and the fix; no problem, no report and no `Debug` form holds the value of a secret.

mod callers;
mod database;
pub mod dotenv;
mod engine;
mod environment;
mod files;
mod http;
mod logs;
mod networks;
mod problem;
mod purchase_events;
mod reader;
mod rotation;
mod s3;
mod second;
mod signing;
mod storage;
mod values;
mod variable;
mod webhooks;

use std::path::PathBuf;

pub use callers::{CallerSettings, CorsOrigins, Rate};
pub use database::DatabaseSettings;
pub use engine::EngineSettings;
pub use environment::Environment;
pub use http::{Delivery, HttpSettings};
pub use logs::{LogFormat, LogSettings};
pub use problem::{Problem, Source};
pub use purchase_events::PurchaseEventSettings;
pub use reader::ReportLine;
pub use rotation::{RotationError, ToRetire};
pub use s3::{CaFile, PathStyle, S3Settings};
pub use signing::{SigningKeysError, SigningSettings};
pub use stockroom_storage::Secret;
pub use storage::StorageSettings;
pub use values::{HttpUrl, parse_duration, parse_size};
pub use webhooks::WebhookSettings;

use reader::{Noted, Reader};

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that everything local lives below unless said otherwise.
    pub data_dir: PathBuf,
    /// Where bytes are kept.
    pub storage: StorageSettings,
    /// What the work in the background may use.
    pub engine: EngineSettings,
    /// The database that holds the record.
    pub database: DatabaseSettings,
    /// The server: where it listens, how it is reached, and its limits.
    pub http: HttpSettings,
    /// What callers may do, and what is believed of them.
    pub callers: CallerSettings,
    /// The keys that local signed URLs are signed with.
    pub signing: SigningSettings,
    /// The secrets that events about orders are signed with.
    pub purchase_events: PurchaseEventSettings,
    /// Where events may be sent.
    pub webhooks: WebhookSettings,
    /// What is logged, and in which form.
    pub log: LogSettings,
}

/// The settings, and where each of them came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What works but was probably not meant.
    pub warnings: Vec<Problem>,
    report: Vec<ReportLine>,
}

impl Config {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// All problems at once, at least one.
    pub fn load(environment: &Environment) -> Result<Loaded, Vec<Problem>> {
        let mut reader = Reader::new(environment);
        let config = read(&mut reader);
        let notes = reader.into_notes();
        match config {
            Ok(config) if notes.problems.is_empty() => Ok(Loaded {
                config,
                warnings: notes.warnings,
                report: notes.report,
            }),
            Ok(_) | Err(Noted) => Err(notes.problems),
        }
    }
}

impl Loaded {
    /// Every setting in force with its source, secrets left out, in the order of the documentation.
    #[must_use]
    pub fn report(&self) -> &[ReportLine] {
        &self.report
    }
}

fn read(reader: &mut Reader<'_>) -> Result<Config, Noted> {
    let data_dir = storage::read_folder(reader, &variable::DATA_DIR, "./data");
    // When DATA_DIR is the problem, its default lets the other settings be checked all the same.
    let usable_dir = data_dir
        .clone()
        .unwrap_or_else(|Noted| reader.resolve("./data"));
    let storage = storage::read(reader, &usable_dir);
    let engine = engine::read(reader);
    let database = database::read(reader, &usable_dir);
    let http = http::read(reader);
    let callers = callers::read(reader);
    let signing = signing::read(reader, &usable_dir);
    let purchase_events = purchase_events::read(reader);
    let webhooks = webhooks::read(reader);
    let log = logs::read(reader);
    Ok(Config {
        data_dir: data_dir?,
        storage: storage?,
        engine: engine?,
        database: database?,
        http: http?,
        callers: callers?,
        signing: signing?,
        purchase_events: purchase_events?,
        webhooks: webhooks?,
        log: log?,
    })
}

#[cfg(test)]
mod tests;
