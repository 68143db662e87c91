//! The way to a bucket: what is needed to try it is made once, when it is first needed.

use std::sync::OnceLock;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::app::Bucket;
use crate::config::S3Settings;
use crate::doctor::finding::Finding;
use crate::doctor::{bucket, tls};

/// The way to a bucket.
pub(super) struct Way<'a> {
    bucket: &'a Bucket,
    patience: Duration,
    refusal: OnceCell<Option<Finding>>,
    trust: OnceLock<Result<ClientConfig, Finding>>,
    client: OnceLock<Option<reqwest::Client>>,
}

impl<'a> Way<'a> {
    pub(super) const fn new(bucket: &'a Bucket, patience: Duration) -> Self {
        Self {
            bucket,
            patience,
            refusal: OnceCell::const_new(),
            trust: OnceLock::new(),
            client: OnceLock::new(),
        }
    }

    pub(super) const fn settings(&self) -> &'a S3Settings {
        &self.bucket.settings
    }

    /// Whom to trust as the bucket's server; none of it matters where the address is plain http.
    pub(super) fn trust(&self) -> Result<&ClientConfig, &Finding> {
        let make = || tls::client(self.settings());
        self.trust.get_or_init(make).as_ref()
    }

    /// What fetches a byte with a link; none where no such client can be made.
    pub(super) fn client(&self) -> Option<&reqwest::Client> {
        let make = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(self.trust().ok()?.clone())
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(self.patience)
                .build()
                .ok()
        };
        self.client.get_or_init(make).as_ref()
    }

    /// Why the bucket refuses requests that are signed with our key; none where it does not. The
    /// answer to a HEAD has no body that would tell, that to a list has.
    pub(super) async fn refusal(&self) -> Option<Finding> {
        let ask = async || {
            let answer = timeout(self.patience, self.bucket.store.probe_list()).await;
            let refusal = answer.ok()?.err()?;
            (!refusal.is_transient()).then(|| bucket::refusal(self.settings(), &refusal))
        };
        self.refusal.get_or_init(ask).await.clone()
    }
}
