//! Reading: one request, continued by another when its body breaks off.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream as Body;
use bytes::Bytes;
use futures::StreamExt as _;
use stockroom_domain::Key;

use super::Inner;
use super::call::{Backoff, Span};
use super::error::Failure;
use super::info;
use crate::{
    ByteRange, ByteStream, Error, ErrorKind, GetResult, Operation, Outcome, Result,
    UnsatisfiableRange,
};

/// No offset beyond this is asked for: stores read offsets as signed 64-bit numbers.
const MAX_OFFSET: u64 = i64::MAX as u64;

/// A read that gained this many bytes since it last broke off may break off anew as often as at
/// its beginning.
const GAIN_BYTES: u64 = 1 << 20;

/// Reads an object or a part of it.
pub(super) async fn get(
    inner: &Arc<Inner>,
    key: &Key,
    range: Option<ByteRange>,
) -> Result<GetResult> {
    let header = match range.map(header_of) {
        None => None,
        Some(Some(header)) => Some(header),
        Some(None) => return Err(unsatisfiable(inner, key, None).await),
    };
    let (output, span) = match request(inner, key, header, None).await {
        Ok(answer) => answer,
        Err(failure) if failure.status() == Some(416) => {
            return Err(unsatisfiable(inner, key, failure.size_of_416()).await);
        }
        Err(failure) => return Err(inner.error(Operation::Get, Some(key), failure)),
    };
    inner.versioning.learn_from_read(output.version_id());
    let delivered = match delivered(&output, range) {
        Ok(delivered) => delivered,
        Err(refusal) => {
            span.end(Outcome::Failed);
            return Err(match refusal {
                Refusal::Unsatisfiable(range) => {
                    unsatisfiable(inner, key, Some(range.size_bytes)).await
                }
                Refusal::Unreadable(what) => info::unreadable(inner, Operation::Get, key, what),
            });
        }
    };
    let info = info::of_get(&output, delivered.size_bytes);
    let reading = Reading {
        inner: Arc::clone(inner),
        key: key.clone(),
        etag: output.e_tag.clone(),
        size_bytes: delivered.size_bytes,
        next: delivered.range.start,
        end: delivered.range.end,
        gained_bytes: 0,
        backoff: inner.backoff(),
        open: Some((output.body, span)),
    };
    Ok(GetResult {
        info,
        range: delivered.range,
        stream: reading.into_stream(),
    })
}

async fn request(
    inner: &Inner,
    key: &Key,
    range: Option<String>,
    if_match: Option<String>,
) -> Result<(GetObjectOutput, Span), Failure> {
    inner
        .call_open(Operation::Get, |_| {
            inner
                .client
                .get_object()
                .bucket(&inner.bucket)
                .key(key.as_str())
                .set_range(range.clone())
                .set_if_match(if_match.clone())
                .send()
        })
        .await
}

/// The `Range` header (RFC 9110, section 14.1.2); none when no object could satisfy it.
fn header_of(range: ByteRange) -> Option<String> {
    match range {
        ByteRange::From(first) if first <= MAX_OFFSET => Some(format!("bytes={first}-")),
        ByteRange::Inclusive { first, last } if first <= last && first <= MAX_OFFSET => {
            Some(format!("bytes={first}-{}", last.min(MAX_OFFSET)))
        }
        ByteRange::Suffix(length) if length > 0 => {
            Some(format!("bytes=-{}", length.min(MAX_OFFSET)))
        }
        _ => None,
    }
}

async fn unsatisfiable(inner: &Inner, key: &Key, size_bytes: Option<u64>) -> Error {
    let size_bytes = match size_bytes {
        Some(size_bytes) => size_bytes,
        None => match info::head(inner, key).await {
            Ok(info) => info.size_bytes,
            Err(error) => return error,
        },
    };
    Error::new(
        &inner.name,
        Operation::Get,
        ErrorKind::RangeNotSatisfiable { size_bytes },
        UnsatisfiableRange { size_bytes }.to_string(),
    )
    .about(key)
}

/// Which bytes an answer delivers, of how many.
#[derive(Debug, PartialEq, Eq)]
struct Delivered {
    range: Range<u64>,
    size_bytes: u64,
}

/// Why an answer is not what was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Unsatisfiable(UnsatisfiableRange),
    Unreadable(&'static str),
}

/// Reads off the headers what the body is, and checks that it is what was asked for: a server
/// that ignores ranges must not pass its first bytes off as others.
fn delivered(output: &GetObjectOutput, asked: Option<ByteRange>) -> Result<Delivered, Refusal> {
    let length = info::size_of(output.content_length())
        .ok_or(Refusal::Unreadable("it does not tell its length"))?;
    let (told, size_bytes) = match output.content_range() {
        Some(value) => content_range(value).ok_or(Refusal::Unreadable("its Content-Range"))?,
        None => (Some(0..length), length),
    };
    let expected = match asked {
        Some(range) => range.resolve(size_bytes).map_err(Refusal::Unsatisfiable)?,
        None => 0..size_bytes,
    };
    if told.as_ref() != Some(&expected) {
        return Err(Refusal::Unreadable(
            "it has other bytes than were asked for",
        ));
    }
    if length != expected.end - expected.start {
        return Err(Refusal::Unreadable("its length is not that of its range"));
    }
    Ok(Delivered {
        range: expected,
        size_bytes,
    })
}

/// `bytes 0-9/20` (RFC 9110, section 14.4): the range, if it makes sense, and the whole size.
/// Garage answers a range of an empty object with one that makes none.
fn content_range(value: &str) -> Option<(Option<Range<u64>>, u64)> {
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let size_bytes: u64 = size.parse().ok()?;
    let range = range.split_once('-').and_then(|(first, last)| {
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && last < size_bytes).then(|| first..last + 1)
    });
    Some((range, size_bytes))
}

/// An object that is being read.
struct Reading {
    inner: Arc<Inner>,
    key: Key,
    /// As the store told it, quotes included.
    etag: Option<String>,
    size_bytes: u64,
    /// The offset of the next byte to deliver.
    next: u64,
    end: u64,
    /// How many bytes came since the body last broke off.
    gained_bytes: u64,
    backoff: Backoff,
    /// None after the body broke off.
    open: Option<(Body, Span)>,
}

impl Reading {
    fn into_stream(self) -> ByteStream {
        futures::stream::try_unfold(self, |mut reading| async move {
            let bytes = reading.read().await?;
            Ok(bytes.map(|bytes| (bytes, reading)))
        })
        .boxed()
    }

    /// The next bytes; none after the last.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some((mut body, mut span)) = self.open.take() else {
                self.open = Some(self.resume().await?);
                continue;
            };
            if self.next == self.end {
                span.end(Outcome::Ok);
                return Ok(None);
            }
            let idle = self.inner.timeouts.read_idle;
            let what = match tokio::time::timeout(idle, body.next()).await {
                Ok(Some(Ok(bytes))) if bytes.len() as u64 > self.end - self.next => {
                    span.end(Outcome::Failed);
                    let what = "it is longer than it told";
                    return Err(info::unreadable(
                        &self.inner,
                        Operation::Get,
                        &self.key,
                        what,
                    ));
                }
                Ok(Some(Ok(bytes))) => {
                    span.received(bytes.len());
                    self.next += bytes.len() as u64;
                    self.gained_bytes += bytes.len() as u64;
                    self.open = Some((body, span));
                    if bytes.is_empty() {
                        continue;
                    }
                    return Ok(Some(bytes));
                }
                Ok(Some(Err(_))) => "the connection broke".to_owned(),
                Ok(None) => "it ended early".to_owned(),
                Err(_) => format!("nothing came for {} s", idle.as_secs_f32()),
            };
            span.end(Outcome::Failed);
            self.wait_to_resume(&what).await?;
        }
    }

    /// The body broke off: waits until it may be continued, or tells why it cannot be.
    async fn wait_to_resume(&mut self, what: &str) -> Result<()> {
        let (next, end) = (self.next, self.end);
        let failure = Failure::timed_out(format!("{what} after byte {next} of {end}"));
        if self.etag.is_none() {
            // Without a validator the rest could be that of another object.
            return Err(self.error(failure));
        }
        if self.gained_bytes >= GAIN_BYTES {
            self.backoff.reset();
        }
        self.gained_bytes = 0;
        let waited = self.backoff.wait(failure).await;
        waited.map_err(|failure| self.error(failure))
    }

    /// Asks for the rest, of the same object only.
    async fn resume(&self) -> Result<(Body, Span)> {
        let rest = ByteRange::Inclusive {
            first: self.next,
            last: self.end - 1,
        };
        let (output, span) = request(&self.inner, &self.key, header_of(rest), self.etag.clone())
            .await
            .map_err(|failure| self.error_of_resume(failure))?;
        let is_the_rest = delivered(&output, Some(rest))
            .is_ok_and(|it| it.size_bytes == self.size_bytes && output.e_tag == self.etag);
        if is_the_rest {
            return Ok((output.body, span));
        }
        span.end(Outcome::Failed);
        Err(self.replaced())
    }

    fn error(&self, failure: Failure) -> Error {
        self.inner.error(Operation::Get, Some(&self.key), failure)
    }

    fn error_of_resume(&self, failure: Failure) -> Error {
        match failure.status() {
            Some(412 | 416) => self.replaced(),
            _ => self.error(failure),
        }
    }

    fn replaced(&self) -> Error {
        let what = "the object was replaced while it was read";
        Error::new(
            &self.inner.name,
            Operation::Get,
            ErrorKind::Unavailable,
            what,
        )
        .about(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(length: i64, content_range: Option<&str>) -> GetObjectOutput {
        GetObjectOutput::builder()
            .content_length(length)
            .set_content_range(content_range.map(str::to_owned))
            .build()
    }

    #[test]
    fn ranges_are_written_as_the_standard_says() {
        let inclusive = |first, last| ByteRange::Inclusive { first, last };
        let cases = [
            (ByteRange::From(5), Some("bytes=5-")),
            (inclusive(0, 0), Some("bytes=0-0")),
            (inclusive(0, u64::MAX), Some("bytes=0-9223372036854775807")),
            (ByteRange::Suffix(3), Some("bytes=-3")),
            (ByteRange::Suffix(0), None),
            (inclusive(5, 4), None),
            (ByteRange::From(u64::MAX), None),
        ];
        for (range, header) in cases {
            assert_eq!(header_of(range).as_deref(), header, "{range:?}");
        }
    }

    #[test]
    fn an_answer_is_what_was_asked_for_or_refused() {
        let asked = Some(ByteRange::Inclusive {
            first: 10,
            last: 19,
        });
        let good = delivered(&answer(10, Some("bytes 10-19/100")), asked);
        let expected = Delivered {
            range: 10..20,
            size_bytes: 100,
        };
        assert_eq!(good, Ok(expected));
        let whole = delivered(&answer(7, None), None);
        assert_eq!(whole.map(|it| it.range), Ok(0..7));
        let bad = [
            (100, None),
            (10, Some("bytes 0-9/100")),
            (10, Some("bytes 10-19/*")),
            (9, Some("bytes 10-19/100")),
            (10, Some("10-19/100")),
        ];
        for (length, range) in bad {
            let refused = delivered(&answer(length, range), asked);
            assert!(
                matches!(refused, Err(Refusal::Unreadable(_))),
                "{refused:?}"
            );
        }
        for range in [None, Some("bytes 0-18446744073709551615/0")] {
            let empty = delivered(&answer(0, range), asked);
            assert!(matches!(empty, Err(Refusal::Unsatisfiable(_))), "{empty:?}");
        }
    }
}
