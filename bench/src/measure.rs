//! Measure: what one program took, seen from outside.

use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::Outcome;

/// What the kernel counts processor time in, for programs: 100 in a second on every Linux.
/// Source: proc(5), `USER_HZ`.
const TICKS_PER_SECOND: f64 = 100.0;

/// How often the memory is looked at. The kernel keeps the highest value itself; only what comes
/// after the last look before the end is missed.
const LOOK: Duration = Duration::from_millis(5);

/// What one program took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// From its start to its end.
    pub(crate) wall: Duration,
    /// In the program and in the kernel for it.
    pub(crate) cpu: Duration,
    /// The most memory that was in use at once, that of mapped files included.
    pub(crate) peak_rss_bytes: u64,
    /// How it ended.
    pub(crate) status: ExitStatus,
}

/// Runs a program to its end. What it prints goes to `output`, or nowhere; what it complains of is
/// shown when it fails.
pub(crate) fn run(command: &mut Command, output: Option<&Path>) -> Outcome<Taken> {
    let stdout = match output {
        Some(path) => Stdio::from(File::create(path)?),
        None => Stdio::null(),
    };
    let mut complaints = tempfile::tempfile()?;
    let stderr = Stdio::from(complaints.try_clone()?);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let began = now();
    let child = command.spawn()?;
    let taken = to_its_end(child, began)?;
    if !taken.status.success() {
        complaints.rewind()?;
        io::copy(&mut complaints, &mut io::stderr())?;
    }
    Ok(taken)
}

/// Measures a program that was started at `began` to its end.
fn to_its_end(mut child: Child, began: Instant) -> Outcome<Taken> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("a process without an id")?;
    let (peak, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let wall = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let seen = peak_rss_bytes(child_id(pid)).unwrap_or(0);
                peak.fetch_max(seen, Ordering::Relaxed);
                thread::sleep(LOOK);
            }
        });
        // It stays a zombie until its times were read.
        let ended = waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
        let wall = began.elapsed();
        is_over.store(true, Ordering::Relaxed);
        ended.map(|_| wall)
    })?;
    let cpu = cpu(child_id(pid))?;
    Ok(Taken {
        wall,
        cpu,
        peak_rss_bytes: peak.into_inner(),
        status: child.wait()?,
    })
}

fn child_id(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// The processor time of a process so far, that of its children that ended included.
pub(crate) fn cpu(pid: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks_of(&stat).ok_or("/proc/PID/stat reads otherwise than proc(5) says")?;
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

/// The same of a server and its workers.
pub(crate) fn cpu_of_all(pid: u32) -> Outcome<Duration> {
    with_workers(pid).into_iter().map(cpu).sum()
}

/// A server and its workers, which have none themselves. A worker that another thread than the first one started
/// would not be found; no server here does that.
pub(crate) fn with_workers(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let workers = children.split_whitespace().filter_map(|it| it.parse().ok());
    [pid].into_iter().chain(workers).collect()
}

/// `utime`, `stime`, `cutime` and `cstime` together. The name before them may hold anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let times: Option<Vec<u64>> = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|field| field.parse().ok())
        .collect();
    times
        .filter(|times| times.len() == 4)
        .map(|times| times.iter().sum())
}

/// The most memory that a process had in use at once so far; none when it has none any more.
pub(crate) fn peak_rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Measuring time is what this program is for.
#[expect(clippy::disallowed_methods, reason = "the edge of the program")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_measured_to_its_end() {
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exit 3";
        let taken = run(Command::new("sh").args(["-c", busy]), None).unwrap();
        assert_eq!(taken.status.code(), Some(3));
        assert!(taken.cpu > Duration::ZERO && taken.wall > Duration::ZERO);
        assert!(taken.peak_rss_bytes > 100 << 10, "{taken:?}");
    }

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 20 30 40 50 60";
        assert_eq!(ticks_of(stat), Some(20 + 30 + 40 + 50));
        assert_eq!(ticks_of("7 (a) S 1 2"), None);
    }
}
