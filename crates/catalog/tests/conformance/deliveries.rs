//! Deliveries: claimed by one worker at a time, tried, given up, begun anew and forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use stockroom_catalog::{Attempt, DeliveryRow, Page, Subscriptions};
use stockroom_domain::{DeliveryState, EndpointId, EventId, EventKind};

use crate::assert_not_found;
use crate::endpoints::{endpoint, only};
use crate::lab::{Lab, on_both_databases, race};

on_both_databases!(
    each_delivery_is_claimed_by_one_worker,
    a_claim_ends_with_its_lease,
    what_came_of_an_attempt_is_noted,
    what_is_done_is_not_tried_again_unless_somebody_asks,
    what_was_given_up_since_a_moment_is_begun_anew,
    an_endpoint_that_is_gone_is_disabled,
    endpoints_that_waited_longest_come_first,
    old_events_are_forgotten_unless_they_wait,
    a_commit_rings_and_a_change_undone_does_not,
);

const HOUR: Duration = Duration::from_secs(3600);

/// An endpoint with this many deliveries that wait.
async fn with_waiting(lab: &Lab, count: usize) -> EndpointId {
    let id = endpoint(lab, only([EventKind::ModelCreated])).await.id;
    for _ in 0..count {
        lab.model("kaethe").await;
    }
    id
}

async fn all(lab: &Lab, id: EndpointId) -> Vec<DeliveryRow> {
    let page = Page::first(Page::MAX_LIMIT);
    let listed = lab.catalog.list_deliveries(id, None, &page).await.unwrap();
    listed.items
}

async fn claim(lab: &Lab, id: EndpointId, limit: u32) -> Vec<EventId> {
    let (now, lease_until) = (lab.now(), lab.after(60));
    let claimed = lab.catalog.claim_deliveries(id, now, lease_until, limit);
    claimed
        .await
        .unwrap()
        .iter()
        .map(|it| it.event_id)
        .collect()
}

async fn note(lab: &Lab, id: EndpointId, event: EventId, attempt: Attempt) {
    let now = lab.now();
    let noted = lab.catalog.note_attempt(id, event, &attempt, now).await;
    noted.unwrap();
}

fn failed() -> Attempt {
    Attempt::Failed {
        status: Some(500),
        error: "it answered 500".to_owned(),
    }
}

async fn each_delivery_is_claimed_by_one_worker(lab: &Lab) {
    let id = with_waiting(lab, 20).await;
    let (now, lease_until) = (lab.now(), lab.after(60));
    let claims = race(|_| {
        let catalog = lab.catalog.clone();
        async move {
            let claimed = catalog.claim_deliveries(id, now, lease_until, 3).await;
            claimed.unwrap()
        }
    })
    .await;
    let mut seen = BTreeSet::new();
    for claim in claims.iter().flatten() {
        assert!(seen.insert(claim.event_id), "{} twice", claim.event_id);
        assert_eq!(claim.attempt, 1);
        assert!(claim.body.contains(&claim.event_id.to_string()));
    }
    // Two workers may choose the same rows, of which one then gets none.
    let mut rest = claim(lab, id, 20).await;
    rest.retain(|event| assert_new(&mut seen, *event));
    assert_eq!(seen.len(), 20);
    assert_eq!(claim(lab, id, 20).await, []);
}

fn assert_new(seen: &mut BTreeSet<EventId>, event: EventId) -> bool {
    assert!(seen.insert(event), "{event} twice");
    true
}

async fn a_claim_ends_with_its_lease(lab: &Lab) {
    let id = with_waiting(lab, 3).await;
    let claimed = claim(lab, id, 2).await;
    let mut oldest_first = claimed.clone();
    oldest_first.sort_unstable();
    assert_eq!(claimed, oldest_first);
    assert_eq!(claim(lab, id, 9).await.len(), 1);
    // A worker that died is followed by another when its lease is over.
    let later = lab.after(3600);
    let again = lab
        .catalog
        .claim_deliveries(id, later, later.after(HOUR), 9);
    let again = again.await.unwrap();
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|claim| claim.attempt == 2));
}

async fn what_came_of_an_attempt_is_noted(lab: &Lab) {
    let id = with_waiting(lab, 3).await;
    let claimed = claim(lab, id, 3).await;
    let next_attempt_at = lab.after(300);
    note(lab, id, claimed[0], Attempt::Delivered { status: 200 }).await;
    let again = Attempt::Again {
        status: None,
        error: "no connection".to_owned(),
        next_attempt_at,
    };
    note(lab, id, claimed[1], again).await;
    note(lab, id, claimed[2], failed()).await;
    let mut rows = all(lab, id).await;
    rows.reverse();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.state, row.last_status, row.last_error.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            (DeliveryState::Delivered, Some(200), None),
            (DeliveryState::Waiting, None, Some("no connection")),
            (DeliveryState::Failed, Some(500), Some("it answered 500")),
        ]
    );
    assert_eq!(rows[1].next_attempt_at, next_attempt_at);
    let oldest = |state| lab.catalog.oldest_delivery(id, state);
    let waiting = oldest(DeliveryState::Waiting).await.unwrap();
    assert_eq!(waiting.as_ref(), Some(&rows[1]));
    assert_eq!(claim(lab, id, 9).await, []);
    let now = next_attempt_at;
    let due = lab.catalog.claim_deliveries(id, now, now.after(HOUR), 9);
    let due = due.await.unwrap();
    assert_eq!((due[0].event_id, due[0].attempt), (claimed[1], 2));
}

async fn what_is_done_is_not_tried_again_unless_somebody_asks(lab: &Lab) {
    let id = with_waiting(lab, 1).await;
    let event = claim(lab, id, 1).await[0];
    note(lab, id, event, Attempt::Delivered { status: 200 }).await;
    // A second worker that took it after a lease was lost changes nothing.
    note(lab, id, event, failed()).await;
    assert_eq!(all(lab, id).await[0].state, DeliveryState::Delivered);
    let begun = lab.catalog.redeliver(id, event, lab.now()).await.unwrap();
    assert_eq!((begun.state, begun.attempts), (DeliveryState::Waiting, 0));
    assert_eq!(claim(lab, id, 9).await, [event]);
    let other = endpoint(lab, Subscriptions::All).await.id;
    assert_not_found!(
        lab.catalog.redeliver(other, event, lab.now()).await,
        Delivery
    );
}

async fn what_was_given_up_since_a_moment_is_begun_anew(lab: &Lab) {
    let id = with_waiting(lab, 4).await;
    let claimed = claim(lab, id, 4).await;
    for event in &claimed[..3] {
        note(lab, id, *event, failed()).await;
    }
    note(lab, id, claimed[3], Attempt::Delivered { status: 200 }).await;
    let mut rows = all(lab, id).await;
    rows.reverse();
    let since = rows[1].created_at;
    let begun = lab.catalog.redeliver_failed(id, since, lab.now()).await;
    assert_eq!(begun.unwrap(), 2);
    assert_eq!(claim(lab, id, 9).await, claimed[1..3]);
}

async fn an_endpoint_that_is_gone_is_disabled(lab: &Lab) {
    let id = with_waiting(lab, 3).await;
    let other = with_waiting(lab, 0).await;
    lab.model("kaethe").await;
    lab.catalog
        .disable_endpoint(id, "it answered 410", lab.now())
        .await
        .unwrap();
    let row = lab.catalog.find_endpoint(id).await.unwrap().unwrap();
    assert_eq!(row.state.as_str(), "disabled");
    assert_eq!(row.disabled_reason.as_deref(), Some("it answered 410"));
    let rows = all(lab, id).await;
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.state == DeliveryState::Failed));
    assert_eq!(all(lab, other).await[0].state, DeliveryState::Waiting);
    let due = lab.catalog.due_endpoints(lab.after(60), 9).await.unwrap();
    let due: Vec<_> = due.iter().map(|row| row.id).collect();
    assert_eq!(due, [other]);
}

async fn endpoints_that_waited_longest_come_first(lab: &Lab) {
    let now = lab.now();
    assert_eq!(lab.catalog.due_endpoints(now, 9).await.unwrap(), []);
    let first = with_waiting(lab, 1).await;
    let second = endpoint(lab, Subscriptions::All).await.id;
    lab.model("kaethe").await;
    let ids = |limit| async move {
        let due = lab.catalog.due_endpoints(lab.after(1), limit).await;
        let due = due.unwrap();
        due.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(9).await, [first, second]);
    assert_eq!(ids(1).await, [first]);
    claim(lab, first, 9).await;
    assert_eq!(ids(9).await, [second]);
}

async fn old_events_are_forgotten_unless_they_wait(lab: &Lab) {
    let id = with_waiting(lab, 4).await;
    let claimed = claim(lab, id, 3).await;
    for event in &claimed {
        note(lab, id, *event, failed()).await;
    }
    let mut rows = all(lab, id).await;
    rows.reverse();
    let forget = |before, limit| async move {
        let forgotten = lab.catalog.forget_events(before, limit).await;
        forgotten.unwrap()
    };
    assert_eq!(forget(rows[0].created_at, 9).await, 0);
    assert_eq!(forget(rows[1].created_at, 9).await, 1);
    assert_eq!(forget(lab.after(60), 1).await, 1);
    assert_eq!(forget(lab.after(60), 9).await, 1);
    let left = all(lab, id).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].event_id, rows[3].event_id);
}

async fn a_commit_rings_and_a_change_undone_does_not(lab: &Lab) {
    let bell = lab.catalog.events_bell();
    let rang = || async {
        let bell = std::sync::Arc::clone(bell);
        tokio::time::timeout(
            Duration::from_millis(20),
            async move { bell.notified().await },
        )
        .await
        .is_ok()
    };
    lab.model("kaethe").await;
    assert!(!rang().await, "nobody wants to know");
    let id = endpoint(lab, Subscriptions::All).await.id;
    lab.model("kaethe").await;
    assert!(rang().await);
    let mut order = lab.new_purchase("bo", lab.id(stockroom_domain::ModelId::generate));
    order.download_limit = Some(1);
    lab.catalog.record_purchase(&order).await.unwrap_err();
    assert!(!rang().await);
    lab.catalog.test_endpoint(id, lab.now()).await.unwrap();
    assert!(rang().await);
}
