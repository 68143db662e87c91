//! The database: can it be reached, and whose is it?

use std::time::Duration;

use stockroom_catalog::{Catalog, CatalogError, ConnectOptions, Probe};

use super::finding::{Finding, clause};
use crate::config::DatabaseSettings;

/// How long a database may take to answer.
const WAIT: Duration = Duration::from_secs(5);

/// Looks at the database. The catalog, if it is one of this version: an older one is brought up
/// to date by the server, not by looking at it.
pub(super) async fn examine(
    settings: &DatabaseSettings,
    findings: &mut Vec<Finding>,
) -> Option<Catalog> {
    let (url, shown) = (settings.url(), settings.shown());
    let options = ConnectOptions {
        max_connections: 2,
        wait: WAIT,
        ..ConnectOptions::default()
    };
    let probe = match Catalog::probe(url.expose(), &options).await {
        Ok(probe) => probe,
        Err(error) => {
            findings.push(unusable(&shown, &error));
            return None;
        }
    };
    if probe.found != probe.known {
        findings.push(of_probe(&shown, probe));
        return None;
    }
    match Catalog::connect(url.expose(), &options).await {
        Ok(catalog) => {
            findings.push(of_probe(&shown, probe));
            Some(catalog)
        }
        Err(error) => {
            findings.push(unusable(&shown, &error));
            None
        }
    }
}

fn of_probe(shown: &str, probe: Probe) -> Finding {
    let Probe { found, known, .. } = probe;
    let dialect = probe.dialect.as_str();
    if probe.is_newer() {
        Finding::error(
            "database.newer",
            format!(
                "The database {shown} has schema version {found}; this program knows up to \
                 {known}."
            ),
            "Run the newer version of Stockroom, or restore a backup from before it.",
        )
    } else if found == 0 {
        Finding::info(
            "database.new",
            format!("The database {shown} is empty; the first start fills it."),
        )
    } else if found < known {
        Finding::info(
            "database.older",
            format!(
                "The database {shown} has schema version {found}; the next start brings it to \
                 {known}."
            ),
        )
    } else {
        Finding::ok(
            "database",
            format!("The {dialect} database answers, with schema version {found}."),
        )
    }
}

fn unusable(shown: &str, error: &CatalogError) -> Finding {
    match error {
        CatalogError::InvalidUrl { .. } => Finding::error(
            "database.address",
            format!("DATABASE_URL {shown}: {error}."),
            "Correct DATABASE_URL.",
        ),
        CatalogError::ForeignSchema { .. } => Finding::error(
            "database.foreign",
            format!("The database {shown} cannot be used: {error}."),
            "Check that DATABASE_URL names Stockroom's own database, of a released version.",
        ),
        CatalogError::Full(_) => Finding::error(
            "database.full",
            format!("The database {shown} has no room left."),
            "Free some room on its disk.",
        ),
        CatalogError::Busy(_) => Finding::warning(
            "database.busy",
            format!("The database {shown} is busy with other work."),
            "Try again in a moment.",
        ),
        CatalogError::Unreachable { reason } => Finding::error(
            "database.unreachable",
            format!(
                "The database {shown} cannot be reached: {}.",
                clause(reason)
            ),
            reach_it(shown),
        ),
        _ => Finding::error(
            "database.unreachable",
            format!(
                "The database {shown} cannot be used: {}.",
                clause(&error.to_string())
            ),
            reach_it(shown),
        ),
    }
}

fn reach_it(shown: &str) -> &'static str {
    if shown.starts_with("sqlite:") {
        "Check that DATABASE_URL names a SQLite file that the user who runs Stockroom may write; \
         restore a backup if the file is damaged."
    } else {
        "Start the database, and check host, port, user, password and name in DATABASE_URL."
    }
}

#[cfg(test)]
mod tests {
    use stockroom_catalog::Dialect;

    use super::super::Severity;
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        for (found, known, id, severity) in [
            (0, 3, "database.new", Severity::Info),
            (2, 3, "database.older", Severity::Info),
            (3, 3, "database", Severity::Ok),
            (4, 3, "database.newer", Severity::Error),
        ] {
            let dialect = Dialect::Sqlite;
            let probe = Probe {
                dialect,
                found,
                known,
            };
            let finding = of_probe("sqlite://shop.db", probe);
            assert_eq!((finding.id, finding.severity), (id, severity));
            assert_eq!(finding.fix.is_some(), severity == Severity::Error);
        }
    }

    #[test]
    fn errors_are_told_apart() {
        let reason = "refused".to_owned();
        for (error, id) in [
            (CatalogError::Unreachable { reason }, "database.unreachable"),
            (
                CatalogError::ForeignSchema { version: 1 },
                "database.foreign",
            ),
        ] {
            assert_eq!(unusable("sqlite://shop.db", &error).id, id);
        }
    }
}
