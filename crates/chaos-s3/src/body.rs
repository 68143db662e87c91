//! Bodies on their way in and out: counted, and where a fault says so, damaged or cut off.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use s3s::StdError;

use crate::calls::CallCounters;
use crate::connection::{ConnectionControl, Cut};
use crate::content::flipped;
use crate::locked;

/// A request's body, counted. When it is dropped, what is left of it goes back to its slot, so
/// that a refused upload can be read to its end and the client sees the answer, not a broken pipe.
pub(crate) struct RequestBody {
    inner: Option<Incoming>,
    slot: Slot,
    call: Arc<CallCounters>,
    /// How far the byte is whose lowest bit is to be flipped.
    flip_in_bytes: Option<u64>,
}

pub(crate) type Slot = Arc<Mutex<Option<Incoming>>>;

impl RequestBody {
    pub(crate) fn new(inner: Incoming, call: Arc<CallCounters>) -> (Self, Slot) {
        let slot = Slot::default();
        let body = Self {
            inner: Some(inner),
            slot: Arc::clone(&slot),
            call,
            flip_in_bytes: None,
        };
        (body, slot)
    }

    /// Flips the lowest bit of a byte that is yet to come.
    pub(crate) const fn flip_bit(&mut self, in_bytes: u64) {
        self.flip_in_bytes = Some(in_bytes);
    }

    fn apply(&mut self, chunk: Bytes) -> Bytes {
        match self.flip_in_bytes {
            Some(index) if index < chunk.len() as u64 => {
                self.flip_in_bytes = None;
                flipped(&chunk, index as usize)
            }
            Some(index) => {
                self.flip_in_bytes = Some(index - chunk.len() as u64);
                chunk
            }
            None => chunk,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let Some(frame) = ready!(Pin::new(inner).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = match frame?.into_data() {
            Ok(chunk) => {
                self.call.received(chunk.len());
                Frame::data(self.apply(chunk))
            }
            Err(other) => other,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        *locked(&self.slot) = self.inner.take();
    }
}

/// What happens to an answer's body on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyPlan {
    Whole,
    FlipBit { offset: u64 },
    CutAfter { bytes: u64, how: Cut },
}

/// An answer's body.
pub(crate) struct ResponseBody {
    inner: Pin<Box<s3s::Body>>,
    sent: u64,
    plan: BodyPlan,
    control: Arc<ConnectionControl>,
    call: Arc<CallCounters>,
}

impl ResponseBody {
    pub(crate) fn new(
        inner: s3s::Body,
        plan: BodyPlan,
        control: Arc<ConnectionControl>,
        call: Arc<CallCounters>,
    ) -> Self {
        Self {
            inner: Box::pin(inner),
            sent: 0,
            plan,
            control,
            call,
        }
    }

    /// What is left of a chunk once the plan has been applied.
    fn apply(&self, mut chunk: Bytes) -> Bytes {
        match self.plan {
            BodyPlan::Whole => chunk,
            BodyPlan::CutAfter { bytes, .. } => {
                let allowed = (bytes - self.sent).min(chunk.len() as u64);
                chunk.truncate(allowed as usize);
                chunk
            }
            BodyPlan::FlipBit { offset } => match offset.checked_sub(self.sent) {
                Some(index) if index < chunk.len() as u64 => flipped(&chunk, index as usize),
                _ => chunk,
            },
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if let BodyPlan::CutAfter { bytes, how } = self.plan
            && self.sent >= bytes
        {
            self.control.cut_after_flush(how);
            // hyper flushes what it has when a body is not ready; the flush cuts the connection.
            return Poll::Pending;
        }
        let Some(frame) = ready!(self.inner.as_mut().poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = match frame?.into_data() {
            Ok(chunk) => {
                let chunk = self.apply(chunk);
                self.sent += chunk.len() as u64;
                self.call.sent(chunk.len());
                Frame::data(chunk)
            }
            Err(other) => other,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
