//! How slow a client may be.
//!
//! While the server waits for a client, the client has to move 16 KiB within each `IDLE_TIMEOUT`, or
//! come to its end. Only waiting counts: when a store is slow and the server takes nothing, the
//! client may pause as long as that lasts. One rule holds for all bodies that come in, of whatever
//! kind, and for all bytes that go out.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::causes::cause;
use crate::http::codes::Code;
use crate::http::problem::Problem;

/// What a client has to move while it is waited for. With the usual 60 s these are 273 bytes in a
/// second, which the slowest line has, and of which nobody can make a thousand cheap connections
/// last.
pub const MIN_PROGRESS_BYTES: usize = 16 * 1024;

/// The client moved too little for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body made too little progress for {} seconds", .0.as_secs())]
pub struct TooSlow(pub Duration);

/// Waits for a client no longer than it may take.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    /// Time spent waiting, and bytes that moved, since the last time that enough had moved.
    waited: Duration,
    moved_bytes: usize,
    wait: Option<Wait>,
}

#[derive(Debug)]
struct Wait {
    began: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    /// Patience for a client that has not been waited for yet.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self {
            limit,
            waited: Duration::ZERO,
            moved_bytes: 0,
            wait: None,
        }
    }

    /// The client need not be waited for now: it moved so many bytes, perhaps none.
    pub fn moved(&mut self, bytes: usize) {
        if let Some(wait) = self.wait.take() {
            self.waited += wait.began.elapsed();
        }
        self.moved_bytes = self.moved_bytes.saturating_add(bytes);
        if self.moved_bytes >= MIN_PROGRESS_BYTES {
            self.moved_bytes = 0;
            self.waited = Duration::ZERO;
        }
    }

    /// The client is waited for. Ready when that took too long.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.limit.saturating_sub(self.waited);
        let wait = self.wait.get_or_insert_with(|| Wait {
            began: Instant::now(),
            timer: Box::pin(sleep(left)),
        });
        wait.timer.as_mut().poll(cx)
    }
}

/// The same request, whose body ends with an error when it is [`TooSlow`].
#[must_use]
pub fn paced(request: Request, limit: Duration) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    request.map(|body| {
        Body::new(PacedBody {
            body,
            limit,
            patience: Patience::new(limit),
        })
    })
}

/// What to answer when a body could not be read because it was too slow. None when that was not
/// the reason.
#[must_use]
pub fn too_slow(error: &(dyn StdError + 'static)) -> Option<Problem> {
    let TooSlow(limit) = cause(error)?;
    Some(Problem::new(
        Code::RequestTimeout,
        format!(
            "Less than {} KiB came in {} seconds. Nothing was stored; send it again.",
            MIN_PROGRESS_BYTES / 1_024,
            limit.as_secs()
        ),
    ))
}

struct PacedBody {
    body: Body,
    limit: Duration,
    patience: Patience,
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                let data = match &frame {
                    Some(Ok(frame)) => frame.data_ref(),
                    _ => None,
                };
                self.patience.moved(data.map_or(0, Bytes::len));
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let limit = self.limit;
                self.patience
                    .poll_over(cx)
                    .map(|()| Some(Err(axum::Error::new(TooSlow(limit)))))
            }
        }
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
    use futures::StreamExt as _;
    use tokio::sync::mpsc;
    use tokio_util::task::TaskTracker;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A body whose pieces come from a channel.
    fn body() -> (mpsc::Sender<Bytes>, axum::body::BodyDataStream) {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
        let pieces = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let request = Request::new(Body::from_stream(pieces.map(Ok::<_, axum::Error>)));
        (sender, paced(request, LIMIT).into_body().into_data_stream())
    }

    /// Sends pieces of this size, one in each second, until nobody takes them any more.
    fn drip(sender: mpsc::Sender<Bytes>, bytes: usize, pieces: usize) {
        TaskTracker::new().spawn(async move {
            for _ in 0..pieces {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if sender.send(vec![0; bytes].into()).await.is_err() {
                    return;
                }
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up() {
        let began = Instant::now();
        let (sender, mut pieces) = body();
        drip(sender, 1, 1_000);
        let error = loop {
            match pieces.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("the body ended"),
            }
        };
        assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());
        let problem = too_slow(&error).expect("the reason");
        assert_eq!(problem.code(), Code::RequestTimeout);
        assert!(too_slow(&std::fmt::Error).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_may_take_as_long_as_it_needs() {
        let (sender, pieces) = body();
        drip(sender, MIN_PROGRESS_BYTES / 50, 1_000);
        let taken: usize = pieces
            .map(|piece| piece.unwrap().len())
            .fold(0, async |sum, bytes| sum + bytes)
            .await;
        assert_eq!(taken, MIN_PROGRESS_BYTES / 50 * 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_the_server_is_none_of_the_clients() {
        let (sender, mut pieces) = body();
        drip(sender, 1, 5);
        for _ in 0..5 {
            assert!(pieces.next().await.unwrap().is_ok());
            tokio::time::sleep(LIMIT * 3).await;
        }
        assert!(pieces.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_bytes_now_and_then_do_not_renew_patience() {
        let mut patience = Patience::new(LIMIT);
        for _ in 0..5 {
            let over = futures::future::poll_fn(|cx| patience.poll_over(cx));
            let over = tokio::time::timeout(Duration::from_secs(11), over).await;
            assert!(over.is_err());
            patience.moved(1);
        }
        let over = futures::future::poll_fn(|cx| patience.poll_over(cx));
        assert!(
            tokio::time::timeout(Duration::from_secs(6), over)
                .await
                .is_ok()
        );
        patience.moved(MIN_PROGRESS_BYTES);
        let over = futures::future::poll_fn(|cx| patience.poll_over(cx));
        assert!(
            tokio::time::timeout(Duration::from_secs(59), over)
                .await
                .is_err()
        );
    }
}
