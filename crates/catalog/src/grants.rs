//! Grants: the answers that gave a purchase's bytes away. Together they are its receipt.
//!
//! They are written as lines of the ledger: one when a grant is given, and one when it ends unless
//! both are known at once. Nothing that was written is changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use stockroom_domain::{
    AssetId, DownloadId, Filename, GrantId, GrantKind, KeyId, PurchaseId, Sha256Digest, Timestamp,
};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::Result;
use crate::row::Record;

/// An answer that gives a purchase's bytes away, when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// Its id, which becomes the id of the download if it begins one.
    pub id: GrantId,
    /// The purchase that lets its buyer have the bytes.
    pub purchase_id: PurchaseId,
    /// The size of the file in bytes.
    pub size_bytes: u64,
    /// How many bytes it counts for until its end is known: all of the range, or none where it
    /// only leads to a link of this server, whose use counts.
    pub charged_bytes: u64,
    /// What is given.
    pub given: Given,
}

/// What a grant gives, to whom and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The file.
    #[serde(rename = "asset")]
    pub asset_id: AssetId,
    /// How the bytes are given.
    pub kind: GrantKind,
    /// When.
    #[serde(with = "unix_ms")]
    pub at: Timestamp,
    /// The offsets of the bytes.
    #[serde(rename = "bytes", with = "offsets")]
    pub range: Range<u64>,
    /// The stores that they come from, with commas in between, as far as they are known.
    pub stores: String,
    /// The key that asked; none where a link was followed.
    #[serde(rename = "key", default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// A keyed hash of the address that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Given {
    /// How many bytes are given.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }
}

/// The end of an answer that sent bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantEnd {
    /// When it ended.
    #[serde(rename = "at", with = "unix_ms")]
    pub ended_at: Timestamp,
    /// How many bytes were handed to the connection.
    #[serde(rename = "sent")]
    pub sent_bytes: u64,
    /// The stores that they came from, in the order in which they were read.
    pub stores: String,
}

/// A line of the ledger.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) grant: GrantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given: Option<(DownloadId, Given)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<GrantEnd>,
}

/// A recorded grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// Its id.
    pub id: GrantId,
    /// What it gave.
    pub given: Given,
    /// How it ended; none while it runs, and where another server sends the bytes.
    pub end: Option<GrantEnd>,
}

impl GrantRow {
    /// How many bytes were sent, where that is known.
    #[must_use]
    pub fn sent_bytes(&self) -> Option<u64> {
        self.end.as_ref().map(|end| end.sent_bytes)
    }

    /// The stores that the bytes came from, with commas in between.
    #[must_use]
    pub fn stores(&self) -> &str {
        match &self.end {
            Some(end) => &end.stores,
            None => &self.given.stores,
        }
    }
}

/// A download with the grants that it consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadRow {
    /// Its id.
    pub id: DownloadId,
    /// The file.
    pub file: FileRow,
    /// Its grants, oldest first.
    pub grants: Vec<GrantRow>,
}

/// What a receipt tells of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// The asset, which may have been deleted.
    pub asset_id: AssetId,
    /// Its name.
    pub filename: Filename,
    /// Its version.
    pub version: u32,
    /// The size of its bytes.
    pub size_bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
}

impl FileRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "assets", "asset_id");
        let sha256 = Sha256Digest::try_from(row.bytes("object_sha256")?)
            .map_err(|error| row.corrupt("object_sha256", &error))?;
        Ok(Self {
            asset_id: row.parsed("asset_id")?,
            filename: row.parsed("asset_filename")?,
            version: row.count("asset_version")?,
            size_bytes: row.count("object_size_bytes")?,
            sha256,
        })
    }
}

impl Catalog {
    /// The downloads that were made with a purchase, oldest first, with their newest `limit`
    /// grants, and whether there were more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn downloads_of(
        &self,
        purchase: PurchaseId,
        limit: u32,
    ) -> Result<(Vec<DownloadRow>, bool)> {
        let (mut grants, is_cut) = self.grants_of(purchase, limit).await?;
        grants.sort_by_key(|(_, grant)| (grant.given.at, grant.id));
        let assets: BTreeSet<AssetId> = grants.iter().map(|(_, it)| it.given.asset_id).collect();
        let files = self.files(&assets.into_iter().collect::<Vec<_>>()).await?;
        let mut downloads: Vec<DownloadRow> = Vec::new();
        let mut places: HashMap<DownloadId, usize> = HashMap::new();
        for (id, grant) in grants {
            if let Some(place) = places.get(&id) {
                downloads[*place].grants.push(grant);
            } else if let Some(file) = files.get(&grant.given.asset_id) {
                places.insert(id, downloads.len());
                downloads.push(DownloadRow {
                    id,
                    file: file.clone(),
                    grants: vec![grant],
                });
            }
        }
        Ok((downloads, is_cut))
    }

    /// The newest grants with their downloads, and whether there are older ones.
    async fn grants_of(
        &self,
        purchase: PurchaseId,
        limit: u32,
    ) -> Result<(Vec<(DownloadId, GrantRow)>, bool)> {
        let limit = limit as usize;
        let mut select =
            Assembled::new("SELECT l.id, l.lines FROM ledger l WHERE l.purchase_id = ");
        select.text(purchase.to_string());
        // A row has at least one line, and no grant has more than two.
        select.push(" ORDER BY l.id DESC LIMIT ");
        select.number(2 * limit as i64 + 2);
        let rows = self.fetch_all(select.finish()).await?;
        let entries: Vec<Vec<Line>> = rows
            .iter()
            .map(|row| Record::new(row, "ledger", "id").json("lines"))
            .collect::<Result<_>>()?;
        let mut grants = Vec::new();
        let mut ends: HashMap<GrantId, GrantEnd> = HashMap::new();
        for line in entries
            .into_iter()
            .flat_map(|lines| lines.into_iter().rev())
        {
            match (line.given, line.end) {
                (Some((download, given)), end) => {
                    let id = line.grant;
                    grants.push((download, GrantRow { id, given, end }));
                }
                (None, Some(end)) => drop(ends.insert(line.grant, end)),
                (None, None) => {}
            }
        }
        let is_cut = grants.len() > limit;
        grants.truncate(limit);
        for (_, grant) in &mut grants {
            if let Some(end) = ends.remove(&grant.id) {
                grant.end = Some(end);
            }
        }
        Ok((grants, is_cut))
    }

    /// The files with these ids, also deleted ones.
    async fn files(&self, assets: &[AssetId]) -> Result<BTreeMap<AssetId, FileRow>> {
        const AT_ONCE: usize = 200;
        let mut files = BTreeMap::new();
        for assets in assets.chunks(AT_ONCE) {
            let mut select = Assembled::new(
                "SELECT a.id AS asset_id, a.filename AS asset_filename,
                     a.version AS asset_version, o.size_bytes AS object_size_bytes,
                     o.sha256 AS object_sha256
                 FROM assets a JOIN objects o ON o.id = a.object_id WHERE a.id IN (VALUES ",
            );
            select.rows(assets, |row, id| {
                row.text(id.to_string());
                Ok(())
            })?;
            select.push(")");
            for row in &self.fetch_all(select.finish()).await? {
                let file = FileRow::read(row)?;
                files.insert(file.asset_id, file);
            }
        }
        Ok(files)
    }
}

mod unix_ms {
    use serde::{Deserialize, Deserializer, Serializer};
    use stockroom_domain::Timestamp;

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(time.unix_ms())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(from).map(Timestamp::from_unix_ms)
    }
}

/// The first offset and how many there are.
mod offsets {
    use std::ops::Range;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(range: &Range<u64>, to: S) -> Result<S::Ok, S::Error> {
        (range.start, range.end.saturating_sub(range.start)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Range<u64>, D::Error> {
        let (start, count) = <(u64, u64)>::deserialize(from)?;
        Ok(start..start.saturating_add(count))
    }
}
