//! How a folder is opened.

use std::sync::Arc;

use stockroom_domain::{Clock, Entropy, StoreName, SystemClock, SystemEntropy};

use crate::{NoObserver, Observer, UrlSigner};

/// How a folder is opened.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    pub(super) name: StoreName,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) signer: Option<UrlSigner>,
}

impl Default for LocalOptions {
    /// The store `local` with the machine's clock and randomness, without observer and signer.
    fn default() -> Self {
        Self {
            name: StoreName::LOCAL,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            observer: Arc::new(NoObserver),
            signer: None,
        }
    }
}

impl LocalOptions {
    /// The same with another name: for a second folder beside the first.
    #[must_use]
    pub fn name(mut self, name: StoreName) -> Self {
        self.name = name;
        self
    }

    /// The same with this clock, by which signed URLs expire.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same with this randomness, from which staged files have their names.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// The same with this observer, who is told of every call.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// The same with this signer, without which there are no signed URLs.
    #[must_use]
    pub fn signer(mut self, signer: UrlSigner) -> Self {
        self.signer = Some(signer);
        self
    }
}
