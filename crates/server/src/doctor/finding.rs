//! What a check found.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Info,
    /// It works now; do something about it before it does not.
    Warning,
    /// Something does not work.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What a check found. Its texts hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Names the kind of finding; programs may rely on it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub sentence: String,
    /// What to do about it; never absent for warnings and errors.
    pub fix: Option<String>,
}

/// The words of somebody else, to stand within a sentence.
pub(crate) fn clause(words: &str) -> &str {
    words.trim_end_matches(['.', ' '])
}

impl Finding {
    pub(super) fn ok(id: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            id,
            severity: Severity::Ok,
            sentence: sentence.into(),
            fix: None,
        }
    }

    pub(super) fn info(id: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            severity: Severity::Info,
            ..Self::ok(id, sentence)
        }
    }

    pub(super) fn warning(
        id: &'static str,
        sentence: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            fix: Some(fix.into()),
            ..Self::ok(id, sentence)
        }
    }

    pub(crate) fn error(
        id: &'static str,
        sentence: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            ..Self::warning(id, sentence, fix)
        }
    }
}
