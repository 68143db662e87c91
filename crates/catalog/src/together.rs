//! Together: what several callers want written at the same moment becomes real in one transaction.
//!
//! SQLite has one writer, and each commit waits for the disk. Whoever comes while another transaction of the same
//! kind is at work waits for its end, and then one of those who wait does the work of all of them. PostgreSQL
//! puts commits of many connections together by itself, so each call is a transaction of its own there.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::Catalog;
use crate::dialect::Dialect;
use crate::error::{CatalogError, Result};

/// The most calls that become one transaction, which others that write wait for.
const MOST: usize = 64;

/// A call that can become real together with others of its kind.
pub(crate) trait Joint: Clone + Send + Sync + 'static {
    /// What the caller gets.
    type Answer: Send + 'static;

    /// Makes all of these real in one transaction, or none of them; an answer for each, in their order.
    fn done(
        catalog: &Catalog,
        calls: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Answer>>> + Send;
}

/// The calls of one kind that wait for the one that is at work. Clones are the same.
pub(crate) struct Together<J: Joint>(Arc<Inner<J>>);

struct Inner<J: Joint> {
    waiting: Mutex<Vec<Waiting<J>>>,
    /// Held by whoever is at work.
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Waiting<J: Joint> {
    call: J,
    answer: oneshot::Sender<Result<J::Answer>>,
}

impl<J: Joint> Together<J> {
    /// Makes a call real, with whatever others there are.
    ///
    /// # Errors
    /// Those of the call. One that is refused refuses no other.
    pub(crate) async fn join(&self, catalog: &Catalog, call: J) -> Result<J::Answer> {
        if catalog.dialect == Dialect::Postgres {
            return alone(catalog, &call).await;
        }
        let (answer, mut answered) = oneshot::channel();
        self.waiting().push(Waiting { call, answer });
        loop {
            let turn = Arc::clone(&self.0.turn).lock_owned().await;
            match answered.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => return Err(stopped()),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let some = {
                let mut waiting = self.waiting();
                // Of whoever went away before anybody began, nothing becomes real.
                waiting.retain(|it| !it.answer.is_closed());
                let count = waiting.len().min(MOST);
                waiting.drain(..count).collect()
            };
            // A task of its own: whoever goes away meanwhile must not take the others along.
            let catalog = catalog.clone();
            let work = tokio::spawn(async move {
                work(&catalog, some).await;
                drop(turn);
            });
            work.await.map_err(|_| stopped())?;
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting<J>>> {
        let waiting = &self.0.waiting;
        waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does the work of all of them. Whose call is refused alone gets the refusal; whether anything was made
/// real is unknown to all of them when the database fails.
async fn work<J: Joint>(catalog: &Catalog, some: Vec<Waiting<J>>) {
    let calls: Vec<J> = some.iter().map(|it| it.call.clone()).collect();
    let error = match J::done(catalog, &calls).await {
        Ok(answers) => {
            for (waiting, answer) in some.into_iter().zip(answers) {
                // Whoever went away hears nothing of it.
                let _ = waiting.answer.send(Ok(answer));
            }
            return;
        }
        Err(error) => error,
    };
    for waiting in some {
        let answer = match again(&error) {
            Some(error) => Err(error),
            None => alone(catalog, &waiting.call).await,
        };
        let _ = waiting.answer.send(answer);
    }
}

async fn alone<J: Joint>(catalog: &Catalog, call: &J) -> Result<J::Answer> {
    let answers = J::done(catalog, std::slice::from_ref(call)).await?;
    answers.into_iter().next().ok_or_else(stopped)
}

/// The same error for another caller, when it may have come after the commit: then nobody may try again.
/// Of all others it is certain that nothing was made real.
fn again(error: &CatalogError) -> Option<CatalogError> {
    let of_database = |error: &sqlx::Error| sqlx::Error::Protocol(error.to_string());
    match error {
        CatalogError::Busy(error) => Some(CatalogError::Busy(of_database(error))),
        CatalogError::Unavailable(error) => Some(CatalogError::Unavailable(of_database(error))),
        CatalogError::Full(error) => Some(CatalogError::Full(of_database(error))),
        CatalogError::Database(error) => Some(CatalogError::Database(of_database(error))),
        _ => None,
    }
}

/// The program is about to end.
const fn stopped() -> CatalogError {
    CatalogError::Unavailable(sqlx::Error::WorkerCrashed)
}

impl<J: Joint> Clone for Together<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<J: Joint> Default for Together<J> {
    fn default() -> Self {
        Self(Arc::new(Inner {
            waiting: Mutex::default(),
            turn: Arc::default(),
        }))
    }
}

impl<J: Joint> fmt::Debug for Together<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting", self.waiting().len())
    }
}
