//! Versions: on a bucket that keeps them, each object has one.

use stockroom_catalog::ObjectRow;
use stockroom_storage::{GuardedStore, Store as _};

use crate::app::App;

/// Removes what a bucket keeps beside the copy that was just seen to be right: a damaged one that
/// it replaced, or the same bytes once more, because a request whose answer was lost and its
/// repetition both took effect. Nobody reads them, so a failure is left to the next look.
pub(super) async fn remove_old_versions(app: &App, store: &GuardedStore, object: &ObjectRow) {
    let Some(bucket) = app.bucket(store.name()) else {
        return;
    };
    if let Err(error) = bucket.store.remove_old_versions(&object.location).await {
        tracing::warn!(%error, "older versions stay in the bucket until the next look");
    }
}
