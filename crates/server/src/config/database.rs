//! The database.

use std::path::{Path, PathBuf};

use stockroom_storage::Secret;
use url::Url;

use super::files;
use super::problem::{Fault, fault};
use super::reader::{Noted, Reader};

use super::variable;

/// The database that holds the record.
#[derive(Debug, Clone)]
pub enum DatabaseSettings {
    /// A file.
    Sqlite {
        /// Where it is. A path in a URL has to be UTF-8.
        path: String,
    },
    /// A PostgreSQL server.
    Postgres {
        /// Its URL, with the password.
        url: Secret,
        /// Its URL, without the password.
        shown: String,
    },
}

impl DatabaseSettings {
    /// The URL to connect to. Everything behind `sqlite://` is the path as it is.
    #[must_use]
    pub fn url(&self) -> Secret {
        match self {
            Self::Sqlite { path } => Secret::new(format!("sqlite://{path}")),
            Self::Postgres { url, .. } => url.clone(),
        }
    }

    /// The database as it may be shown: without a password.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite { path } => format!("sqlite://{path}"),
            Self::Postgres { shown, .. } => shown.clone(),
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, data_dir: &Path) -> Result<DatabaseSettings, Noted> {
    let working_dir = reader.resolve("");
    let mut has_unknown = false;
    let written = reader.read_optional(&variable::DATABASE_URL, |text| {
        has_unknown = has_unknown_parameters(text);
        parse(text, &working_dir)
    })?;
    let source = reader.source_of(&variable::DATABASE_URL);
    if has_unknown {
        let ignored = fault(
            "has a parameter behind the ? that is not known here and was ignored",
            "Remove it, or look for a slip in its name",
        );
        reader.warning(&variable::DATABASE_URL, source.clone(), ignored);
    }
    let database = match written {
        Some(database) => database,
        None => sqlite_at(data_dir.join("stockroom.db"))
            .map_err(|fault| reader.problem(&variable::DATABASE_URL, fault))?,
    };
    reader.report(&variable::DATABASE_URL, database.shown(), source);
    Ok(database)
}

fn parse(text: &str, working_dir: &Path) -> Result<DatabaseSettings, Fault> {
    if let Some(path) = text.strip_prefix("sqlite://") {
        return parse_sqlite(path, working_dir);
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return parse_postgres(text);
    }
    Err(fault(
        "is not the URL of a database that Stockroom knows",
        "Begin it with sqlite:// and a path, or with postgres:// and a host",
    ))
}

fn parse_sqlite(path: &str, working_dir: &Path) -> Result<DatabaseSettings, Fault> {
    if path == ":memory:" {
        return Err(fault(
            "is a database in memory, which would forget every purchase",
            "Name a file",
        ));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(fault(
            "does not name a file",
            "Write sqlite:// and the path of a file, relative or absolute",
        ));
    }
    sqlite_at(files::resolve(working_dir, path))
}

fn sqlite_at(path: PathBuf) -> Result<DatabaseSettings, Fault> {
    if path.is_dir() {
        return Err(fault(
            "names a folder",
            "Write the path of a file in it, for example stockroom.db",
        ));
    }
    match path.into_os_string().into_string() {
        Ok(path) if !path.contains(['?', '#']) => Ok(DatabaseSettings::Sqlite { path }),
        Ok(_) => Err(fault(
            "has a ? or # in its path, where options of a URL would begin",
            "Remove options, or choose a path without these characters",
        )),
        Err(_) => Err(fault("has a path that is not UTF-8", "Choose another path")),
    }
}

fn parse_postgres(text: &str) -> Result<DatabaseSettings, Fault> {
    const FORM: &str = "Write postgres://user:password@host:5432/database; \
        a special character of the password is percent-encoded, / as %2F";
    // The messages of this parser are fixed sentences without the input.
    let mut url =
        Url::parse(text).map_err(|error| fault(format!("is not a URL: {error}"), FORM))?;
    if url.fragment().is_some() {
        return Err(fault(
            "has a # in it, where a URL ends",
            "Write a # of the password as %23",
        ));
    }
    if text.contains(' ') {
        return Err(fault("has a space in it", "Write a space as %20"));
    }
    // Behind a slash in the password, the rest of it would be a part of the path.
    if url.path().contains('@') {
        return Err(fault("has an @ behind a slash", FORM));
    }
    if url.host_str().is_none_or(str::is_empty) && !names_socket(&url) {
        return Err(fault("names no host", FORM));
    }
    let mut used = text.to_owned();
    if has_unknown_parameters(text) {
        remove_unknown_parameters(&mut url);
        used = url.to_string();
    }
    let shown = without_password(&mut url);
    Ok(DatabaseSettings::Postgres {
        url: Secret::new(used),
        shown,
    })
}

/// Whether the library that speaks to PostgreSQL knows a parameter of the URL.
/// Source: <https://docs.rs/sqlx/0.9/sqlx/postgres/struct.PgConnectOptions.html#parameters>.
fn is_known_parameter(name: &str) -> bool {
    const KNOWN: [&str; 18] = [
        "application_name",
        "dbname",
        "host",
        "hostaddr",
        "options",
        "password",
        "port",
        "ssl-ca",
        "ssl-cert",
        "ssl-key",
        "ssl-mode",
        "ssl-root-cert",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "statement-cache-capacity",
        "user",
    ];
    KNOWN.contains(&name) || name.starts_with("options[")
}

fn has_unknown_parameters(text: &str) -> bool {
    text.starts_with("postgres")
        && Url::parse(text).is_ok_and(|url| {
            url.query_pairs()
                .any(|(name, _)| !is_known_parameter(&name))
        })
}

/// Leaves only the parameters that the library knows. It would ignore the others and log each of
/// them with its value, which may be a password under another name.
fn remove_unknown_parameters(url: &mut Url) {
    let known: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| is_known_parameter(name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !known.is_empty() {
        url.query_pairs_mut().extend_pairs(known);
    }
}

fn names_socket(url: &Url) -> bool {
    url.query_pairs().any(|(name, _)| name == "host")
}

fn without_password(url: &mut Url) -> String {
    const HIDDEN: &str = "***";
    if url.password().is_some() {
        // Fails for a URL that cannot have a password, and so has none.
        let _ = url.set_password(Some(HIDDEN));
    }
    let query: Vec<(String, String)> = url
        .query_pairs()
        .map(|(name, value)| {
            let is_password = name.to_ascii_lowercase().contains("pass");
            let value = if is_password { HIDDEN.into() } else { value };
            (name.into_owned(), value.into_owned())
        })
        .collect();
    if !query.is_empty() {
        url.query_pairs_mut().clear().extend_pairs(query);
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn parsed(text: &str) -> DatabaseSettings {
        parse(text, Path::new("/srv/shop")).expect("a database")
    }

    #[test]
    fn a_path_is_seen_from_the_working_directory() {
        for (text, path) in [
            ("sqlite://data/shop.db", "/srv/shop/data/shop.db"),
            ("sqlite://./data/shop.db", "/srv/shop/data/shop.db"),
            ("sqlite:///var/lib/shop.db", "/var/lib/shop.db"),
            ("sqlite://my shop%20.db", "/srv/shop/my shop%20.db"),
        ] {
            let expected = format!("sqlite://{path}");
            assert_eq!(parsed(text).url().expose(), expected, "{text}");
            assert_eq!(parsed(text).shown(), expected, "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        for (text, shown) in [
            (
                "postgres://shop:canary@db.example/shop",
                "postgres://shop:***@db.example/shop",
            ),
            (
                "postgresql://shop@db.example:5433/shop?sslmode=require&password=canary",
                "postgresql://shop@db.example:5433/shop?sslmode=require&password=***",
            ),
            (
                "postgres:///shop?host=/run/postgresql",
                "postgres:///shop?host=%2Frun%2Fpostgresql",
            ),
        ] {
            let database = parsed(text);
            assert_eq!(database.shown(), shown);
            assert_eq!(database.url().expose(), text);
            assert!(!format!("{database:?}").contains("canary"));
        }
    }

    #[test]
    fn other_texts_are_refused_without_being_repeated() {
        for text in [
            "canary",
            "mysql://canary",
            "sqlite:canary.db",
            "sqlite://",
            "sqlite://canary/",
            "sqlite://:memory:",
            "sqlite://canary?mode=ro",
            "sqlite://canary#fragment",
            "sqlite:///",
            "postgres://",
            "postgres://shop:can#ary@db.example/shop",
            "postgres://shop:can ary@db.example/shop",
            "postgres://shop:can/ary@db.example/shop",
            "postgres://shop:12/canary@db.example/shop",
        ] {
            let fault = parse(text, Path::new("/srv/shop")).expect_err(text);
            assert!(!format!("{fault:?}").contains("canary"), "{text}");
        }
    }

    #[test]
    fn parameters_that_are_not_known_go_no_further_and_are_warned_about() {
        let text =
            "postgres://shop@db.example/shop?channel_binding=canary&sslmode=require&token=canary";
        let environment = super::super::Environment {
            vars: [("DATABASE_URL".to_owned(), text.into())].into(),
            ..Default::default()
        };
        let mut reader = Reader::new(&environment);
        let database = read(&mut reader, Path::new("/srv/shop/data")).expect("a database");
        let used = "postgres://shop@db.example/shop?sslmode=require";
        assert_eq!(database.shown(), used);
        assert_eq!(database.url().expose(), used);
        let notes = reader.into_notes();
        assert_eq!(notes.warnings.len(), 1);
        assert!(!notes.warnings[0].to_string().contains("canary"));

        let alone = parsed("postgres://shop@db.example/shop?token=canary");
        assert_eq!(alone.url().expose(), "postgres://shop@db.example/shop");
    }

    #[test]
    fn the_source_of_the_default_is_the_default() {
        let environment = super::super::Environment {
            working_dir: "/srv/shop".into(),
            ..Default::default()
        };
        let mut reader = Reader::new(&environment);
        let database = read(&mut reader, Path::new("/srv/shop/data")).expect("a default");
        assert_eq!(database.shown(), "sqlite:///srv/shop/data/stockroom.db");
        let report = reader.into_notes().report;
        assert_eq!(report[0].source, Source::Default);
    }
}
