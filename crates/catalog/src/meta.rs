//! Single values that belong to the whole catalog.

use crate::Catalog;
use crate::error::{CatalogError, Result};
use crate::row::{Record, check_text};
use crate::run::sql;

impl Catalog {
    /// A secret that is the same for every server and never changes, under a name of its own. The
    /// first call of all settles it with `proposed`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn secret(&self, name: &'static str, proposed: &str) -> Result<String> {
        self.settle_meta(format!("secret:{name}"), proposed).await
    }

    /// The value with this name.
    pub(crate) async fn meta(&self, name: String) -> Result<Option<String>> {
        let row = self
            .fetch_optional(sql("SELECT name, value FROM meta WHERE name = $1").bind(name))
            .await?;
        row.as_ref()
            .map(|row| {
                Record::new(row, "meta", "name")
                    .text("value")
                    .map(str::to_owned)
            })
            .transpose()
    }

    /// Sets a value that has none yet, and gives back the one it has now. Of several servers that
    /// propose one at the same time the first wins.
    pub(crate) async fn settle_meta(&self, name: String, proposed: &str) -> Result<String> {
        if let Some(settled) = self.meta(name.clone()).await? {
            return Ok(settled);
        }
        check_text("value", proposed)?;
        self.execute(
            sql("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                .bind(name.clone())
                .bind(proposed.to_owned()),
        )
        .await?;
        let settled = self.meta(name.clone()).await?;
        settled.ok_or_else(|| CatalogError::Corrupt {
            table: "meta",
            id: name,
            reason: "it went away".to_owned(),
        })
    }
}
