//! Running statements: reads on one pool, writes on another, transactions that are tried again
//! when they lost a race.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::Transaction;
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::query::Query;
use stockroom_domain::Key;
use tokio::time::Instant;

use crate::Catalog;
use crate::dialect::Dialect;
use crate::error::{CatalogError, Result};
use crate::kept::Owed;
use crate::outbox::Outbox;

/// A statement with its arguments.
pub(crate) type Statement = Query<'static, Any, AnyArguments>;

/// A statement whose text is fixed.
pub(crate) fn sql(text: &'static str) -> Statement {
    sqlx::query(text)
}

/// What rows that a subquery has chosen must still fulfil when they are changed: two workers may
/// choose the same rows, and the second one then finds them changed. As a `CASE` it serves no
/// index, so that the database looks at the chosen rows and not through all that fulfil it. They
/// are chosen in a materialized expression: as a plain subquery, PostgreSQL without statistics
/// chooses again for each row that could be changed.
macro_rules! still {
    ($condition:literal) => {
        concat!("CASE WHEN ", $condition, " THEN 1 ELSE 0 END = 1")
    };
}
pub(crate) use still;

/// How often a transaction that lost a race is begun again, and for how long at most.
const MAX_ATTEMPTS: u32 = 6;
const RETRY_FOR: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(5);

impl Catalog {
    /// All rows of a statement that only reads.
    pub(crate) async fn fetch_all(&self, statement: Statement) -> Result<Vec<AnyRow>> {
        self.readers
            .fetch_all(statement)
            .await
            .map_err(|error| self.dialect.error(error))
    }

    /// The first row of a statement that only reads.
    pub(crate) async fn fetch_optional(&self, statement: Statement) -> Result<Option<AnyRow>> {
        self.readers
            .fetch_optional(statement)
            .await
            .map_err(|error| self.dialect.error(error))
    }

    /// How many rows one statement changed that needs no transaction around it. Views that are kept are
    /// worthless afterwards.
    pub(crate) async fn execute(&self, statement: Statement) -> Result<u64> {
        let outcome = self.execute_unnoticed(statement).await;
        // After a failure nobody knows whether something was changed.
        if !matches!(outcome, Ok(0)) {
            self.views.forget();
        }
        outcome
    }

    /// The same for what no view shows.
    pub(crate) async fn execute_unnoticed(&self, statement: Statement) -> Result<u64> {
        let done = statement
            .execute(&self.writers)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(done.rows_affected())
    }

    /// What an error of a connection that writes means, also for the connection.
    pub(crate) fn failed(&self, error: sqlx::Error) -> CatalogError {
        self.spoilt.error(self.dialect, error)
    }

    /// Begins a transaction that will write. Dropping it undoes it.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        let transaction = self
            .writers
            .begin_with(self.dialect.begin())
            .await
            .map_err(|error| self.failed(error))?;
        Ok(Tx {
            transaction,
            catalog: self.clone(),
            has_events: false,
            owed: None,
        })
    }

    /// Makes an attempt, and again when it lost a race against another transaction. An attempt
    /// must be one statement or one transaction, so that a lost one has changed nothing.
    pub(crate) async fn retried<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        for _ in 1..MAX_ATTEMPTS {
            match attempt().await {
                Err(error) if self.dialect.is_lost_race(&error) && began.elapsed() < RETRY_FOR => {
                    tracing::debug!(%error, "a transaction lost a race and is tried again");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        attempt().await
    }
}

/// An open transaction that writes.
pub(crate) struct Tx {
    pub(crate) transaction: Transaction<'static, Any>,
    pub(crate) catalog: Catalog,
    has_events: bool,
    /// The servers that have to forget what they keep, when this ends an access.
    owed: Option<Vec<Owed>>,
}

/// Whether the connection that writes to SQLite is of no use any more: after a failure of the
/// disk, SQLite may have ended the transaction by itself, which the driver does not notice, or may
/// have opened the file for reading only, which it stays. Whoever takes it next replaces it.
#[derive(Clone, Default)]
pub(crate) struct Spoilt(Arc<AtomicBool>);

impl Spoilt {
    /// Whether it is; a new connection is not.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    /// What an error of the connection means, also for the connection.
    fn error(&self, dialect: Dialect, error: sqlx::Error) -> CatalogError {
        if dialect.spoils_connection(&error) {
            self.0.store(true, Ordering::Relaxed);
        }
        dialect.error(error)
    }
}

impl Tx {
    /// The database that it is in.
    pub(crate) const fn dialect(&self) -> Dialect {
        self.catalog.dialect
    }

    /// The catalog that it changes.
    pub(crate) const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Notes who has to forget something when this transaction is real.
    pub(crate) fn owe(&mut self, owed: Vec<Owed>) {
        self.owed = Some(owed);
    }

    /// All rows. Statements that change rows and return some are read to their end, because only
    /// then are they done.
    pub(crate) async fn fetch_all(&mut self, statement: Statement) -> Result<Vec<AnyRow>> {
        statement
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(|error| self.catalog.failed(error))
    }

    /// The first row of a statement that gives one row or none.
    pub(crate) async fn fetch_optional(&mut self, statement: Statement) -> Result<Option<AnyRow>> {
        Ok(self.fetch_all(statement).await?.into_iter().next())
    }

    /// How many rows were changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64> {
        let done = statement
            .execute(&mut *self.transaction)
            .await
            .map_err(|error| self.catalog.failed(error))?;
        Ok(done.rows_affected())
    }

    /// Keeps others from replacing the object of a key until this transaction ends.
    pub(crate) async fn lock_key(&mut self, key: &Key) -> Result<()> {
        self.lock(key.as_str()).await
    }

    /// Keeps others from recording or refunding an order until this transaction ends, also one
    /// that has no row yet.
    pub(crate) async fn lock_order(&mut self, order_ref: &str) -> Result<()> {
        self.lock(&format!("order {order_ref}")).await
    }

    /// Waits for every other transaction with a lock of this name, and has it until this one ends. On SQLite there is one
    /// transaction that writes anyway.
    pub(crate) async fn lock(&mut self, name: &str) -> Result<()> {
        if let Some(lock) = self.catalog.dialect.lock_text() {
            self.execute(sql(lock).bind(name)).await?;
        }
        Ok(())
    }

    /// Where events go.
    pub(crate) const fn outbox(&self) -> &Outbox {
        &self.catalog.outbox
    }

    /// Has whoever delivers events look at once when this transaction is real.
    pub(crate) const fn ring_on_commit(&mut self) {
        self.has_events = true;
    }

    /// Makes the changes real and durable. Views that are kept are worthless afterwards, in this process
    /// and, after [`Tx::end_access`], in every other.
    pub(crate) async fn commit(mut self) -> Result<()> {
        let (catalog, owed) = (self.catalog.clone(), self.owed.take());
        let outcome = self.commit_unnoticed().await;
        // Also when nobody knows whether it became real.
        match owed {
            None => catalog.views.forget(),
            Some(owed) => {
                catalog.views.forget_all();
                catalog.until_forgotten(owed).await;
            }
        }
        outcome
    }

    /// The same for changes that no view shows.
    pub(crate) async fn commit_unnoticed(self) -> Result<()> {
        let catalog = self.catalog;
        self.transaction
            .commit()
            .await
            .map_err(|error| catalog.failed(error))?;
        if self.has_events {
            catalog.outbox.bell.notify_one();
        }
        Ok(())
    }
}
