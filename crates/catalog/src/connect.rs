//! Connecting: the two pools, and a look at a database that changes nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _};
use stockroom_domain::{Entropy, SystemEntropy};
use tokio::sync::Notify;

use crate::address::{Address, make_file};
use crate::dialect::Dialect;
use crate::error::{CatalogError, Result};
use crate::kept::Views;
use crate::outbox::Outbox;
use crate::readers::Readers;
use crate::run::{Spoilt, sql};
use crate::schema;
use crate::together::Together;

/// What Stockroom knows, in a database. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Catalog {
    pub(crate) dialect: Dialect,
    /// Several connections that only read. On PostgreSQL those of `writers`.
    pub(crate) readers: Readers,
    /// On SQLite exactly one connection, so that writers queue here, in order, and not in SQLite.
    pub(crate) writers: AnyPool,
    pub(crate) spoilt: Spoilt,
    pub(crate) outbox: Outbox,
    pub(crate) views: Views,
    pub(crate) together: Together,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Catalog on {}", self.dialect.as_str())
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// How many connections at most: to PostgreSQL in all, to SQLite for reading. Default 10.
    pub max_connections: u32,
    /// How long to wait for the database at start, and for a free connection later. Default 10 s.
    pub wait: Duration,
    /// Where events get the random part of their ids. Default: the system.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            max_connections: 10,
            wait: Duration::from_secs(10),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

/// What [`Catalog::probe`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The kind of database.
    pub dialect: Dialect,
    /// The newest migration in the database; 0 when Stockroom never wrote to it.
    pub found: i64,
    /// The newest migration of this program.
    pub known: i64,
}

impl Probe {
    /// Whether a newer version of Stockroom wrote the database.
    #[must_use]
    pub const fn is_newer(self) -> bool {
        self.found > self.known
    }
}

impl Catalog {
    /// Connects, and brings the tables up to date. Several servers may do this at the same time.
    ///
    /// `url` is `sqlite://PATH`, where everything after the two slashes is the path as it is, or
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. A SQLite file and the folders above it are
    /// made when they are missing.
    ///
    /// # Errors
    /// [`CatalogError::InvalidUrl`], [`CatalogError::Unreachable`], [`CatalogError::NewerSchema`],
    /// [`CatalogError::ForeignSchema`].
    pub async fn connect(url: &str, options: &ConnectOptions) -> Result<Self> {
        let address = Address::parse(url)?;
        if let Address::Sqlite(path) = &address {
            make_file(path).await?;
        }
        let dialect = address.dialect();
        let driver_options = address.driver_options()?;
        let mut connection = open(&driver_options, options.wait).await?;
        let migrated = async {
            if dialect == Dialect::Sqlite {
                say(&mut connection, dialect, dialect.writer_session()).await?;
            }
            schema::migrate(&mut connection, dialect).await
        };
        let outcome = migrated.await.map_err(unreachable_while_opening);
        // What could be reported was; the pools below open their own connections.
        let _closed = connection.close().await;
        outcome?;
        Ok(Self::with_pools(dialect, &driver_options, options))
    }

    /// Looks at a database without changing it: can it be reached, and who wrote it?
    ///
    /// # Errors
    /// [`CatalogError::InvalidUrl`] or [`CatalogError::Unreachable`]. A database of a newer
    /// version is no error here, and neither is a SQLite file that does not exist yet.
    pub async fn probe(url: &str, options: &ConnectOptions) -> Result<Probe> {
        let address = Address::parse(url)?;
        let dialect = address.dialect();
        let mut probe = Probe {
            dialect,
            found: 0,
            known: schema::known_version(dialect),
        };
        if let Address::Sqlite(path) = &address
            && !tokio::fs::try_exists(path).await.unwrap_or(true)
        {
            return Ok(probe);
        }
        let mut connection = open(&address.driver_options()?, options.wait).await?;
        let looked = async {
            say(&mut connection, dialect, dialect.reader_session()).await?;
            schema::found_version(&mut connection, dialect).await
        };
        let found = looked.await.map_err(unreachable_while_opening);
        let _closed = connection.close().await;
        probe.found = found?;
        Ok(probe)
    }

    /// The kind of database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether the database answers a query now.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        self.fetch_optional(sql("SELECT 1 AS one")).await.map(drop)
    }

    /// Rings when this catalog has recorded an event that somebody wants to know of. What other
    /// servers record rings there.
    #[must_use]
    pub const fn events_bell(&self) -> &Arc<Notify> {
        &self.outbox.bell
    }

    /// Ends all connections once they are idle.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }

    fn with_pools(
        dialect: Dialect,
        driver_options: &AnyConnectOptions,
        options: &ConnectOptions,
    ) -> Self {
        let most = options.max_connections.max(1);
        let spoilt = Spoilt::default();
        let outbox = Outbox {
            entropy: Arc::clone(&options.entropy),
            bell: Arc::default(),
        };
        let views = Views::new(&*options.entropy);
        let watched = spoilt.clone();
        match dialect {
            Dialect::Sqlite => Self {
                dialect,
                readers: Readers::of_file(
                    driver_options.clone(),
                    dialect.reader_session(),
                    most,
                    options.wait,
                ),
                writers: pool(1, options.wait)
                    .after_connect(move |connection, _| {
                        Box::pin(raw(connection, dialect.writer_session()))
                    })
                    .before_acquire(move |connection, _| {
                        let is_spoilt = watched.take() || connection.is_in_transaction();
                        Box::pin(async move { Ok(!is_spoilt) })
                    })
                    .connect_lazy_with(driver_options.clone()),
                spoilt,
                outbox,
                views,
                together: Together::default(),
            },
            Dialect::Postgres => {
                let shared = pool(most, options.wait)
                    .after_connect(move |connection, _| {
                        Box::pin(raw(connection, dialect.writer_session()))
                    })
                    .before_acquire(|connection, meta| {
                        Box::pin(async move {
                            // A server that was restarted closed its idle connections. Asking
                            // before every query would double the round trips, so only those
                            // that stood still for a while are asked.
                            if meta.idle_for > Duration::from_secs(2) {
                                connection.ping().await?;
                            }
                            Ok(true)
                        })
                    })
                    .idle_timeout(Duration::from_mins(5))
                    .max_lifetime(Duration::from_mins(30))
                    .connect_lazy_with(driver_options.clone());
                Self {
                    dialect,
                    readers: Readers::Shared(shared.clone()),
                    writers: shared,
                    spoilt,
                    outbox,
                    views,
                    together: Together::default(),
                }
            }
        }
    }
}

fn pool(max_connections: u32, wait: Duration) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(wait)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

async fn raw(connection: &mut AnyConnection, text: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(text).execute(connection).await.map(drop)
}

async fn say(connection: &mut AnyConnection, dialect: Dialect, text: &'static str) -> Result<()> {
    raw(connection, text)
        .await
        .map_err(|error| dialect.error(error))
}

/// One connection beside the pools. A pool would go on trying a closed port until its time is up.
async fn open(options: &AnyConnectOptions, wait: Duration) -> Result<AnyConnection> {
    sqlx::any::install_default_drivers();
    match tokio::time::timeout(wait, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(sqlx::Error::Configuration(reason))) => Err(CatalogError::InvalidUrl {
            reason: reason.to_string(),
        }),
        Ok(Err(error)) => Err(CatalogError::Unreachable {
            reason: error.to_string(),
        }),
        Err(_elapsed) => Err(CatalogError::Unreachable {
            reason: format!("no answer within {} seconds", wait.as_secs_f32()),
        }),
    }
}

/// While the program starts, a database that cannot do the first steps is one that cannot be used.
fn unreachable_while_opening(error: CatalogError) -> CatalogError {
    match error {
        CatalogError::Unavailable(source) | CatalogError::Database(source) => {
            CatalogError::Unreachable {
                reason: source.to_string(),
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Row;
    use sqlx::any::AnyRow;

    async fn pragma(row: impl Future<Output = sqlx::Result<Option<AnyRow>>>) -> String {
        let row = row.await.unwrap().unwrap();
        row.try_get::<String, _>(0)
            .or_else(|_| row.try_get::<i64, _>(0).map(|number| number.to_string()))
            .unwrap()
    }

    /// Without these, a power cut takes what was acknowledged, or references dangle.
    #[tokio::test]
    async fn sqlite_is_told_to_be_durable_and_strict() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/stockroom.db", folder.path().display());
        let catalog = Catalog::connect(&url, &ConnectOptions::default())
            .await
            .unwrap();
        const FULL: &str = "2";
        for (text, expected) in [
            ("PRAGMA journal_mode", "wal"),
            ("PRAGMA synchronous", FULL),
            ("PRAGMA foreign_keys", "1"),
            ("PRAGMA busy_timeout", "10000"),
        ] {
            let said = sql(text).fetch_optional(&catalog.writers);
            assert_eq!(pragma(said).await, expected, "{text}");
        }
        let said = catalog.readers.fetch_optional(sql("PRAGMA query_only"));
        assert_eq!(pragma(said).await, "1");
        assert_eq!(catalog.writers.options().get_max_connections(), 1);
        let written = catalog.readers.fetch_all(sql("DELETE FROM meta")).await;
        assert!(written.is_err());
    }
}
