//! The body of a request: bytes that are sent without a copy, as often as needed, and watched.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use stockroom_domain::Sha256Digest;
use tokio::time::Instant;

/// Pieces shorter than this are copied together: each piece that is kept costs a handle, and
/// may keep a larger buffer alive.
const SMALL_BYTES: usize = 16 << 10;

/// How many bytes are handed to the connection at once. Each hand-over is seen as progress.
const FRAME_BYTES: usize = 64 << 10;

/// Bytes in pieces, ready to be sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Payload {
    pieces: Arc<[Bytes]>,
    size_bytes: u64,
}

impl Payload {
    pub(super) const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The bytes as the body of one request, which tells `progress` how far it is.
    pub(super) fn body(&self, progress: &Progress) -> ByteStream {
        ByteStream::new(SdkBody::from_body_1_x(PayloadBody {
            pieces: Arc::clone(&self.pieces),
            next: 0,
            rest: Bytes::new(),
            rest_bytes: self.size_bytes,
            progress: progress.clone(),
        }))
    }

    /// The SHA-256 of the bytes. Lets other tasks run in between.
    pub(super) async fn sha256(&self) -> Sha256Digest {
        let mut hasher = Sha256::new();
        for piece in self.pieces.iter() {
            for block in piece.chunks(1 << 20) {
                hasher.update(block);
                tokio::task::yield_now().await;
            }
        }
        Sha256Digest::from_bytes(hasher.finalize().into())
    }
}

/// Collects the pieces of a payload.
#[derive(Debug, Default)]
pub(super) struct PayloadBuffer {
    pieces: Vec<Bytes>,
    small: BytesMut,
    size_bytes: u64,
}

impl PayloadBuffer {
    pub(super) const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.size_bytes += bytes.len() as u64;
        if bytes.len() < SMALL_BYTES {
            self.small.extend_from_slice(&bytes);
            if self.small.len() >= FRAME_BYTES {
                self.flush_small();
            }
        } else {
            self.flush_small();
            self.pieces.push(bytes);
        }
    }

    /// What was collected; the buffer is empty then.
    pub(super) fn take(&mut self) -> Payload {
        self.flush_small();
        Payload {
            pieces: std::mem::take(&mut self.pieces).into(),
            size_bytes: std::mem::take(&mut self.size_bytes),
        }
    }

    fn flush_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }
}

/// How far the body of a request is, and when it last moved.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<ProgressState>);

#[derive(Debug)]
struct ProgressState {
    began: Instant,
    sent_bytes: AtomicU64,
    moved_after_ms: AtomicU64,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Self(Arc::new(ProgressState {
            began: Instant::now(),
            sent_bytes: AtomicU64::new(0),
            moved_after_ms: AtomicU64::new(0),
        }))
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.0.sent_bytes.load(Ordering::Relaxed)
    }

    /// When the last bytes were handed to the connection, or when the request began.
    pub(super) fn moved_at(&self) -> Instant {
        self.0.began + Duration::from_millis(self.0.moved_after_ms.load(Ordering::Relaxed))
    }

    fn moved(&self, bytes: usize) {
        let after_ms = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.moved_after_ms.store(after_ms, Ordering::Relaxed);
    }
}

struct PayloadBody {
    pieces: Arc<[Bytes]>,
    /// The index of the first piece that is not in `rest`.
    next: usize,
    /// What is left of the piece that is being sent.
    rest: Bytes,
    rest_bytes: u64,
    progress: Progress,
}

impl Body for PayloadBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            let Some(piece) = this.pieces.get(this.next) else {
                return Poll::Ready(None);
            };
            this.rest = piece.clone();
            this.next += 1;
        }
        let frame = this.rest.split_to(this.rest.len().min(FRAME_BYTES));
        this.rest_bytes -= frame.len() as u64;
        this.progress.moved(frame.len());
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest_bytes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A body whose pieces are taken one by one, with a pause before each.
    pub(in crate::s3) async fn slow(progress: &Progress, pieces: u32, pause: Duration) {
        for _ in 0..pieces {
            tokio::time::sleep(pause).await;
            progress.moved(1);
        }
    }

    async fn collected(payload: &Payload) -> Vec<u8> {
        let progress = Progress::begin();
        let bytes = payload.body(&progress).collect().await.unwrap().to_vec();
        assert_eq!(progress.sent_bytes(), payload.size_bytes());
        bytes
    }

    #[tokio::test]
    async fn pieces_of_any_size_come_out_in_order_and_again() {
        let all: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        for piece_bytes in [1, 7_000, SMALL_BYTES, 300_000, 1_000_000] {
            let mut buffer = PayloadBuffer::default();
            for piece in all.chunks(piece_bytes) {
                buffer.push(Bytes::copy_from_slice(piece));
            }
            let payload = buffer.take();
            assert_eq!(buffer.size_bytes(), 0);
            assert_eq!(payload.sha256().await, Sha256Digest::of(&all));
            assert!(collected(&payload).await == all, "{piece_bytes}");
            assert!(collected(&payload).await == all, "{piece_bytes} again");
        }
    }

    #[test]
    fn tiny_pieces_cost_few_handles() {
        let mut buffer = PayloadBuffer::default();
        for _ in 0..1_000_000 {
            buffer.push(Bytes::from_static(b"x"));
        }
        assert_eq!(buffer.size_bytes(), 1_000_000);
        assert!(buffer.take().pieces.len() <= 1_000_000 / FRAME_BYTES + 1);
    }

    #[tokio::test]
    async fn nothing_is_a_body_too() {
        let payload = PayloadBuffer::default().take();
        assert!(collected(&payload).await.is_empty());
    }
}
