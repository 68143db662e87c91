//! What comes of a form between its files.
//!
//! The parser of forms gathers all bytes that are ready, and keeps them until the head of a part has
//! come whole. A head, or a beginning without a boundary, that never ends would fill the memory.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::causes::cause;
use crate::http::codes::Code;
use crate::http::problem::Problem;

/// The most that may come between two files: as much as the head of a request. The longest name of a
/// file takes less than 1 KiB.
const MAX_BETWEEN_BYTES: usize = 64 * 1024;

/// Too much came between two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_BETWEEN_BYTES} bytes came between the files of a form")]
struct TooMuchBetween;

/// Counts what comes of a form while none of its files does.
#[derive(Debug, Default)]
pub struct Between {
    is_file: AtomicBool,
    bytes: AtomicUsize,
}

impl Between {
    /// From now on a file comes.
    pub fn file_begins(&self) {
        self.is_file.store(true, Ordering::Relaxed);
    }

    /// The file has come.
    pub fn file_ends(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.is_file.store(false, Ordering::Relaxed);
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn is_too_much(&self) -> bool {
        !self.is_file.load(Ordering::Relaxed)
            && self.bytes.load(Ordering::Relaxed) >= MAX_BETWEEN_BYTES
    }
}

/// The same request, whose body ends with an error when too much comes between its files.
pub fn bounded(request: Request) -> (Request, Arc<Between>) {
    let between = Arc::new(Between::default());
    let counter = Arc::clone(&between);
    let request = request.map(|body| {
        Body::new(BoundedBody {
            body,
            between: counter,
            has_given: false,
        })
    });
    (request, between)
}

/// What to answer when a form could not be read because of this. None when that was not the reason.
#[must_use]
pub fn too_much(error: &(dyn StdError + 'static)) -> Option<Problem> {
    let is_reason = cause::<TooMuchBetween>(error).is_some();
    is_reason.then(|| {
        Problem::new(
            Code::BadMultipart,
            format!(
                "The form has more than {} KiB between its files. Nothing was stored; send the files alone, with short heads.",
                MAX_BETWEEN_BYTES / 1_024
            ),
        )
    })
}

struct BoundedBody {
    body: Body,
    between: Arc<Between>,
    has_given: bool,
}

impl HttpBody for BoundedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // One piece at a time, so that the parser looks at each before it takes the next.
        if self.has_given {
            self.has_given = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.between.is_too_much() {
            return Poll::Ready(Some(Err(axum::Error::new(TooMuchBetween))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.has_given = true;
            self.between.add(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::{FromRequest as _, Multipart};
    use futures::StreamExt as _;

    use super::*;

    const FILE: &str =
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";

    /// A form that comes in pieces of this size.
    async fn form(body: &str, piece_bytes: usize) -> (Multipart, Arc<Between>) {
        let pieces: Vec<_> = body
            .as_bytes()
            .chunks(piece_bytes)
            .map(|piece| Ok::<_, axum::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        let request = Request::builder()
            .header("content-type", "multipart/form-data; boundary=b")
            .body(Body::from_stream(futures::stream::iter(pieces)))
            .unwrap();
        let (request, between) = bounded(request);
        (
            Multipart::from_request(request, &()).await.unwrap(),
            between,
        )
    }

    #[tokio::test]
    async fn files_may_be_larger_than_what_stands_between_them() {
        let large = "x".repeat(3 * MAX_BETWEEN_BYTES);
        let body = format!("{FILE}{large}\r\n{FILE}{large}\r\n{FILE}\r\n--b--\r\n");
        for piece_bytes in [7, 1_000, 70_000, usize::MAX] {
            let (mut form, between) = form(&body, piece_bytes).await;
            let mut sizes_bytes = Vec::new();
            while let Some(field) = form.next_field().await.unwrap() {
                between.file_begins();
                let size_bytes = field
                    .map(|piece| piece.unwrap().len())
                    .fold(0, async |sum, bytes| sum + bytes)
                    .await;
                between.file_ends();
                sizes_bytes.push(size_bytes);
            }
            assert_eq!(sizes_bytes, [large.len(), large.len(), 0], "{piece_bytes}");
        }
    }

    #[tokio::test]
    async fn a_head_without_an_end_is_given_up() {
        let long = "x".repeat(10 * MAX_BETWEEN_BYTES);
        for body in [
            format!("--b\r\nX: {long}"),
            long,
            format!("--b{}", " ".repeat(1 << 20)),
        ] {
            let (mut form, _) = form(&body, 1_000).await;
            let error = form.next_field().await.unwrap_err();
            let problem = too_much(&error).expect("the reason");
            assert_eq!(problem.code(), Code::BadMultipart);
        }
        assert!(too_much(&std::fmt::Error).is_none());
    }
}
