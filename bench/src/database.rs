//! Database: where a shop keeps what it knows, as the bench fills it without Stockroom.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::peers::Peers;

/// The name of the file in the folder of a shop.
const FILE: &str = "stockroom.db";

/// A database.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// A file of SQLite.
    File(PathBuf),
    /// The address of a database on a server of PostgreSQL.
    Server(String),
}

impl Database {
    /// The file that a Stockroom with this folder uses when it is told of no other database.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self::File(folder.join(FILE))
    }

    /// Runs statements, all of which have to succeed.
    pub(crate) fn tell(&self, peers: &Peers, statements: &str) -> Outcome<()> {
        let mut command = match self {
            Self::File(path) => {
                let sqlite3 = peers.sqlite3.as_ref();
                let sqlite3 = sqlite3.ok_or("sqlite3 is missing; scripts/bench installs it")?;
                let mut command = Command::new(&sqlite3.program);
                command.arg("-bail").arg(path);
                command
            }
            Self::Server(url) => {
                let psql = peers.psql.as_ref();
                let psql = psql.ok_or("psql is missing; scripts/bench installs it")?;
                let mut command = Command::new(&psql.program);
                command.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", url]);
                command
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        stdin.write_all(statements.as_bytes())?;
        drop(stdin);
        let status = child.wait()?;
        match status.success() {
            true => Ok(()),
            false => {
                let program = command.get_program().display();
                Err(format!("{program} ended with {status}").into())
            }
        }
    }

    /// The same once more, in the folder of another shop.
    ///
    /// # Errors
    /// When it is no file.
    pub(crate) fn copy_into(&self, folder: &Path) -> Outcome<Self> {
        let Self::File(path) = self else {
            return Err("only a file can be copied".into());
        };
        let copy = folder.join(FILE);
        fs::copy(path, &copy)?;
        Ok(Self::File(copy))
    }
}
