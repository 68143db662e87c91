//! Writing grants, and counting the downloads that they make up.
//!
//! With a limit, a grant is charged in a transaction of its own before any byte is sent. Without
//! one, grants are written many at a time. Both go through [`Fold`], which applies the one rule of
//! what a download is.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::any::AnyRow;
use stockroom_domain::{
    AssetId, Denial, Download, DownloadId, EventKind, GrantId, LedgerId, PurchaseId,
    PurchaseStatus, Timestamp,
};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::{CatalogError, Noun, Result};
use crate::grants::{GrantEnd, Line, NewGrant};
use crate::outbox::DownloadFacts;
use crate::purchases::{PurchaseRow, purchase_columns};
use crate::row::{Record, to_json, to_number, unless_damaged};
use crate::run::Tx;

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

/// Grants that were given without being charged before, and ends of others, to be recorded together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantBatch {
    /// The grants in the order in which they were given, with their ends where these are known.
    pub grants: Vec<(NewGrant, Option<GrantEnd>)>,
    /// The ends of grants that are recorded.
    pub ends: Vec<LateEnd>,
}

impl GrantBatch {
    /// Whether there is nothing to record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.ends.is_empty()
    }
}

/// The end of a grant that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateEnd {
    /// The purchase of the grant.
    pub purchase_id: PurchaseId,
    /// The file.
    pub asset_id: AssetId,
    /// The grant.
    pub grant_id: GrantId,
    /// What it was charged when it was given.
    pub charged_bytes: u64,
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
        let mut fold = Fold::load(&mut tx, [of_what(grant)].into()).await?;
        let continued = fold.continued(grant);
        if continued.is_none() && purchase.entitlement().is_used_up() {
            return Ok(Charged::Refused(Denial::DownloadLimitReached));
        }
        fold.add(grant, None);
        fold.write(&mut tx, grant.id.into()).await?;
        tx.commit_unnoticed().await?;
        Ok(match continued {
            Some(download) => Charged::Continued(download),
            None => Charged::Began(grant.id.into()),
        })
    }

    /// Records grants and ends of grants in one transaction, once: the same batch again under the
    /// same id changes nothing.
    ///
    /// # Errors
    /// When the database fails. Whether the batch is recorded is not known then: try it again.
    pub async fn record_grants(&self, id: LedgerId, batch: &GrantBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.retried(|| self.try_record_grants(id, batch)).await
    }

    async fn try_record_grants(&self, id: LedgerId, batch: &GrantBatch) -> Result<()> {
        let mut tx = self.begin().await?;
        let given = batch.grants.iter().map(|(grant, _)| of_what(grant));
        let ended = batch
            .ends
            .iter()
            .map(|late| (late.purchase_id, late.asset_id));
        let of_what: BTreeSet<OfWhat> = given.chain(ended).collect();
        let purchases: BTreeSet<PurchaseId> =
            of_what.iter().map(|(purchase, _)| *purchase).collect();
        tx.hold_purchases(&purchases).await?;
        if let Some(first) = purchases.first()
            && tx.has_entry(*first, id).await?
        {
            return Ok(());
        }
        let mut fold = Fold::load(&mut tx, of_what).await?;
        // The ends first: what they did not send leaves room in the downloads.
        for late in &batch.ends {
            fold.end(late);
        }
        for (grant, end) in &batch.grants {
            fold.add(grant, end.as_ref());
        }
        fold.write(&mut tx, id).await?;
        tx.commit_unnoticed().await
    }
}

/// What a download is of: one file, with one purchase.
type OfWhat = (PurchaseId, AssetId);

/// A purchase with the downloads that began on its account.
type Began = (PurchaseId, Vec<(AssetId, Download)>);

const fn of_what(grant: &NewGrant) -> OfWhat {
    (grant.purchase_id, grant.given.asset_id)
}

/// Grants on their way into downloads. The purchases are held, so that nobody else changes their
/// downloads meanwhile.
struct Fold {
    /// The newest download of each file and purchase, as it is after the grants so far.
    newest: HashMap<OfWhat, Download>,
    changed: BTreeSet<OfWhat>,
    /// The downloads that the grants began.
    began: BTreeMap<PurchaseId, Vec<(AssetId, Download)>>,
    lines: BTreeMap<PurchaseId, Vec<Line>>,
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
                ") v JOIN downloads d ON d.purchase_id = v.column1 AND d.asset_id = v.column2",
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
            changed: BTreeSet::new(),
            began: BTreeMap::new(),
            lines: BTreeMap::new(),
        })
    }

    /// The download that a grant continues.
    fn continued(&self, grant: &NewGrant) -> Option<DownloadId> {
        let newest = self.newest.get(&of_what(grant))?;
        let is_continued = newest.takes(grant.given.bytes(), grant.given.at);
        is_continued.then_some(newest.id)
    }

    /// Adds a grant to the download that it continues or begins.
    fn add(&mut self, grant: &NewGrant, end: Option<&GrantEnd>) {
        let is_continued = self.continued(grant).is_some();
        let download = match self.newest.entry(of_what(grant)) {
            Entry::Occupied(newest) if is_continued => newest.into_mut(),
            none_or_over => {
                let begun = Download {
                    id: grant.id.into(),
                    began_at: grant.given.at,
                    size_bytes: grant.size_bytes,
                    charged_bytes: 0,
                };
                let began = self.began.entry(grant.purchase_id).or_default();
                began.push((grant.given.asset_id, begun));
                none_or_over.insert_entry(begun).into_mut()
            }
        };
        let bytes = end.map_or(grant.charged_bytes, |end| {
            end.sent_bytes.min(grant.charged_bytes)
        });
        download.charged_bytes = download.charged_bytes.saturating_add(bytes);
        let line = Line {
            grant: grant.id,
            given: Some((download.id, grant.given.clone())),
            end: end.cloned(),
        };
        self.changed.insert(of_what(grant));
        self.lines.entry(grant.purchase_id).or_default().push(line);
    }

    /// Gives back what a grant did not send, unless its download is over.
    fn end(&mut self, late: &LateEnd) {
        let of_what = (late.purchase_id, late.asset_id);
        let unsent = late.charged_bytes.saturating_sub(late.end.sent_bytes);
        if let Some(download) = self.newest.get_mut(&of_what)
            // A grant is never older than its download.
            && late.grant_id >= GrantId::from(download.id)
        {
            download.charged_bytes = download.charged_bytes.saturating_sub(unsent);
            self.changed.insert(of_what);
        }
        let line = Line {
            grant: late.grant_id,
            given: None,
            end: Some(late.end.clone()),
        };
        self.lines.entry(late.purchase_id).or_default().push(line);
    }

    async fn write(self, tx: &mut Tx, id: LedgerId) -> Result<()> {
        let changed: Vec<_> = self.changed.iter().collect();
        for chunk in changed.chunks(ROWS) {
            let downloads = chunk
                .iter()
                .filter_map(|of_what| Some((**of_what, self.newest.get(*of_what)?)));
            tx.replace_downloads(downloads).await?;
        }
        let lines: Vec<_> = self.lines.into_iter().collect();
        for chunk in lines.chunks(ROWS) {
            tx.insert_entries(id, chunk).await?;
        }
        let began: Vec<_> = self.began.into_iter().collect();
        for chunk in began.chunks(ROWS) {
            tx.count_downloads(chunk).await?;
        }
        tx.tell_of_downloads(&began).await
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

    async fn has_entry(&mut self, purchase: PurchaseId, id: LedgerId) -> Result<bool> {
        let mut select = Assembled::new("SELECT l.id FROM ledger l WHERE l.purchase_id = ");
        select.text(purchase.to_string());
        select.push(" AND l.id = ").text(id.to_string());
        Ok(self.fetch_optional(select.finish()).await?.is_some())
    }

    async fn replace_downloads(
        &mut self,
        downloads: impl Iterator<Item = (OfWhat, &Download)>,
    ) -> Result<()> {
        let mut insert = Assembled::new(
            "INSERT INTO downloads
                 (purchase_id, asset_id, id, began_at, size_bytes, charged_bytes) VALUES ",
        );
        insert.rows(downloads, |row, ((purchase, asset), download)| {
            row.text(purchase.to_string()).comma();
            row.text(asset.to_string()).comma();
            row.text(download.id.to_string()).comma();
            row.number(download.began_at.unix_ms()).comma();
            row.number(to_number("size_bytes", download.size_bytes)?)
                .comma();
            row.number(to_number("charged_bytes", download.charged_bytes)?);
            Ok(())
        })?;
        insert.push(
            " ON CONFLICT (purchase_id, asset_id) DO UPDATE
              SET id = excluded.id, began_at = excluded.began_at,
                  size_bytes = excluded.size_bytes, charged_bytes = excluded.charged_bytes",
        );
        self.execute(insert.finish()).await.map(drop)
    }

    async fn insert_entries(
        &mut self,
        id: LedgerId,
        entries: &[(PurchaseId, Vec<Line>)],
    ) -> Result<()> {
        let mut insert = Assembled::new("INSERT INTO ledger (purchase_id, id, lines) VALUES ");
        insert.rows(entries, |row, (purchase, lines)| {
            row.text(purchase.to_string()).comma();
            row.text(id.to_string()).comma();
            row.text(to_json(lines)?);
            Ok(())
        })?;
        self.execute(insert.finish()).await.map(drop)
    }

    async fn count_downloads(&mut self, began: &[Began]) -> Result<()> {
        let mut update = Assembled::new(
            "UPDATE purchases SET downloads = downloads + CAST(v.column2 AS BIGINT) FROM (VALUES ",
        );
        update.rows(began, |row, (purchase, downloads)| {
            row.text(purchase.to_string()).comma();
            row.number(downloads.len() as i64);
            Ok(())
        })?;
        update.push(") v WHERE purchases.id = v.column1");
        self.execute(update.finish()).await.map(drop)
    }

    async fn tell_of_downloads(&mut self, began: &[Began]) -> Result<()> {
        const KIND: EventKind = EventKind::DownloadStarted;
        if began.is_empty() {
            return Ok(());
        }
        let listeners = self.listeners(KIND).await?;
        if listeners.is_empty() {
            return Ok(());
        }
        let mut events = Vec::new();
        for some in began.chunks(ROWS) {
            let purchases = self.purchases(some.iter().map(|(id, _)| *id)).await?;
            for (id, downloads) in some {
                // Of one whose row is damaged nobody is told.
                let Some(purchase) = purchases.get(id) else {
                    continue;
                };
                for (asset, download) in downloads {
                    let facts = DownloadFacts::new(purchase, *asset, download);
                    events.push(self.event(KIND, download.began_at, &facts)?);
                }
            }
        }
        self.tell_all(&listeners, &events).await
    }

    /// These purchases, but for damaged ones.
    async fn purchases(
        &mut self,
        ids: impl Iterator<Item = PurchaseId>,
    ) -> Result<HashMap<PurchaseId, PurchaseRow>> {
        let mut select = Assembled::new(concat!(
            "SELECT ",
            purchase_columns!(),
            " FROM purchases e WHERE e.id IN (VALUES "
        ));
        select.rows(ids, |row, id| {
            row.text(id.to_string());
            Ok(())
        })?;
        select.push(")");
        let mut purchases = HashMap::new();
        for row in &self.fetch_all(select.finish()).await? {
            let purchase = unless_damaged(PurchaseRow::read(row))?;
            purchases.extend(purchase.map(|purchase| (purchase.id, purchase)));
        }
        Ok(purchases)
    }
}
