//! The address of a database, as `DATABASE_URL` gives it.

use std::path::{Path, PathBuf};

use sqlx::any::AnyConnectOptions;

use crate::dialect::Dialect;
use crate::error::{CatalogError, Result};

/// Where the database is.
pub(crate) enum Address {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            return match path {
                "" => Err(invalid_url("no path follows sqlite://")),
                ":memory:" => Err(invalid_url("a file is needed; memory forgets")),
                _ if path.contains(['?', '\0']) => {
                    Err(invalid_url("a path to SQLite takes no parameters"))
                }
                _ => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        Err(invalid_url(
            "it begins with neither sqlite:// nor postgres://",
        ))
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(crate) fn driver_options(&self) -> Result<AnyConnectOptions> {
        let url = match self {
            Self::Sqlite(path) => sqlite_url(path)?,
            Self::Postgres(url) => url.clone(),
        };
        url.parse().map_err(|error: sqlx::Error| match error {
            // A parser's own words say what is wrong without repeating the address.
            sqlx::Error::Configuration(reason) => invalid_url(&reason.to_string()),
            _ => invalid_url("it is no URL"),
        })
    }
}

fn invalid_url(reason: &str) -> CatalogError {
    CatalogError::InvalidUrl {
        reason: reason.to_owned(),
    }
}

/// The path as the driver wants it: whole, without `..` that a URL parser would resolve in its own
/// way, and with everything else than plain characters escaped.
fn sqlite_url(path: &Path) -> Result<String> {
    let name = path
        .file_name()
        .ok_or_else(|| invalid_url("the path names no file"))?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let whole = parent
        .canonicalize()
        .map_err(|error| cannot_use(parent, &error))?
        .join(name);
    let text = whole
        .to_str()
        .ok_or_else(|| invalid_url("the path is not UTF-8"))?;
    let mut url = String::from("sqlite://");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(url)
}

/// Makes the file, readable by its owner only, and the folders above it. SQLite gives the files
/// beside it the same permissions.
pub(crate) async fn make_file(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent)
            .await
            .map_err(|error| cannot_use(parent, &error))?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    options.mode(0o600);
    options
        .open(path)
        .await
        .map_err(|error| cannot_use(path, &error))?;
    Ok(())
}

fn cannot_use(path: &Path, error: &std::io::Error) -> CatalogError {
    CatalogError::Unreachable {
        reason: format!("{}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_which_database() {
        assert!(matches!(
            Address::parse("sqlite:///var/lib/a b%41#c.db"),
            Ok(Address::Sqlite(path)) if path == Path::new("/var/lib/a b%41#c.db")
        ));
        assert!(matches!(
            Address::parse("postgresql://u:p@h/d"),
            Ok(Address::Postgres(_))
        ));
        for bad in [
            "",
            "sqlite://",
            "sqlite://:memory:",
            "sqlite:///a?mode=ro",
            "mysql://u:hunter2@h/d",
        ] {
            let error = Address::parse(bad).err().unwrap();
            assert!(matches!(error, CatalogError::InvalidUrl { .. }), "{bad:?}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_broken_address_does_not_show_its_password() {
        for url in [
            "postgres://u:hunter2@h:99999/d",
            "postgres://u:hunter2@[::1/d",
            "postgres://u:hunter2 hunter2@h:x/d",
        ] {
            let error = Address::parse(url).unwrap().driver_options().unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }
}
