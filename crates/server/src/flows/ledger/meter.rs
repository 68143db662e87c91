//! Counts the bytes of an answer, and tells the ledger when it is over.

use stockroom_catalog::GrantEnd;
use stockroom_storage::{ContinuedBy, StoreName};

use super::{OpenGrant, end};
use crate::app::App;

/// Counts what is handed to the connection. The answer is over when this is dropped: whole,
/// because the line broke, or because the server stops.
#[derive(Debug)]
pub struct Meter {
    app: App,
    grant: OpenGrant,
    first_store: String,
    continued_by: ContinuedBy,
    sent_bytes: u64,
}

impl Meter {
    /// A meter for the bytes of a grant, which come from these stores.
    #[must_use]
    pub fn new(app: &App, grant: OpenGrant, first: &StoreName, later: &ContinuedBy) -> Self {
        Self {
            app: app.clone(),
            grant,
            first_store: first.to_string(),
            continued_by: later.clone(),
            sent_bytes: 0,
        }
    }

    /// Counts bytes that are handed on.
    pub const fn add(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut stores = std::mem::take(&mut self.first_store);
        for store in self.continued_by.stores() {
            stores.push(',');
            stores.push_str(store.as_str());
        }
        let how = GrantEnd {
            ended_at: self.app.clock.now(),
            sent_bytes: self.sent_bytes,
            stores,
        };
        end(&self.app, &self.grant, how);
    }
}
