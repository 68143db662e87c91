//! Group commit of directories: calls that change names in the same directory at the same moment share
//! an fsync.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::fstat;
use rustix::io::Errno;

use super::sync::sync_dir;

/// The directories that are being synced. Each is there for as long as somebody waits for it.
#[derive(Debug, Default)]
pub(super) struct GroupSync(Mutex<HashMap<DirId, Arc<Rounds>>>);

/// Device and inode. A path will not do: another directory may be there by now.
type DirId = (u64, u64);

/// The syncs of one directory, one after the other. They are numbered from 1.
#[derive(Debug, Default)]
struct Rounds {
    state: Mutex<State>,
    /// The end of a round, by whether its number is even, so that it does not wake those who wait for
    /// the next one.
    ended: [Condvar; 2],
}

#[derive(Debug, Default)]
struct State {
    /// The last round that began; it is at work when it is not also the last one that ended.
    begun: u64,
    ended: u64,
    /// The last round that failed.
    failed: Option<(u64, Errno)>,
}

impl GroupSync {
    /// Waits until the names that are in a directory now are on the disk. A sync that is at work already
    /// does not count, because it may have looked at them before; all who come meanwhile share the next one, and
    /// its failure.
    pub(super) fn sync_dir(&self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        let stat = fstat(dir)?;
        // The types differ between platforms.
        #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
        let id = (stat.st_dev as u64, stat.st_ino as u64);
        let rounds = Arc::clone(self.lock().entry(id).or_default());
        let synced = rounds.join(|| sync_dir(dir));
        self.leave(id, rounds);
        synced
    }

    /// Forgets a directory that nobody else waits for. References are given back under the lock alone, so the last
    /// one to leave sees that it is.
    fn leave(&self, id: DirId, own: Arc<Rounds>) {
        let mut dirs = self.lock();
        drop(own);
        if dirs.get(&id).is_some_and(|it| Arc::strong_count(it) == 1) {
            dirs.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DirId, Arc<Rounds>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rounds {
    /// Waits for the end of the first round that begins from now on. One of those who wait for it does the work.
    fn join(&self, sync: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let mut state = self.lock();
        let own = state.begun + 1;
        while state.begun != state.ended && state.ended < own {
            let ended = self.ended(own);
            state = ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.ended < own {
            state.begun = own;
            drop(state);
            return self.end(own, sync());
        }
        match state.failed {
            // Of a later failure it is not known whether it was that of this round as well.
            Some((round, error)) if round >= own => Err(error),
            _ => Ok(()),
        }
    }

    fn end(&self, round: u64, result: Result<(), Errno>) -> Result<(), Errno> {
        let mut state = self.lock();
        state.ended = round;
        if let Err(error) = result {
            state.failed = Some((round, error));
        }
        drop(state);
        self.ended(round).notify_all();
        // One of them does the next round, and wakes the others at the end of it.
        self.ended(round + 1).notify_one();
        result
    }

    fn ended(&self, round: u64) -> &Condvar {
        let [even, odd] = &self.ended;
        if round.is_multiple_of(2) { even } else { odd }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Lets `others` come while a round is at work, whose end they have to wait for, and tells how each came out and
    /// how many rounds there were.
    fn join_while_one_is_at_work(
        others: usize,
        result: Result<(), Errno>,
    ) -> (Vec<Result<(), Errno>>, u64) {
        let (rounds, syncs) = (Rounds::default(), AtomicU64::new(0));
        let (begun, has_begun) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let (came, has_come) = mpsc::channel();
        thread::scope(|scope| {
            let shared = &rounds;
            let first = scope.spawn(move || {
                shared.join(|| {
                    begun.send(()).unwrap();
                    is_released.recv().unwrap();
                    Ok(())
                })
            });
            has_begun.recv().unwrap();
            let joined: Vec<_> = (0..others)
                .map(|_| {
                    let (came, rounds, syncs) = (came.clone(), &rounds, &syncs);
                    scope.spawn(move || {
                        came.send(()).unwrap();
                        rounds.join(|| {
                            syncs.fetch_add(1, Ordering::Relaxed);
                            result
                        })
                    })
                })
                .collect();
            for _ in 0..others {
                has_come.recv().unwrap();
            }
            // Between saying so and joining lies next to nothing; who came late begins a round of its own.
            thread::sleep(Duration::from_millis(100));
            release.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Ok(()));
            let results = joined.into_iter().map(|it| it.join().unwrap()).collect();
            (results, syncs.load(Ordering::Relaxed))
        })
    }

    #[test]
    fn who_comes_while_a_sync_is_at_work_shares_the_next_one() {
        let (results, syncs) = join_while_one_is_at_work(8, Ok(()));
        assert_eq!(results, [Ok(()); 8]);
        // At least one: the sync at work may have begun before their names were there.
        assert!((1..8).contains(&syncs), "{syncs} syncs");
    }

    #[test]
    fn a_sync_that_failed_is_the_failure_of_all_who_waited_for_it() {
        let (results, _) = join_while_one_is_at_work(8, Err(Errno::IO));
        assert_eq!(results, [Err(Errno::IO); 8]);
    }

    #[test]
    fn a_failure_is_not_held_against_those_who_come_later() {
        let rounds = Rounds::default();
        assert_eq!(rounds.join(|| Err(Errno::IO)), Err(Errno::IO));
        assert_eq!(rounds.join(|| Ok(())), Ok(()));
    }

    #[test]
    fn each_call_is_covered_by_a_sync_that_began_after_it_and_nothing_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dir = std::fs::File::open(folder.path()).unwrap();
        let syncs = GroupSync::default();
        let (rounds, clock) = (Rounds::default(), AtomicU64::new(0));
        let last_begun = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let came_at = clock.fetch_add(1, Ordering::SeqCst);
                        let synced = rounds.join(|| {
                            let begun_at = clock.fetch_add(1, Ordering::SeqCst);
                            thread::yield_now();
                            last_begun.store(begun_at, Ordering::SeqCst);
                            Ok(())
                        });
                        assert_eq!(synced, Ok(()));
                        assert!(last_begun.load(Ordering::SeqCst) > came_at);
                        syncs.sync_dir(dir.as_fd()).unwrap();
                    }
                });
            }
        });
        assert!(syncs.lock().is_empty());
    }
}
