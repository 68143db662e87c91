//! The ids of stores. An id is written into each store and here, so that a catalog of another
//! Stockroom, or a store that was swapped for another one, is noticed before anything is removed.

use stockroom_domain::{PlacementState, StoreName};

use crate::Catalog;
use crate::error::Result;
use crate::row::check_text;
use crate::run::sql;

impl Catalog {
    /// The id that this store is known to carry, if one was ever settled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn store_id(&self, store: &StoreName) -> Result<Option<String>> {
        self.meta(entry_name(store)).await
    }

    /// Settles the id of a store that has none yet, and gives back the one it has now. Of several
    /// servers that propose one at the same time the first wins.
    ///
    /// # Errors
    /// [`crate::CatalogError::InvalidText`] when the id has NUL.
    pub async fn settle_store_id(&self, store: &StoreName, proposed: &str) -> Result<String> {
        check_text("store_id", proposed)?;
        self.settle_meta(entry_name(store), proposed).await
    }

    /// Takes over the id that a store carries, whatever was known before: an operator has said
    /// that it is the right one.
    ///
    /// # Errors
    /// [`crate::CatalogError::InvalidText`] when the id has NUL.
    pub async fn adopt_store_id(&self, store: &StoreName, id: &str) -> Result<()> {
        check_text("store_id", id)?;
        self.execute(
            sql("INSERT INTO meta (name, value) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value")
            .bind(entry_name(store))
            .bind(id.to_owned()),
        )
        .await
        .map(drop)
    }

    /// Whether any copy is known to be on this store, well or doubted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_copies(&self, store: &StoreName) -> Result<bool> {
        for state in [PlacementState::Present, PlacementState::Suspect] {
            // The order is that of an index, which otherwise a database may think not worth it.
            let found = self
                .fetch_optional(
                    sql("SELECT p.object_id FROM placements p
                         WHERE p.store = $1 AND p.state = $2 ORDER BY p.next_attempt_at LIMIT 1")
                    .bind(store.as_str().to_owned())
                    .bind(state.as_str()),
                )
                .await?;
            if found.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn entry_name(store: &StoreName) -> String {
    format!("store:{store}")
}
