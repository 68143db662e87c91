//! Where bytes are kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stockroom_domain::StoreName;
use stockroom_storage::{Ack, Mode, ReadOrder};

use super::problem::{Fault, fault};
use super::reader::{Noted, Reader};
use super::s3::{self, S3Settings};
use super::second;
use super::values::{choice, duration_within};
use super::variable;

/// Where bytes are kept.
#[derive(Debug, Clone)]
pub struct StorageSettings {
    /// The stores a new object is written to.
    pub mode: Mode,
    /// The folder of the local store.
    pub dir: PathBuf,
    /// The bucket. Always there in the modes `s3` and `hybrid`; in the mode `local` when its
    /// settings are complete, for a migration to it.
    pub s3: Option<S3Settings>,
    /// Another bucket: the one that objects are moved to, or that they came from.
    pub second: Option<S3Settings>,
    /// The store that reads try first in the mode `hybrid`.
    pub hybrid_read: ReadOrder,
    /// What an upload waits for in the mode `hybrid`.
    pub hybrid_ack: Ack,
    /// How long the bytes of a deleted object stay.
    pub delete_grace: Duration,
}

impl StorageSettings {
    /// The buckets, that of the mode first.
    pub fn buckets(&self) -> impl Iterator<Item = &S3Settings> {
        self.s3.iter().chain(&self.second)
    }

    /// The names of the stores that a new object is written to.
    #[must_use]
    pub fn of_the_mode(&self) -> Vec<StoreName> {
        let local = (self.mode != Mode::S3).then_some(StoreName::LOCAL);
        let s3 = self.s3.as_ref().filter(|_| self.mode != Mode::Local);
        local
            .into_iter()
            .chain(s3.map(|s3| s3.name.clone()))
            .collect()
    }
}

pub(super) fn read(reader: &mut Reader<'_>, data_dir: &Path) -> Result<StorageSettings, Noted> {
    let mode = reader.read(&variable::STORAGE_MODE, Mode::Local.as_str(), |text| {
        choice(
            text,
            &[Mode::Local, Mode::S3, Mode::Hybrid].map(|mode| (mode.as_str(), mode)),
        )
    });
    let default_dir = data_dir.join("uploads");
    let dir = if reader.is_default(&variable::STORAGE_DIR) {
        // Not by way of text, which a path need not be.
        let shown = default_dir.display().to_string();
        reader.report(&variable::STORAGE_DIR, shown, super::Source::Default);
        folder(default_dir).map_err(|fault| reader.problem(&variable::STORAGE_DIR, fault))
    } else {
        read_folder(reader, &variable::STORAGE_DIR, "")
    };
    // Without a mode there is already one problem; missing S3 settings may be none.
    let needed_by = match mode {
        Ok(mode @ (Mode::S3 | Mode::Hybrid)) => Some(format!("STORAGE_MODE={mode} needs it")),
        Ok(Mode::Local) | Err(Noted) => None,
    };
    let s3 = s3::read(reader, needed_by.as_deref());
    let second = second::read(reader, s3.as_ref().ok().and_then(Option::as_ref));
    let hybrid_read = reader.read(
        &variable::HYBRID_READ,
        ReadOrder::default().as_str(),
        |text| {
            let orders = [ReadOrder::LocalFirst, ReadOrder::S3First];
            choice(text, &orders.map(|order| (order.as_str(), order)))
        },
    );
    let hybrid_ack = reader.read(&variable::HYBRID_ACK, Ack::default().as_str(), |text| {
        choice(text, &[Ack::Any, Ack::Both].map(|ack| (ack.as_str(), ack)))
    });
    let delete_grace = reader.read(&variable::DELETE_GRACE, "7d", |text| {
        duration_within(text, "0s", "3650d")
    });
    Ok(StorageSettings {
        mode: mode?,
        dir: dir?,
        s3: s3?,
        second: second?,
        hybrid_read: hybrid_read?,
        hybrid_ack: hybrid_ack?,
        delete_grace: delete_grace?,
    })
}

/// A folder, which need not exist yet.
pub(super) fn read_folder(
    reader: &mut Reader<'_>,
    variable: &variable::Variable,
    default: &str,
) -> Result<PathBuf, Noted> {
    let path = reader.read(variable, default, |text| Ok(text.to_owned()))?;
    let path = reader.resolve(&path);
    folder(path).map_err(|fault| reader.problem(variable, fault))
}

fn folder(path: PathBuf) -> Result<PathBuf, Fault> {
    if path.exists() && !path.is_dir() {
        return Err(fault(
            "is the path of something that is not a folder",
            "Name a folder, or a path that does not exist yet",
        ));
    }
    Ok(path)
}
