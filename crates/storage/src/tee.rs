//! Writes the same bytes to several stores at the same time, and decides what counts as done.
//!
//! [`Upload`](crate::Upload) stands above it and computes the facts; the hybrid
//! [`Storage`](crate::Storage) hands it out as its writer.

use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use stockroom_domain::{Key, Sha256Digest, StoreName};
use tokio::task::JoinHandle;

use crate::mode::hybrid_name;
use crate::verdict::{is_callers_fault, most_telling};
use crate::{
    Ack, Error, ErrorKind, Facts, ObjectWriter, Operation, Result, Store, WriteOptions, Written,
};

/// How the upload ended on one store.
pub(crate) type Placement = (StoreName, Result<Written>);

/// One writer per store.
#[derive(Debug)]
pub(crate) struct Tee {
    key: Key,
    ack: Ack,
    /// The SHA-256 that the bytes are to have, if it was told.
    announced: Option<Sha256Digest>,
    /// Empty once the object was given up.
    branches: Vec<Branch>,
    /// Stores that are being cleaned up in the background. Dropping a handle does not stop it.
    cleanups: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Branch {
    store: Arc<dyn Store>,
    state: State,
}

#[derive(Debug)]
enum State {
    Writing(Box<dyn ObjectWriter>),
    Failed(Error),
}

impl Tee {
    /// Opens a writer on every store. Nothing is left behind when this fails.
    pub(crate) async fn open(
        stores: &[Arc<dyn Store>],
        key: &Key,
        options: &WriteOptions,
        ack: Ack,
    ) -> Result<Self> {
        let writers = join_all(stores.iter().map(|s| s.writer(key, options.clone()))).await;
        let branches = stores.iter().zip(writers).map(|(store, writer)| Branch {
            store: Arc::clone(store),
            state: writer.map_or_else(State::failed, State::Writing),
        });
        let mut tee = Self {
            key: key.clone(),
            ack,
            announced: options.sha256,
            branches: branches.collect(),
            cleanups: Vec::new(),
        };
        match tee.check() {
            Ok(()) => Ok(tee),
            Err(error) => {
                tee.give_up().await;
                Err(error)
            }
        }
    }

    /// The SHA-256 that the bytes are to have, if it was told.
    pub(crate) const fn announced(&self) -> Option<Sha256Digest> {
        self.announced
    }

    /// Gives the bytes to every store that is still in, and waits for the slowest of them.
    pub(crate) async fn write(&mut self, bytes: &Bytes) -> Result<()> {
        // A write that is cancelled leaves the stores at different offsets. The branches are
        // taken out meanwhile, so that they are given up then and nobody can finish them.
        let mut branches = mem::take(&mut self.branches);
        if branches.is_empty() {
            return Err(self.no_store_left());
        }
        let writes = branches.iter_mut().map(|branch| branch.write(bytes));
        let given_up = join_all(writes).await;
        self.branches = branches;
        for writer in given_up.into_iter().flatten() {
            self.clean_up(writer);
        }
        self.check()
    }

    /// Publishes on every store that is still in. When that is not enough, takes back what was
    /// published.
    pub(crate) async fn finish(mut self, facts: &Facts) -> Result<Vec<Placement>> {
        let branches = mem::take(&mut self.branches);
        if branches.is_empty() {
            let error = self.no_store_left();
            self.give_up().await;
            return Err(error);
        }
        let ended = join_all(branches.into_iter().map(|branch| branch.finish(facts))).await;
        if self.suffices(ended.iter().map(|(_, result)| result.as_ref().err())) {
            let named = ended
                .into_iter()
                .map(|(s, result)| (s.name().clone(), result));
            return Ok(named.collect());
        }
        let published = ended.iter().filter(|(_, result)| result.is_ok());
        join_all(published.map(|(store, _)| take_back(store, &self.key))).await;
        self.wait_for_cleanups().await;
        let errors = ended.into_iter().filter_map(|(_, result)| result.err());
        Err(most_telling(errors).unwrap_or_else(|| self.no_store_left()))
    }

    /// Gives the object up everywhere and waits until nothing is left.
    pub(crate) async fn give_up(mut self) {
        self.drop_branches();
        self.wait_for_cleanups().await;
    }

    /// Whether the upload can go on, or has done enough, when the stores failed like this.
    fn suffices<'a>(&self, failures: impl Iterator<Item = Option<&'a Error>>) -> bool {
        let (mut alive, mut failed, mut refused) = (0, 0, false);
        for failure in failures {
            match failure {
                None => alive += 1,
                Some(error) => {
                    failed += 1;
                    refused |= is_callers_fault(error.kind());
                }
            }
        }
        match self.ack {
            // A store that can never take this object could never be given its copy later.
            Ack::Any => alive > 0 && !refused,
            Ack::Both => alive > 0 && failed == 0,
        }
    }

    /// Gives everything up when the upload cannot go on.
    fn check(&mut self) -> Result<()> {
        if self.suffices(self.branches.iter().map(Branch::failure)) {
            return Ok(());
        }
        let errors = self.drop_branches();
        Err(most_telling(errors).unwrap_or_else(|| self.no_store_left()))
    }

    fn drop_branches(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        for branch in mem::take(&mut self.branches) {
            match branch.state {
                State::Writing(writer) => self.clean_up(writer),
                State::Failed(error) => errors.push(error),
            }
        }
        errors
    }

    /// Aborts in the background: a store that just failed may take long to answer once more, and
    /// the other stores should not wait for that.
    fn clean_up(&mut self, writer: Box<dyn ObjectWriter>) {
        self.cleanups.push(tokio::spawn(writer.abort()));
    }

    async fn wait_for_cleanups(&mut self) {
        for joined in join_all(mem::take(&mut self.cleanups)).await {
            if let Err(error) = joined {
                tracing::error!(key = %self.key, %error, "an upload could not be cleaned up");
            }
        }
    }

    fn no_store_left(&self) -> Error {
        self.error(ErrorKind::Invalid, "the upload has no store left to go to")
    }

    fn error(&self, kind: ErrorKind, detail: &'static str) -> Error {
        Error::new(&hybrid_name(), Operation::Put, kind, detail).about(&self.key)
    }
}

#[async_trait]
impl ObjectWriter for Tee {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        Self::write(self, &bytes).await
    }

    async fn finish(self: Box<Self>, facts: &Facts) -> Result<Written> {
        if self.announced.is_some_and(|it| it != facts.sha256) {
            let error = self.error(ErrorKind::Corrupt, "the bytes have another SHA-256");
            self.give_up().await;
            return Err(error);
        }
        Self::finish(*self, facts).await?;
        // Each store has a validator of its own, and any of them may answer the next read.
        Ok(Written { etag: None })
    }

    async fn abort(self: Box<Self>) {
        self.give_up().await;
    }
}

impl State {
    fn failed(error: Error) -> Self {
        warn(&error);
        Self::Failed(error)
    }
}

impl Branch {
    /// Gives the writer back when it failed, so that it can be aborted.
    async fn write(&mut self, bytes: &Bytes) -> Option<Box<dyn ObjectWriter>> {
        let State::Writing(writer) = &mut self.state else {
            return None;
        };
        let error = writer.write(bytes.clone()).await.err()?;
        match mem::replace(&mut self.state, State::failed(error)) {
            State::Writing(writer) => Some(writer),
            State::Failed(_) => None,
        }
    }

    async fn finish(self, facts: &Facts) -> (Arc<dyn Store>, Result<Written>) {
        let result = match self.state {
            State::Writing(writer) => writer.finish(facts).await.inspect_err(warn),
            State::Failed(error) => Err(error),
        };
        (self.store, result)
    }

    const fn failure(&self) -> Option<&Error> {
        match &self.state {
            State::Writing(_) => None,
            State::Failed(error) => Some(error),
        }
    }
}

/// Only one error is returned when several stores fail, so each is logged.
fn warn(error: &Error) {
    tracing::warn!(store = %error.store(), %error, "a store failed during an upload");
}

/// Deletes what was published though the upload as a whole failed.
async fn take_back(store: &Arc<dyn Store>, key: &Key) {
    if let Err(error) = store.delete(key).await {
        tracing::error!(
            store = %store.name(), %key, %error,
            "a failed upload could not be taken back: the object stays visible on this store"
        );
    }
}
