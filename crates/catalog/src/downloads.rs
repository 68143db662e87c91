//! Writing grants, and counting the downloads that they make up.
//!
//! With a limit, a grant is charged in a transaction of its own before any byte is sent. Without
//! one, grants are written many at a time. Both go through [`Fold`], which applies the one rule of
//! what a download is.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::any::AnyRow;
use stockroom_domain::{
    AssetId, Denial, Download, DownloadId, GrantId, PurchaseId, PurchaseStatus, Timestamp,
};

use crate::Catalog;
use crate::error::{CatalogError, Noun, Result};
use crate::grants::{GrantEnd, NewGrant};
use crate::purchases::{PurchaseRow, purchase_columns};
use crate::row::{Record, to_number};
use crate::run::{Assembled, Tx};

/// How many rows one statement carries; SQLite takes 32,766 values.
const ROWS: usize = 200;

/// What became of a grant that was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// It continues this download.
    Continued(DownloadId),
    /// It begins this download.
    Began(DownloadId),
    /// The purchase does not allow it any more.
    Refused(Denial),
}

/// A grant that was not charged before, with its end if it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// The grant.
    pub grant: NewGrant,
    /// Its end, if that is known.
    pub end: Option<GrantEnd>,
}

/// The end of a grant that is in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateEnd {
    /// The purchase of the grant.
    pub purchase_id: PurchaseId,
    /// The grant.
    pub grant_id: GrantId,
    /// How it ended.
    pub end: GrantEnd,
}

/// The columns of `downloads d`.
macro_rules! download_columns {
    () => {
        "d.id AS download_id, d.purchase_id AS download_purchase_id, \
         d.asset_id AS download_asset_id, d.began_at AS download_began_at, \
         d.size_bytes AS download_size_bytes, d.charged_bytes AS download_charged_bytes"
    };
}
pub(crate) use download_columns;

const fn record(row: &AnyRow) -> Record<'_> {
    Record::new(row, "downloads", "download_id")
}

/// The download in the columns that [`download_columns`] names, or nothing where a left join found
/// none.
pub(crate) fn read_download(row: &AnyRow) -> Result<Option<Download>> {
    let row = record(row);
    if !row.is_there()? {
        return Ok(None);
    }
    Ok(Some(Download {
        id: row.parsed("download_id")?,
        began_at: row.time("download_began_at")?,
        size_bytes: row.count("download_size_bytes")?,
        charged_bytes: row.count("download_charged_bytes")?,
    }))
}

impl Catalog {
    /// Charges a purchase that may have a limit, before its bytes are sent: of many calls at once no
    /// more begin a download than the limit allows.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when there is no such purchase.
    pub async fn charge_grant(&self, grant: &NewGrant, now: Timestamp) -> Result<Charged> {
        self.retried(|| self.try_charge_grant(grant, now)).await
    }

    async fn try_charge_grant(&self, grant: &NewGrant, now: Timestamp) -> Result<Charged> {
        let mut tx = self.begin().await?;
        let purchase = tx.hold_purchase(grant.purchase_id).await?;
        match purchase.status(now) {
            PurchaseStatus::Active => {}
            PurchaseStatus::Refunded => return Ok(Charged::Refused(Denial::Refunded)),
            PurchaseStatus::Expired => return Ok(Charged::Refused(Denial::Expired)),
        }
        let mut fold = Fold::load(&mut tx, [subject(grant)].into()).await?;
        let continued = fold.continued(grant);
        if continued.is_none() && purchase.entitlement().is_used_up() {
            return Ok(Charged::Refused(Denial::DownloadLimitReached));
        }
        let download = fold.add(grant, None);
        fold.write(&mut tx).await?;
        tx.commit().await?;
        Ok(match continued {
            Some(download) => Charged::Continued(download),
            None => Charged::Began(download),
        })
    }

    /// Records grants that were given without asking here, in the order in which they were, and the
    /// ends of such as are here; in one transaction.
    ///
    /// # Errors
    /// When the database fails. Nothing was recorded then.
    pub async fn record_grants(&self, grants: &[GrantRecord], ends: &[LateEnd]) -> Result<()> {
        if grants.is_empty() && ends.is_empty() {
            return Ok(());
        }
        self.retried(|| self.try_record_grants(grants, ends)).await
    }

    async fn try_record_grants(&self, grants: &[GrantRecord], ends: &[LateEnd]) -> Result<()> {
        let mut tx = self.begin().await?;
        let purchases = grants.iter().map(|it| it.grant.purchase_id).collect();
        tx.hold_purchases(&purchases).await?;
        // The ends first: what they did not send leaves room in the downloads.
        for ends in ends.chunks(ROWS) {
            tx.end_grants(ends).await?;
        }
        let subjects = grants.iter().map(|it| subject(&it.grant)).collect();
        let mut fold = Fold::load(&mut tx, subjects).await?;
        for record in grants {
            fold.add(&record.grant, record.end.as_ref());
        }
        fold.write(&mut tx).await?;
        tx.commit().await
    }
}

impl Catalog {
    /// Which of these grants are recorded.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recorded_grants(&self, grants: &[GrantRecord]) -> Result<HashSet<GrantId>> {
        let mut recorded = HashSet::new();
        for chunk in grants.chunks(ROWS) {
            let mut select = Assembled::new("SELECT g.id FROM (VALUES ");
            select.rows(chunk, |row, GrantRecord { grant, .. }| {
                row.text(grant.purchase_id.to_string()).comma();
                row.text(grant.id.to_string());
                Ok(())
            })?;
            select.push(") v JOIN grants g ON g.purchase_id = v.column1 AND g.id = v.column2");
            for row in &self.fetch_all(select.finish()).await? {
                recorded.insert(Record::new(row, "grants", "id").parsed("id")?);
            }
        }
        Ok(recorded)
    }
}

/// What a download is of: one file, with one purchase.
type OfWhat = (PurchaseId, AssetId);

const fn subject(grant: &NewGrant) -> OfWhat {
    (grant.purchase_id, grant.asset_id)
}

/// Grants on their way into downloads.
struct Fold {
    /// The newest download of each file and purchase, as it is after the grants so far.
    newest: HashMap<OfWhat, Download>,
    /// What the grants add to the charged bytes of downloads.
    charges: BTreeMap<DownloadId, Charge>,
    /// How many downloads the grants began.
    began: BTreeMap<PurchaseId, i64>,
    grants: Vec<Row>,
}

struct Charge {
    of_what: OfWhat,
    began_at: Timestamp,
    size_bytes: u64,
    added_bytes: u64,
}

struct Row {
    grant: NewGrant,
    download: DownloadId,
    end: Option<GrantEnd>,
}

impl Fold {
    async fn load(tx: &mut Tx, of_what: BTreeSet<OfWhat>) -> Result<Self> {
        let of_what: Vec<OfWhat> = of_what.into_iter().collect();
        let mut newest = HashMap::with_capacity(of_what.len());
        for chunk in of_what.chunks(ROWS) {
            let mut select =
                Assembled::new(concat!("SELECT ", download_columns!(), " FROM (VALUES "));
            select.rows(chunk, |row, (purchase, asset)| {
                row.text(purchase.to_string()).comma();
                row.text(asset.to_string());
                Ok(())
            })?;
            select.push(
                ") v JOIN downloads d ON d.id = (
                     SELECT max(x.id) FROM downloads x
                     WHERE x.purchase_id = v.column1 AND x.asset_id = v.column2)",
            );
            for row in &tx.fetch_all(select.finish()).await? {
                let of_what = (
                    record(row).parsed("download_purchase_id")?,
                    record(row).parsed("download_asset_id")?,
                );
                newest.extend(read_download(row)?.map(|download| (of_what, download)));
            }
        }
        Ok(Self {
            newest,
            charges: BTreeMap::new(),
            began: BTreeMap::new(),
            grants: Vec::new(),
        })
    }

    /// The download that a grant continues.
    fn continued(&self, grant: &NewGrant) -> Option<DownloadId> {
        let newest = self.newest.get(&subject(grant))?;
        let bytes = grant.range.end.saturating_sub(grant.range.start);
        newest.takes(bytes, grant.at).then_some(newest.id)
    }

    /// Adds a grant to the download that it continues or begins.
    fn add(&mut self, grant: &NewGrant, end: Option<&GrantEnd>) -> DownloadId {
        let is_continued = self.continued(grant).is_some();
        let of_what = subject(grant);
        let download = match self.newest.entry(of_what) {
            Entry::Occupied(newest) if is_continued => newest.into_mut(),
            none_or_over => {
                *self.began.entry(grant.purchase_id).or_default() += 1;
                let begun = Download {
                    id: grant.id.into(),
                    began_at: grant.at,
                    size_bytes: grant.size_bytes,
                    charged_bytes: 0,
                };
                none_or_over.insert_entry(begun).into_mut()
            }
        };
        let bytes = end.map_or(grant.charged_bytes, |end| {
            end.sent_bytes.min(grant.charged_bytes)
        });
        download.charged_bytes = download.charged_bytes.saturating_add(bytes);
        let charge = self.charges.entry(download.id).or_insert_with(|| Charge {
            of_what,
            began_at: download.began_at,
            size_bytes: download.size_bytes,
            added_bytes: 0,
        });
        charge.added_bytes = charge.added_bytes.saturating_add(bytes);
        let download = download.id;
        self.grants.push(Row {
            grant: grant.clone(),
            download,
            end: end.cloned(),
        });
        download
    }

    async fn write(self, tx: &mut Tx) -> Result<()> {
        let charges: Vec<_> = self.charges.into_iter().collect();
        for chunk in charges.chunks(ROWS) {
            tx.charge_downloads(chunk).await?;
        }
        for chunk in self.grants.chunks(ROWS) {
            tx.insert_grants(chunk).await?;
        }
        let began: Vec<_> = self.began.into_iter().collect();
        for chunk in began.chunks(ROWS) {
            tx.count_downloads(chunk).await?;
        }
        Ok(())
    }
}

impl Tx {
    /// The purchase, which nobody else changes until this transaction ends.
    async fn hold_purchase(&mut self, id: PurchaseId) -> Result<PurchaseRow> {
        let mut select = Assembled::new(concat!(
            "SELECT ",
            purchase_columns!(),
            " FROM purchases e WHERE e.id = "
        ));
        select.text(id.to_string());
        select.push(self.dialect().hold_purchases());
        let row = self.fetch_optional(select.finish()).await?;
        row.as_ref()
            .map(PurchaseRow::read)
            .ok_or(CatalogError::NotFound(Noun::Purchase))?
    }

    /// Keeps other servers from counting downloads of these purchases until this transaction ends;
    /// in one order everywhere, so that two of them rarely wait for each other.
    async fn hold_purchases(&mut self, ids: &BTreeSet<PurchaseId>) -> Result<()> {
        let hold = self.dialect().hold_purchases();
        if hold.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = ids.iter().collect();
        for chunk in ids.chunks(ROWS) {
            let mut select = Assembled::new("SELECT e.id FROM purchases e WHERE e.id IN (VALUES ");
            select.rows(chunk, |row, id| {
                row.text(id.to_string());
                Ok(())
            })?;
            select.push(") ORDER BY e.id").push(hold);
            self.fetch_all(select.finish()).await?;
        }
        Ok(())
    }

    async fn charge_downloads(&mut self, charges: &[(DownloadId, Charge)]) -> Result<()> {
        let mut insert = Assembled::new(
            "INSERT INTO downloads
                 (id, purchase_id, asset_id, began_at, size_bytes, charged_bytes) VALUES ",
        );
        insert.rows(charges, |row, (id, charge)| {
            let (purchase, asset) = charge.of_what;
            row.text(id.to_string()).comma();
            row.text(purchase.to_string()).comma();
            row.text(asset.to_string()).comma();
            row.number(charge.began_at.unix_ms()).comma();
            row.number(to_number("size_bytes", charge.size_bytes)?)
                .comma();
            row.number(to_number("charged_bytes", charge.added_bytes)?);
            Ok(())
        })?;
        insert.push(
            " ON CONFLICT (id) DO UPDATE
              SET charged_bytes = downloads.charged_bytes + excluded.charged_bytes",
        );
        self.execute(insert.finish()).await.map(drop)
    }

    async fn insert_grants(&mut self, rows: &[Row]) -> Result<()> {
        let mut insert = Assembled::new(
            "INSERT INTO grants (id, purchase_id, download_id, kind, at, first_byte, granted_bytes,
                 charged_bytes, stores, key_id, address, ended_at, sent_bytes) VALUES ",
        );
        insert.rows(
            rows,
            |row,
             Row {
                 grant,
                 download,
                 end,
             }| {
                let granted_bytes = grant.range.end.saturating_sub(grant.range.start);
                let stores = end.as_ref().map_or(&grant.stores, |end| &end.stores);
                let sent_bytes = end
                    .as_ref()
                    .map(|end| to_number("sent_bytes", end.sent_bytes))
                    .transpose()?;
                row.text(grant.id.to_string()).comma();
                row.text(grant.purchase_id.to_string()).comma();
                row.text(download.to_string()).comma();
                row.text(grant.kind.as_str()).comma();
                row.number(grant.at.unix_ms()).comma();
                row.number(to_number("first_byte", grant.range.start)?)
                    .comma();
                row.number(to_number("granted_bytes", granted_bytes)?)
                    .comma();
                row.number(to_number("charged_bytes", grant.charged_bytes)?)
                    .comma();
                row.text(stores.clone()).comma();
                row.text_or_null(grant.key_id.map(|id| id.to_string()))
                    .comma();
                row.text_or_null(grant.address.clone()).comma();
                row.number_or_null(end.as_ref().map(|end| end.ended_at.unix_ms()))
                    .comma();
                row.number_or_null(sent_bytes);
                Ok(())
            },
        )?;
        self.execute(insert.finish()).await.map(drop)
    }

    async fn count_downloads(&mut self, began: &[(PurchaseId, i64)]) -> Result<()> {
        let mut update = Assembled::new(
            "UPDATE purchases SET downloads = downloads + CAST(v.column2 AS BIGINT) FROM (VALUES ",
        );
        update.rows(began, |row, (purchase, downloads)| {
            row.text(purchase.to_string()).comma();
            row.number(*downloads);
            Ok(())
        })?;
        update.push(") v WHERE purchases.id = v.column1");
        self.execute(update.finish()).await.map(drop)
    }

    /// Notes how grants ended, and gives what they did not send back to their downloads.
    async fn end_grants(&mut self, ends: &[LateEnd]) -> Result<()> {
        let mut update = Assembled::new(
            "UPDATE grants SET ended_at = CAST(v.column3 AS BIGINT),
                 sent_bytes = CAST(v.column4 AS BIGINT), stores = v.column5
             FROM (VALUES ",
        );
        update.rows(ends, |row, late| {
            row.text(late.purchase_id.to_string()).comma();
            row.text(late.grant_id.to_string()).comma();
            row.number(late.end.ended_at.unix_ms()).comma();
            row.number(to_number("sent_bytes", late.end.sent_bytes)?)
                .comma();
            row.text(late.end.stores.clone());
            Ok(())
        })?;
        update.push(
            ") v WHERE grants.purchase_id = v.column1 AND grants.id = v.column2
                 AND grants.ended_at IS NULL
             RETURNING id, download_id, charged_bytes, sent_bytes",
        );
        let mut unsent: BTreeMap<DownloadId, i64> = BTreeMap::new();
        for row in &self.fetch_all(update.finish()).await? {
            let row = Record::new(row, "grants", "id");
            let rest = row.number("charged_bytes")? - row.number("sent_bytes")?;
            if rest > 0 {
                *unsent.entry(row.parsed("download_id")?).or_default() += rest;
            }
        }
        if unsent.is_empty() {
            return Ok(());
        }
        let mut update = Assembled::new(
            "UPDATE downloads SET charged_bytes = charged_bytes - CAST(v.column2 AS BIGINT)
             FROM (VALUES ",
        );
        update.rows(&unsent, |row, (download, bytes)| {
            row.text(download.to_string()).comma();
            row.number(*bytes);
            Ok(())
        })?;
        update.push(") v WHERE downloads.id = v.column1");
        self.execute(update.finish()).await.map(drop)
    }
}
