//! Waiting until the engine has nothing left to do.

use std::time::Duration;

use stockroom::workers::engine;
use stockroom_catalog::Page;
use stockroom_domain::PlacementState;
use tokio::time::Instant;

use crate::support::Shop;

/// How long everything may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the engine until every live object is present wherever it has a copy. Meanwhile the clock
/// goes forward, but not as far as a bucket would take for a wrong clock.
pub(crate) async fn settle(shop: &Shop) {
    let deadline = Instant::now() + PATIENCE;
    let mut offset_s = 0;
    loop {
        while !shop.app.tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        while engine::round(&shop.app).await {}
        let owed = owed(shop).await;
        if owed.is_empty() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "still owed after {PATIENCE:?}: {owed:?}"
        );
        offset_s = (offset_s + 20).min(600);
        shop.clock.set_offset_s(offset_s);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shop.clock.set_offset_s(0);
}

/// The copies of live objects that are not present.
async fn owed(shop: &Shop) -> Vec<String> {
    let mut owed = Vec::new();
    let mut after = None;
    loop {
        let page = Page {
            limit: 1_000,
            after,
        };
        let everything = "".parse().unwrap();
        let objects = shop
            .app
            .catalog
            .list_objects(&everything, &page)
            .await
            .unwrap();
        for object in objects.items {
            let copies = object.placements.iter();
            let missing = copies.filter(|copy| copy.state != PlacementState::Present);
            owed.extend(
                missing.map(|copy| format!("{} on {}: {:?}", object.key, copy.store, copy)),
            );
        }
        after = objects.next;
        if after.is_none() {
            return owed;
        }
    }
}
