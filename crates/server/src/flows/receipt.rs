//! The receipt of a purchase: what its buyer was given, from what the ledger recorded.

use std::ops::Range;

use stockroom_catalog::{DownloadRow, GrantRow, PurchaseRow};
use stockroom_domain::Timestamp;

use crate::app::App;
use crate::flows::error::FlowError;
use crate::flows::ledger;

/// The most grants that a receipt shows; the newest ones.
pub const MAX_GRANTS: u32 = 10_000;

/// What a buyer was given on the account of a purchase.
#[derive(Debug)]
pub struct Receipt {
    /// The purchase.
    pub purchase: PurchaseRow,
    /// Its downloads, oldest first.
    pub downloads: Vec<Download>,
    /// There are older grants than those that are shown.
    pub is_cut: bool,
}

/// A download and what was sent of the file.
#[derive(Debug)]
pub struct Download {
    /// As it was recorded, with its grants.
    pub row: DownloadRow,
    /// The offsets that were sent at least once, merged, in their order.
    pub sent: Vec<Range<u64>>,
}

impl Receipt {
    /// How many bytes were sent, those that were sent twice counted twice.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.downloads.iter().map(Download::sent_bytes).sum()
    }
}

impl Download {
    fn of(row: DownloadRow) -> Self {
        let sent = merged(row.grants.iter().filter_map(sent_range));
        Self { row, sent }
    }

    /// How many bytes were sent, those that were sent twice counted twice.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.row
            .grants
            .iter()
            .filter_map(GrantRow::sent_bytes)
            .sum()
    }

    /// Whether every byte of the file was sent.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let size_bytes = self.row.file.size_bytes;
        size_bytes == 0 || matches!(self.sent[..], [Range { start: 0, end }] if end == size_bytes)
    }

    /// When the first and the last of its grants were given.
    #[must_use]
    pub fn times(&self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = (self.row.grants.first()?, self.row.grants.last()?);
        Some((first.given.at, last.given.at))
    }
}

/// Puts the receipt of a purchase together.
///
/// # Errors
/// That of the catalog; also when grants that wait to be recorded cannot be.
pub async fn receipt(app: &App, purchase: PurchaseRow) -> Result<Receipt, FlowError> {
    ledger::flush(app).await?;
    let (downloads, is_cut) = app.catalog.downloads_of(purchase.id, MAX_GRANTS).await?;
    Ok(Receipt {
        purchase,
        downloads: downloads.into_iter().map(Download::of).collect(),
        is_cut,
    })
}

/// What an answer sent, where that is known.
fn sent_range(grant: &GrantRow) -> Option<Range<u64>> {
    let sent_bytes = grant.sent_bytes().filter(|bytes| *bytes > 0)?;
    let Range { start, end } = grant.given.range;
    Some(start..start.saturating_add(sent_bytes).min(end))
}

/// The same offsets in as few ranges as possible.
fn merged(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_where_they_meet_or_overlap() {
        let cases = [
            ("", ""),
            ("0-5 5-9", "0-9"),
            ("6-9 0-5", "0-5 6-9"),
            ("0-9 2-3 8-12", "0-12"),
            ("0-4 0-4", "0-4"),
        ];
        for (given, expected) in cases {
            assert_eq!(
                merged(ranges(given).into_iter()),
                ranges(expected),
                "{given}"
            );
        }
    }

    fn ranges(text: &str) -> Vec<Range<u64>> {
        text.split_whitespace()
            .map(|range| {
                let (start, end) = range.split_once('-').unwrap();
                start.parse().unwrap()..end.parse().unwrap()
            })
            .collect()
    }
}
