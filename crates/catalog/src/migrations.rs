//! Migrations: which objects shall have a copy where, and how far that has come. The rows say what is
//! wanted; what is missing is found by comparing them with the placements (`migrating.rs`).

use std::time::Duration;

use sqlx::any::AnyRow;
use stockroom_domain::{
    KeyPrefix, MigrationId, MigrationPhase, MigrationState, StoreName, Timestamp,
};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::{CatalogError, Conflict, Noun, Result};
use crate::page::{Page, Paged};
use crate::row::{Record, check_text, to_number};
use crate::run::{Tx, sql};
use crate::sample::Sample;

/// How a migration may go about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationLimits {
    /// How many bytes each program that works on it may move in a second; none for any number.
    pub max_bytes_per_second: Option<u64>,
    /// The window of the day in UTC in which it works, such as `22-06`; none for all day.
    pub hours: Option<String>,
    /// How long the bytes of copies that were freed stay.
    pub grace: Duration,
    /// Which copies that were on the target before are read. Copies that it makes are read always.
    pub sample: Sample,
}

/// A migration to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMigration {
    /// Its id.
    pub id: MigrationId,
    /// The store that they leave, if that is asked for.
    pub source: StoreName,
    /// The store that objects shall have a copy on.
    pub target: StoreName,
    /// The objects: those whose keys begin like this.
    pub prefix: KeyPrefix,
    /// How it may go about it.
    pub limits: MigrationLimits,
    /// When it begins: copies whose bytes matched before are read again.
    pub began_at: Timestamp,
}

/// A migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationRow {
    /// Its id.
    pub id: MigrationId,
    /// The store that they leave, if that is asked for.
    pub source: StoreName,
    /// The store that objects shall have a copy on.
    pub target: StoreName,
    /// The objects: those whose keys begin like this.
    pub prefix: KeyPrefix,
    /// What it is doing.
    pub phase: MigrationPhase,
    /// How that is going.
    pub state: MigrationState,
    /// How it may go about it.
    pub limits: MigrationLimits,
    /// A copy on the target counts when its bytes matched since then.
    pub began_at: Timestamp,
    /// When the phase began.
    pub phase_began_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A change of what a migration does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationPatch {
    /// Another phase.
    pub phase: Option<MigrationPhase>,
    /// Another state.
    pub state: Option<MigrationState>,
    /// Other limits.
    pub limits: Option<MigrationLimits>,
}

macro_rules! select_migrations {
    () => {
        "SELECT m.id AS migration_id, m.target AS migration_target, m.prefix AS migration_prefix, \
         m.phase AS migration_phase, m.state AS migration_state, m.source AS migration_source, \
         m.max_bytes_per_second AS migration_max_bytes_per_second, m.hours AS migration_hours, \
         m.grace_ms AS migration_grace_ms, \
         m.sample_percent AS migration_sample_percent, m.began_at AS migration_began_at, \
         m.phase_began_at AS migration_phase_began_at, \
         m.updated_at AS migration_updated_at \
         FROM migrations m"
    };
}

const FIND: &str = concat!(select_migrations!(), " WHERE m.id = $1");

impl MigrationRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "migrations", "migration_id");
        Ok(Self {
            id: row.parsed("migration_id")?,
            target: row.parsed("migration_target")?,
            prefix: row.parsed("migration_prefix")?,
            phase: row.parsed("migration_phase")?,
            state: row.parsed("migration_state")?,
            source: row.parsed("migration_source")?,
            limits: MigrationLimits {
                max_bytes_per_second: row.count_or_null("migration_max_bytes_per_second")?,
                hours: row.text_or_null("migration_hours")?.map(str::to_owned),
                grace: Duration::from_millis(row.count("migration_grace_ms")?),
                sample: Sample::read(row, "migration_sample_percent")?,
            },
            began_at: row.time("migration_began_at")?,
            phase_began_at: row.time("migration_phase_began_at")?,
            updated_at: row.time("migration_updated_at")?,
        })
    }
}

impl Catalog {
    /// Begins a migration.
    ///
    /// # Errors
    /// [`Conflict::MigrationAtWork`] while another is not finished.
    pub async fn insert_migration(&self, new: &NewMigration) -> Result<MigrationRow> {
        self.retried(|| self.try_insert_migration(new)).await
    }

    async fn try_insert_migration(&self, new: &NewMigration) -> Result<MigrationRow> {
        let mut tx = self.begin().await?;
        let (rate, hours, grace_ms) = numbers(&new.limits)?;
        tx.execute(
            sql(
                "INSERT INTO migrations (id, source, target, prefix, phase, state,
                     max_bytes_per_second, hours, grace_ms, sample_percent, began_at,
                     phase_began_at, updated_at)
                 VALUES ($1, $2, $3, $4, 'copy', 'running', $5, $6, $7, $8, $9, $9, $9)",
            )
            .bind(new.id.to_string())
            .bind(new.source.as_str().to_owned())
            .bind(new.target.as_str().to_owned())
            .bind(new.prefix.as_str().to_owned())
            .bind(rate)
            .bind(hours)
            .bind(grace_ms)
            .bind(i64::from(new.limits.sample.percent()))
            .bind(new.began_at.unix_ms()),
        )
        .await?;
        let row = tx.migration(new.id).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// The migration with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_migration(&self, id: MigrationId) -> Result<Option<MigrationRow>> {
        self.fetch_optional(sql(FIND).bind(id.to_string()))
            .await?
            .as_ref()
            .map(MigrationRow::read)
            .transpose()
    }

    /// The migration that is not finished, or else the newest one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn current_migration(&self) -> Result<Option<MigrationRow>> {
        let at_work = self
            .fetch_optional(sql(concat!(
                select_migrations!(),
                " WHERE m.state <> 'finished' LIMIT 1"
            )))
            .await?;
        let row = match at_work {
            Some(row) => Some(row),
            None => {
                self.fetch_optional(sql(concat!(
                    select_migrations!(),
                    " ORDER BY m.id DESC LIMIT 1"
                )))
                .await?
            }
        };
        row.as_ref().map(MigrationRow::read).transpose()
    }

    /// All migrations, newest first.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`].
    pub async fn list_migrations(&self, page: &Page) -> Result<Paged<MigrationRow>> {
        let mut select = Assembled::new(select_migrations!());
        if let Some(after) = page.cursor::<MigrationId>()? {
            select.push(" WHERE m.id < ").text(after.to_string());
        }
        select
            .push(" ORDER BY m.id DESC LIMIT ")
            .number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let migrations = rows.iter().map(MigrationRow::read).collect::<Result<_>>()?;
        Ok(Paged::new(migrations, page, |row: &MigrationRow| row.id))
    }

    /// Changes what a migration does, if it still is in the phase and state that the caller knows,
    /// and gives it back as it is now.
    ///
    /// # Errors
    /// [`Conflict::MigrationMoved`] when it is in another phase or state by now;
    /// [`Conflict::MigrationAtWork`] when it was finished and another is not;
    /// [`CatalogError::NotFound`].
    pub async fn update_migration(
        &self,
        known: &MigrationRow,
        patch: &MigrationPatch,
        now: Timestamp,
    ) -> Result<MigrationRow> {
        self.retried(|| self.try_update_migration(known, patch, now))
            .await
    }

    async fn try_update_migration(
        &self,
        known: &MigrationRow,
        patch: &MigrationPatch,
        now: Timestamp,
    ) -> Result<MigrationRow> {
        let mut tx = self.begin().await?;
        let held = tx
            .execute(
                sql("UPDATE migrations SET updated_at = $4
                     WHERE id = $1 AND phase = $2 AND state = $3")
                .bind(known.id.to_string())
                .bind(known.phase.as_str())
                .bind(known.state.as_str())
                .bind(now.unix_ms()),
            )
            .await?;
        let row = tx.migration(known.id).await?;
        if held != 1 {
            return Err(Conflict::MigrationMoved.into());
        }
        let phase = patch.phase.unwrap_or(row.phase);
        let phase_began_at = match phase == row.phase {
            true => row.phase_began_at,
            false => now,
        };
        let limits = patch.limits.as_ref().unwrap_or(&row.limits);
        let (rate, hours, grace_ms) = numbers(limits)?;
        tx.execute(
            sql(
                "UPDATE migrations SET phase = $2, state = $3, phase_began_at = $4,
                     max_bytes_per_second = $5, hours = $6, grace_ms = $7, sample_percent = $8
                 WHERE id = $1",
            )
            .bind(known.id.to_string())
            .bind(phase.as_str())
            .bind(patch.state.unwrap_or(row.state).as_str())
            .bind(phase_began_at.unix_ms())
            .bind(rate)
            .bind(hours)
            .bind(grace_ms)
            .bind(i64::from(limits.sample.percent())),
        )
        .await?;
        let row = tx.migration(known.id).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Takes back what a clock that was ahead has noted for a time that is still to come: a migration
    /// that began then, or a phase, begins now, because no copy that matches from now on would count
    /// else, and what it asked for is due. Gives the migration back as it is then.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn set_migration_back(
        &self,
        id: MigrationId,
        now: Timestamp,
    ) -> Result<MigrationRow> {
        self.retried(|| self.try_set_migration_back(id, now)).await
    }

    async fn try_set_migration_back(
        &self,
        id: MigrationId,
        now: Timestamp,
    ) -> Result<MigrationRow> {
        let mut tx = self.begin().await?;
        for text in [
            "UPDATE migrations SET began_at = $2 WHERE id = $1 AND began_at > $2",
            "UPDATE migrations SET phase_began_at = $2 WHERE id = $1 AND phase_began_at > $2",
            // What somebody has claimed was tried.
            "UPDATE placements SET next_attempt_at = $2
             WHERE migration_id = $1 AND state IN ('copying', 'suspect') AND attempts = 0
                 AND next_attempt_at > $2",
        ] {
            tx.execute(sql(text).bind(id.to_string()).bind(now.unix_ms()))
                .await?;
        }
        let row = tx.migration(id).await?;
        tx.commit().await?;
        Ok(row)
    }
}

type Numbers = (Option<i64>, Option<String>, i64);

fn numbers(limits: &MigrationLimits) -> Result<Numbers> {
    check_text("hours", limits.hours.as_deref().unwrap_or(""))?;
    let rate = limits
        .max_bytes_per_second
        .map(|rate| to_number("max_bytes_per_second", rate))
        .transpose()?;
    let grace_ms = u64::try_from(limits.grace.as_millis()).unwrap_or(u64::MAX);
    Ok((rate, limits.hours.clone(), to_number("grace_ms", grace_ms)?))
}

impl Tx {
    async fn migration(&mut self, id: MigrationId) -> Result<MigrationRow> {
        let row = self.fetch_optional(sql(FIND).bind(id.to_string())).await?;
        row.as_ref()
            .map(MigrationRow::read)
            .ok_or(CatalogError::NotFound(Noun::Migration))?
    }
}
