//! Readers: the connections that only read.
//!
//! sqlx asks each connection that comes back to its pool whether it is still well, which is one more way to the
//! driver's thread and back for every query. With a file of SQLite there is nothing to ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyRow};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::run::Statement;

/// The connections that only read. Clones are the same.
#[derive(Clone)]
pub(crate) enum Readers {
    /// Those of a server of PostgreSQL, which write too.
    Shared(AnyPool),
    /// Those of a file.
    OfFile(Arc<OfFile>),
}

pub(crate) struct OfFile {
    options: AnyConnectOptions,
    /// What each is told first.
    session: &'static str,
    /// How long to wait until one is free.
    wait: Duration,
    /// How many may be at work, and one permit for each.
    most: u32,
    free: Arc<Semaphore>,
    /// The one that was used last is taken first.
    idle: Mutex<Vec<AnyConnection>>,
}

impl Readers {
    /// At most so many connections to a file; they are made when they are needed.
    pub(crate) fn of_file(
        options: AnyConnectOptions,
        session: &'static str,
        most: u32,
        wait: Duration,
    ) -> Self {
        Self::OfFile(Arc::new(OfFile {
            options,
            session,
            wait,
            most,
            free: Arc::new(Semaphore::new(most as usize)),
            idle: Mutex::default(),
        }))
    }

    /// All rows.
    pub(crate) async fn fetch_all(&self, statement: Statement) -> sqlx::Result<Vec<AnyRow>> {
        match self {
            Self::Shared(pool) => statement.fetch_all(pool).await,
            Self::OfFile(file) => {
                file.with(async |connection| statement.fetch_all(connection).await)
                    .await
            }
        }
    }

    /// The first row, if there is one.
    pub(crate) async fn fetch_optional(
        &self,
        statement: Statement,
    ) -> sqlx::Result<Option<AnyRow>> {
        match self {
            Self::Shared(pool) => statement.fetch_optional(pool).await,
            Self::OfFile(file) => {
                file.with(async |connection| statement.fetch_optional(connection).await)
                    .await
            }
        }
    }

    /// Ends all of them, once they are idle.
    pub(crate) async fn close(&self) {
        match self {
            Self::Shared(pool) => pool.close().await,
            Self::OfFile(file) => file.close().await,
        }
    }
}

impl OfFile {
    async fn with<T>(
        &self,
        read: impl AsyncFnOnce(&mut AnyConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let permit = Arc::clone(&self.free).acquire_owned();
        let permit = tokio::time::timeout(self.wait, permit).await;
        let permit = permit
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut at_work = AtWork(Some((connection, permit)));
        let Some((connection, _)) = &mut at_work.0 else {
            return Err(sqlx::Error::PoolClosed);
        };
        let read = read(connection).await?;
        if let Some((connection, permit)) = at_work.0.take() {
            self.idle().push(connection);
            drop(permit);
        }
        Ok(read)
    }

    async fn connect(&self) -> sqlx::Result<AnyConnection> {
        let mut connection = self.options.connect().await?;
        sqlx::raw_sql(self.session).execute(&mut connection).await?;
        Ok(connection)
    }

    async fn close(&self) {
        // Whoever asks meanwhile waits behind this and is refused. It fails when somebody else ends them.
        let _all = self.free.acquire_many(self.most).await;
        self.free.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            // It has nothing to say any more.
            connection.close().await.ok();
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<AnyConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that reads. One that failed, or whose caller went away, is not used again; others may take its place
/// only when its thread is done, which reads on to the end of the statement.
struct AtWork(Option<(AnyConnection, OwnedSemaphorePermit)>);

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some((connection, permit)) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                connection.close().await.ok();
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::sql;

    fn readers(folder: &tempfile::TempDir, most: u32) -> Readers {
        sqlx::any::install_default_drivers();
        let url = format!("sqlite://{}/a.db?mode=rwc", folder.path().display());
        let wait = Duration::from_millis(50);
        Readers::of_file(url.parse().unwrap(), "PRAGMA query_only = ON", most, wait)
    }

    fn idle(readers: &Readers) -> usize {
        match readers {
            Readers::Shared(_) => 0,
            Readers::OfFile(file) => file.idle().len(),
        }
    }

    #[tokio::test]
    async fn a_connection_is_used_again_unless_it_failed() {
        let folder = tempfile::tempdir().unwrap();
        let readers = readers(&folder, 2);
        for _ in 0..3 {
            let rows = readers.fetch_all(sql("SELECT 1 UNION SELECT 2")).await;
            assert_eq!(rows.unwrap().len(), 2);
            let row = readers.fetch_optional(sql("SELECT 1 WHERE 1 = 2")).await;
            assert!(row.unwrap().is_none());
            assert_eq!(idle(&readers), 1);
        }
        assert!(readers.fetch_all(sql("SELECT nothing")).await.is_err());
        assert!(readers.fetch_all(sql("CREATE TABLE a (b)")).await.is_err());
        assert_eq!(idle(&readers), 0);
        assert!(readers.fetch_all(sql("SELECT 1")).await.is_ok());
    }

    #[tokio::test]
    async fn no_more_read_at_once_than_may_and_nobody_after_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let readers = readers(&folder, 1);
        let Readers::OfFile(file) = readers.clone() else {
            panic!("it is a file");
        };
        let held = file.free.acquire().await.unwrap();
        let refused = readers.fetch_all(sql("SELECT 1")).await;
        assert!(matches!(refused, Err(sqlx::Error::PoolTimedOut)));
        drop(held);
        assert!(readers.fetch_all(sql("SELECT 1")).await.is_ok());
        readers.close().await;
        assert_eq!(idle(&readers), 0);
        let refused = readers.fetch_all(sql("SELECT 1")).await;
        assert!(matches!(refused, Err(sqlx::Error::PoolClosed)));
    }
    #[tokio::test]
    async fn a_place_is_taken_until_the_statement_of_whoever_went_away_has_ended() {
        const LONG: &str =
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000)
            SELECT max(i) FROM n";
        let folder = tempfile::tempdir().unwrap();
        let readers = readers(&folder, 1);
        let long = readers.fetch_all(sql(LONG));
        let gone = tokio::time::timeout(Duration::from_millis(20), long).await;
        assert!(gone.is_err());
        let refused = readers.fetch_all(sql("SELECT 1")).await;
        assert!(matches!(refused, Err(sqlx::Error::PoolTimedOut)));
        while readers.fetch_all(sql("SELECT 1")).await.is_err() {}
        assert_eq!(idle(&readers), 1);
    }
}
