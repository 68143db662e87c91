//! What every [`Store`] must do, as plain functions: a store passes when none of them panics.
//!
//! Call [`all`] on a store that others may use at the same time; every function works below a
//! prefix of its own in `temp/` and removes what it wrote. The functions need a tokio runtime.
//!
//! ```no_run
//! # async fn example(store: &dyn stockroom_storage::Store) {
//! use stockroom_storage::conformance::{Expectations, all};
//! all(store, &Expectations::default()).await;
//! # }
//! ```

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a conformance check fails"
)]

mod crowd;
mod lists;
mod names;
mod objects;
mod ranges;
mod urls;
mod writers;

use std::fmt;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use stockroom_domain::{Entropy, Key, KeyPrefix, SystemEntropy};

pub use crowd::{many_at_once, readers_never_see_a_mixture};
pub use lists::{lists_by_prefix, lists_many};
pub use names::{conflicting_keys_leave_the_first_alone, odd_keys_are_kept_as_they_are};
pub use objects::{
    attributes_are_kept, deletes_twice, put_get_head_delete, replaces, sizes_round_trip,
};
pub use ranges::ranges_deliver_their_bytes;
pub use urls::{Fetch, FetchRequest, Fetched, bad_expiries_are_refused, signed_urls_work};
pub use writers::{
    given_up_writes_leave_nothing, nothing_is_visible_before_finish, wrong_facts_publish_nothing,
};

use crate::{ListEntry, Store, WriteOptions};

/// How many calls the suite makes at once where it makes many.
const CONCURRENT_CALLS: usize = 16;

/// What is expected of a store beyond the contract.
pub struct Expectations {
    /// Whether media type, SHA-256 and metadata are kept with the bytes. Some file systems keep
    /// none. True by default.
    pub keeps_attributes: bool,
    /// Whether the store signs URLs. True by default.
    pub signs_urls: bool,
    /// The most entries of one page of a list, by which the suite chooses how many objects it
    /// lists. 1,000 by default, as S3 has it.
    pub page_entries: usize,
    /// Sends a request, so that signed URLs are tried for real where something answers them.
    pub fetch: Option<Fetch>,
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            keeps_attributes: true,
            signs_urls: true,
            page_entries: 1_000,
            fetch: None,
        }
    }
}

impl fmt::Debug for Expectations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectations")
            .field("keeps_attributes", &self.keeps_attributes)
            .field("signs_urls", &self.signs_urls)
            .field("page_entries", &self.page_entries)
            .field("fetch", &self.fetch.is_some())
            .finish()
    }
}

/// Everything.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn all(store: &dyn Store, expectations: &Expectations) {
    put_get_head_delete(store).await;
    sizes_round_trip(store).await;
    replaces(store).await;
    deletes_twice(store).await;
    if expectations.keeps_attributes {
        attributes_are_kept(store).await;
    }
    ranges_deliver_their_bytes(store).await;
    nothing_is_visible_before_finish(store).await;
    given_up_writes_leave_nothing(store).await;
    wrong_facts_publish_nothing(store).await;
    odd_keys_are_kept_as_they_are(store).await;
    conflicting_keys_leave_the_first_alone(store).await;
    lists_by_prefix(store).await;
    lists_many(store, expectations.page_entries).await;
    readers_never_see_a_mixture(store).await;
    many_at_once(store).await;
    if expectations.signs_urls {
        bad_expiries_are_refused(store).await;
        if let Some(fetch) = &expectations.fetch {
            signed_urls_work(store, fetch).await;
        }
    }
}

/// A prefix that nobody else has, below which a function may do what it likes.
struct Place {
    prefix: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let entropy: &dyn Entropy = &SystemEntropy;
        let unique = hex::encode(entropy.bytes::<8>());
        Self {
            prefix: format!("temp/conformance-{unique}/{name}/"),
        }
    }

    fn key(&self, rest: &str) -> Key {
        format!("{}{rest}", self.prefix).parse().expect("a key")
    }

    fn prefix(&self, rest: &str) -> KeyPrefix {
        format!("{}{rest}", self.prefix).parse().expect("a prefix")
    }

    /// Removes everything and checks that it is gone.
    async fn clear(&self, store: &dyn Store) {
        let entries = list_of(store, &self.prefix("")).await;
        delete_all(store, entries.into_iter().map(|entry| entry.key)).await;
        let left = list_of(store, &self.prefix("")).await;
        assert_eq!(left, [], "what was deleted is listed");
    }
}

async fn put(store: &dyn Store, key: &Key, bytes: impl Into<Bytes>) {
    let put = store.put(key, bytes.into(), WriteOptions::default()).await;
    put.unwrap_or_else(|error| panic!("put {key}: {error}"));
}

async fn get(store: &dyn Store, key: &Key) -> Bytes {
    let read = async { store.get(key, None).await?.bytes().await };
    read.await
        .unwrap_or_else(|error| panic!("get {key}: {error}"))
}

/// The store says that there is no object, in all three ways.
async fn assert_absent(store: &dyn Store, key: &Key) {
    let head = store.head(key).await.expect_err("head of nothing");
    assert!(head.is_not_found(), "head {key}: {head}");
    let get = store.get(key, None).await.expect_err("get of nothing");
    assert!(get.is_not_found(), "get {key}: {get}");
    let exists = store.exists(key).await.expect("exists");
    assert!(!exists, "{key} exists");
}

async fn list_of(store: &dyn Store, prefix: &KeyPrefix) -> Vec<ListEntry> {
    let entries: Result<Vec<_>, _> = store.list(prefix).try_collect().await;
    let mut entries = entries.unwrap_or_else(|error| panic!("list {}: {error}", prefix.as_str()));
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

async fn keys_of(store: &dyn Store, prefix: &KeyPrefix) -> Vec<Key> {
    let entries = list_of(store, prefix).await;
    entries.into_iter().map(|entry| entry.key).collect()
}

async fn delete_all(store: &dyn Store, keys: impl IntoIterator<Item = Key>) {
    futures::stream::iter(keys)
        .for_each_concurrent(CONCURRENT_CALLS, |key| async move {
            let deleted = store.delete(&key).await;
            deleted.unwrap_or_else(|error| panic!("delete {key}: {error}"));
        })
        .await;
}

/// Bytes that differ everywhere and between seeds (xorshift64, Marsaglia 2003).
fn bytes_of(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Bytes in pieces of odd lengths, as a network would deliver them.
fn pieces_of(bytes: &Bytes) -> Vec<Bytes> {
    let mut rest = bytes.clone();
    let mut pieces = Vec::new();
    for length in [1, 7, 8_191, 65_537, 1_000_003].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        pieces.push(rest.split_to(rest.len().min(length)));
    }
    pieces
}
