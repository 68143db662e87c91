//! One call: attempts, each with a time-out and reported to the observer.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use stockroom_domain::{Entropy, Key};
use tokio::time::Instant;

use super::Inner;
use super::body::Progress;
use super::config::S3Retries;
use super::error::Failure;
use crate::call::OpenCall;
use crate::{Error, Operation, Outcome};

impl Inner {
    /// Sends a request, as often as it takes and is allowed.
    pub(super) async fn call<T, E, F>(
        &self,
        operation: Operation,
        request: impl Fn(Progress) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: std::error::Error + Send + Sync + ProvideErrorMetadata + 'static,
    {
        let (output, span) = self.call_open(operation, request).await?;
        span.end(Outcome::Ok);
        Ok(output)
    }

    /// The same, with the call still open: its answer has a body that is yet to be read.
    pub(super) async fn call_open<T, E, F>(
        &self,
        operation: Operation,
        request: impl Fn(Progress) -> F,
    ) -> Result<(T, Span), Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: std::error::Error + Send + Sync + ProvideErrorMetadata + 'static,
    {
        let mut backoff = self.backoff();
        loop {
            match self.attempt(operation, &request).await {
                Ok(done) => return Ok(done),
                Err(failure) => backoff.wait(failure).await?,
            }
        }
    }

    /// Sends a request once.
    pub(super) async fn attempt<T, E, F>(
        &self,
        operation: Operation,
        request: impl Fn(Progress) -> F,
    ) -> Result<(T, Span), Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: std::error::Error + Send + Sync + ProvideErrorMetadata + 'static,
    {
        let progress = Progress::begin();
        let span = Span {
            call: OpenCall::begin(&self.observer, &self.name, operation),
            progress: progress.clone(),
        };
        let limit = match operation {
            Operation::CompleteUpload => self.timeouts.complete,
            _ => self.timeouts.answer,
        };
        let mut failure = match within(limit, &progress, request(progress.clone())).await {
            Some(Ok(output)) => {
                self.bucket_is_there.store(true, Ordering::Relaxed);
                return Ok((output, span));
            }
            Some(Err(error)) => Failure::of(error),
            None => Failure::timed_out(format!("no answer within {} s", limit.as_secs_f32())),
        };
        failure.sent_bytes = progress.sent_bytes();
        // A HEAD has no body, so its 404 has no code.
        let is_absent = failure.is_no_such_key()
            || (operation == Operation::Head && failure.status() == Some(404));
        span.end(if is_absent {
            Outcome::Ok
        } else {
            Outcome::Failed
        });
        Err(failure)
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff {
            retries: self.retries,
            entropy: Arc::clone(&self.entropy),
            began: Instant::now(),
            failed: 0,
        }
    }

    /// What a failed call means to the caller.
    pub(super) fn error(&self, operation: Operation, key: Option<&Key>, failure: Failure) -> Error {
        let kind = failure.kind();
        let (mut detail, code, source) = failure.into_parts();
        if code.as_deref() == Some("NoSuchBucket") {
            detail = format!("there is no bucket {:?} (NoSuchBucket)", self.bucket);
        }
        let mut error = Error::new(&self.name, operation, kind, detail);
        if let Some(code) = code {
            error = error.with_code(code);
        }
        if let Some(source) = source {
            error = error.caused_by(source);
        }
        match key {
            Some(key) => error.about(key),
            None => error,
        }
    }
}

/// Waits for a request as long as its body moves, and `limit` after that.
async fn within<T>(
    limit: Duration,
    progress: &Progress,
    request: impl Future<Output = T>,
) -> Option<T> {
    let mut request = pin!(request);
    loop {
        let until = progress.moved_at() + limit;
        tokio::select! {
            biased;
            output = &mut request => return Some(output),
            () = tokio::time::sleep_until(until) => {
                if progress.moved_at() + limit <= until {
                    return None;
                }
            }
        }
    }
}

/// When to try again.
pub(super) struct Backoff {
    retries: S3Retries,
    entropy: Arc<dyn Entropy>,
    began: Instant,
    failed: u32,
}

impl Backoff {
    /// Waits until the next attempt is due; gives the failure back if there is to be none.
    pub(super) async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        self.failed += 1;
        if !failure.may_pass() || self.failed >= self.retries.attempts {
            return Err(failure);
        }
        let random = self.random_wait();
        let wait = random.max(failure.retry_after().unwrap_or_default());
        if self.began.elapsed() + wait > self.retries.deadline {
            return Err(failure);
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Starts counting again: something was gained since the last failure.
    pub(super) fn reset(&mut self) {
        self.failed = 0;
        self.began = Instant::now();
    }

    /// Full jitter: anything between nothing and the exponential wait.
    fn random_wait(&self) -> Duration {
        let doublings = (self.failed - 1).min(31);
        let longest = self
            .retries
            .base
            .saturating_mul(1 << doublings)
            .min(self.retries.longest_wait);
        let random = u32::from_le_bytes(self.entropy.bytes());
        longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// One attempt that is under way. Dropped without an end, it is reported as dropped.
pub(super) struct Span {
    call: OpenCall,
    progress: Progress,
}

impl Span {
    pub(super) fn received(&mut self, bytes: usize) {
        self.call.received(bytes as u64);
    }

    pub(super) fn end(mut self, outcome: Outcome) {
        self.call.sent(self.progress.sent_bytes());
        self.call.end(outcome);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.call.sent(self.progress.sent_bytes());
    }
}

#[cfg(test)]
mod tests {
    use stockroom_domain::SeededEntropy;

    use super::*;

    fn backoff(retries: S3Retries) -> Backoff {
        Backoff {
            retries,
            entropy: Arc::new(SeededEntropy::new(7)),
            began: Instant::now(),
            failed: 0,
        }
    }

    fn late() -> Failure {
        Failure::timed_out("late".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_counted() {
        let mut backoff = backoff(S3Retries::default());
        for _ in 0..4 {
            assert!(backoff.wait(late()).await.is_ok());
        }
        assert!(backoff.wait(late()).await.is_err());
        // 1, 2, 4 and 8 s are the longest waits.
        assert!(backoff.began.elapsed() <= Duration::from_secs(15));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_capped_and_the_deadline_holds() {
        let mut backoff = backoff(S3Retries {
            attempts: u32::MAX,
            ..S3Retries::default()
        });
        let began = Instant::now();
        let mut last = began;
        while backoff.wait(late()).await.is_ok() {
            assert!(last.elapsed() <= Duration::from_secs(64));
            last = Instant::now();
        }
        assert!(began.elapsed() <= Duration::from_secs(180));
        assert!(backoff.failed > 6, "{}", backoff.failed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_is_waited_for() {
        let limit = Duration::from_secs(10);
        let progress = Progress::begin();
        let body = crate::s3::body::tests::slow(&progress, 5, Duration::from_secs(9));
        assert_eq!(within(limit, &progress, body).await, Some(()));
        let stuck = tokio::time::sleep(Duration::from_secs(11));
        assert_eq!(within(limit, &Progress::begin(), stuck).await, None);
    }
}
