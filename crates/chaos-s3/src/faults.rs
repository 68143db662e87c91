//! Scripted faults: which call fails, when, how often, and in which way.

use std::sync::Mutex;
use std::time::Duration;

use crate::locked;
use crate::operation::{Operation, Target};

/// One scripted fault. It counts the calls it matches from the moment it is set.
///
/// ```
/// use chaos_s3::{Fault, FaultAction, Operation};
///
/// // The third and fourth upload of a part below "models/" are throttled.
/// let fault = Fault::new(Operation::UploadPart, FaultAction::slow_down())
///     .key_prefix("models/")
///     .after(2)
///     .times(2);
/// # let _ = fault;
/// ```
#[derive(Debug, Clone)]
pub struct Fault {
    operation: Operation,
    key_prefix: Option<String>,
    skip: u64,
    /// `None` is for ever.
    remaining: Option<u64>,
    action: FaultAction,
}

impl Fault {
    /// A fault that strikes the next matching call, once.
    #[must_use]
    pub fn new(operation: Operation, action: FaultAction) -> Self {
        Self {
            operation,
            key_prefix: None,
            skip: 0,
            remaining: Some(1),
            action,
        }
    }

    /// Strikes only calls about keys that start with `prefix`; never those about no single key, such
    /// as listings and DeleteObjects.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = Some(prefix.into());
        self
    }

    /// Lets this many matching calls pass first.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Strikes this many matching calls instead of one.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.remaining = Some(calls);
        self
    }

    /// Strikes until [`ChaosS3::clear_faults`](crate::ChaosS3::clear_faults).
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.remaining = None;
        self
    }

    fn matches(&self, target: &Target) -> bool {
        let in_prefix = match &self.key_prefix {
            None => true,
            Some(prefix) => target
                .key
                .as_ref()
                .is_some_and(|key| key.starts_with(prefix)),
        };
        in_prefix && self.operation.covers(target.operation)
    }
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultAction {
    /// The request is read to its end, has no effect, and is answered with this status and S3
    /// error code, and with `Retry-After` where given (seconds).
    Status {
        /// HTTP status.
        status: u16,
        /// S3 error code, such as `SlowDown`.
        code: &'static str,
        /// Value of the `Retry-After` header in seconds.
        retry_after_s: Option<u64>,
    },
    /// The connection is reset (RST) after this many bytes of the request's body were read, or at
    /// its end if it is shorter. The operation has no effect.
    ResetAfterRequestBytes(u64),
    /// The operation takes effect; the connection is reset (RST) after the head and this many
    /// bytes of the answer's body were sent. The client gets at most that many: what it has not
    /// taken 50 ms later is lost. An answer without a body is lost altogether, a body that is not
    /// longer than this passes whole.
    ResetAfterResponseBytes(u64),
    /// `Content-Length` tells the whole size, but the connection is closed in good order (FIN, and
    /// `close_notify` under TLS) after this many bytes of the answer's body. A body that is not
    /// longer than this passes whole.
    TruncateBody(u64),
    /// The lowest bit of the byte at `offset` of the answer's body is flipped, on the way only;
    /// what is stored stays right.
    FlipBit {
        /// Offset in the body of the answer, in bytes, from 0.
        offset: u64,
    },
    /// The lowest bit of the byte at `offset` of the request's body is flipped, as by bad memory on the
    /// way; what the server makes of it is its own affair.
    FlipRequestBit {
        /// Offset in the body of the request, in bytes, from 0.
        offset: u64,
    },
    /// 200 with an XML body that says `InternalError`, as CompleteMultipartUpload and CopyObject
    /// are allowed to answer. The operation has no effect.
    CompleteErrorIn200,
    /// The operation takes effect, then the connection is reset without an answer.
    LoseAnswerAfterCommit,
    /// The call waits this long, then runs as usual.
    Delay(Duration),
    /// The call has no effect and is never answered; the connection stays open.
    Hang,
}

impl FaultAction {
    /// 503 `SlowDown` without `Retry-After`.
    #[must_use]
    pub fn slow_down() -> Self {
        Self::Status {
            status: 503,
            code: "SlowDown",
            retry_after_s: None,
        }
    }

    /// 500 `InternalError`.
    #[must_use]
    pub fn internal_error() -> Self {
        Self::Status {
            status: 500,
            code: "InternalError",
            retry_after_s: None,
        }
    }
}

/// The faults that are set and not yet used up, in the order they were set.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan(Mutex<Vec<Fault>>);

impl FaultPlan {
    pub(crate) fn add(&self, fault: Fault) {
        locked(&self.0).push(fault);
    }

    pub(crate) fn clear(&self) {
        locked(&self.0).clear();
    }

    /// What goes wrong with this call. Every matching fault counts the call against its `after`;
    /// the first one that is due strikes.
    pub(crate) fn strike(&self, target: &Target) -> Option<FaultAction> {
        let mut faults = locked(&self.0);
        let mut struck = None;
        for fault in faults.iter_mut().filter(|fault| fault.matches(target)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if struck.is_none() && fault.remaining != Some(0) {
                fault.remaining = fault.remaining.map(|n| n - 1);
                struck = Some(fault.action.clone());
            }
        }
        faults.retain(|fault| fault.remaining != Some(0));
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(operation: Operation, key: &str) -> Target {
        Target {
            operation,
            key: Some(key.to_owned()),
        }
    }

    #[test]
    fn a_fault_strikes_after_and_times() {
        let plan = FaultPlan::default();
        plan.add(
            Fault::new(Operation::GetObject, FaultAction::Hang)
                .after(1)
                .times(2),
        );
        let get = target(Operation::GetObject, "k");
        let struck: Vec<bool> = (0..5).map(|_| plan.strike(&get).is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
    }

    #[test]
    fn a_fault_minds_operation_and_prefix() {
        let plan = FaultPlan::default();
        plan.add(
            Fault::new(Operation::Any, FaultAction::Hang)
                .key_prefix("models/")
                .forever(),
        );
        assert!(
            plan.strike(&target(Operation::PutObject, "temp/a"))
                .is_none()
        );
        assert!(
            plan.strike(&target(Operation::PutObject, "models/a"))
                .is_some()
        );
        assert!(
            plan.strike(&target(Operation::GetObject, "models/a"))
                .is_some()
        );
        plan.clear();
        assert!(
            plan.strike(&target(Operation::GetObject, "models/a"))
                .is_none()
        );
    }

    #[test]
    fn the_first_due_fault_strikes_and_the_second_waits() {
        let plan = FaultPlan::default();
        plan.add(Fault::new(Operation::GetObject, FaultAction::Hang));
        plan.add(Fault::new(Operation::GetObject, FaultAction::slow_down()));
        let get = target(Operation::GetObject, "k");
        assert_eq!(plan.strike(&get), Some(FaultAction::Hang));
        assert_eq!(plan.strike(&get), Some(FaultAction::slow_down()));
        assert_eq!(plan.strike(&get), None);
    }
}
