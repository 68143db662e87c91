//! Damage from outside: bytes that change or vanish on the disk or in the bucket.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use chaos_s3::ChaosS3;
use stockroom_catalog::ObjectRow;
use stockroom_domain::{PlacementState, StoreName};

use crate::dice::Dice;
use crate::world::World;

/// What happens to a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    Flip { offset: usize },
    Truncate { size_bytes: usize },
    Extend { by_bytes: usize },
    Zero { from: usize, to: usize },
    Delete,
}

impl Damage {
    /// Some damage to a copy of this size that certainly changes it.
    pub(crate) fn any(dice: &mut Dice, size_bytes: usize) -> Self {
        if size_bytes == 0 {
            let by_bytes = 1 + dice.index(100);
            return dice.pick(&[Self::Extend { by_bytes }, Self::Delete]);
        }
        match dice.below(10) {
            0..4 => Self::Flip {
                offset: dice.index(size_bytes),
            },
            4..7 => Self::Truncate {
                size_bytes: dice.index(size_bytes),
            },
            7 => Self::Extend {
                by_bytes: 1 + dice.index(5_000),
            },
            8 => {
                let from = dice.index(size_bytes);
                let to = (from + 1 + dice.index(5_000)).min(size_bytes);
                Self::Zero { from, to }
            }
            _ => Self::Delete,
        }
    }

    /// The bytes that are left of these, or none.
    fn apply(self, bytes: &[u8]) -> Option<Bytes> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Flip { offset } => bytes[offset] ^= 1,
            Self::Truncate { size_bytes } => bytes.truncate(size_bytes),
            Self::Extend { by_bytes } => bytes.extend(std::iter::repeat_n(7, by_bytes)),
            Self::Zero { from, to } => zero(&mut bytes[from..to]),
            Self::Delete => return None,
        }
        Some(bytes.into())
    }
}

/// Overwrites with zeros; where there were only zeros, with something else.
fn zero(bytes: &mut [u8]) {
    let with = u8::from(bytes.iter().all(|byte| *byte == 0));
    bytes.fill(with);
}

/// Damages the file of a copy in its place, as a disk does, not by replacing it.
pub(crate) fn on_disk(path: &Path, damage: Damage) {
    let file = OpenOptions::new().read(true).write(true).open(path);
    // The engine may be about to replace a copy that was damaged before.
    let Ok(mut file) = file else { return };
    match damage {
        Damage::Flip { offset } => {
            let mut byte = [0];
            if file.read_exact_at(&mut byte, offset as u64).is_ok() {
                file.write_all_at(&[byte[0] ^ 1], offset as u64).unwrap();
            }
        }
        Damage::Truncate { size_bytes } => file.set_len(size_bytes as u64).unwrap(),
        Damage::Extend { by_bytes } => {
            use std::io::Seek as _;
            file.seek(std::io::SeekFrom::End(0)).unwrap();
            file.write_all(&vec![7; by_bytes]).unwrap();
        }
        Damage::Zero { from, to } => {
            let mut bytes = vec![0; to - from];
            if file.read_exact_at(&mut bytes, from as u64).is_ok() {
                zero(&mut bytes);
                file.write_all_at(&bytes, from as u64).unwrap();
            }
        }
        Damage::Delete => {
            // It may just have been removed by somebody else.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Damages a copy in the bucket. One that is not there stays so.
pub(crate) fn in_bucket(chaos: &ChaosS3, location: &str, damage: Damage) {
    if let Damage::Flip { offset } = damage {
        chaos.corrupt(location, offset as u64);
        return;
    }
    let Some(bytes) = chaos.body(location) else {
        return;
    };
    let is_long_enough = match damage {
        Damage::Zero { to, .. } => to <= bytes.len(),
        _ => true,
    };
    if !is_long_enough {
        return;
    }
    let left = damage.apply(&bytes);
    chaos.remove(location);
    if let Some(left) = left {
        chaos.plant(location, left);
    }
}

/// Damages one copy of an object if the other one is present and whole; what was done.
pub(crate) fn one_copy(
    world: &World,
    object: &ObjectRow,
    content: &Bytes,
    dice: &mut Dice,
) -> Option<String> {
    let (location, path) = (
        object.location.as_str(),
        world.uploads().join(object.location.as_str()),
    );
    let victim = dice.pick(&[StoreName::LOCAL, StoreName::S3]);
    let damage = Damage::any(dice, content.len());
    let survivor = object
        .placements
        .iter()
        .find(|copy| copy.store != victim && copy.state == PlacementState::Present)?;
    let whole = if survivor.store == StoreName::S3 {
        world.chaos().body(location)
    } else {
        std::fs::read(&path).ok().map(Bytes::from)
    };
    if whole.as_ref() != Some(content) {
        return None;
    }
    if victim == StoreName::S3 {
        in_bucket(world.chaos(), location, damage);
    } else {
        on_disk(&path, damage);
    }
    Some(format!("{damage:?} on {victim}"))
}
