//! Views and keys that are kept in memory, and how nobody is served one that is out of date.
//!
//! A server that keeps views has a row in `keepers`, and looks at it ten times a second. Whoever ends an access
//! (a refund, a key that is revoked, a model or a file that is taken away) raises `wanted` in all
//! rows, in the transaction that ends it, and does not return before each server has forgotten what it
//! kept and said so in `seen`, or can be using none of it any more: what is kept is good for
//! [`GOOD_FOR`] after the beginning of a look that found nothing new. Only durations are compared, each
//! on one machine, so that no two clocks have to agree.
//!
//! In the same process every change makes all views worthless before it returns, and whatever ends an access the
//! keys as well: nothing else changes what a key opens.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use stockroom_domain::{AssetId, Entropy, Subject, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Catalog;
use crate::error::Result;
use crate::keys::{KeyHash, KeyRow};
use crate::row::Record;
use crate::run::{Tx, sql};
use crate::view::{AssetQuery, AssetView};

/// How long what is kept may be used after a look that found nothing new began.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// How long whoever ends an access waits for a server that does not answer: until that one can be
/// using nothing it kept, and a little longer, because clocks do not run equally fast.
const GIVE_UP_AFTER: Duration = Duration::from_millis(2_200);

/// How often a server looks whether something has to be forgotten.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a view is kept, so that a change that was made past this program is seen, too.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// After how long a server that is asked for nothing gives its row back.
const IDLE_AFTER: Duration = Duration::from_secs(30);

/// How many views are kept at most, each of about 2 KiB, and how many keys.
const MOST_KEPT: usize = 8_192;

/// What was asked.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    asset: AssetId,
    key: Option<KeyHash>,
    acting_for: Option<Subject>,
}

/// Values of one kind.
struct Shelf<K, V> {
    kept: Cache<K, Kept<V>>,
    /// What is of an earlier generation is worthless.
    generation: AtomicU64,
}

#[derive(Clone)]
struct Kept<V> {
    generation: u64,
    made_ms: u64,
    value: V,
}

/// What is kept. Clones are the same.
#[derive(Clone)]
pub(crate) struct Views(Arc<Inner>);

struct Inner {
    /// The name of this catalog's row.
    id: String,
    views: Shelf<Question, Arc<AssetView>>,
    keys: Shelf<KeyHash, KeyRow>,
    /// Until when what is kept may be used, in milliseconds since `began`; 0 for never.
    good_until_ms: AtomicU64,
    began: Instant,
    /// Whether others may be waiting for this catalog.
    has_row: AtomicBool,
    /// Whether somebody has asked since this was last looked at.
    is_asked: AtomicBool,
    asked: Notify,
}

/// A server that has to forget what it kept.
#[derive(Debug)]
pub(crate) struct Owed {
    keeper: String,
    wanted: i64,
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kept views", self.0.views.kept.len())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Shelf<K, V> {
    fn new() -> Self {
        Self {
            kept: Cache::new(MOST_KEPT),
            generation: AtomicU64::new(0),
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn find(&self, key: &K, now_ms: u64) -> Option<V> {
        let kept = self.kept.get(key)?;
        let is_young = now_ms < kept.made_ms + to_ms(KEPT_FOR);
        (is_young && kept.generation == self.generation()).then_some(kept.value)
    }

    fn keep(&self, key: K, value: V, generation: u64, made_ms: u64) {
        let kept = Kept {
            generation,
            made_ms,
            value,
        };
        self.kept.insert(key, kept);
    }
}

impl Views {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self(Arc::new(Inner {
            id: hex::encode(entropy.bytes::<16>()),
            views: Shelf::new(),
            keys: Shelf::new(),
            good_until_ms: AtomicU64::new(0),
            began: Instant::now(),
            has_row: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
            asked: Notify::new(),
        }))
    }

    /// Makes all views worthless that are kept or being read now.
    pub(crate) fn forget(&self) {
        self.0.views.forget();
    }

    /// The same of everything: an access has ended.
    pub(crate) fn forget_all(&self) {
        self.0.keys.forget();
        self.0.views.forget();
    }

    /// The present generation: views that are read from now on are of it, unless something is forgotten meanwhile.
    pub(crate) fn generation(&self) -> u64 {
        self.0.views.generation()
    }

    fn now_ms(&self) -> u64 {
        to_ms(self.0.began.elapsed())
    }

    /// The present time, when what is kept may be used now; notes that somebody asked.
    fn usable_now_ms(&self) -> Option<u64> {
        let inner = &*self.0;
        if !inner.is_asked.load(Ordering::Relaxed) {
            inner.is_asked.store(true, Ordering::Relaxed);
            inner.asked.notify_one();
        }
        let now_ms = self.now_ms();
        (now_ms < inner.good_until_ms.load(Ordering::SeqCst)).then_some(now_ms)
    }

    fn find(&self, query: &AssetQuery<'_>) -> Option<Arc<AssetView>> {
        // The time before the generation: what is forgotten before the time is prolonged is not used then.
        let now_ms = self.usable_now_ms()?;
        self.0.views.find(&Question::of(query), now_ms)
    }

    fn find_key(&self, hash: &KeyHash) -> Option<KeyRow> {
        let now_ms = self.usable_now_ms()?;
        self.0.keys.find(hash, now_ms)
    }

    fn is_keeping(&self) -> bool {
        self.0.good_until_ms.load(Ordering::SeqCst) != 0
    }

    /// Keeps what was read since this generation began.
    pub(crate) fn keep(&self, query: &AssetQuery<'_>, view: &Arc<AssetView>, generation: u64) {
        if self.is_keeping() && view.may_be_kept() {
            let (question, now_ms) = (Question::of(query), self.now_ms());
            let view = Arc::clone(view);
            self.0.views.keep(question, view, generation, now_ms);
        }
    }

    /// Keeps a key that was read since this generation of keys began.
    fn keep_key(&self, key: &KeyRow, generation: u64) {
        if self.is_keeping() && key.revoked_at.is_none() {
            let (kept, now_ms) = (key.clone(), self.now_ms());
            self.0.keys.keep(key.hash, kept, generation, now_ms);
        }
    }

    fn is_good_from(&self, began: Instant) {
        let until = began.duration_since(self.0.began) + GOOD_FOR;
        self.0.good_until_ms.store(to_ms(until), Ordering::SeqCst);
    }

    fn is_good_no_more(&self) {
        self.0.good_until_ms.store(0, Ordering::SeqCst);
        self.forget_all();
        self.0.views.kept.clear();
        self.0.keys.kept.clear();
    }
}

impl Question {
    fn of(query: &AssetQuery<'_>) -> Self {
        Self {
            asset: query.asset_id,
            key: query.key_hash,
            acting_for: query.acting_for.cloned(),
        }
    }
}

fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Catalog {
    /// What is known of the caller and of the asset without asking the database. It may let the caller
    /// do something; when it does not, ask [`Catalog::asset_view`], because what allows something is not
    /// told from server to server. The placements may be some seconds old.
    #[must_use]
    pub fn kept_view(&self, query: &AssetQuery<'_>) -> Option<Arc<AssetView>> {
        self.views.find(query)
    }

    /// The key with this hash. One that is usable may be known without asking the database; whoever sends another one
    /// is not kept out before the database was asked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known_key(&self, hash: &KeyHash, now: Timestamp) -> Result<Option<KeyRow>> {
        let kept = self.views.find_key(hash);
        if let Some(key) = kept.filter(|key| key.is_usable(now)) {
            return Ok(Some(key));
        }
        let generation = self.views.0.keys.generation();
        let found = self.find_key(hash).await?;
        if let Some(key) = &found {
            self.views.keep_key(key, generation);
        }
        Ok(found)
    }

    /// Lets this catalog keep views and keys, as long as it is polled. Whoever serves runs it beside everything
    /// else; without it nothing is kept.
    pub async fn keep_views(&self) {
        loop {
            if !self.views.0.is_asked.swap(false, Ordering::Relaxed) {
                self.views.0.asked.notified().await;
            }
            if let Err(error) = self.keep_while_asked().await {
                tracing::warn!(%error, "nothing is kept in memory for now: the catalog does not answer");
                self.views.is_good_no_more();
                tokio::time::sleep(GOOD_FOR).await;
            }
        }
    }

    /// Gives the row of this catalog back, so that nobody waits for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stop_keeping_views(&self) -> Result<()> {
        self.views.is_good_no_more();
        if !self.views.0.has_row.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let delete = sql("DELETE FROM keepers WHERE id = $1").bind(self.views.0.id.clone());
        self.execute_unnoticed(delete).await.map(drop)
    }

    /// Keeps views until nobody asks for them, or the database does not answer.
    async fn keep_while_asked(&self) -> Result<()> {
        let mut seen = self.begin_keeping().await?;
        let mut asked_at = Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.views.0.is_asked.swap(false, Ordering::Relaxed) {
                asked_at = Instant::now();
            } else if asked_at.elapsed() > IDLE_AFTER {
                return self.stop_keeping_views().await;
            }
            seen = self.look(seen).await?;
        }
    }

    /// Makes the row, from which on others wait for this catalog. What is wanted of it since is seen by
    /// the first look.
    async fn begin_keeping(&self) -> Result<i64> {
        let began = Instant::now();
        self.views.0.has_row.store(true, Ordering::SeqCst);
        let mut tx = self.begin().await?;
        tx.lock_keepers().await?;
        tx.execute(
            sql("INSERT INTO keepers (id, wanted, seen) VALUES ($1, 0, 0)
                 ON CONFLICT (id) DO NOTHING")
            .bind(self.views.0.id.clone()),
        )
        .await?;
        tx.commit_unnoticed().await?;
        // What was read before the row was there may have been changed without a word.
        self.views.forget_all();
        self.views.is_good_from(began);
        Ok(0)
    }

    /// Looks whether something has to be forgotten, and says that it is.
    async fn look(&self, seen: i64) -> Result<i64> {
        let began = Instant::now();
        let Some(wanted) = self.wanted().await? else {
            return self.keep_anew().await;
        };
        if wanted > seen {
            self.views.forget_all();
            let told = self
                .execute_unnoticed(
                    sql("UPDATE keepers SET seen = $2 WHERE id = $1")
                        .bind(self.views.0.id.clone())
                        .bind(wanted),
                )
                .await?;
            if told == 0 {
                return self.keep_anew().await;
            }
        }
        self.views.is_good_from(began);
        Ok(wanted)
    }

    /// Somebody waited in vain for this catalog and removed the row.
    async fn keep_anew(&self) -> Result<i64> {
        self.views.is_good_no_more();
        self.begin_keeping().await
    }

    async fn wanted(&self) -> Result<Option<i64>> {
        let row = self
            .fetch_optional(
                sql("SELECT id, wanted FROM keepers WHERE id = $1").bind(self.views.0.id.clone()),
            )
            .await?;
        row.map(|row| Record::new(&row, "keepers", "id").number("wanted"))
            .transpose()
    }

    /// Waits until nobody can be using any more what had to be forgotten.
    pub(crate) async fn until_forgotten(&self, mut owed: Vec<Owed>) {
        let began = Instant::now();
        let mut pause = Duration::from_millis(5);
        while !owed.is_empty() && began.elapsed() < GIVE_UP_AFTER {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_EVERY / 2);
            // A database that does not answer tells nothing, so the time has to pass.
            if let Ok(left) = self.still_owed(&owed).await {
                owed = left;
            }
        }
        for Owed { keeper, wanted } in owed {
            let removed = self
                .execute_unnoticed(
                    sql("DELETE FROM keepers WHERE id = $1 AND seen < $2")
                        .bind(keeper)
                        .bind(wanted),
                )
                .await;
            if let Err(error) = removed {
                tracing::warn!(%error, "the row of a server that is gone stays");
            }
        }
    }

    async fn still_owed(&self, owed: &[Owed]) -> Result<Vec<Owed>> {
        let rows = self
            .fetch_all(sql("SELECT id, seen FROM keepers ORDER BY id"))
            .await?;
        let mut left = Vec::new();
        for row in &rows {
            let row = Record::new(row, "keepers", "id");
            let (id, seen) = (row.text("id")?, row.number("seen")?);
            let still = owed.iter().find(|it| it.keeper == id && seen < it.wanted);
            left.extend(still.map(|it| Owed {
                keeper: it.keeper.clone(),
                wanted: it.wanted,
            }));
        }
        Ok(left)
    }
}

impl Tx {
    /// Has every other server forget what it keeps. The commit returns when they have. Call it last.
    pub(crate) async fn end_access(&mut self) -> Result<()> {
        self.lock_keepers().await?;
        let rows = self
            .fetch_all(
                sql("UPDATE keepers SET wanted = wanted + 1 WHERE id <> $1 RETURNING id, wanted")
                    .bind(self.catalog().views.0.id.clone()),
            )
            .await?;
        let owed = rows.iter().map(|row| {
            let row = Record::new(row, "keepers", "id");
            Ok(Owed {
                keeper: row.text("id")?.to_owned(),
                wanted: row.number("wanted")?,
            })
        });
        let owed = owed.collect::<Result<Vec<_>>>()?;
        self.owe(owed);
        Ok(())
    }

    /// Keeps servers from beginning to keep something between the statement that counts who does and the commit of
    /// what ends an access: they would be owed nothing, and read what is not ended yet.
    async fn lock_keepers(&mut self) -> Result<()> {
        self.lock("keepers").await
    }
}
