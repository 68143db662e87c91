//! What is wrong with the configuration, where it stands, and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A variable of the process's environment.
    Environment,
    /// A line of the `.env` file, counted from 1.
    DotEnv {
        /// The file, as it was named.
        file: PathBuf,
        /// The line; `None` when the file as a whole is meant.
        line: Option<usize>,
    },
    /// A line of `stockroom.toml`, counted from 1.
    Toml {
        /// The file, as it was named.
        file: PathBuf,
        /// The line; `None` when the file as a whole is meant.
        line: Option<usize>,
    },
    /// The content of the file that a `NAME_FILE` variable names. The path itself is left out:
    /// whoever puts the secret where its path belongs must not find it in a log.
    NamedFile {
        /// The variable, for example `S3_APPLICATION_KEY_FILE`.
        variable: String,
        /// Where that variable stands.
        set_in: Box<Source>,
    },
    /// The file of signing keys below `DATA_DIR`.
    SigningKeysFile(PathBuf),
    /// An argument of the command line.
    Argument(&'static str),
    /// Taken from another setting, for example the region from a B2 endpoint.
    DerivedFrom(&'static str),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::DotEnv { file, line } | Self::Toml { file, line } => {
                write!(f, "{}", file.display())?;
                line.map_or(Ok(()), |line| write!(f, " line {line}"))
            }
            Self::NamedFile { variable, set_in } => {
                write!(f, "file named by {variable}, {set_in}")
            }
            Self::SigningKeysFile(path) => write!(f, "{}", path.display()),
            Self::Argument(name) => f.write_str(name),
            Self::DerivedFrom(variable) => write!(f, "derived from {variable}"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that is wrong with the configuration. It never holds a value, so that no secret can
/// be in it, not even one that was written behind the wrong name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The setting; `None` for a line that could not be read as a setting at all.
    pub variable: Option<String>,
    /// Where it stands.
    pub source: Source,
    /// What is wrong: the end of a sentence that begins with the setting, without a full stop.
    pub wrong: String,
    /// What to do: a sentence without its full stop.
    pub fix: String,
}

impl Problem {
    pub(super) fn new(variable: Option<&str>, source: Source, fault: Fault) -> Self {
        Self {
            variable: variable.map(str::to_owned),
            source,
            wrong: fault.wrong.into_owned(),
            fix: fault.fix.into_owned(),
        }
    }

    /// What is wrong, as a sentence: the setting, where it stands, and the fault.
    #[must_use]
    pub fn detail(&self) -> String {
        match (&self.variable, &self.source) {
            (Some(variable), Source::Default) => format!("{variable} {}.", self.wrong),
            (Some(variable), source) => format!("{variable} ({source}) {}.", self.wrong),
            (None, source) => format!("{source} {}.", self.wrong),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.", self.detail(), self.fix)
    }
}

/// What a parser says of a value; the reader adds the name and the place to make a [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    wrong: Cow<'static, str>,
    fix: Cow<'static, str>,
}

/// A fault. Neither text may hold any part of the value.
pub(super) fn fault(
    wrong: impl Into<Cow<'static, str>>,
    fix: impl Into<Cow<'static, str>>,
) -> Fault {
    Fault {
        wrong: wrong.into(),
        fix: fix.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_sentences() {
        let at_line = Problem::new(
            Some("LISTEN"),
            Source::DotEnv {
                file: ".env".into(),
                line: Some(3),
            },
            fault("is not a socket address", "Write 127.0.0.1:8080"),
        );
        assert_eq!(
            at_line.to_string(),
            "LISTEN (.env line 3) is not a socket address. Write 127.0.0.1:8080."
        );
        let named = Source::NamedFile {
            variable: "S3_KEY_ID_FILE".to_owned(),
            set_in: Box::new(Source::Environment),
        };
        assert_eq!(
            Problem::new(Some("S3_KEY_ID"), named, fault("is empty", "Fill it")).to_string(),
            "S3_KEY_ID (file named by S3_KEY_ID_FILE, environment) is empty. Fill it."
        );
        assert_eq!(
            Problem::new(
                Some("S3_BUCKET"),
                Source::Default,
                fault("is not set", "Set it")
            )
            .to_string(),
            "S3_BUCKET is not set. Set it."
        );
    }
}
