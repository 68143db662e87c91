//! What clients were told, and what they may not yet know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use stockroom_domain::Sha256Digest;

/// What lies under a key: bytes with this digest, or nothing.
pub(crate) type Content = Option<Sha256Digest>;

/// What clients do, noted as they do it.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Record>);

/// What was noted up to a moment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    keys: BTreeMap<String, Known>,
    /// Every body that was ever sent. Nothing else may ever be read.
    pub(crate) sent: BTreeSet<Sha256Digest>,
}

/// What may be read under a key.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// What was acknowledged last. More than one only when an answer got lost in a power cut.
    settled: BTreeSet<Content>,
    /// What a request asks for that was not answered yet.
    under_way: Option<Content>,
}

impl Known {
    /// Everything that may be there after a power cut.
    pub(crate) fn possible(&self) -> BTreeSet<Content> {
        self.settled.iter().copied().chain(self.under_way).collect()
    }

    /// What must be there, if only one thing may.
    pub(crate) fn certain(&self) -> Option<Content> {
        let possible = self.possible();
        match possible.len() {
            1 => possible.first().copied(),
            _ => None,
        }
    }
}

impl Ledger {
    /// Goes on from what was known when the power was cut. What was under way then may have
    /// happened or not, and nobody will ever be told.
    pub(crate) fn after_power_cut(mut record: Record) -> Self {
        for known in record.keys.values_mut() {
            known.settled.extend(known.under_way.take());
        }
        Self(Mutex::new(record))
    }

    /// Notes bytes that are about to be sent, under a key that only the answer will tell.
    pub(crate) fn send(&self, digest: Sha256Digest) {
        self.record().sent.insert(digest);
    }

    /// Notes what a request asks for, before it is sent.
    pub(crate) fn begin(&self, key: &str, wanted: Content) {
        let mut record = self.record();
        record.sent.extend(wanted);
        let known = record.keys.entry(key.to_owned());
        let known = known.or_insert_with(|| Known {
            settled: BTreeSet::from([None]),
            under_way: None,
        });
        known.under_way = Some(wanted);
    }

    /// Notes that a request was acknowledged.
    pub(crate) fn acknowledge(&self, key: &str, content: Content) {
        let known = Known {
            settled: BTreeSet::from([content]),
            under_way: None,
        };
        self.record().keys.insert(key.to_owned(), known);
    }

    /// What is known now.
    pub(crate) fn now(&self) -> Record {
        self.record().clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap()
    }
}

impl Record {
    /// All keys that were ever written to.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&String, &Known)> {
        self.keys.iter()
    }
}
