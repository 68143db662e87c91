//! Why a command failed, for people and for programs.

use stockroom_catalog::{CatalogError, Conflict};

use crate::assemble::AssembleError;
use crate::exit::Exit;
use crate::flows::error::FlowError;
use crate::http::problem::Problem;

/// Why a command failed. Its texts hold no secret and no signed URL: they are printed as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CliError {
    code: &'static str,
    detail: String,
    fix: Option<String>,
    exit: Exit,
}

impl CliError {
    /// It could not be done. `code` is snake_case and stable, where the HTTP API has one the same;
    /// `detail` is one sentence.
    #[must_use]
    pub fn failed(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            fix: None,
            exit: Exit::Failed,
        }
    }

    /// The command line is understood but asks for something that cannot be meant.
    #[must_use]
    pub fn usage(detail: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::failed("usage", detail)
        }
    }

    /// The same for one argument, with a code of its own.
    #[must_use]
    pub fn bad_argument(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::failed(code, detail)
        }
    }

    /// A person interrupted it.
    #[must_use]
    pub fn interrupted() -> Self {
        Self {
            exit: Exit::Interrupted,
            ..Self::failed("interrupted", "Interrupted.")
        }
    }

    /// Whoever reads stdout has enough, as in `stockroom ls | head`. That ends the command and is
    /// no failure.
    #[must_use]
    pub fn reader_left() -> Self {
        Self {
            exit: Exit::Ok,
            ..Self::failed("reader_left", "Nobody reads stdout any more.")
        }
    }

    /// The same, with a sentence that says what to do about it.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// A stable name for the kind of error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// What happened.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> Option<&str> {
        self.fix.as_deref()
    }

    /// What the program ends with.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }
}

impl From<AssembleError> for CliError {
    fn from(error: AssembleError) -> Self {
        let (code, fix) = match error {
            AssembleError::Catalog(error) => return error.into(),
            AssembleError::Local(_) => (
                "storage_error",
                "Check STORAGE_DIR: it must be a folder that this program may write to.",
            ),
            AssembleError::S3(_) | AssembleError::NoBucket(_) => (
                "configuration",
                "Correct the S3_ settings; stockroom doctor looks closer.",
            ),
            AssembleError::SigningKeys(_) => (
                "configuration",
                "Check SIGNING_KEYS and the file signing-keys in DATA_DIR.",
            ),
        };
        Self::failed(code, sentence(&error.to_string())).with_fix(fix)
    }
}

impl From<FlowError> for CliError {
    /// The code is that of the HTTP API. The text may say more than callers there are told:
    /// whoever runs a command is the operator.
    fn from(error: FlowError) -> Self {
        let (told, fix) = match &error {
            FlowError::NotFound => (
                Some("There is no such object.".to_owned()),
                Some("stockroom ls lists the keys there are."),
            ),
            FlowError::Body(cause) => (
                Some(format!(
                    "The bytes could not be read to their end: {cause}."
                )),
                Some("Nothing was stored; try again."),
            ),
            FlowError::Stalled(_) => (None, Some("A longer IDLE_TIMEOUT waits longer.")),
            FlowError::TooLarge { .. } => (None, Some("A larger MAX_UPLOAD_BYTES allows it.")),
            FlowError::Storage(cause) => (
                Some(sentence(&cause.to_string())),
                Some("stockroom check shows what works; stockroom doctor looks for the cause."),
            ),
            _ => (None, None),
        };
        let is_argument = matches!(error, FlowError::InvalidKey(_) | FlowError::Expiry);
        let error = match error {
            FlowError::Catalog(error) => return error.into(),
            other => Problem::from(other),
        };
        let (code, detail) = (
            error.code().as_str(),
            told.unwrap_or_else(|| error.detail().to_owned()),
        );
        let error = if is_argument {
            Self::bad_argument(code, detail)
        } else {
            Self::failed(code, detail)
        };
        match fix {
            Some(fix) => error.with_fix(fix),
            None => error,
        }
    }
}

impl From<CatalogError> for CliError {
    fn from(error: CatalogError) -> Self {
        let (code, fix) = match &error {
            CatalogError::NotFound(_) => ("not_found", None),
            CatalogError::Conflict(Conflict::KeyTaken) => (
                "key_conflict",
                Some("stockroom stat shows the object that the key names."),
            ),
            CatalogError::Conflict(_) => ("conflict", None),
            CatalogError::InvalidUrl { .. } => ("configuration", Some("Correct DATABASE_URL.")),
            CatalogError::Unreachable { .. } => (
                "database_unreachable",
                Some(
                    "Check DATABASE_URL and that the database runs; stockroom doctor looks closer.",
                ),
            ),
            CatalogError::NewerSchema { .. } => ("database_newer", None),
            CatalogError::Busy(_) | CatalogError::Unavailable(_) => {
                ("database_unavailable", Some("Try again in a moment."))
            }
            CatalogError::Full(_) => ("storage_full", Some("Free some space.")),
            _ => ("database_error", None),
        };
        let error = Self::failed(code, sentence(&error.to_string()));
        match fix {
            Some(fix) => error.with_fix(fix),
            None => error,
        }
    }
}

/// The text of an error as a sentence.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    let text: String = first.into_iter().flatten().chain(characters).collect();
    if text.ends_with(['.', '!', '?']) {
        text
    } else {
        text + "."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_error_becomes_a_sentence() {
        assert_eq!(sentence("there is no such key"), "There is no such key.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), ".");
    }
}
