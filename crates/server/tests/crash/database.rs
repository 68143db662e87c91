//! Databases that are copies of one that was prepared.

use std::path::Path;
use std::process::Command;

use stockroom_domain::{Entropy, SystemEntropy};

/// Which database holds the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Whether there is a server to test with. SQLite needs none.
    pub(crate) fn is_available(self) -> bool {
        self == Self::Sqlite || Server::find().is_some()
    }
}

/// A database that ends with its owner.
pub(crate) enum Database {
    /// A file in the data folder, which is removed with it.
    File,
    /// A database of this name on the server for tests.
    Named { server: Server, name: String },
}

impl Database {
    /// An empty one.
    pub(crate) fn create(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Sqlite => Self::File,
            Dialect::Postgres => Self::made(""),
        }
    }

    /// One with the same content. Nobody may be connected to this one; a file is copied by whoever
    /// copies the folder.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::File => Self::File,
            Self::Named { name, .. } => Self::made(&format!("TEMPLATE {name}")),
        }
    }

    /// The address of this database, whose file would lie in this data folder.
    pub(crate) fn url(&self, data_dir: &Path) -> String {
        match self {
            Self::File => format!("sqlite://{}/stockroom.db", data_dir.display()),
            Self::Named { server, name } => server.url_of(name),
        }
    }

    fn made(how: &str) -> Self {
        let server = Server::find().expect("looked for before");
        let entropy: &dyn Entropy = &SystemEntropy;
        let name = format!("crash_{:032x}", u128::from_be_bytes(entropy.bytes()));
        server.administer(&format!("CREATE DATABASE {name} {how}"));
        Self::Named { server, name }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Named { server, name } = self {
            server.administer(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// The PostgreSQL server for tests.
pub(crate) struct Server {
    url: String,
}

impl Server {
    fn find() -> Option<Self> {
        const VARIABLE: &str = "STOCKROOM_TEST_POSTGRES_URL";
        let Ok(url) = std::env::var(VARIABLE) else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{VARIABLE} is not set, and CI must test PostgreSQL"
            );
            println!("SKIPPED: PostgreSQL: {VARIABLE} is not set");
            return None;
        };
        Some(Self { url })
    }

    fn url_of(&self, database: &str) -> String {
        let (before, own) = self.url.rsplit_once('/').unwrap();
        let parameters = own.split_once('?').map_or("", |(_, after)| after);
        format!("{before}/{database}?{parameters}")
    }

    /// Runs one statement with PostgreSQL's own client: SQL is written in the catalog's crate
    /// alone.
    fn administer(&self, statement: &str) {
        let done = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--dbname", &self.url])
            .args(["--command", statement])
            .status()
            .expect("psql on the PATH, which comes with PostgreSQL");
        assert!(done.success(), "psql failed");
    }
}
