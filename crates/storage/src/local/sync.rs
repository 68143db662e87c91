//! Making names and bytes survive a loss of power.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// Waits until the bytes and the attributes of a file are on the disk.
pub(super) fn sync_file(file: BorrowedFd<'_>) -> Result<(), Errno> {
    #[cfg(test)]
    scripted::next()?;
    // On Apple systems fsync leaves the bytes in the disk's own cache.
    #[cfg(target_vendor = "apple")]
    return rustix::fs::fcntl_fullfsync(file);
    #[cfg(not(target_vendor = "apple"))]
    rustix::fs::fsync(file)
}

/// Waits until the names in a directory are on the disk.
pub(super) fn sync_dir(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    match sync_file(dir) {
        // Some network and FUSE file systems have no fsync for directories. They make names
        // durable by themselves or not at all; nothing better can be asked of them.
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        result => result,
    }
}

/// The directories whose names are known to be on the disk.
///
/// A directory that is found need not be durable: another writer may have made it a moment ago,
/// or a process that was killed before its fsync. So none is trusted until this process has
/// synced its parent.
#[derive(Debug, Default)]
pub(super) struct DurableDirs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    paths: HashSet<Box<str>>,
    removals: u64,
}

/// When a sync began; see [`DurableDirs::learn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

impl DurableDirs {
    /// How many are remembered. Forgetting them costs one fsync each.
    const MOST: usize = 8_192;

    pub(super) fn moment(&self) -> Moment {
        Moment(self.lock().removals)
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.lock().paths.contains(path)
    }

    /// Remembers a directory whose parent was synced, unless any was removed since `began_at`:
    /// then this one may be another than the one that was synced.
    pub(super) fn learn(&self, path: &str, began_at: Moment) {
        let mut known = self.lock();
        if Moment(known.removals) != began_at {
            return;
        }
        if known.paths.len() >= Self::MOST {
            known.paths.clear();
        }
        known.paths.insert(path.into());
    }

    /// Removes a directory and forgets it, so that nobody finds one without the other.
    pub(super) fn remove(
        &self,
        path: &str,
        remove: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut known = self.lock();
        remove()?;
        known.paths.remove(path);
        known.removals += 1;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // The set is whole after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets one sync of this thread fail, as a dying disk would.
#[cfg(test)]
pub(super) mod scripted {
    use std::cell::Cell;

    use rustix::io::Errno;

    thread_local! {
        static LEFT_UNTIL_FAILURE: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// After `syncs` more that work, one fails. `None` lets all work again.
    pub(in crate::local) fn fail_after(syncs: Option<u32>) {
        LEFT_UNTIL_FAILURE.set(syncs);
    }

    /// Whether the failure is still to come.
    pub(in crate::local) fn is_pending() -> bool {
        LEFT_UNTIL_FAILURE.get().is_some()
    }

    pub(super) fn next() -> Result<(), Errno> {
        match LEFT_UNTIL_FAILURE.get() {
            Some(0) => {
                LEFT_UNTIL_FAILURE.set(None);
                Err(Errno::IO)
            }
            left => {
                LEFT_UNTIL_FAILURE.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_removed_meanwhile_is_not_trusted() {
        let dirs = DurableDirs::default();
        let began_at = dirs.moment();
        dirs.learn("models/a", began_at);
        assert!(dirs.contains("models/a"));
        dirs.remove("models/a", || Ok(())).unwrap();
        assert!(!dirs.contains("models/a"));
        dirs.learn("models/a", began_at);
        assert!(!dirs.contains("models/a"), "synced before the removal");
        assert_eq!(
            dirs.remove("models/a", || Err(Errno::NOTEMPTY)),
            Err(Errno::NOTEMPTY)
        );
        dirs.learn("models/a", dirs.moment());
        assert!(dirs.contains("models/a"));
    }

    #[test]
    fn memory_is_bounded() {
        let dirs = DurableDirs::default();
        for n in 0..=DurableDirs::MOST {
            dirs.learn(&format!("models/{n}"), dirs.moment());
        }
        assert_eq!(dirs.lock().paths.len(), 1);
    }
}
