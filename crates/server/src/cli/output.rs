//! Where results, words and errors go.
//!
//! Results go to stdout: with `--json` as one object per line, else as words and tables, so that
//! both can be piped. Everything else that people read goes to stderr. With `--json` an error is
//! an object on stdout too, `{"error": {"code", "detail", "fix"}}`.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::json;

use super::GlobalOptions;
use super::error::CliError;
use super::progress::{Progress, Style};
use crate::config::Problem;
use crate::exit::Exit;

/// Where results, words and errors go.
#[derive(Debug, Clone)]
pub struct Output {
    is_json: bool,
    is_quiet: bool,
    is_terminal: bool,
}

impl Output {
    /// The output that the options ask for, on this process's stdout and stderr.
    #[must_use]
    pub fn new(options: &GlobalOptions) -> Self {
        Self {
            is_json: options.json,
            is_quiet: options.quiet,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Whether results are JSON.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.is_json
    }

    /// Prints a result as one line of JSON.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn record(&self, result: &impl Serialize) -> Result<(), CliError> {
        let mut line = serde_json::to_vec(result)
            .map_err(io::Error::from)
            .map_err(unwritable)?;
        line.push(b'\n');
        write_stdout(&line)
    }

    /// Prints a result as a line of text.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn line(&self, text: &str) -> Result<(), CliError> {
        write_stdout(format!("{}\n", printable(text)).as_bytes())
    }

    /// Prints a result as JSON, or else as a line of text.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn result(&self, json: &impl Serialize, text: &str) -> Result<(), CliError> {
        if self.is_json {
            self.record(json)
        } else {
            self.line(text)
        }
    }

    /// Prints results as a table.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), CliError> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header);
        for row in rows {
            table.add_row(row.map(|cell| printable(&cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            write_stdout(format!("{}\n", line.trim_end()).as_bytes())?;
        }
        Ok(())
    }

    /// Says something to people, unless they want to hear results only.
    pub fn note(&self, text: &str) {
        if !self.is_quiet && !self.is_json {
            write_stderr(text);
        }
    }

    /// Warns people, unless they want to hear results only.
    pub fn warning(&self, text: &str) {
        if !self.is_quiet {
            write_stderr(&format!("stockroom: warning: {text}"));
        }
    }

    /// Reports why the command failed.
    pub fn error(&self, error: &CliError) {
        if self.is_json {
            let object = json!({"error": {
                "code": error.code(), "detail": error.detail(), "fix": error.fix(),
            }});
            // There is no other place left to report to.
            let _ = self.record(&object);
            return;
        }
        let fix = error.fix().map(|fix| format!(" {fix}"));
        write_stderr(&format!("stockroom: {error}{}", fix.unwrap_or_default()));
    }

    /// Reports everything that is wrong with the configuration.
    pub fn problems(&self, problems: &[Problem]) {
        if self.is_json {
            for problem in problems {
                let object = json!({"error": {
                    "code": "configuration",
                    "detail": problem.detail(),
                    "fix": format!("{}.", problem.fix),
                    "variable": problem.variable,
                    "source": problem.source,
                }});
                // There is no other place left to report to.
                let _ = self.record(&object);
            }
            return;
        }
        let count = match problems.len() {
            1 => "a problem".to_owned(),
            count => format!("{count} problems"),
        };
        write_stderr(&format!("stockroom: the configuration has {count}"));
        for problem in problems {
            write_stderr(&format!("  {problem}"));
        }
    }

    /// Follows a transfer. `label` says what is moved; `total_bytes` is its size if it is known.
    #[must_use]
    pub fn progress(&self, label: impl Into<String>, total_bytes: Option<u64>) -> Progress {
        let style = match (self.is_quiet || self.is_json, self.is_terminal) {
            (true, _) => Style::Silent,
            (false, true) => Style::Bar,
            (false, false) => Style::Lines,
        };
        Progress::new(printable(&label.into()), total_bytes, style)
    }
}

/// Reports a command line that could not be understood, or prints the help that was asked for.
/// The options could not be read, so whether JSON is wanted is looked for in the arguments.
#[must_use]
pub fn usage(error: &clap::Error, wants_json: bool) -> Exit {
    if !error.use_stderr() {
        return match write_stdout(error.render().to_string().as_bytes()) {
            Ok(()) => Exit::Ok,
            Err(error) => error.exit(),
        };
    }
    if wants_json {
        // The first line says what is wrong; the rest is the usage in several lines.
        let text = error.render().to_string();
        let detail = text.lines().next().unwrap_or_default();
        let detail = detail.trim_start_matches("error: ");
        let object = json!({"error": {
            "code": "usage", "detail": detail, "fix": "Run stockroom --help.",
        }});
        // There is no other place left to report to.
        let _ = write_stdout(format!("{object}\n").as_bytes());
    } else {
        write_stderr(error.render().to_string().trim_end());
    }
    Exit::Usage
}

fn write_stdout(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(unwritable)
}

pub(super) fn write_stderr(text: &str) {
    // A person who closed stderr does not want to know.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is used with map_err, which hands the error over"
)]
fn unwritable(error: io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::reader_left()
    } else {
        CliError::failed("output", format!("Stdout cannot be written: {error}."))
    }
}

/// A text from outside as it may be sent to a terminal: a control character in a file name could
/// move the cursor or change what was printed before.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_sent_no_control_characters() {
        assert_eq!(
            printable("a\u{1b}[2Jb\r\n\u{9b}c"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c"
        );
        assert_eq!(printable("Grün ☂"), "Grün ☂");
    }

    #[test]
    fn a_reader_who_has_enough_is_no_failure() {
        let left = unwritable(io::ErrorKind::BrokenPipe.into());
        assert_eq!(left.exit(), Exit::Ok);
        let full = unwritable(io::ErrorKind::StorageFull.into());
        assert_eq!(full.exit(), Exit::Failed);
    }
}
