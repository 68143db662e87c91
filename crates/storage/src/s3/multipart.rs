//! An object in parts: begun, sent, completed, and given up when anything goes wrong.

use std::sync::Arc;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures::TryStreamExt as _;
use stockroom_domain::Key;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::Inner;
use super::body::Payload;
use super::client::PayloadHash;
use super::config::MAX_PARTS;
use super::error::Failure;
use super::info::{self, Label};
use super::list::{self, UnfinishedUpload};
use super::writer::too_large;
use crate::{Error, ErrorKind, Operation, Outcome, Result, Written};

/// A multipart upload. Dropped before it is complete, it is given up in the background.
#[derive(Debug)]
pub(super) struct Multipart {
    // Dropped first: parts that are under way stop before the upload is given up.
    under_way: JoinSet<Result<CompletedPart>>,
    done: Vec<CompletedPart>,
    /// The bytes of all parts so far.
    size_bytes: u64,
    label: Label,
    upload: Upload,
}

impl Multipart {
    /// Begins an upload. It runs as a task of its own, so that an upload whose beginning is not
    /// awaited to its end is known, and given up, all the same.
    pub(super) async fn begin(inner: &Arc<Inner>, key: &Key, label: Label) -> Result<Self> {
        let task = {
            let (inner, key, label) = (Arc::clone(inner), key.clone(), label.clone());
            tokio::spawn(async move { create(&inner, &key, &label).await })
        };
        let upload = task
            .await
            .map_err(|error| stopped(inner, key, Operation::CreateUpload, error))??;
        Ok(Self {
            under_way: JoinSet::new(),
            done: Vec::new(),
            size_bytes: 0,
            label,
            upload,
        })
    }

    /// Sends a part; waits before that while `at_once` others are under way.
    pub(super) async fn send(&mut self, payload: Payload, at_once: usize) -> Result<()> {
        while self.under_way.len() >= at_once {
            self.join_one().await?;
        }
        let number = self.done.len() + self.under_way.len() + 1;
        let Some(number) = i32::try_from(number)
            .ok()
            .filter(|number| u64::try_from(*number).is_ok_and(|number| number <= MAX_PARTS))
        else {
            return Err(too_large(&self.upload.inner, &self.upload.key));
        };
        let (inner, key) = (Arc::clone(&self.upload.inner), self.upload.key.clone());
        let upload_id = self.upload.upload_id.clone();
        self.size_bytes += payload.size_bytes();
        self.under_way
            .spawn(async move { send_part(&inner, &key, &upload_id, number, &payload).await });
        Ok(())
    }

    /// Waits for all parts and makes an object of `size_bytes` of them. A write that was
    /// cancelled may have lost a part before it was sent; that is found here.
    pub(super) async fn complete(mut self, size_bytes: u64) -> Result<Written> {
        if self.size_bytes != size_bytes {
            let Upload { inner, key, .. } = &self.upload;
            let what = format!(
                "{size_bytes} bytes came, but the parts have {}",
                self.size_bytes
            );
            let operation = Operation::CompleteUpload;
            let error = Error::new(&inner.name, operation, ErrorKind::Corrupt, what).about(key);
            self.abort().await;
            return Err(error);
        }
        while !self.under_way.is_empty() {
            if let Err(error) = self.join_one().await {
                self.abort().await;
                return Err(error);
            }
        }
        self.done.sort_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(std::mem::take(&mut self.done)))
            .build();
        let failure = match self.try_complete(&parts).await {
            Ok(written) => {
                self.upload.is_open = false;
                return Ok(written);
            }
            Err(failure) => failure,
        };
        let Self { upload, label, .. } = self;
        let inner = Arc::clone(&upload.inner);
        let key = upload.key.clone();
        // An upload that is gone when it is given up was completed after all, or given up by
        // somebody else.
        if upload.abort().await == Aborted::WasGone
            && let Some(written) = info::proof(&inner, &key, &label, size_bytes).await
        {
            return Ok(written);
        }
        Err(inner.error(Operation::CompleteUpload, Some(&key), failure))
    }

    /// Gives the upload up and waits until that is done.
    pub(super) async fn abort(mut self) {
        self.under_way.shutdown().await;
        self.upload.abort().await;
    }

    async fn join_one(&mut self) -> Result<()> {
        if let Some(joined) = self.under_way.join_next().await {
            let Upload { inner, key, .. } = &self.upload;
            let part =
                joined.map_err(|error| stopped(inner, key, Operation::UploadPart, error))??;
            self.done.push(part);
        }
        Ok(())
    }

    /// Completes the upload. S3 can answer 200 with an error inside, or the answer can be lost
    /// after the object was made; then the object itself tells.
    async fn try_complete(&self, parts: &CompletedMultipartUpload) -> Result<Written, Failure> {
        let Upload {
            inner,
            key,
            upload_id,
            ..
        } = &self.upload;
        let mut backoff = inner.backoff();
        loop {
            let completed = inner
                .attempt(Operation::CompleteUpload, |_| {
                    inner
                        .client
                        .complete_multipart_upload()
                        .bucket(&inner.bucket)
                        .key(key.as_str())
                        .upload_id(upload_id)
                        .multipart_upload(parts.clone())
                        .send()
                })
                .await;
            let failure = match completed {
                Ok((output, span)) => {
                    span.end(Outcome::Ok);
                    inner.versioning.learn_from_read(output.version_id());
                    return Ok(Written {
                        etag: output.e_tag().map(info::unquoted),
                    });
                }
                Err(failure) => failure,
            };
            let may_be_there = failure.may_have_passed() || failure.code() == Some("NoSuchUpload");
            if may_be_there
                && let Some(written) = info::proof(inner, key, &self.label, self.size_bytes).await
            {
                return Ok(written);
            }
            backoff.wait(failure).await?;
        }
    }
}

/// An upload on the store that is not finished. Dropped, it is given up in the background.
#[derive(Debug)]
struct Upload {
    inner: Arc<Inner>,
    key: Key,
    upload_id: String,
    runtime: Handle,
    is_open: bool,
}

/// How giving up an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aborted {
    /// It is gone now.
    Gone,
    /// It was gone before.
    WasGone,
    /// The store did not do it. The sweep will.
    Failed,
}

impl Upload {
    async fn abort(mut self) -> Aborted {
        let aborted = give_up(&self.inner, self.key.as_str(), &self.upload_id).await;
        // Only now: dropped while it waits, it is still given up in the background.
        self.is_open = false;
        aborted
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.is_open {
            let (inner, key) = (Arc::clone(&self.inner), self.key.clone());
            let upload_id = std::mem::take(&mut self.upload_id);
            self.runtime.spawn(async move {
                give_up(&inner, key.as_str(), &upload_id).await;
            });
        }
    }
}

async fn give_up(inner: &Inner, name: &str, upload_id: &str) -> Aborted {
    match abort(inner, name, upload_id).await {
        Ok(aborted) => aborted,
        Err(failure) => {
            let (detail, ..) = failure.into_parts();
            tracing::warn!(store = %inner.name, key = name, detail, "an unfinished upload stays");
            Aborted::Failed
        }
    }
}

/// Gives up an upload by its id.
pub(super) async fn abort(inner: &Inner, name: &str, upload_id: &str) -> Result<Aborted, Failure> {
    let aborted = inner
        .call(Operation::AbortUpload, |_| {
            inner
                .client
                .abort_multipart_upload()
                .bucket(&inner.bucket)
                .key(name)
                .upload_id(upload_id)
                .send()
        })
        .await;
    match aborted {
        Ok(_) => Ok(Aborted::Gone),
        Err(failure) if failure.code() == Some("NoSuchUpload") => Ok(Aborted::WasGone),
        Err(failure) => Err(failure),
    }
}

/// Begins an upload on the store.
async fn create(inner: &Arc<Inner>, key: &Key, label: &Label) -> Result<Upload> {
    let began = Instant::now();
    let mut answers_were_lost = false;
    let mut backoff = inner.backoff();
    let created = loop {
        let created = inner
            .attempt(Operation::CreateUpload, |_| {
                inner
                    .client
                    .create_multipart_upload()
                    .bucket(&inner.bucket)
                    .key(key.as_str())
                    .set_content_type(label.content_type.clone())
                    .set_metadata(Some(label.metadata.clone()))
                    .send()
            })
            .await;
        match created {
            Ok((output, span)) => {
                span.end(Outcome::Ok);
                break Ok(output);
            }
            Err(failure) => {
                answers_were_lost |= failure.may_have_passed();
                if let Err(failure) = backoff.wait(failure).await {
                    break Err(failure);
                }
            }
        }
    };
    let created = created
        .map_err(|failure| inner.error(Operation::CreateUpload, Some(key), failure))
        .and_then(|output| {
            output.upload_id.ok_or_else(|| {
                info::unreadable(inner, Operation::CreateUpload, key, "it has no upload id")
            })
        });
    let upload = created.map(|upload_id| Upload {
        inner: Arc::clone(inner),
        key: key.clone(),
        upload_id,
        runtime: Handle::current(),
        is_open: true,
    });
    if answers_were_lost {
        let ours = upload.as_ref().ok().map(|upload| upload.upload_id.as_str());
        abort_strays(inner, key, ours, began).await;
    }
    upload
}

/// Gives up uploads that were begun without our learning their ids: those of the same key that
/// began, by the store's clock, since we first asked. Another writer of the same key in the same
/// seconds would be given up with them, and fail cleanly; keys are not reused, so there is none
/// but by mistake.
async fn abort_strays(inner: &Arc<Inner>, key: &Key, ours: Option<&str>, began: Instant) {
    let listed: Result<Vec<UnfinishedUpload>> =
        list::uploads(Arc::clone(inner), key.as_str().to_owned())
            .try_filter(|upload| std::future::ready(upload.name == key.as_str()))
            .try_collect()
            .await;
    let uploads = match listed {
        Ok(uploads) => uploads,
        Err(error) => {
            tracing::warn!(%error, "an unfinished upload may stay");
            return;
        }
    };
    let latest = match ours {
        Some(ours) => uploads.iter().find(|upload| upload.upload_id == ours),
        None => uploads.iter().max_by_key(|upload| upload.began_at),
    };
    let Some(latest) = latest else { return };
    // Stores tell whole seconds.
    let window = began.elapsed() + std::time::Duration::from_secs(1);
    let since = latest.began_at.before(window);
    for upload in &uploads {
        if Some(upload.upload_id.as_str()) != ours && upload.began_at >= since {
            give_up(inner, &upload.name, &upload.upload_id).await;
        }
    }
}

async fn send_part(
    inner: &Inner,
    key: &Key,
    upload_id: &str,
    number: i32,
    payload: &Payload,
) -> Result<CompletedPart> {
    // Over TLS the bytes are protected on their way, but not from the memory that they waited in. What
    // is acknowledged is to have been compared.
    let sha256 = payload.sha256().await;
    let output = inner
        .call(Operation::UploadPart, |progress| {
            inner
                .client
                .upload_part()
                .bucket(&inner.bucket)
                .key(key.as_str())
                .upload_id(upload_id)
                .part_number(number)
                .body(payload.body(&progress))
                .customize()
                .interceptor(PayloadHash(sha256))
                .send()
        })
        .await
        .map_err(|failure| inner.error(Operation::UploadPart, Some(key), failure))?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(output.e_tag)
        .build())
}

/// A task of ours did not come to its end: the program is stopping.
fn stopped(inner: &Inner, key: &Key, operation: Operation, error: JoinError) -> Error {
    let what = "the program is stopping";
    Error::new(&inner.name, operation, ErrorKind::Unavailable, what)
        .about(key)
        .caused_by(error)
}
