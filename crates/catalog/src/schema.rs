//! The migrations, one list per database with the same numbers, and how they are applied: all in
//! one transaction that others wait for, so that several servers may start at the same time.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection as _, Transaction};
use stockroom_domain::Sha256Digest;

use crate::dialect::Dialect;
use crate::error::{CatalogError, Result};
use crate::row::Record;
use crate::run::sql;

/// A step from one shape of the tables to the next. Once released it never changes.
struct Migration {
    version: i64,
    text: &'static str,
}

const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        text: include_str!("../migrations/sqlite/0001_first.sql"),
    },
    Migration {
        version: 2,
        text: include_str!("../migrations/sqlite/0002_reliability.sql"),
    },
    Migration {
        version: 3,
        text: include_str!("../migrations/sqlite/0003_downloads.sql"),
    },
    Migration {
        version: 4,
        text: include_str!("../migrations/sqlite/0004_refunds.sql"),
    },
    Migration {
        version: 5,
        text: include_str!("../migrations/sqlite/0005_audit.sql"),
    },
    Migration {
        version: 6,
        text: include_str!("../migrations/sqlite/0006_events.sql"),
    },
    Migration {
        version: 7,
        text: include_str!("../migrations/sqlite/0007_migrations.sql"),
    },
    Migration {
        version: 8,
        text: include_str!("../migrations/sqlite/0008_samples.sql"),
    },
    Migration {
        version: 9,
        text: include_str!("../migrations/sqlite/0009_kept_views.sql"),
    },
];

const POSTGRES: &[Migration] = &[
    Migration {
        version: 1,
        text: include_str!("../migrations/postgres/0001_first.sql"),
    },
    Migration {
        version: 2,
        text: include_str!("../migrations/postgres/0002_reliability.sql"),
    },
    Migration {
        version: 3,
        text: include_str!("../migrations/postgres/0003_downloads.sql"),
    },
    Migration {
        version: 4,
        text: include_str!("../migrations/postgres/0004_refunds.sql"),
    },
    Migration {
        version: 5,
        text: include_str!("../migrations/postgres/0005_audit.sql"),
    },
    Migration {
        version: 6,
        text: include_str!("../migrations/postgres/0006_events.sql"),
    },
    Migration {
        version: 7,
        text: include_str!("../migrations/postgres/0007_migrations.sql"),
    },
    Migration {
        version: 8,
        text: include_str!("../migrations/postgres/0008_samples.sql"),
    },
    Migration {
        version: 9,
        text: include_str!("../migrations/postgres/0009_kept_views.sql"),
    },
];

/// The number of the lock that servers take to migrate: any number that nobody else uses.
const LOCK: i64 = 0x5374_6f63_6b72_6f6f;

const CREATE_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
    )";

const LIST: &str = "
    SELECT version, sha256, CAST(version AS TEXT) AS id FROM schema_migrations ORDER BY version";

const fn migrations(dialect: Dialect) -> &'static [Migration] {
    match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    }
}

/// The newest migration of this program.
pub(crate) fn known_version(dialect: Dialect) -> i64 {
    migrations(dialect).last().map_or(0, |last| last.version)
}

/// The newest migration in the database; 0 when there is none.
pub(crate) async fn found_version(connection: &mut AnyConnection, dialect: Dialect) -> Result<i64> {
    let tables = sql(dialect.count_migration_tables())
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| dialect.error(error))?;
    if Record::new(&tables, "schema_migrations", "found").number("found")? == 0 {
        return Ok(0);
    }
    let rows = sql(LIST)
        .fetch_all(connection)
        .await
        .map_err(|error| dialect.error(error))?;
    rows.last()
        .map_or(Ok(0), |row| record(row).number("version"))
}

/// Applies what the database lacks. Nothing is changed when the database is newer than this
/// program or was made by another one.
pub(crate) async fn migrate(connection: &mut AnyConnection, dialect: Dialect) -> Result<()> {
    let known = known_version(dialect);
    let mut transaction = connection
        .begin_with(dialect.begin())
        .await
        .map_err(|error| dialect.error(error))?;
    if let Some(lock) = dialect.lock_number() {
        execute(&mut transaction, dialect, sql(lock).bind(LOCK)).await?;
    }
    execute(&mut transaction, dialect, sql(CREATE_TABLE)).await?;
    let applied = sql(LIST)
        .fetch_all(&mut *transaction)
        .await
        .map_err(|error| dialect.error(error))?;
    if let Some(row) = applied.last() {
        let found = record(row).number("version")?;
        if found > known {
            return Err(CatalogError::NewerSchema { found, known });
        }
    }
    for (index, migration) in migrations(dialect).iter().enumerate() {
        let sha256 = Sha256Digest::of(migration.text.as_bytes());
        match applied.get(index) {
            Some(row) => check(row, migration.version, sha256)?,
            None => apply(&mut transaction, dialect, migration, sha256).await?,
        }
    }
    transaction
        .commit()
        .await
        .map_err(|error| dialect.error(error))
}

fn check(row: &AnyRow, version: i64, sha256: Sha256Digest) -> Result<()> {
    let row = record(row);
    if row.number("version")? == version && row.parsed::<Sha256Digest>("sha256")? == sha256 {
        Ok(())
    } else {
        Err(CatalogError::ForeignSchema { version })
    }
}

async fn apply(
    transaction: &mut Transaction<'_, sqlx::Any>,
    dialect: Dialect,
    migration: &Migration,
    sha256: Sha256Digest,
) -> Result<()> {
    sqlx::raw_sql(migration.text)
        .execute(&mut **transaction)
        .await
        .map_err(|error| dialect.error(error))?;
    execute(
        transaction,
        dialect,
        sql("INSERT INTO schema_migrations (version, sha256) VALUES ($1, $2)")
            .bind(migration.version)
            .bind(sha256.to_string()),
    )
    .await?;
    tracing::info!(version = migration.version, "migrated the database");
    Ok(())
}

async fn execute(
    transaction: &mut Transaction<'_, sqlx::Any>,
    dialect: Dialect,
    statement: crate::run::Statement,
) -> Result<()> {
    statement
        .execute(&mut **transaction)
        .await
        .map(drop)
        .map_err(|error| dialect.error(error))
}

const fn record(row: &AnyRow) -> Record<'_> {
    Record::new(row, "schema_migrations", "id")
}
