//! The log: on stderr, never on stdout, which belongs to results.

use std::io;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogFormat, LogSettings};

/// What the log depends on besides its settings.
#[derive(Debug, Clone, Copy)]
pub struct LogSurroundings {
    /// The level when nobody set a filter.
    pub default_level: Level,
    /// Whether stderr is a terminal.
    pub is_terminal: bool,
    /// Whether a terminal may be sent colours.
    pub may_colour: bool,
}

/// Sends all events of the process to stderr from now on. Called once, in `main`; a second call
/// changes nothing.
pub fn start(settings: &LogSettings, surroundings: LogSurroundings) {
    let subscriber = subscriber(settings, surroundings, io::stderr);
    // The only reason to fail is a subscriber that is already there.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn subscriber<W>(
    settings: &LogSettings,
    surroundings: LogSurroundings,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let default_level = surroundings.default_level.as_str();
    let text = settings.filter.as_deref().unwrap_or(default_level);
    // The configuration has refused what would be left out here.
    let chosen = EnvFilter::builder().parse_lossy(text);
    let filter = chosen.and(filter_fn(|event| !may_show_requests(event)));
    let lines = fmt::layer().with_writer(writer);
    let is_json = match settings.format {
        LogFormat::Auto => !surroundings.is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if is_json {
        let lines = lines.json().flatten_event(true).with_span_list(false);
        Box::new(tracing_subscriber::registry().with(lines.with_filter(filter)))
    } else {
        let colour = surroundings.is_terminal && surroundings.may_colour;
        let lines = lines.with_ansi(colour);
        Box::new(tracing_subscriber::registry().with(lines.with_filter(filter)))
    }
}

/// Below `info` these libraries write whole requests, with signatures, keys and passwords in them.
/// No filter switches that on.
fn may_show_requests(event: &Metadata<'_>) -> bool {
    const LIBRARIES: [&str; 7] = ["aws_", "h2", "hyper", "reqwest", "rustls", "sqlx", "tower"];
    *event.level() > Level::INFO
        && LIBRARIES
            .iter()
            .any(|library| event.target().starts_with(library))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(settings: &LogSettings, is_terminal: bool, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let surroundings = LogSurroundings {
            default_level: Level::WARN,
            is_terminal,
            may_colour: false,
        };
        let subscriber = subscriber(settings, surroundings, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        let bytes = lines.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    fn settings(filter: Option<&str>, format: LogFormat) -> LogSettings {
        LogSettings {
            filter: filter.map(str::to_owned),
            format,
        }
    }

    #[test]
    fn libraries_cannot_be_made_to_show_requests() {
        let all = settings(Some("trace,aws_sigv4=trace"), LogFormat::Text);
        let log = logged(&all, false, || {
            tracing::trace!(target: "aws_sigv4::http_request", "canary");
            tracing::debug!(target: "hyper::proto", "canary");
            tracing::info!(target: "aws_config", "a region");
            tracing::trace!(target: "stockroom::http", "a route");
        });
        assert!(!log.contains("canary"), "{log}");
        assert!(log.contains("a region") && log.contains("a route"), "{log}");
    }

    #[test]
    fn the_default_level_counts_when_nobody_chose() {
        let events = || {
            tracing::warn!("a warning");
            tracing::info!("a remark");
        };
        let log = logged(&settings(None, LogFormat::Text), false, events);
        assert!(
            log.contains("a warning") && !log.contains("a remark"),
            "{log}"
        );
        let log = logged(&settings(Some("info"), LogFormat::Text), false, events);
        assert!(log.contains("a remark"), "{log}");
    }

    #[test]
    fn lines_are_json_where_nobody_reads_along() {
        let event = || tracing::warn!(key = "models/a.stl", "a warning\u{1b}[31m");
        let log = logged(&settings(None, LogFormat::Auto), false, event);
        let line: serde_json::Value = serde_json::from_str(&log).expect("one JSON object");
        assert_eq!(line["key"], "models/a.stl");
        assert_eq!(line["level"], "WARN");
        let log = logged(&settings(None, LogFormat::Auto), true, event);
        assert!(log.contains(" WARN ") && !log.contains('\u{1b}'), "{log:?}");
    }
}
