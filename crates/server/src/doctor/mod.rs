//! `doctor`: looks at everything a running Stockroom depends on, and says what is wrong and how to
//! mend it.
//!
//! The checks follow the chain: the folders, then the bucket from its address over name, port, TLS
//! and clock to the key and what it may do, then the database, then whose the stores are, what is
//! missing on them or lies elsewhere, who does not take events, and a sample of what is recorded against what is stored. A link that is broken
//! ends its chain, so that one cause is one finding. Nothing is changed but for a probe file and a
//! probe object, which are removed again.

mod address;
pub(crate) mod bucket;
mod capabilities;
pub(crate) mod clock;
mod database;
mod elsewhere;
mod endpoints;
pub(crate) mod finding;
mod folder;
pub(crate) mod identity;
mod network;
mod owed;
mod record;
pub(crate) mod tls;

use std::sync::Arc;

use stockroom_domain::{Clock, Entropy};
use stockroom_storage::Mode;

pub use finding::{Finding, Severity};

use crate::config::Config;

/// What the checks of a bucket need from outside.
#[derive(Debug)]
struct Surroundings<'a> {
    clock: &'a Arc<dyn Clock>,
    entropy: &'a Arc<dyn Entropy>,
}

impl Surroundings<'_> {
    /// A name that nobody else uses, for what a check writes.
    fn probe_name(&self) -> String {
        format!("doctor-{}", hex::encode(self.entropy.bytes::<8>()))
    }
}

/// Runs all checks, in the order of the chain. `clock` is compared with that of the bucket, and
/// requests are signed with its time; `entropy` names what is written, and draws the sample.
///
/// It takes seconds at most where everything answers, and ends within two minutes where nothing
/// does: no request is sent twice.
pub async fn examine(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Vec<Finding> {
    let surroundings = Surroundings { clock, entropy };
    let mut findings = Vec::new();
    let data = folder::examine(folder::DATA, &config.data_dir, surroundings.probe_name()).await;
    findings.extend(data);
    if config.storage.mode != Mode::S3 {
        let dir = &config.storage.dir;
        findings.extend(folder::examine(folder::STORAGE, dir, surroundings.probe_name()).await);
    }
    let mut buckets = Vec::new();
    for settings in config.storage.buckets() {
        buckets.extend(bucket::examine(settings, &surroundings, &mut findings).await);
    }
    if let Some(catalog) = database::examine(&config.database, &mut findings).await {
        let mut stores = record::Stores::open(&config.storage.dir, buckets, &surroundings);
        identity::examine(&catalog, &mut stores, &mut findings).await;
        owed::examine(&catalog, clock.now(), &mut findings).await;
        elsewhere::examine(&catalog, &config.storage, &mut findings).await;
        endpoints::examine(&catalog, clock.now(), &mut findings).await;
        record::examine(&catalog, &stores, entropy, &mut findings).await;
        catalog.close().await;
    }
    findings
}
