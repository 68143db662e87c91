//! The parts of a call that come after its beginning: streams and writers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, Stream};

use super::shared::{Begun, Shared};
use crate::{Facts, ObjectWriter, Result, Written};

/// Passes a stream on and tells how it ended. One that is dropped before tells nothing.
pub(super) struct WatchedStream<T> {
    inner: BoxStream<'static, Result<T>>,
    shared: Arc<Shared>,
    /// None once the end was told.
    begun: Option<Begun>,
}

impl<T> WatchedStream<T> {
    pub(super) const fn new(
        inner: BoxStream<'static, Result<T>>,
        shared: Arc<Shared>,
        begun: Begun,
    ) -> Self {
        Self {
            inner,
            shared,
            begun: Some(begun),
        }
    }
}

impl<T> Stream for WatchedStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(context);
        match &polled {
            Poll::Pending | Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => {
                if let Some(begun) = self.begun.take() {
                    self.shared.failed(&begun, error);
                }
            }
            Poll::Ready(None) => {
                if self.begun.take().is_some() {
                    self.shared.succeeded(None);
                }
            }
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

/// Passes a writer on and tells how it ended. Taking bytes proves nothing, because a store may
/// only have put them aside; giving up proves nothing either.
#[derive(Debug)]
pub(super) struct WatchedWriter {
    inner: Box<dyn ObjectWriter>,
    shared: Arc<Shared>,
    begun: Begun,
}

impl WatchedWriter {
    pub(super) const fn new(
        inner: Box<dyn ObjectWriter>,
        shared: Arc<Shared>,
        begun: Begun,
    ) -> Self {
        Self {
            inner,
            shared,
            begun,
        }
    }
}

#[async_trait]
impl ObjectWriter for WatchedWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let written = self.inner.write(bytes).await;
        written.inspect_err(|error| self.shared.failed(&self.begun, error))
    }

    async fn finish(self: Box<Self>, facts: &Facts) -> Result<Written> {
        let finished = self.inner.finish(facts).await;
        match &finished {
            Ok(_) => self.shared.succeeded(None),
            Err(error) => self.shared.failed(&self.begun, error),
        }
        finished
    }

    async fn abort(self: Box<Self>) {
        self.inner.abort().await;
    }
}
