//! Group commit of directories: calls that change names in the same directory at the same moment share
//! an fsync.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::fstat;
use rustix::io::Errno;

use super::sync::sync_dir;

/// Syncs directories.
#[derive(Debug, Default)]
pub(super) struct GroupSync(Mutex<Syncs>);

#[derive(Debug, Default)]
struct Syncs {
    /// The directories that are being synced. Each is there for as long as somebody waits for it.
    dirs: HashMap<DirId, Arc<Rounds>>,
    /// How many syncs have failed, and how the last one did.
    failures: u64,
    last_failure: Option<Errno>,
}

/// When a name was about to change; see [`GroupSync::sync_dir`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Since(u64);

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
}

impl GroupSync {
    /// The present moment. Take it before the change of a name that is to be synced.
    pub(super) fn since(&self) -> Since {
        Since(self.lock().failures)
    }

    /// Waits until the names that are in a directory now are on the disk. A sync that is at work already
    /// does not count, because it may have looked at them before; all who come meanwhile share the next one.
    ///
    /// The kernel tells of a failure to those who had the directory open then, and may drop what it could not write. Somebody
    /// who opened it later does the work for all the same, so a failure since the change counts, whoever saw it, and of
    /// whichever directory it was.
    pub(super) fn sync_dir(&self, dir: BorrowedFd<'_>, since: Since) -> Result<(), Errno> {
        let stat = fstat(dir)?;
        // The types differ between platforms.
        #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
        let id = (stat.st_dev as u64, stat.st_ino as u64);
        self.sync(id, since, || sync_dir(dir))
    }

    fn sync(
        &self,
        id: DirId,
        Since(since): Since,
        sync: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let rounds = Arc::clone(self.lock().dirs.entry(id).or_default());
        let led = rounds.join(|| {
            let synced = sync();
            let mut syncs = self.lock();
            if let Err(error) = synced {
                syncs.failures += 1;
                syncs.last_failure = Some(error);
            }
            syncs.outcome(since)
        });
        let mut syncs = self.lock();
        // References are given back under the lock alone, so the last one to leave sees that it is.
        drop(rounds);
        if syncs
            .dirs
            .get(&id)
            .is_some_and(|it| Arc::strong_count(it) == 1)
        {
            syncs.dirs.remove(&id);
        }
        // For whoever did not do the work, a failure after its own round counts as well.
        led.unwrap_or_else(|| syncs.outcome(since))
    }

    fn lock(&self) -> MutexGuard<'_, Syncs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Syncs {
    /// Whether there was a failure since then.
    const fn outcome(&self, since: u64) -> Result<(), Errno> {
        match self.last_failure {
            Some(error) if self.failures > since => Err(error),
            _ => Ok(()),
        }
    }
}

impl Rounds {
    /// Waits for the end of the first round that begins from now on. One of those who wait for it does the work, and
    /// gets what came of it.
    fn join<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let mut state = self.lock();
        let own = state.begun + 1;
        while state.begun != state.ended && state.ended < own {
            let ended = self.ended(own);
            state = ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.ended >= own {
            return None;
        }
        state.begun = own;
        drop(state);
        let done = work();
        self.end(own);
        Some(done)
    }

    fn end(&self, round: u64) {
        self.lock().ended = round;
        self.ended(round).notify_all();
        // One of them does the next round, and wakes the others at the end of it.
        self.ended(round + 1).notify_one();
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
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const DIR: DirId = (1, 1);

    /// Lets `others` come while a sync is at work, whose end they have to wait for, and tells how each came out and
    /// how many syncs there were beside that one.
    fn come_while_one_is_at_work(
        others: usize,
        first: Result<(), Errno>,
        later: Result<(), Errno>,
    ) -> (Vec<Result<(), Errno>>, u64) {
        let (syncs, count) = (GroupSync::default(), AtomicU64::new(0));
        let (begun, has_begun) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let (came, has_come) = mpsc::channel();
        thread::scope(|scope| {
            let shared = &syncs;
            let at_work = scope.spawn(move || {
                shared.sync(DIR, shared.since(), || {
                    begun.send(()).unwrap();
                    is_released.recv().unwrap();
                    first
                })
            });
            has_begun.recv().unwrap();
            let joined: Vec<_> = (0..others)
                .map(|_| {
                    let (came, syncs, count) = (came.clone(), &syncs, &count);
                    scope.spawn(move || {
                        let since = syncs.since();
                        came.send(()).unwrap();
                        syncs.sync(DIR, since, || {
                            count.fetch_add(1, Ordering::Relaxed);
                            later
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
            assert_eq!(at_work.join().unwrap(), first);
            let results = joined.into_iter().map(|it| it.join().unwrap()).collect();
            (results, count.load(Ordering::Relaxed))
        })
    }

    #[test]
    fn who_comes_while_a_sync_is_at_work_shares_the_next_one() {
        let (results, syncs) = come_while_one_is_at_work(8, Ok(()), Ok(()));
        assert_eq!(results, [Ok(()); 8]);
        // At least one: the sync at work may have begun before their names were there.
        assert!((1..8).contains(&syncs), "{syncs} syncs");
    }

    #[test]
    fn a_sync_that_failed_is_the_failure_of_all_who_waited_for_it() {
        let (results, _) = come_while_one_is_at_work(8, Ok(()), Err(Errno::IO));
        assert_eq!(results, [Err(Errno::IO); 8]);
    }

    #[test]
    fn what_a_sync_before_may_have_dropped_is_not_on_the_disk_because_the_next_one_works() {
        let (results, _) = come_while_one_is_at_work(8, Err(Errno::NOSPC), Ok(()));
        assert_eq!(results, [Err(Errno::NOSPC); 8]);
    }

    #[test]
    fn a_failure_is_not_held_against_what_changes_later() {
        let syncs = GroupSync::default();
        let failed = syncs.sync(DIR, syncs.since(), || Err(Errno::IO));
        assert_eq!(failed, Err(Errno::IO));
        assert_eq!(syncs.sync(DIR, syncs.since(), || Ok(())), Ok(()));
    }

    #[test]
    fn each_call_is_covered_by_a_sync_that_began_after_it_and_nothing_is_kept() {
        let (syncs, clock) = (GroupSync::default(), AtomicU64::new(0));
        let last_begun = AtomicU64::new(0);
        thread::scope(|scope| {
            for n in 0..8 {
                let (syncs, clock, last_begun) = (&syncs, &clock, &last_begun);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let came_at = clock.fetch_add(1, Ordering::SeqCst);
                        let synced = syncs.sync(DIR, syncs.since(), || {
                            let begun_at = clock.fetch_add(1, Ordering::SeqCst);
                            thread::yield_now();
                            last_begun.store(begun_at, Ordering::SeqCst);
                            Ok(())
                        });
                        assert_eq!(synced, Ok(()));
                        assert!(last_begun.load(Ordering::SeqCst) > came_at);
                        let other = (1, 2 + n);
                        syncs.sync(other, syncs.since(), || Ok(())).unwrap();
                    }
                });
            }
        });
        assert!(syncs.lock().dirs.is_empty());
    }
}
