//! `/v1/migrations`: moving objects from one store to another.

pub mod begin;
pub mod get;
pub mod list;
pub mod pause;
pub mod resume;
pub mod retire;
pub mod rollback;

use std::time::Duration;

use serde::Serialize;
use stockroom_catalog::{MigrationRow, Sample};
use stockroom_domain::{MigrationId, MigrationPhase, MigrationState, StoreName, Timestamp};
use utoipa::ToSchema;

use crate::app::App;
use crate::config::parse_duration;
use crate::flows::migrate::{MigrateError, Status};
use crate::http::codes::Code;
use crate::http::problem::Problem;

/// A migration.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Migration)]
pub struct MigrationView {
    /// `mig_...`
    #[schema(value_type = String)]
    id: MigrationId,
    /// The store that objects leave.
    #[schema(value_type = String)]
    source: StoreName,
    /// The store that objects are to be on.
    #[schema(value_type = String)]
    target: StoreName,
    /// The objects: those whose keys begin like this.
    prefix: String,
    /// `copy`, `retire` or `rollback`.
    #[schema(value_type = String)]
    phase: MigrationPhase,
    /// `running`, `paused` or `finished`.
    #[schema(value_type = String)]
    state: MigrationState,
    /// How many bytes each program that works on it may move in a second; `null` for any number.
    max_bytes_per_second: Option<u64>,
    /// The hours of the day in UTC in which it works; `null` for all day.
    hours: Option<String>,
    /// How many seconds the bytes of freed copies stay.
    grace_seconds: u64,
    /// How many of a hundred copies on the target are read before the source is freed.
    sample_percent: u8,
    /// RFC 3339, UTC. The source is freed of copies whose object has one on the target that was read and
    /// matched since then.
    #[schema(value_type = String)]
    began_at: Timestamp,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    updated_at: Timestamp,
}

impl From<MigrationRow> for MigrationView {
    fn from(row: MigrationRow) -> Self {
        Self {
            id: row.id,
            source: row.source,
            target: row.target,
            prefix: row.prefix.as_str().to_owned(),
            phase: row.phase,
            state: row.state,
            max_bytes_per_second: row.limits.max_bytes_per_second,
            hours: row.limits.hours,
            grace_seconds: row.limits.grace.as_secs(),
            sample_percent: row.limits.sample.percent(),
            began_at: row.began_at,
            updated_at: row.updated_at,
        }
    }
}

/// A migration and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MigrationStatus)]
pub struct StatusView {
    #[serde(flatten)]
    migration: MigrationView,
    /// Live objects that it is about.
    objects: u64,
    /// Their bytes.
    bytes: u64,
    /// Those with a copy on the target.
    copied: u64,
    /// The bytes of these.
    copied_bytes: u64,
    /// Those whose copy on the target was read and matched since it began.
    verified: u64,
    /// The bytes of these.
    verified_bytes: u64,
    /// Those whose copy on the target was not read and is outside of the sample.
    outside_sample: u64,
    /// Those whose copy could not be made, not be read before another one is freed, or not be removed.
    failed: u64,
    /// Those that are being copied, or are next.
    under_way: u64,
    /// Copies that are still on the store that is freed: the source, or the target once it is
    /// rolled back.
    kept: u64,
    /// Copies that are about to be removed there.
    being_freed: u64,
    /// Copies that were removed there.
    freed: u64,
    /// The bytes of these.
    freed_bytes: u64,
}

impl From<Status> for StatusView {
    fn from(status: Status) -> Self {
        let left = *status.freed();
        Self {
            migration: status.migration.into(),
            objects: status.copied.objects,
            bytes: status.copied.bytes,
            copied: status.copied.copied,
            copied_bytes: status.copied.copied_bytes,
            verified: status.copied.verified,
            verified_bytes: status.copied.verified_bytes,
            outside_sample: status.copied.outside_sample,
            failed: status.failed,
            under_way: status.copied.under_way,
            kept: left.kept,
            being_freed: left.freeing,
            freed: left.freed,
            freed_bytes: left.freed_bytes,
        }
    }
}

/// The migration of the path, which has to be the one that is at work, or was last.
///
/// # Errors
/// 404 when there is no such migration; 409 when another came after it.
pub async fn current(app: &App, id: MigrationId) -> Result<MigrationRow, Problem> {
    if app.catalog.find_migration(id).await?.is_none() {
        return Err(Problem::not_found());
    }
    let current = app.catalog.current_migration().await?;
    current.filter(|current| current.id == id).ok_or_else(|| {
        Problem::new(
            Code::MigrationConflict,
            "Another migration was begun after this one.",
        )
    })
}

/// Reads which share of the copies on the target is read.
fn parse_sample(percent: u8) -> Result<Sample, Problem> {
    Sample::of_percent(percent)
        .ok_or_else(|| Problem::invalid("sample_percent is none: it is a number from 1 to 100."))
}

/// Reads how long the bytes of freed copies stay.
fn parse_grace(text: &str) -> Result<Duration, Problem> {
    parse_duration(text).map_err(|form| Problem::invalid(format!("grace is none: {form}.")))
}

impl From<MigrateError> for Problem {
    fn from(error: MigrateError) -> Self {
        let conflict = |detail: String| Self::new(Code::MigrationConflict, detail);
        match error {
            MigrateError::Catalog(error) => error.into(),
            MigrateError::NoSuchStore(name) => {
                Self::invalid(format!("There is no store {name} configured."))
            }
            MigrateError::NoSource => Self::invalid(
                "There is no other store configured that objects could be moved from.",
            ),
            error @ (MigrateError::SeveralSources(_) | MigrateError::ToItself(_)) => {
                Self::invalid(format!("from does not say which: {error}."))
            }
            error @ MigrateError::ForeignStore { .. } => conflict(format!(
                "Nothing was begun: {error}. Mend the settings, or accept the store with stockroom \
                 verify --accept-store."
            )),
            MigrateError::None => Self::not_found(),
            MigrateError::OtherSource(source) => {
                Self::invalid(format!("The migration moves objects from {source}."))
            }
            MigrateError::InMode { store, .. } => conflict(format!(
                "New objects are still written to {store}. Change the mode or the bucket of the settings first, and copy what came meanwhile."
            )),
            MigrateError::AnotherAtWork { target, .. } => conflict(format!(
                "Another migration, to {target}, is not finished. Let it finish, or roll it back."
            )),
            MigrateError::NotCopied => {
                conflict("The copying is not finished, so nothing is removed yet.".to_owned())
            }
            MigrateError::RolledBack => {
                conflict("The migration was rolled back. Begin another one.".to_owned())
            }
            MigrateError::Moved => {
                conflict("The migration was changed meanwhile. Look at it, then decide.".to_owned())
            }
        }
    }
}
