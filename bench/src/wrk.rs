//! wrk: many connections to one server at once, counted from outside. What it prints for people is rounded, so a
//! script of its own prints the counts.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::peers::Contestant;

/// What is asked of a server, over and over.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) url: String,
    /// Headers of each request, as `name: value`.
    pub(crate) headers: &'a [String],
    pub(crate) connections: u64,
    pub(crate) seconds: u64,
    /// Lua that makes the requests, where they are not all the same GET.
    pub(crate) requests: &'a str,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    /// Requests that were answered in whole.
    pub(crate) requests: u64,
    /// Everything that was received, heads and broken answers too.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// What went wrong, by kind and in the order of [`FAULTS`].
    faults: [u64; 5],
}

const FAULTS: [&str; 5] = [
    "connections failed",
    "reads failed",
    "writes failed",
    "answers were no 2xx",
    "answers took too long",
];

/// The time after which an answer is late. A large file may take a while.
const TIMEOUT: &str = "120s";

const COUNTS: &str = r#"
done = function(summary)
    local e = summary.errors
    io.write(string.format("counted %d %d %d %d %d %d %d %d\n", summary.requests, summary.bytes,
        summary.duration, e.connect, e.read, e.write, e.status, e.timeout))
end
"#;

impl Load<'_> {
    /// Runs wrk on one thread to its end. Its script goes into a folder.
    pub(crate) fn run(&self, wrk: &Contestant, folder: &Path) -> Outcome<Tally> {
        let script: PathBuf = folder.join("requests.lua");
        fs::write(&script, format!("{}{COUNTS}", self.requests))?;
        let mut command = Command::new(&wrk.program);
        command
            .args(["--threads", "1", "--timeout", TIMEOUT])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.seconds)])
            .arg("--script")
            .arg(&script);
        for header in self.headers {
            command.args(["--header", header]);
        }
        let output = command.arg(&self.url).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        tally(&said).ok_or_else(|| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("wrk counted nothing: {said}{complaint}").into()
        })
    }
}

impl Tally {
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Every request was answered by a 2xx. wrk counts those of 400 and more; what is redirected shows by
    /// its size.
    pub(crate) fn expect_success(&self) -> Outcome<()> {
        if let Some(kind) = self.faults.iter().position(|&count| count > 0) {
            let (count, of) = (self.faults[kind], self.requests);
            return Err(format!("{count} of {of} {}", FAULTS[kind]).into());
        }
        match self.requests {
            0 => Err("not one request was answered".into()),
            _ => Ok(()),
        }
    }

    /// Every answer was as long as it should be: beside them there is only what each connection was in the
    /// middle of.
    pub(crate) fn expect_bytes(&self, each: &RangeInclusive<u64>, connections: u64) -> Outcome<()> {
        let (least, most) = (
            self.requests * each.start(),
            (self.requests + connections) * each.end(),
        );
        match (least..=most).contains(&self.bytes) {
            true => Ok(()),
            false => {
                let Self {
                    bytes, requests, ..
                } = self;
                let said = format!("{bytes} bytes in {requests} answers, not {least} to {most}");
                Err(said.into())
            }
        }
    }
}

/// The counts in what wrk printed.
fn tally(said: &str) -> Option<Tally> {
    let line = said.lines().find_map(|it| it.strip_prefix("counted "))?;
    let counts: Vec<u64> = line
        .split(' ')
        .map(|count| count.parse().ok())
        .collect::<Option<_>>()?;
    let [requests, bytes, duration_us, faults @ ..] = counts.as_slice() else {
        return None;
    };
    Some(Tally {
        requests: *requests,
        bytes: *bytes,
        seconds: *duration_us as f64 / 1e6,
        faults: faults.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What wrk prints with the script, with rounder figures.
    const SAID: &str = "Running 2s test @ http://127.0.0.1:3999/
  1 threads and 32 connections
  4000 requests in 2.00s, 80.00MB read
Requests/sec:   2000.00
Transfer/sec:     40.00MB
counted 4000 80800000 2000000 0 0 0 0 0
";

    fn with_faults(faults: &str) -> Tally {
        tally(&SAID.replace("2000000 0 0 0 0 0", &format!("2000000 {faults}"))).unwrap()
    }

    #[test]
    fn counts_are_read_from_what_is_printed() {
        let tally = tally(SAID).unwrap();
        assert_eq!((tally.requests, tally.bytes), (4_000, 80_800_000));
        assert!((tally.requests_per_second() - 2_000.0).abs() < 1e-9);
        tally.expect_success().unwrap();
    }

    #[test]
    fn what_is_not_counted_in_whole_is_no_tally() {
        assert_eq!(tally("Requests/sec:   2000.00\n"), None);
        assert_eq!(tally("counted 1 2 3 4\n"), None);
        assert_eq!(tally("counted 1 2 3 0 0 0 0 many\n"), None);
        assert_eq!(tally("counted 1 2 3 0 0 0 0 0 0\n"), None);
    }

    #[test]
    fn each_fault_is_an_error_by_its_name() {
        for (faults, sentence) in [
            ("1 0 0 0 0", "1 of 4000 connections failed"),
            ("0 2 0 0 0", "2 of 4000 reads failed"),
            ("0 0 0 31 0", "31 of 4000 answers were no 2xx"),
            ("0 0 0 0 9", "9 of 4000 answers took too long"),
        ] {
            let error = with_faults(faults).expect_success().unwrap_err();
            assert_eq!(error.to_string(), sentence);
        }
        let nothing = tally("counted 0 0 2000000 0 0 0 0 0\n").unwrap();
        assert!(nothing.expect_success().is_err());
    }

    #[test]
    fn answers_that_are_too_short_or_too_long_are_an_error() {
        let tally = tally(SAID).unwrap();
        tally.expect_bytes(&(20_000..=20_200), 32).unwrap();
        // What 32 connections were in the middle of does not make up for answers that are too short.
        assert!(tally.expect_bytes(&(20_201..=20_300), 32).is_err());
        assert!(tally.expect_bytes(&(19_000..=20_000), 32).is_err());
        tally.expect_bytes(&(19_000..=20_100), 32).unwrap();
    }
}
