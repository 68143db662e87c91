//! Writing: one request for what is small, parts for what is not.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use stockroom_domain::{Key, Sha256Digest};

use super::Inner;
use super::body::{Payload, PayloadBuffer};
use super::client::PayloadHash;
use super::config::{MAX_PART_BYTES, MAX_PARTS};
use super::error::Failure;
use super::info::{self, Label};
use super::multipart::Multipart;
use crate::{
    Error, ErrorKind, Facts, ObjectWriter, Operation, Outcome, Result, WriteOptions, Written,
};

/// Parts are made larger in steps of this many bytes.
const PART_STEP_BYTES: u64 = 1 << 20;

/// An object that is being written to a bucket.
///
/// It holds the part that is being filled and at most `concurrent_parts` that are under way;
/// larger parts are fewer at once, so that all of them stay within the same memory as long as
/// one part does.
#[derive(Debug)]
pub(super) struct S3Writer {
    inner: Arc<Inner>,
    key: Key,
    options: WriteOptions,
    mark: [u8; 16],
    part_bytes: u64,
    concurrent_parts: usize,
    seen_bytes: u64,
    buffer: PayloadBuffer,
    multipart: Option<Multipart>,
}

impl S3Writer {
    pub(super) fn new(inner: Arc<Inner>, key: &Key, options: WriteOptions) -> Result<Self> {
        let part_bytes = part_size(inner.part_bytes, options.size_hint_bytes)
            .ok_or_else(|| too_large(&inner, key))?;
        let at_once = (inner.part_bytes * inner.concurrent_parts as u64 / part_bytes).max(1);
        Ok(Self {
            key: key.clone(),
            options,
            mark: inner.entropy.bytes(),
            part_bytes,
            concurrent_parts: usize::try_from(at_once).unwrap_or(inner.concurrent_parts),
            seen_bytes: 0,
            buffer: PayloadBuffer::default(),
            multipart: None,
            inner,
        })
    }

    /// Sends the part that is full. It is only sent once more bytes are there: the last bytes
    /// are never sent before `finish`, so that a small object is one request.
    async fn send_full_part(&mut self) -> Result<()> {
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            None => {
                let label = Label::new(&self.options, self.options.sha256, self.mark);
                let begun = Multipart::begin(&self.inner, &self.key, label).await?;
                self.multipart.insert(begun)
            }
        };
        multipart
            .send(self.buffer.take(), self.concurrent_parts)
            .await
    }

    /// Whether the facts are those of the bytes that came by.
    fn check(&self, facts: &Facts) -> Result<()> {
        let what = if facts.size_bytes != self.seen_bytes {
            format!(
                "{} bytes were promised and {} came",
                facts.size_bytes, self.seen_bytes
            )
        } else if self.options.sha256.is_some_and(|it| it != facts.sha256) {
            "the bytes do not have the SHA-256 that was promised".to_owned()
        } else {
            return Ok(());
        };
        let operation = match self.multipart {
            Some(_) => Operation::CompleteUpload,
            None => Operation::Put,
        };
        Err(Error::new(&self.inner.name, operation, ErrorKind::Corrupt, what).about(&self.key))
    }
}

#[async_trait]
impl ObjectWriter for S3Writer {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            if self.buffer.size_bytes() == self.part_bytes {
                self.send_full_part().await?;
            }
            let room = self.part_bytes - self.buffer.size_bytes();
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let head = bytes.split_to(bytes.len().min(room));
            self.seen_bytes += head.len() as u64;
            self.buffer.push(head);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, facts: &Facts) -> Result<Written> {
        let checked = self.check(facts);
        let last = self.buffer.take();
        let Some(mut multipart) = self.multipart.take() else {
            checked?;
            let label = Label::new(&self.options, Some(facts.sha256), self.mark);
            return put_object(&self.inner, &self.key, &label, &last, facts.sha256).await;
        };
        let sent = match checked {
            Ok(()) => multipart.send(last, self.concurrent_parts).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => multipart.complete(facts.size_bytes).await,
            Err(error) => {
                multipart.abort().await;
                Err(error)
            }
        }
    }

    async fn abort(mut self: Box<Self>) {
        if let Some(multipart) = self.multipart.take() {
            multipart.abort().await;
        }
    }
}

/// The size of all parts but the last, which [`MAX_PARTS`] of the wanted size may not be enough
/// for; none when the object cannot be stored.
fn part_size(wanted_bytes: u64, size_hint_bytes: Option<u64>) -> Option<u64> {
    let size_bytes = size_hint_bytes.unwrap_or(0);
    if size_bytes <= wanted_bytes * MAX_PARTS {
        return Some(wanted_bytes);
    }
    let needed = size_bytes.div_ceil(MAX_PARTS);
    let stepped = needed.next_multiple_of(PART_STEP_BYTES).min(MAX_PART_BYTES);
    (needed <= stepped).then_some(stepped)
}

pub(super) fn too_large(inner: &Inner, key: &Key) -> Error {
    Error::new(
        &inner.name,
        Operation::CreateUpload,
        ErrorKind::Invalid,
        "the object is larger than 10,000 parts; an upload whose size is told first may be larger",
    )
    .about(key)
}

/// Writes an object in one request. When an answer is lost, the object itself tells whether the
/// request took effect; sending it again would be harmless, but on a bucket with versions it
/// would make another version.
async fn put_object(
    inner: &Inner,
    key: &Key,
    label: &Label,
    payload: &Payload,
    sha256: Sha256Digest,
) -> Result<Written> {
    let mut backoff = inner.backoff();
    loop {
        let failure = match try_put(inner, key, label, payload, sha256).await {
            Ok(written) => return Ok(written),
            Err(failure) => failure,
        };
        // A store that did not get the whole body did nothing.
        if failure.may_have_passed()
            && failure.sent_bytes == payload.size_bytes()
            && let Some(written) = info::proof(inner, key, label, payload.size_bytes()).await
        {
            return Ok(written);
        }
        backoff
            .wait(failure)
            .await
            .map_err(|failure| inner.error(Operation::Put, Some(key), failure))?;
    }
}

async fn try_put(
    inner: &Inner,
    key: &Key,
    label: &Label,
    payload: &Payload,
    sha256: Sha256Digest,
) -> Result<Written, Failure> {
    let (output, span) = inner
        .attempt(Operation::Put, |progress| {
            inner
                .client
                .put_object()
                .bucket(&inner.bucket)
                .key(key.as_str())
                .set_content_type(label.content_type.clone())
                .set_metadata(Some(label.metadata.clone()))
                .body(payload.body(&progress))
                .customize()
                .interceptor(PayloadHash(sha256))
                .send()
        })
        .await?;
    span.end(Outcome::Ok);
    inner.versioning.learn_from_write(output.version_id());
    Ok(Written {
        etag: output.e_tag().map(info::unquoted),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn parts_grow_so_that_ten_thousand_suffice() {
        assert_eq!(part_size(8 * MIB, None), Some(8 * MIB));
        assert_eq!(part_size(8 * MIB, Some(80_000 * MIB)), Some(8 * MIB));
        assert_eq!(part_size(8 * MIB, Some(80_000 * MIB + 1)), Some(9 * MIB));
        let largest = MAX_PARTS * MAX_PART_BYTES;
        assert_eq!(part_size(8 * MIB, Some(largest)), Some(MAX_PART_BYTES));
        assert_eq!(part_size(8 * MIB, Some(largest + 1)), None);
        assert_eq!(part_size(8 * MIB, Some(u64::MAX)), None);
    }
}
