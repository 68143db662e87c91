//! Everything in which the two databases differ, apart from the migrations.

use sqlx::error::{DatabaseError, ErrorKind};

use crate::error::{CatalogError, Conflict};
use crate::row::NUL;

/// The database behind a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// A file on this machine, for one server.
    Sqlite,
    /// A database server, for one or several servers.
    Postgres,
}

impl Dialect {
    /// The name people know the database by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// Begins a transaction that will write. SQLite takes its one write lock at once, because a
    /// transaction that reads first and then wants to write can lose to another and must restart.
    pub(crate) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// What every connection that may write is told first.
    pub(crate) const fn writer_session(self) -> &'static str {
        match self {
            // FULL, because an acknowledged upload must survive a power cut and in WAL mode NORMAL
            // does not sync on commit. Source: https://www.sqlite.org/pragma.html#pragma_synchronous
            Self::Sqlite => {
                "PRAGMA busy_timeout = 10000;
                 PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON;"
            }
            // No call here waits long for a good reason, so one that does is given up instead of
            // holding a connection; an open transaction of a lost client is ended too. Left alone,
            // the server may plan a statement anew each time, which takes longer than most of them
            // run: it is to keep the plan that does not depend on the arguments, which the tests look at.
            // Source: https://www.postgresql.org/docs/current/runtime-config-query.html
            Self::Postgres => {
                "SET plan_cache_mode = force_generic_plan;
                 SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
                 SET synchronous_commit = on;
                 SET lock_timeout = '10s';
                 SET statement_timeout = '30s';
                 SET idle_in_transaction_session_timeout = '30s';"
            }
        }
    }

    /// What every connection that only reads is told first.
    pub(crate) const fn reader_session(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "PRAGMA busy_timeout = 10000;
                 PRAGMA foreign_keys = ON;
                 PRAGMA query_only = ON;"
            }
            Self::Postgres => self.writer_session(),
        }
    }

    /// Holds off every other transaction that asks for the same number, until this one ends.
    /// On SQLite a transaction that writes is alone anyway.
    pub(crate) const fn lock_number(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_xact_lock($1)"),
        }
    }

    /// The same for a text. Two texts may share a lock by chance, which costs only time.
    pub(crate) const fn lock_text(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"),
        }
    }

    /// What stands around a placeholder of bytes where its type does not follow from a column, as in a list
    /// of values. SQLite has no types there, and would take the name of this one for a number.
    pub(crate) const fn around_bytes(self) -> (&'static str, &'static str) {
        match self {
            Self::Sqlite => ("", ""),
            Self::Postgres => ("CAST(", " AS BYTEA)"),
        }
    }

    /// What makes a query hold the rows of `purchases e` that it gives, until the transaction ends.
    /// On SQLite a transaction that writes is alone anyway.
    pub(crate) const fn hold_purchases(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE OF e",
        }
    }

    /// Counts the tables called `schema_migrations`: one, or none before the first migration.
    pub(crate) const fn count_migration_tables(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT count(*) AS found FROM sqlite_schema
                 WHERE type = 'table' AND name = 'schema_migrations'"
            }
            Self::Postgres => {
                "SELECT count(*) AS found FROM pg_catalog.pg_tables
                 WHERE schemaname = current_schema() AND tablename = 'schema_migrations'"
            }
        }
    }

    /// Turns what the database reported into what the caller should do.
    pub(crate) fn error(self, error: sqlx::Error) -> CatalogError {
        match &error {
            sqlx::Error::Database(reported) => match self.cause(reported.as_ref()) {
                Cause::Conflict(conflict) => CatalogError::Conflict(conflict),
                Cause::Nul => CatalogError::InvalidText {
                    field: "a text",
                    reason: NUL,
                },
                Cause::Busy => CatalogError::Busy(error),
                Cause::Unavailable => CatalogError::Unavailable(error),
                Cause::Full => CatalogError::Full(error),
                Cause::Other => CatalogError::Database(error),
            },
            sqlx::Error::PoolTimedOut => CatalogError::Busy(error),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => CatalogError::Unavailable(error),
            _ => CatalogError::Database(error),
        }
    }

    /// Whether a connection on which this happened may not write any more: on SQLite after any
    /// failure of the disk. A connection to PostgreSQL that is of no use says so by itself.
    pub(crate) fn spoils_connection(self, error: &sqlx::Error) -> bool {
        let (Self::Sqlite, sqlx::Error::Database(reported)) = (self, error) else {
            return false;
        };
        let code = reported.code().and_then(|code| code.parse::<u32>().ok());
        // READONLY, IOERR, CORRUPT, FULL, CANTOPEN; the higher bits tell more.
        // Source: <https://sqlite.org/rescode.html>.
        code.is_some_and(|code| matches!(code & 0xff, 8 | 10 | 11 | 13 | 14))
    }

    /// Whether the database undid the transaction so that another could proceed: the same call,
    /// made again at once, finds a quieter moment.
    pub(crate) fn is_lost_race(self, error: &CatalogError) -> bool {
        let CatalogError::Busy(sqlx::Error::Database(reported)) = error else {
            return false;
        };
        match self {
            // SQLite waits by itself and says BUSY at once only where waiting could never end.
            Self::Sqlite => true,
            // serialization_failure, deadlock_detected
            Self::Postgres => matches!(reported.code().as_deref(), Some("40001" | "40P01")),
        }
    }

    fn cause(self, reported: &dyn DatabaseError) -> Cause {
        if let Some(conflict) = self.conflict(reported) {
            return Cause::Conflict(conflict);
        }
        let code = reported.code().unwrap_or_default();
        match self {
            Self::Sqlite => sqlite_cause(&code),
            Self::Postgres => postgres_cause(&code),
        }
    }

    /// The conflict behind a violated constraint, by the constraint's name.
    fn conflict(self, reported: &dyn DatabaseError) -> Option<Conflict> {
        if reported.kind() != ErrorKind::UniqueViolation {
            return None;
        }
        let constraint = match self {
            Self::Postgres => reported.constraint()?,
            Self::Sqlite => sqlite_constraint(reported.message())?,
        };
        UNIQUE
            .iter()
            .find(|unique| unique.name == constraint)
            .map(|unique| unique.conflict)
    }
}

/// What lies behind an error that the database reported.
enum Cause {
    Conflict(Conflict),
    Nul,
    Busy,
    Unavailable,
    Full,
    Other,
}

/// A constraint of the migrations whose violation a caller can cause.
struct Unique {
    name: &'static str,
    /// How SQLite reports it: by its columns.
    columns: &'static str,
    conflict: Conflict,
}

const fn unique(name: &'static str, columns: &'static str, conflict: Conflict) -> Unique {
    Unique {
        name,
        columns,
        conflict,
    }
}

const UNIQUE: &[Unique] = &[
    unique("keys_pkey", "keys.id", Conflict::ApiKey),
    unique("keys_hash_unique", "keys.hash", Conflict::ApiKey),
    unique("models_pkey", "models.id", Conflict::Id),
    unique("objects_pkey", "objects.id", Conflict::Id),
    unique("objects_live_key", "objects.key", Conflict::ObjectKey),
    unique("assets_pkey", "assets.id", Conflict::Id),
    unique("purchases_pkey", "purchases.id", Conflict::Id),
    unique(
        "migrations_at_work",
        "index 'migrations_at_work'",
        Conflict::MigrationAtWork,
    ),
];

/// SQLite names the columns of a unique constraint, not the constraint.
fn sqlite_constraint(message: &str) -> Option<&'static str> {
    let columns = message.strip_prefix("UNIQUE constraint failed: ")?;
    UNIQUE
        .iter()
        .find(|unique| unique.columns == columns)
        .map(|unique| unique.name)
}

/// Source: <https://www.sqlite.org/rescode.html>. The low byte is the primary code.
fn sqlite_cause(code: &str) -> Cause {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const READ_ONLY: i32 = 8;
    const IO_ERROR: i32 = 10;
    const FULL: i32 = 13;
    const CANNOT_OPEN: i32 = 14;
    match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(BUSY | LOCKED) => Cause::Busy,
        Ok(FULL) => Cause::Full,
        Ok(READ_ONLY | IO_ERROR | CANNOT_OPEN) => Cause::Unavailable,
        _ => Cause::Other,
    }
}

/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn postgres_cause(code: &str) -> Cause {
    match code {
        // character_not_in_repertoire, untranslatable_character
        "22021" | "22P05" => Cause::Nul,
        // serialization_failure, deadlock_detected, lock_not_available, query_canceled,
        // too_many_connections
        "40001" | "40P01" | "55P03" | "57014" | "53300" => Cause::Busy,
        // disk_full
        "53100" => Cause::Full,
        // admin_shutdown, crash_shutdown, cannot_connect_now, idle_in_transaction_session_timeout,
        // read_only_sql_transaction (a standby after a fail-over)
        "57P01" | "57P02" | "57P03" | "25P03" | "25006" => Cause::Unavailable,
        _ if code.starts_with("08") => Cause::Unavailable,
        _ => Cause::Other,
    }
}
