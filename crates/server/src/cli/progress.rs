//! How far a transfer is. Nobody needs to hear of one that takes less than a second.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::output;

/// A transfer shorter than this is not talked about.
const QUIET_FOR: Duration = Duration::from_secs(1);
/// Where stderr is a file, one line in this time is enough.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Not at all.
    Silent,
    /// A bar on a terminal.
    Bar,
    /// Lines in a file.
    Lines,
}

/// How far a transfer is; shown on stderr. A bar goes away when this is dropped.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total_bytes: Option<u64>,
    done_bytes: u64,
    started: Instant,
    style: Style,
    next_line_after: Duration,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(label: String, total_bytes: Option<u64>, style: Style) -> Self {
        Self {
            label,
            total_bytes,
            done_bytes: 0,
            started: Instant::now(),
            style,
            next_line_after: QUIET_FOR,
            bar: None,
        }
    }

    /// Counts bytes that were moved.
    pub fn advance(&mut self, bytes: u64) {
        self.done_bytes = self.done_bytes.saturating_add(bytes);
        let elapsed = self.started.elapsed();
        match self.style {
            Style::Silent => {}
            Style::Bar if elapsed < QUIET_FOR => {}
            Style::Bar => {
                let done_bytes = self.done_bytes;
                self.bar(elapsed).set_position(done_bytes);
            }
            Style::Lines => {
                if let Some(line) = self.line_due(elapsed) {
                    output::write_stderr(&line);
                }
            }
        }
    }

    /// Bytes moved so far.
    #[must_use]
    pub const fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    fn bar(&mut self, elapsed: Duration) -> &ProgressBar {
        self.bar.get_or_insert_with(|| {
            let (bar, template) = match self.total_bytes {
                Some(total_bytes) => (
                    ProgressBar::new(total_bytes),
                    "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
                ),
                None => (ProgressBar::no_length(), "{msg} {bytes} {bytes_per_sec}"),
            };
            // Both templates are fixed; were one wrong, the default style would do.
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.with_style(style)
                .with_message(self.label.clone())
                .with_elapsed(elapsed)
        })
    }

    /// The next line, when it is time for one.
    fn line_due(&mut self, elapsed: Duration) -> Option<String> {
        if elapsed < self.next_line_after {
            return None;
        }
        self.next_line_after = elapsed + BETWEEN_LINES;
        let (label, done) = (&self.label, HumanBytes(self.done_bytes));
        Some(match self.total_bytes {
            Some(total_bytes) => {
                // Widened, because 100 times a size can be more than 64 bits hold.
                let percent = u128::from(self.done_bytes) * 100 / u128::from(total_bytes.max(1));
                let total = HumanBytes(total_bytes);
                format!("{label}: {done} of {total} ({percent} %)")
            }
            None => format!("{label}: {done}"),
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_after_a_second_and_keep_their_distance() {
        let mut progress = Progress::new("put models/a.stl".into(), Some(4 << 20), Style::Lines);
        progress.done_bytes = 1 << 20;
        let mut at = |ms| progress.line_due(Duration::from_millis(ms));
        assert_eq!(at(999), None);
        let line = "put models/a.stl: 1.00 MiB of 4.00 MiB (25 %)";
        assert_eq!(at(1_000).as_deref(), Some(line));
        assert_eq!(at(10_999), None);
        assert!(at(11_000).is_some());
    }

    #[test]
    fn an_unknown_or_empty_size_is_no_trouble() {
        let second = Duration::from_secs(1);
        let mut unknown = Progress::new("get".into(), None, Style::Lines);
        unknown.done_bytes = 512;
        assert_eq!(unknown.line_due(second).as_deref(), Some("get: 512 B"));
        let mut empty = Progress::new("get".into(), Some(0), Style::Lines);
        assert_eq!(
            empty.line_due(second).as_deref(),
            Some("get: 0 B of 0 B (0 %)")
        );
    }

    #[test]
    fn bytes_are_counted_in_every_style() {
        for style in [Style::Silent, Style::Bar, Style::Lines] {
            let mut progress = Progress::new("get".into(), None, style);
            progress.advance(3);
            progress.advance(4);
            assert_eq!(progress.done_bytes(), 7);
        }
    }
}
