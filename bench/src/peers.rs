//! Peers: the other programs, where they are and which versions.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that takes part.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    /// What it is called in tables.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
}

impl Contestant {
    pub(crate) fn new(name: &str, program: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            program,
        }
    }

    /// The first line of what it says of its version, wherever it says it.
    pub(crate) fn version(&self, argument: &str) -> String {
        let said = Command::new(&self.program).arg(argument).output();
        let said = said.map(|it| [it.stdout, it.stderr].concat());
        let said = said.map(|it| String::from_utf8_lossy(&it).into_owned());
        let line = said
            .ok()
            .and_then(|it| it.lines().next().map(|line| line.trim().to_owned()));
        line.unwrap_or_else(|| "unknown".to_owned())
    }
}

/// The other programs, as far as they are there.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) rclone: Option<Contestant>,
    pub(crate) s5cmd: Option<Contestant>,
    /// The S3 server that keeps objects as files.
    pub(crate) s3s_fs: Option<Contestant>,
    /// Makes large catalogs.
    pub(crate) sqlite3: Option<Contestant>,
    /// The same in a server of PostgreSQL.
    pub(crate) psql: Option<Contestant>,
    /// An empty database of a server, whose user may make others there.
    pub(crate) postgres_url: Option<String>,
    /// The first process of that server.
    pub(crate) postgres_pid: Option<u32>,
    /// Loads a server.
    pub(crate) wrk: Option<Contestant>,
    /// Sends files without asking who wants them.
    pub(crate) nginx: Option<Contestant>,
    /// Runs the service below.
    pub(crate) node: Option<Contestant>,
    /// `server.js` of bench/express, with its packages beside it.
    pub(crate) express: Option<PathBuf>,
}

impl Peers {
    /// Looks where `scripts/bench` says that they are, and on the PATH.
    pub(crate) fn find() -> Self {
        Self {
            rclone: find("rclone", "STOCKROOM_BENCH_RCLONE"),
            s5cmd: find("s5cmd", "STOCKROOM_BENCH_S5CMD"),
            s3s_fs: find("s3s-fs", "STOCKROOM_BENCH_S3S_FS"),
            sqlite3: find("sqlite3", "STOCKROOM_BENCH_SQLITE3"),
            psql: find("psql", "STOCKROOM_BENCH_PSQL"),
            postgres_url: env::var("STOCKROOM_BENCH_POSTGRES_URL").ok(),
            postgres_pid: env::var("STOCKROOM_BENCH_POSTGRES_PID")
                .ok()
                .and_then(|it| it.parse().ok()),
            wrk: find("wrk", "STOCKROOM_BENCH_WRK"),
            nginx: find("nginx", "STOCKROOM_BENCH_NGINX"),
            node: find("node", "STOCKROOM_BENCH_NODE"),
            express: env::var_os("STOCKROOM_BENCH_EXPRESS")
                .map(PathBuf::from)
                .filter(|it| it.is_file()),
        }
    }
}

fn find(name: &str, variable: &str) -> Option<Contestant> {
    let told = env::var_os(variable).map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    // Servers are not on everybody's PATH.
    let on_path = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let on_path = on_path.map(|folder| folder.join(name));
    let program = told.into_iter().chain(on_path).find(|it| it.is_file())?;
    Some(Contestant::new(name, program))
}

/// `NAME=PROGRAM`.
///
/// # Errors
/// A sentence for whoever wrote it.
pub(crate) fn named(text: &str) -> Result<Contestant, String> {
    let (name, program) = text.split_once('=').ok_or("say NAME=PROGRAM")?;
    let program = Path::new(program)
        .canonicalize()
        .map_err(|error| format!("{program}: {error}"))?;
    Ok(Contestant::new(name, program))
}
