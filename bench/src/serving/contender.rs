//! Contender: somebody who serves, and what is asked of each of them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::model_file::ModelFile;
use super::{express, nginx, stockroom};
use crate::http::Connection;
use crate::peers::Contestant;
use crate::server::{S3Server, Server, files_below};
use crate::{Bench, Outcome};

/// Who may take part.
#[derive(Debug, Clone)]
pub(super) enum Contender {
    Stockroom(Contestant),
    /// The program that runs `server.js`, and where that is.
    Express(Contestant, PathBuf),
    Nginx(Contestant),
}

/// Where bytes are kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Store<'a> {
    Disk,
    /// A bucket of this server.
    Bucket(&'a S3Server, &'a str),
}

/// Somebody who serves until this is dropped.
pub(super) struct Running {
    pub(super) server: Server,
    /// What the shop says with a request.
    pub(super) seller: Vec<String>,
    /// What a buyer says.
    pub(super) buyer: Vec<String>,
    /// Where files of the disk are.
    pub(super) files: PathBuf,
    /// Everything that goes when it ends.
    pub(super) folder: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Stockroom,
    Express,
    Nginx,
}

/// What a buyer may ask for.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// Path of the bytes.
    pub(super) download: String,
    /// Method and path of a signed URL of them.
    pub(super) signed: (&'static str, String),
}

/// Everybody who is there: Stockroom first, then other builds of it, then the peers.
pub(super) fn services(bench: &Bench) -> Vec<Contender> {
    let stockrooms = [&bench.stockroom].into_iter().chain(&bench.beside);
    let mut all: Vec<Contender> = stockrooms.cloned().map(Contender::Stockroom).collect();
    let peers = &bench.peers;
    let express = peers.node.clone().zip(peers.express.clone());
    all.extend(express.map(|(node, server)| Contender::Express(node, server)));
    all
}

/// The same, and nginx.
pub(super) fn services_and_nginx(bench: &Bench) -> Vec<Contender> {
    let mut all = services(bench);
    all.extend(bench.peers.nginx.clone().map(Contender::Nginx));
    all
}

impl Contender {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Stockroom(it) => &it.name,
            Self::Express(..) => "express",
            Self::Nginx(_) => "nginx",
        }
    }

    pub(super) fn is_stockroom(&self) -> bool {
        matches!(self, Self::Stockroom(_))
    }

    /// Whether it shows what sending alone costs, rather than doing the same.
    pub(super) fn is_limit(&self) -> bool {
        matches!(self, Self::Nginx(_))
    }

    /// Starts it in a new folder.
    pub(super) fn start(&self, bench: &Bench, store: Store<'_>) -> Outcome<Running> {
        let folder = bench.scratch.join(format!("serving-{}", self.name()));
        let (kind, started) = match self {
            Self::Stockroom(it) => (Kind::Stockroom, stockroom::start(bench, &folder, it, store)),
            Self::Express(node, server) => {
                (Kind::Express, express::start(&folder, node, server, store))
            }
            Self::Nginx(it) => (Kind::Nginx, nginx::start(&folder, it)),
        };
        let Started {
            server,
            seller,
            buyer,
            files,
        } = started.map_err(|error| format!("{} does not start: {error}", self.name()))?;
        Ok(Running {
            server,
            seller,
            buyer,
            files,
            folder,
            kind,
        })
    }
}

/// What each of them has to say when it was started.
pub(super) struct Started {
    pub(super) server: Server,
    pub(super) seller: Vec<String>,
    pub(super) buyer: Vec<String>,
    pub(super) files: PathBuf,
}

impl Running {
    /// Puts a file there and has the buyer buy it.
    pub(super) fn sell(&self, file: &ModelFile) -> Outcome<Offer> {
        match self.kind {
            Kind::Stockroom => stockroom::sell(self, file),
            Kind::Express => express::sell(self, file),
            Kind::Nginx => nginx::offer(self, file),
        }
    }

    /// Paths to which forms may be sent, this many if there is more than one.
    pub(super) fn form_paths(&self, count: usize) -> Outcome<Vec<String>> {
        match self.kind {
            Kind::Stockroom => stockroom::form_paths(self, count),
            Kind::Express => Ok(vec![express::FORMS.to_owned()]),
            Kind::Nginx => Err("nginx takes no forms".into()),
        }
    }

    /// The size of the file that a form brought, by the answer to it.
    pub(super) fn stored_bytes(&self, answer: &Value) -> Option<u64> {
        match self.kind {
            Kind::Stockroom => answer["data"][0]["size"].as_u64(),
            Kind::Express | Kind::Nginx => answer["size"].as_u64(),
        }
    }

    /// Whether it asks who wants the bytes.
    pub(super) fn has_gate(&self) -> bool {
        !matches!(self.kind, Kind::Nginx)
    }

    pub(super) fn connect(&self, headers: &[String]) -> Outcome<Connection> {
        Connection::with_headers(self.server.address, headers)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    /// How many files of a size it keeps on the disk.
    pub(super) fn files_of(&self, size_bytes: u64) -> Outcome<u64> {
        count_of_size(&self.files, size_bytes)
    }

    /// Ends it, and takes away what it kept.
    pub(super) fn end(self) -> Outcome<()> {
        drop(self.server);
        std::fs::remove_dir_all(self.folder)?;
        Ok(())
    }

    /// Ends it, and moves what it kept into a folder, out of the way of the next one. For some seconds after
    /// many files were removed, ext4 without a journal takes long to make new ones.
    pub(super) fn set_aside(self, folder: &Path) -> Outcome<()> {
        drop(self.server);
        std::fs::create_dir_all(folder)?;
        let place = tempfile::tempdir_in(folder)?.keep();
        std::fs::rename(self.folder, place.join("kept"))?;
        Ok(())
    }
}

/// How many files of a size are below a folder.
pub(super) fn count_of_size(folder: &Path, size_bytes: u64) -> Outcome<u64> {
    let mut count = 0;
    for path in files_below(folder)? {
        // Somebody may be at work on it.
        let found = std::fs::metadata(path).map_or(0, |it| it.len());
        count += u64::from(found == size_bytes);
    }
    Ok(count)
}
