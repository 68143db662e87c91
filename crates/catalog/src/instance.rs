//! What makes one catalog different from every other.

use stockroom_domain::Timestamp;

use crate::Catalog;
use crate::error::{CatalogError, Result};
use crate::row::Record;
use crate::run::sql;

/// What makes this catalog one of its own: made once, when the database is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// A text that no other catalog has.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Catalog {
    /// What makes this catalog one of its own. The first call of all settles it with
    /// `proposed_id` and `now`; every later call, from any server, gives the same.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn instance(&self, proposed_id: &str, now: Timestamp) -> Result<Instance> {
        // One row, so that id and time cannot come from two servers.
        let proposed = format!("{proposed_id} {}", now.unix_ms());
        self.execute(
            sql("INSERT INTO meta (name, value) VALUES ('instance', $1) ON CONFLICT DO NOTHING")
                .bind(proposed),
        )
        .await?;
        let row = self
            .fetch_optional(sql("SELECT name, value FROM meta WHERE name = 'instance'"))
            .await?
            .ok_or_else(|| damaged_instance("it is missing"))?;
        let value = Record::new(&row, "meta", "name").text("value")?;
        let (id, created_at) = value
            .rsplit_once(' ')
            .and_then(|(id, unix_ms)| Some((id, unix_ms.parse().ok()?)))
            .ok_or_else(|| damaged_instance("it is not an id and a time"))?;
        Ok(Instance {
            id: id.to_owned(),
            created_at: Timestamp::from_unix_ms(created_at),
        })
    }
}

fn damaged_instance(reason: &str) -> CatalogError {
    CatalogError::Corrupt {
        table: "meta",
        id: "instance".to_owned(),
        reason: reason.to_owned(),
    }
}
