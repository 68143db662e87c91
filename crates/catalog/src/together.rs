//! Together: what several uploads want written at the same moment becomes real in one transaction.
//!
//! SQLite has one writer, and each commit waits for the disk. Whoever comes while such a transaction is at work waits,
//! and all who waited become the next one. PostgreSQL puts commits of many connections together by itself, so each call
//! is a transaction of its own there.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::Catalog;
use crate::assets::{AssetRow, Recording};
use crate::dialect::Dialect;
use crate::error::{CatalogError, Result};
use crate::uploads::{NewUpload, Upload};

/// The most calls of a kind that become one transaction, which others that write wait for. The driver keeps 100 texts
/// of statements, of which each number of calls needs some.
const MOST: usize = 32;

/// The calls that wait for the transaction that is at work. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Together(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    calls: Calls,
    /// Whether there is a task that does the work of whoever waits.
    is_at_work: bool,
}

/// Calls of both kinds.
#[derive(Default)]
pub(crate) struct Calls {
    openings: Vec<Call<NewUpload>>,
    recordings: Vec<Call<Recording>>,
}

pub(crate) struct Call<J: Joint> {
    wish: J,
    answer: oneshot::Sender<Result<J::Answer>>,
}

/// What can become real together with others.
pub(crate) trait Joint: Sized {
    /// What the caller gets.
    type Answer;

    /// The calls of this kind.
    fn of(calls: &mut Calls) -> &mut Vec<Call<Self>>;
}

impl Joint for NewUpload {
    type Answer = Upload;

    fn of(calls: &mut Calls) -> &mut Vec<Call<Self>> {
        &mut calls.openings
    }
}

impl Joint for Recording {
    type Answer = Vec<AssetRow>;

    fn of(calls: &mut Calls) -> &mut Vec<Call<Self>> {
        &mut calls.recordings
    }
}

impl Together {
    /// Makes a wish real, with whatever others there are.
    ///
    /// # Errors
    /// Those of the call. One that is refused refuses no other.
    pub(crate) async fn join<J: Joint>(&self, catalog: &Catalog, wish: J) -> Result<J::Answer> {
        let (answer, answered) = oneshot::channel();
        let call = Call { wish, answer };
        match catalog.dialect {
            Dialect::Sqlite => self.enqueue(catalog, call),
            Dialect::Postgres => {
                let mut alone = Calls::default();
                J::of(&mut alone).push(call);
                work(catalog, alone).await;
            }
        }
        answered.await.map_err(|_| stopped())?
    }

    /// Has a call worked off in a task: whoever goes away meanwhile must not take the others along.
    fn enqueue<J: Joint>(&self, catalog: &Catalog, call: Call<J>) {
        let is_at_work = {
            let mut waiting = self.waiting();
            J::of(&mut waiting.calls).push(call);
            mem::replace(&mut waiting.is_at_work, true)
        };
        // A runtime that ends drops the task at once, which locks as well.
        if !is_at_work {
            let at_work = AtWork(Some(self.clone()));
            tokio::spawn(at_work.work_off(catalog.clone()));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever works calls off. When this is dropped before all are done, those who wait get no answer.
struct AtWork(Option<Together>);

impl AtWork {
    async fn work_off(mut self, catalog: Catalog) {
        while let Some(together) = &self.0 {
            let some = {
                let mut waiting = together.waiting();
                let some = waiting.calls.take();
                waiting.is_at_work = some.len() > 0;
                some
            };
            match some.len() {
                0 => self.0 = None,
                _ => work(&catalog, some).await,
            }
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(together) = self.0.take() {
            *together.waiting() = Waiting::default();
        }
    }
}

impl Calls {
    /// Those who have waited longest. Of whoever went away before anybody began, nothing becomes real.
    fn take(&mut self) -> Self {
        Self {
            openings: taken(&mut self.openings),
            recordings: taken(&mut self.recordings),
        }
    }

    fn len(&self) -> usize {
        self.openings.len() + self.recordings.len()
    }

    /// Each by itself.
    fn split(self) -> impl Iterator<Item = Self> {
        let openings = self.openings.into_iter().map(|it| Self {
            openings: vec![it],
            recordings: Vec::new(),
        });
        let recordings = self.recordings.into_iter().map(|it| Self {
            openings: Vec::new(),
            recordings: vec![it],
        });
        openings.chain(recordings)
    }

    /// Whoever went away hears nothing of it.
    fn answer(self, (opened, recorded): (Vec<Upload>, Vec<Vec<AssetRow>>)) {
        for (call, answer) in self.openings.into_iter().zip(opened) {
            call.answer.send(Ok(answer)).ok();
        }
        for (call, answer) in self.recordings.into_iter().zip(recorded) {
            call.answer.send(Ok(answer)).ok();
        }
    }

    /// Gives the error to the only one.
    fn refuse(self, error: CatalogError) {
        if let Some(call) = self.openings.into_iter().next() {
            call.answer.send(Err(error)).ok();
        } else if let Some(call) = self.recordings.into_iter().next() {
            call.answer.send(Err(error)).ok();
        }
    }
}

fn taken<J: Joint>(waiting: &mut Vec<Call<J>>) -> Vec<Call<J>> {
    waiting.retain(|it| !it.answer.is_closed());
    let count = waiting.len().min(MOST);
    waiting.drain(..count).collect()
}

/// Does the work of all of them. Whose call is refused alone gets the refusal; whether anything was made
/// real is unknown to all of them when the database fails.
async fn work(catalog: &Catalog, calls: Calls) {
    let error = match catalog.retried(|| catalog.try_write_together(&calls)).await {
        Ok(answers) => return calls.answer(answers),
        Err(error) => error,
    };
    if calls.len() == 1 {
        return calls.refuse(error);
    }
    for call in calls.split() {
        match again(&error) {
            Some(error) => call.refuse(error),
            None => Box::pin(work(catalog, call)).await,
        }
    }
}

impl Catalog {
    /// Makes all of these real in one transaction, or none of them; an answer for each, in their order.
    async fn try_write_together(&self, calls: &Calls) -> Result<(Vec<Upload>, Vec<Vec<AssetRow>>)> {
        let openings: Vec<&NewUpload> = calls.openings.iter().map(|it| &it.wish).collect();
        let recordings: Vec<&Recording> = calls.recordings.iter().map(|it| &it.wish).collect();
        let mut tx = self.begin().await?;
        let recorded = tx.record_assets(&recordings).await?;
        let opened = tx.open_uploads(&openings).await?;
        match recordings.is_empty() {
            true => tx.commit_unnoticed().await?,
            false => tx.commit().await?,
        }
        Ok((opened, recorded))
    }
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

impl fmt::Debug for Together {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting", self.waiting().calls.len())
    }
}
