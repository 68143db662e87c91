//! Figures for operators: how many placements are in which state, and what is owed.

use stockroom_domain::{PlacementState, StoreName, Timestamp};

use crate::Catalog;
use crate::error::Result;
use crate::row::Record;
use crate::run::sql;

/// How many placements of a store are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateCount {
    /// The store.
    pub store: StoreName,
    /// The state.
    pub state: PlacementState,
    /// How many placements.
    pub placements: u64,
}

/// What a store owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderPlaced {
    /// The store.
    pub store: StoreName,
    /// How many placements of live objects are `copying` or `suspect`.
    pub placements: u64,
    /// Since when the oldest of them is in its state.
    pub oldest_since: Timestamp,
}

impl Catalog {
    /// How many placements there are, by store and state. This counts all of them: a second for
    /// some million, so not for every request.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn counts_by_state(&self) -> Result<Vec<StateCount>> {
        let rows = self
            .fetch_all(sql(
                "SELECT p.store AS count_store, p.state AS count_state, count(*) AS count_rows
                 FROM placements p GROUP BY p.store, p.state ORDER BY p.store, p.state",
            ))
            .await?;
        rows.iter()
            .map(|row| {
                let row = Record::new(row, "placements", "count_store");
                Ok(StateCount {
                    store: row.parsed("count_store")?,
                    state: row.parsed("count_state")?,
                    placements: row.count("count_rows")?,
                })
            })
            .collect()
    }

    /// What each store owes; a store that owes nothing is not in the answer. This reads all that
    /// is owed, and nothing else.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn under_placed(&self) -> Result<Vec<UnderPlaced>> {
        let rows = self
            .fetch_all(sql("SELECT p.store AS owed_store, count(*) AS owed_rows,
                     min(p.updated_at) AS owed_since
                 FROM placements p JOIN objects o ON o.id = p.object_id AND o.state = 'live'
                 WHERE p.state IN ('copying', 'suspect')
                 GROUP BY p.store ORDER BY p.store"))
            .await?;
        rows.iter()
            .map(|row| {
                let row = Record::new(row, "placements", "owed_store");
                Ok(UnderPlaced {
                    store: row.parsed("owed_store")?,
                    placements: row.count("owed_rows")?,
                    oldest_since: row.time("owed_since")?,
                })
            })
            .collect()
    }
}
