//! What is logged, and in which form.

use tracing_subscriber::EnvFilter;

use super::problem::{Fault, fault};
use super::reader::{Noted, Reader};
use super::values::choice;
use super::variable;

/// What is logged, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A filter in the language of `tracing_subscriber::EnvFilter`; `None` when nobody set one.
    /// The server then logs at `info`, the other commands at `warn`.
    pub filter: Option<String>,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Words on a terminal, JSON elsewhere.
    Auto,
    /// Words.
    Text,
    /// One JSON object per line.
    Json,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<LogSettings, Noted> {
    let filter = reader.read(&variable::LOG, "info", filter);
    let is_default = reader.is_default(&variable::LOG);
    let format = reader.read(&variable::LOG_FORMAT, "auto", |text| {
        choice(
            text,
            &[
                ("auto", LogFormat::Auto),
                ("text", LogFormat::Text),
                ("json", LogFormat::Json),
            ],
        )
    });
    Ok(LogSettings {
        filter: Some(filter?).filter(|_| !is_default),
        format: format?,
    })
}

/// A filter. A word that is no level would be taken for the name of a module whose every line is
/// wanted, so that `LOG=inof` silences the program; here a module needs its level.
fn filter(text: &str) -> Result<String, Fault> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let has_levels = text.split(',').all(|part| {
        part.contains(['=', '[', ']', '}']) || LEVELS.contains(&part.to_ascii_lowercase().as_str())
    });
    if !has_levels || EnvFilter::builder().parse(text).is_err() {
        return Err(fault(
            "is not a log filter",
            "Write off, error, warn, info, debug or trace, or levels by module such as info,stockroom::http=debug",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_made_of_levels() {
        for text in [
            "info",
            "WARN",
            "off",
            "info,stockroom=debug",
            "warn,stockroom[put{key=a}]=trace",
        ] {
            assert!(filter(text).is_ok(), "{text}");
        }
        for text in [
            "inof",
            "stockroom",
            "info,stockroom=loud",
            "info,",
            "info;debug",
        ] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}
