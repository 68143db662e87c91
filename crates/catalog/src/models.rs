//! Models: the listings of artists.

use sqlx::any::AnyRow;
use stockroom_domain::{Currency, EventKind, ModelId, ModelStatus, Money, Subject, Timestamp};

use crate::Catalog;
use crate::assembled::{Assembled, pieces};
use crate::dialect::Dialect;
use crate::error::{CatalogError, Noun, Result};
use crate::outbox::ModelFacts;
use crate::page::{Page, Paged};
use crate::row::{Record, check_text, to_json, unless_damaged};
use crate::run::{Statement, Tx, sql};
use crate::steps::Step;

/// A model to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewModel {
    /// Its id.
    pub id: ModelId,
    /// Who sells it.
    pub artist: Subject,
    /// Its name.
    pub title: String,
    /// What it is, in the artist's words.
    pub description: Option<String>,
    /// On what terms it is sold, in the artist's words.
    pub license: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What it costs.
    pub price: Option<Money>,
    /// Whether it is on show.
    pub status: ModelStatus,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A stored model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// Its id.
    pub id: ModelId,
    /// Who sells it.
    pub artist: Subject,
    /// Its name.
    pub title: String,
    /// What it is, in the artist's words.
    pub description: Option<String>,
    /// On what terms it is sold, in the artist's words.
    pub license: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What it costs.
    pub price: Option<Money>,
    /// Whether it is on show.
    pub status: ModelStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it, or what it offers, was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted. Only a buyer's library shows deleted models.
    pub deleted_at: Option<Timestamp>,
}

/// A change of a model: `None` leaves a value, `Some(None)` clears it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelPatch {
    /// A new name.
    pub title: Option<String>,
    /// A new description, or none any more.
    pub description: Option<Option<String>>,
    /// New terms, or none any more.
    pub license: Option<Option<String>>,
    /// New tags.
    pub tags: Option<Vec<String>>,
    /// A new price, or none any more.
    pub price: Option<Option<Money>>,
    /// Publishes or hides it.
    pub status: Option<ModelStatus>,
}

/// Which models a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFilter {
    /// Only those of this artist.
    pub artist: Option<Subject>,
    /// Only those with this status.
    pub status: Option<ModelStatus>,
    /// Only those whose title, description or tags contain each of these words, in any case.
    /// The first [`ModelFilter::MAX_WORDS`] words count.
    pub q: Option<String>,
    /// Who looks.
    pub visible_to: VisibleTo,
}

impl ModelFilter {
    /// How many words of a search count.
    pub const MAX_WORDS: usize = 8;
}

/// Who looks at a list of models.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VisibleTo {
    /// Anybody: published models only.
    #[default]
    Everyone,
    /// A user: published models and their own.
    Subject(Subject),
    /// The shop: all models.
    All,
}

/// The columns of `models m`.
macro_rules! model_columns {
    () => {
        "m.id AS model_id, m.artist AS model_artist, m.title AS model_title, \
         m.description AS model_description, m.license AS model_license, m.tags AS model_tags, \
         m.price_amount AS model_price_amount, m.price_currency AS model_price_currency, \
         m.status AS model_status, m.created_at AS model_created_at, \
         m.updated_at AS model_updated_at, m.deleted_at AS model_deleted_at"
    };
}
pub(crate) use model_columns;

impl ModelRow {
    /// The model in the columns that [`model_columns`] names.
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "models", "model_id");
        Ok(Self {
            id: row.parsed("model_id")?,
            artist: row.parsed("model_artist")?,
            title: row.text("model_title")?.to_owned(),
            description: row.text_or_null("model_description")?.map(str::to_owned),
            license: row.text_or_null("model_license")?.map(str::to_owned),
            tags: row.json("model_tags")?,
            price: read_price(row)?,
            status: row.parsed("model_status")?,
            created_at: row.time("model_created_at")?,
            updated_at: row.time("model_updated_at")?,
            deleted_at: row.time_or_null("model_deleted_at")?,
        })
    }

    fn apply(&mut self, patch: ModelPatch, now: Timestamp) {
        let ModelPatch {
            title,
            description,
            license,
            tags,
            price,
            status,
        } = patch;
        self.title = title.unwrap_or_else(|| std::mem::take(&mut self.title));
        self.description = description.unwrap_or_else(|| self.description.take());
        self.license = license.unwrap_or_else(|| self.license.take());
        self.tags = tags.unwrap_or_else(|| std::mem::take(&mut self.tags));
        self.price = price.unwrap_or(self.price);
        self.status = status.unwrap_or(self.status);
        self.updated_at = now;
    }

    fn check(&self) -> Result<()> {
        check_text("title", &self.title)?;
        check_text("description", self.description.as_deref().unwrap_or(""))?;
        check_text("license", self.license.as_deref().unwrap_or(""))?;
        self.tags.iter().try_for_each(|tag| check_text("tags", tag))
    }

    /// What a search looks in. Lower case is made here, because the databases disagree about it.
    fn search_text(&self) -> String {
        let description = self.description.as_deref().unwrap_or("");
        format!("{}\n{description}\n{}", self.title, self.tags.join("\n")).to_lowercase()
    }
}

fn read_price(row: Record<'_>) -> Result<Option<Money>> {
    let Some(amount) = row.number_or_null("model_price_amount")? else {
        return Ok(None);
    };
    let currency: Currency = row.parsed("model_price_currency")?;
    Money::new(amount, currency)
        .map(Some)
        .map_err(|error| row.corrupt("model_price_amount", &error))
}

const FIND: &str = concat!(
    "SELECT ",
    model_columns!(),
    " FROM models m WHERE m.id = $1 AND m.deleted_at IS NULL"
);

impl Catalog {
    /// Stores a model.
    ///
    /// # Errors
    /// [`CatalogError::InvalidText`] when a text has NUL; [`crate::Conflict::Id`].
    pub async fn insert_model(&self, model: NewModel) -> Result<ModelRow> {
        let row = ModelRow {
            id: model.id,
            artist: model.artist,
            title: model.title,
            description: model.description,
            license: model.license,
            tags: model.tags,
            price: model.price,
            status: model.status,
            created_at: model.created_at,
            updated_at: model.created_at,
            deleted_at: None,
        };
        row.check()?;
        self.retried(|| self.try_insert_model(&row)).await?;
        Ok(row)
    }

    async fn try_insert_model(&self, row: &ModelRow) -> Result<()> {
        let mut tx = self.begin().await?;
        let insert = sql(
            "INSERT INTO models (id, title, description, license, tags, search_text,
                 price_amount, price_currency, status, updated_at, artist, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        );
        tx.execute(
            bind_changeable(insert, row)?
                .bind(row.artist.to_string())
                .bind(row.created_at.unix_ms()),
        )
        .await?;
        let facts = ModelFacts::from(row);
        tx.tell(EventKind::ModelCreated, row.created_at, &facts)
            .await?;
        if row.status == ModelStatus::Published {
            tx.tell(EventKind::ModelPublished, row.created_at, &facts)
                .await?;
        }
        tx.commit().await
    }

    /// The model with this id, unless it was deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_model(&self, id: ModelId) -> Result<Option<ModelRow>> {
        self.fetch_optional(sql(FIND).bind(id.to_string()))
            .await?
            .as_ref()
            .map(ModelRow::read)
            .transpose()
    }

    /// Models that were not deleted, newest first. A search looks through the texts of one model
    /// after the other until the page is full: some 100 ms for 100,000 models that do not match.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`]; [`CatalogError::InvalidText`] when the search has NUL.
    pub async fn list_models(&self, filter: &ModelFilter, page: &Page) -> Result<Paged<ModelRow>> {
        if filter.visible_to == VisibleTo::Everyone && filter.status == Some(ModelStatus::Draft) {
            return Ok(Paged::empty());
        }
        let mut select = Assembled::new(concat!(
            "SELECT ",
            model_columns!(),
            " FROM models m WHERE m.deleted_at IS NULL"
        ));
        if let Some(artist) = &filter.artist {
            select.push(" AND m.artist = ").text(artist.as_str());
        }
        // Written out, because an index over published models serves only such a condition.
        match filter.status {
            Some(ModelStatus::Published) => select.push(" AND m.status = 'published'"),
            Some(ModelStatus::Draft) => select.push(" AND m.status = 'draft'"),
            None if filter.visible_to == VisibleTo::Everyone => {
                select.push(" AND m.status = 'published'")
            }
            None => &mut select,
        };
        if let VisibleTo::Subject(subject) = &filter.visible_to {
            select
                .push(" AND (m.status = 'published' OR m.artist = ")
                .text(subject.as_str())
                .push(")");
        }
        if let Some(q) = &filter.q {
            check_text("q", q)?;
            for pattern in search_patterns(q) {
                select.push(" AND m.search_text LIKE ").text(pattern);
                select.push(" ESCAPE '\\'");
            }
        }
        if let Some(after) = page.cursor::<ModelId>()? {
            select.push(" AND m.id < ").text(after.to_string());
        }
        select
            .push(" ORDER BY m.id DESC LIMIT ")
            .number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let models = rows.iter().map(ModelRow::read).collect::<Result<_>>()?;
        Ok(Paged::new(models, page, |model: &ModelRow| model.id))
    }

    /// Changes a model and gives it back as it is now.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when it is not there or was deleted;
    /// [`CatalogError::InvalidText`] when a text has NUL.
    pub async fn update_model(
        &self,
        id: ModelId,
        patch: ModelPatch,
        now: Timestamp,
    ) -> Result<ModelRow> {
        self.retried(|| self.try_update_model(id, patch.clone(), now))
            .await
    }

    async fn try_update_model(
        &self,
        id: ModelId,
        patch: ModelPatch,
        now: Timestamp,
    ) -> Result<ModelRow> {
        let mut tx = self.begin().await?;
        // The row is taken first, so that two changes of different values are both kept.
        tx.hold_model(id, now).await?;
        let row = tx.fetch_optional(sql(FIND).bind(id.to_string())).await?;
        let row = row.ok_or(CatalogError::NotFound(Noun::Model))?;
        let mut model = ModelRow::read(&row)?;
        let status_before = model.status;
        model.apply(patch, now);
        model.check()?;
        let update = sql(
            "UPDATE models SET title = $2, description = $3, license = $4, tags = $5,
                 search_text = $6, price_amount = $7, price_currency = $8, status = $9,
                 updated_at = $10
             WHERE id = $1",
        );
        tx.execute(bind_changeable(update, &model)?).await?;
        let facts = ModelFacts::from(&model);
        tx.tell(EventKind::ModelUpdated, now, &facts).await?;
        if model.status != status_before {
            let kind = match model.status {
                ModelStatus::Published => EventKind::ModelPublished,
                ModelStatus::Draft => EventKind::ModelUnpublished,
            };
            tx.tell(kind, now, &facts).await?;
            tx.end_access().await?;
        }
        tx.commit().await?;
        Ok(model)
    }

    /// Deletes a model and its assets for readers at once. Their bytes may be removed from
    /// `retire_after` on; until then [`Catalog::restore_model`] brings them back.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when it is not there or was deleted before.
    pub async fn retire_model(
        &self,
        id: ModelId,
        now: Timestamp,
        retire_after: Timestamp,
    ) -> Result<()> {
        self.retried(|| self.try_retire_model(id, now, retire_after))
            .await
    }

    async fn try_retire_model(
        &self,
        id: ModelId,
        now: Timestamp,
        retire_after: Timestamp,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.hold_model(id, now).await?;
        let deleted_at = tx.moment_of_deletion(id, now).await?;
        tx.execute(
            sql("UPDATE models SET deleted_at = $2 WHERE id = $1")
                .bind(id.to_string())
                .bind(deleted_at.unix_ms()),
        )
        .await?;
        tx.execute(
            sql("UPDATE objects SET state = 'retiring', retire_after = $2
                 WHERE state = 'live' AND id IN (
                     SELECT a.object_id FROM assets a
                     WHERE a.model_id = $1 AND a.deleted_at IS NULL)")
            .bind(id.to_string())
            .bind(retire_after.unix_ms()),
        )
        .await?;
        tx.execute(
            sql("UPDATE assets SET deleted_at = $2 WHERE model_id = $1 AND deleted_at IS NULL")
                .bind(id.to_string())
                .bind(deleted_at.unix_ms()),
        )
        .await?;
        tx.tell_of_deleted_model(id, now).await?;
        tx.end_access().await?;
        tx.commit().await
    }
}

impl Tx {
    /// Keeps others from changing, deleting or adding to a model until this transaction ends.
    /// Every transaction that concerns a model's assets begins with this, so they come one after
    /// the other.
    pub(crate) async fn hold_model(&mut self, id: ModelId, now: Timestamp) -> Result<()> {
        let steps = hold_models(self.dialect(), &[id], now)?;
        self.run(steps).await.map(drop)
    }

    /// A row that is damaged can be deleted too; of that nobody is told.
    async fn tell_of_deleted_model(&mut self, id: ModelId, now: Timestamp) -> Result<()> {
        let listeners = self.listeners(EventKind::ModelDeleted).await?;
        if listeners.is_empty() {
            return Ok(());
        }
        if let Some(model) = unless_damaged(self.model(id).await)? {
            let facts = ModelFacts::from(&model);
            self.tell_to(&listeners, EventKind::ModelDeleted, now, &facts)
                .await?;
        }
        Ok(())
    }
}

/// The steps that do for several models, each named once and in the order of their ids, what [`Tx::hold_model`] does
/// for one. Two transactions never wait for each other then.
pub(crate) fn hold_models(dialect: Dialect, ids: &[ModelId], now: Timestamp) -> Result<Vec<Step>> {
    // PostgreSQL would lock the rows of one statement in an order of its own.
    let together = match dialect {
        Dialect::Sqlite => ids.len().max(1),
        Dialect::Postgres => 1,
    };
    let pieces = ids.chunks(together).flat_map(pieces);
    pieces
        .map(|some| {
            let mut update = Assembled::new("UPDATE models SET updated_at = ");
            update.number(now.unix_ms());
            update.push(" WHERE deleted_at IS NULL AND id IN (VALUES ");
            update.rows(some, |row, id| {
                row.text(id.to_string());
                Ok(())
            })?;
            update.push(")");
            let missing = CatalogError::NotFound(Noun::Model);
            Ok(Step::changing(update, some.len() as u64, missing))
        })
        .collect()
}

/// Binds the id as $1, and what a change can touch as $2 to $10.
fn bind_changeable(statement: Statement, model: &ModelRow) -> Result<Statement> {
    let price = model.price;
    Ok(statement
        .bind(model.id.to_string())
        .bind(model.title.clone())
        .bind(model.description.clone())
        .bind(model.license.clone())
        .bind(to_json(&model.tags)?)
        .bind(model.search_text())
        .bind(price.map(Money::amount))
        .bind(price.map(|price| price.currency().to_string()))
        .bind(model.status.as_str())
        .bind(model.updated_at.unix_ms()))
}

/// A pattern for each word, in which the word's own `%` and `_` mean themselves.
fn search_patterns(q: &str) -> impl Iterator<Item = String> {
    // A longer word would only make the comparison slow; what is cut off cannot add a match.
    const MAX_WORD_CHARACTERS: usize = 100;
    q.split_whitespace()
        .take(ModelFilter::MAX_WORDS)
        .map(|word| {
            let mut pattern = String::from("%");
            for c in word.to_lowercase().chars().take(MAX_WORD_CHARACTERS) {
                if matches!(c, '%' | '_' | '\\') {
                    pattern.push('\\');
                }
                pattern.push(c);
            }
            pattern.push('%');
            pattern
        })
}
