//! Keys: how they are made, over HTTP and on the command line alike, and when they were used.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stockroom_catalog::{Catalog, CatalogError, KeyRow, NewKey};
use stockroom_domain::{Entropy, KeyId, Role, Subject, Timestamp};

use crate::app::App;
use crate::secret_key::SecretKey;

/// A key that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// What it may do.
    pub role: Role,
    /// Whose it is; see [`check_subject`].
    pub subject: Option<Subject>,
    /// A name to recognise it by.
    pub name: Option<String>,
    /// When it ends; never when there is none.
    pub expires_at: Option<Timestamp>,
}

/// A role and a subject that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubjectFault {
    /// The role is a user's, and nobody was named.
    #[error("A key with the role {0} belongs to a user.")]
    Missing(Role),
    /// The role is the shop's, and a user was named.
    #[error("A key with the role {0} belongs to no user.")]
    Needless(Role),
}

/// Users have a subject, and only they: a shop's key with one would look as if it were limited to
/// that user.
///
/// # Errors
/// When they do not go together.
pub fn check_subject(role: Role, subject: Option<&Subject>) -> Result<(), SubjectFault> {
    match (role.needs_subject(), subject) {
        (true, None) => Err(SubjectFault::Missing(role)),
        (false, Some(_)) => Err(SubjectFault::Needless(role)),
        (true, Some(_)) | (false, None) => Ok(()),
    }
}

/// Makes a key. Its secret form is not kept anywhere, so it has to be shown now.
///
/// # Errors
/// That of the catalog.
pub async fn create(
    catalog: &Catalog,
    entropy: &dyn Entropy,
    now: Timestamp,
    request: KeyRequest,
) -> Result<(SecretKey, KeyRow), CatalogError> {
    let secret = SecretKey::generate(entropy);
    let new = NewKey {
        id: KeyId::generate(now, entropy),
        hash: secret.hash(),
        role: request.role,
        subject: request.subject,
        name: request.name,
        created_at: now,
        expires_at: request.expires_at,
    };
    let row = catalog.insert_key(&new).await?;
    Ok((secret, row))
}

/// How old the noted use of a key gets before a newer one is noted.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// How many keys may wait for their use to be noted. The uses of more are noted by later calls.
const MAX_WAITING: usize = 1_000;

/// How many keys are remembered with when their use was noted. After more it is noted once too often.
const MAX_NOTED: usize = 10_000;

/// Uses of keys that are not in the catalog yet, and of those that this server wrote there.
#[derive(Debug, Default)]
pub struct KeyUses(Mutex<Uses>);

#[derive(Debug, Default)]
struct Uses {
    waiting: BTreeMap<KeyId, Timestamp>,
    /// What is known of a key in memory may be from before its use was noted.
    noted: BTreeMap<KeyId, Timestamp>,
}

/// Notes that a key was used, unless the catalog heard so less than a minute ago. The caller does
/// not wait for the write.
pub fn note_use(app: &App, key: &KeyRow, now: Timestamp) {
    if is_recent(key.last_used_at, now) || !app.key_uses.add(key.id, now) {
        return;
    }
    let writing = app.clone();
    app.tasks.spawn(async move { write(&writing).await });
}

/// Writes what waits, until nothing does. A failure drops it: the next use is noted again.
async fn write(app: &App) {
    let mut uses = app.key_uses.waiting();
    while !uses.is_empty() {
        let touched = app.catalog.touch_keys(&uses).await;
        if let Err(error) = &touched {
            tracing::warn!(%error, keys = uses.len(), "the last use of keys is not noted");
        }
        uses = app.key_uses.after(&uses, touched.is_ok());
    }
}

fn is_recent(noted_at: Option<Timestamp>, now: Timestamp) -> bool {
    noted_at.is_some_and(|noted_at| now.since(noted_at) < NOTED_EVERY)
}

impl KeyUses {
    /// Adds a use, unless one was noted just now; whether somebody should write now, because nobody does. Keys stay until they
    /// are written, so that many calls at once make one write.
    fn add(&self, key: KeyId, now: Timestamp) -> bool {
        let mut uses = self.lock();
        if is_recent(uses.noted.get(&key).copied(), now) {
            return false;
        }
        let is_first = uses.waiting.is_empty();
        if uses.waiting.len() < MAX_WAITING {
            uses.waiting.entry(key).or_insert(now);
        }
        is_first
    }

    fn waiting(&self) -> BTreeMap<KeyId, Timestamp> {
        self.lock().waiting.clone()
    }

    /// What still waits after these were written, or could not be.
    fn after(
        &self,
        written: &BTreeMap<KeyId, Timestamp>,
        is_noted: bool,
    ) -> BTreeMap<KeyId, Timestamp> {
        let mut uses = self.lock();
        uses.waiting.retain(|key, _| !written.contains_key(key));
        if is_noted {
            if uses.noted.len() + written.len() > MAX_NOTED {
                uses.noted.clear();
            }
            uses.noted.extend(written);
        }
        uses.waiting.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Uses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use stockroom_domain::SeededEntropy;

    use super::*;

    #[test]
    fn one_call_writes_for_all_and_no_more_wait_than_may() {
        let (uses, entropy) = (KeyUses::default(), SeededEntropy::new(1));
        let now = Timestamp::from_unix_ms(1_000);
        let keys: Vec<KeyId> = (0..=MAX_WAITING)
            .map(|_| KeyId::generate(now, &entropy))
            .collect();
        assert!(uses.add(keys[0], now));
        assert!(!uses.add(keys[0], now.after(NOTED_EVERY)));
        assert_eq!(uses.waiting(), [(keys[0], now)].into());
        assert!(keys.iter().all(|key| !uses.add(*key, now)));
        let waiting = uses.waiting();
        assert_eq!(waiting.len(), MAX_WAITING);
        assert!(uses.after(&waiting, false).is_empty());
        assert!(uses.add(keys[0], now));
    }

    #[test]
    fn a_use_that_was_noted_is_not_noted_again_for_a_minute() {
        let uses = KeyUses::default();
        let noted_at = Timestamp::from_unix_ms(1_000);
        let key = KeyId::generate(noted_at, &SeededEntropy::new(1));
        assert!(uses.add(key, noted_at));
        assert!(uses.after(&uses.waiting(), true).is_empty());
        assert!(!uses.add(key, noted_at.after(NOTED_EVERY / 2)));
        assert!(uses.waiting().is_empty());
        assert!(uses.add(key, noted_at.after(NOTED_EVERY)));
    }
}
