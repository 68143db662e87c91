//! Grants: the answers that gave a purchase's bytes away. Together they are its receipt.

use std::ops::Range;

use sqlx::any::AnyRow;
use stockroom_domain::{
    AssetId, DownloadId, Filename, GrantId, GrantKind, KeyId, PurchaseId, Sha256Digest, Timestamp,
};

use crate::Catalog;
use crate::error::Result;
use crate::row::Record;
use crate::run::Assembled;

/// An answer that gives a purchase's bytes away, when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// Its id, which becomes the id of the download if it begins one.
    pub id: GrantId,
    /// The purchase that lets its buyer have the bytes.
    pub purchase_id: PurchaseId,
    /// The file.
    pub asset_id: AssetId,
    /// The size of the file in bytes.
    pub size_bytes: u64,
    /// How the bytes are given.
    pub kind: GrantKind,
    /// When.
    pub at: Timestamp,
    /// The offsets of the bytes that are given.
    pub range: Range<u64>,
    /// How many bytes it counts for until its end is known: all of the range, or none where it
    /// only leads to a link of this server, whose use counts.
    pub charged_bytes: u64,
    /// The stores that the bytes come from, as far as they are known.
    pub stores: String,
    /// The key that asked; none where a link was followed.
    pub key_id: Option<KeyId>,
    /// A keyed hash of the address that asked.
    pub address: Option<String>,
}

/// The end of an answer that sent bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantEnd {
    /// When it ended.
    pub ended_at: Timestamp,
    /// How many bytes were handed to the connection.
    pub sent_bytes: u64,
    /// The stores that they came from, in the order in which they were read.
    pub stores: String,
}

/// A recorded grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// Its id.
    pub id: GrantId,
    /// How the bytes were given.
    pub kind: GrantKind,
    /// When.
    pub at: Timestamp,
    /// The offsets of the bytes that were given.
    pub range: Range<u64>,
    /// The stores that they came from, with commas in between.
    pub stores: String,
    /// The key that asked; none where a link was followed.
    pub key_id: Option<KeyId>,
    /// A keyed hash of the address that asked.
    pub address: Option<String>,
    /// When it ended; none while it runs, and where another server sends the bytes.
    pub ended_at: Option<Timestamp>,
    /// How many bytes were sent, where that is known.
    pub sent_bytes: Option<u64>,
}

/// A recorded download with the grants that it consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadRow {
    /// Its id.
    pub id: DownloadId,
    /// When it began.
    pub began_at: Timestamp,
    /// The file.
    pub asset_id: AssetId,
    /// The name of the file.
    pub filename: Filename,
    /// The version of the file.
    pub version: u32,
    /// The size of the file in bytes.
    pub size_bytes: u64,
    /// The SHA-256 of the file.
    pub sha256: Sha256Digest,
    /// Its grants, oldest first.
    pub grants: Vec<GrantRow>,
}

impl GrantRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "grants", "grant_id");
        let first_byte: u64 = row.count("grant_first_byte")?;
        let granted_bytes: u64 = row.count("grant_granted_bytes")?;
        Ok(Self {
            id: row.parsed("grant_id")?,
            kind: row.parsed("grant_kind")?,
            at: row.time("grant_at")?,
            range: first_byte..first_byte.saturating_add(granted_bytes),
            stores: row.text("grant_stores")?.to_owned(),
            key_id: row.parsed_or_null("grant_key_id")?,
            address: row.text_or_null("grant_address")?.map(str::to_owned),
            ended_at: row.time_or_null("grant_ended_at")?,
            sent_bytes: row.count_or_null("grant_sent_bytes")?,
        })
    }
}

impl DownloadRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "downloads", "download_id");
        let sha256 = Sha256Digest::try_from(row.bytes("object_sha256")?)
            .map_err(|error| row.corrupt("object_sha256", &error))?;
        Ok(Self {
            id: row.parsed("download_id")?,
            began_at: row.time("download_began_at")?,
            asset_id: row.parsed("download_asset_id")?,
            filename: row.parsed("asset_filename")?,
            version: row.count("asset_version")?,
            size_bytes: row.count("download_size_bytes")?,
            sha256,
            grants: Vec::new(),
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
        let mut select = Assembled::new(
            "SELECT g.id AS grant_id, g.kind AS grant_kind, g.at AS grant_at,
                 g.first_byte AS grant_first_byte, g.granted_bytes AS grant_granted_bytes,
                 g.stores AS grant_stores, g.key_id AS grant_key_id, g.address AS grant_address,
                 g.ended_at AS grant_ended_at, g.sent_bytes AS grant_sent_bytes,
                 d.id AS download_id, d.began_at AS download_began_at,
                 d.asset_id AS download_asset_id, d.size_bytes AS download_size_bytes,
                 a.filename AS asset_filename, a.version AS asset_version,
                 o.sha256 AS object_sha256
             FROM grants g
             JOIN downloads d ON d.id = g.download_id
             JOIN assets a ON a.id = d.asset_id
             JOIN objects o ON o.id = a.object_id
             WHERE g.purchase_id = ",
        );
        select.text(purchase.to_string());
        select.push(" ORDER BY g.id DESC LIMIT ");
        select.number(i64::from(limit) + 1);
        let mut rows = self.fetch_all(select.finish()).await?;
        let is_cut = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let mut downloads: Vec<DownloadRow> = Vec::new();
        for row in rows.iter().rev() {
            let download = DownloadRow::read(row)?;
            let grant = GrantRow::read(row)?;
            // Grants of two downloads may alternate, so the right one need not be the last.
            match downloads.iter_mut().rev().find(|it| it.id == download.id) {
                Some(known) => known.grants.push(grant),
                None => downloads.push(DownloadRow {
                    grants: vec![grant],
                    ..download
                }),
            }
        }
        Ok((downloads, is_cut))
    }
}
