//! What goes wrong from outside: calls to the bucket that fail in every way, a bucket that is
//! away, a clock that jumps.

use std::time::Duration;

use chaos_s3::{Fault, FaultAction, Operation};

use crate::dice::Dice;
use crate::world::World;

const OPERATIONS: [Operation; 11] = [
    Operation::Any,
    Operation::PutObject,
    Operation::GetObject,
    Operation::HeadObject,
    Operation::DeleteObject,
    Operation::ListObjectVersions,
    Operation::ListMultipartUploads,
    Operation::CreateMultipartUpload,
    Operation::UploadPart,
    Operation::CompleteMultipartUpload,
    Operation::AbortMultipartUpload,
];

/// Sets some faults; what they are.
pub(crate) fn turn_bad(world: &World, dice: &mut Dice) -> Vec<String> {
    let Some(chaos) = &world.chaos else {
        return Vec::new();
    };
    let faults = 2 + dice.below(6);
    (0..faults)
        .map(|_| {
            let operation = if dice.percent(60) {
                // Most calls are these.
                dice.pick(&[Operation::PutObject, Operation::GetObject])
            } else {
                dice.pick(&OPERATIONS)
            };
            let (skip, times) = (dice.below(40), 1 + dice.below(4));
            let action = action(dice);
            let what = format!("{operation:?} after {skip} calls, {times} times: {action:?}");
            let fault = Fault::new(operation, action).after(skip).times(times);
            chaos.fault(fault);
            what
        })
        .collect()
}

fn action(dice: &mut Dice) -> FaultAction {
    let bytes = dice.pick(&[0, 1, 100, 1_000, 10_000, 100_000, 1_200_000]);
    let bytes = bytes + dice.below(50);
    match dice.below(11) {
        0 => FaultAction::slow_down(),
        1 => FaultAction::internal_error(),
        2 => FaultAction::Status {
            status: 403,
            code: "AccessDenied",
            retry_after_s: None,
        },
        3 => FaultAction::ResetAfterRequestBytes(bytes),
        4 => FaultAction::ResetAfterResponseBytes(bytes),
        5 => FaultAction::TruncateBody(bytes),
        6 => FaultAction::FlipBit { offset: bytes },
        7 => FaultAction::CompleteErrorIn200,
        8 => FaultAction::LoseAnswerAfterCommit,
        9 => FaultAction::Delay(Duration::from_millis(dice.below(400))),
        _ => FaultAction::Hang,
    }
}

/// Everything is well again; calls that hang end.
pub(crate) fn clear_up(world: &World) {
    if let Some(chaos) = &world.chaos {
        chaos.clear_faults();
        chaos.set_online(false).unwrap();
        chaos.set_online(true).unwrap();
    }
}

/// Takes the bucket away for a moment.
pub(crate) async fn outage(world: &World, lasts: Duration) {
    if let Some(chaos) = &world.chaos {
        chaos.set_online(false).unwrap();
        tokio::time::sleep(lasts).await;
        chaos.set_online(true).unwrap();
    }
}

/// Sets the clock forward, mostly by minutes, sometimes by hours.
pub(crate) fn jump(world: &World, dice: &mut Dice) -> Duration {
    let by = if dice.percent(70) {
        Duration::from_secs(dice.below(600))
    } else {
        Duration::from_secs(dice.below(4 * 3_600))
    };
    world.clock.advance(by);
    by
}
