//! Endpoints: what is kept of them, and what their changes do to what waits.

use stockroom_catalog::{
    Attempt, EndpointPatch, EndpointRow, EndpointSecret, NewEndpoint, Page, Subscriptions,
};
use stockroom_domain::{DeliveryState, EndpointId, EndpointState, EventKind};

use crate::assert_not_found;
use crate::lab::{Lab, on_both_databases};

on_both_databases!(
    an_endpoint_comes_back_as_it_was_stored,
    a_change_leaves_what_it_does_not_name,
    a_disabled_endpoint_keeps_what_waits_and_gets_nothing_new,
    a_deleted_endpoint_is_gone_and_what_waited_is_given_up,
    a_secret_is_exchanged_while_the_old_one_still_counts,
    endpoints_come_in_pages_newest_first,
    a_test_goes_to_one_endpoint_whatever_it_is_sent,
);

pub(crate) fn only(kinds: impl IntoIterator<Item = EventKind>) -> Subscriptions {
    Subscriptions::Only(kinds.into_iter().collect())
}

pub(crate) async fn endpoint(lab: &Lab, events: Subscriptions) -> EndpointRow {
    let new = NewEndpoint {
        id: lab.id(EndpointId::generate),
        url: "https://shop.example/hooks".to_owned(),
        description: Some("the shop's; \"own\" 'words'".to_owned()),
        events,
        secret: EndpointSecret("whsec_first".to_owned()),
        created_at: lab.now(),
    };
    lab.catalog.insert_endpoint(&new).await.unwrap()
}

/// How many deliveries to an endpoint are in a state.
async fn count(lab: &Lab, id: EndpointId, state: DeliveryState) -> usize {
    let page = Page::first(Page::MAX_LIMIT);
    let listed = lab.catalog.list_deliveries(id, Some(state), &page).await;
    listed.unwrap().items.len()
}

async fn an_endpoint_comes_back_as_it_was_stored(lab: &Lab) {
    let kinds = [EventKind::PurchaseRefunded, EventKind::AssetCreated];
    for events in [only(kinds), Subscriptions::All, only([])] {
        let stored = endpoint(lab, events.clone()).await;
        assert_eq!(stored.events, events);
        assert_eq!(stored.state, EndpointState::Enabled);
        let found = lab.catalog.find_endpoint(stored.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(&stored));
        assert!(!format!("{found:?}").contains("whsec_first"));
    }
}

async fn a_change_leaves_what_it_does_not_name(lab: &Lab) {
    let before = endpoint(lab, Subscriptions::All).await;
    let now = lab.now();
    let change = |patch| async move {
        let changed = lab.catalog.update_endpoint(before.id, &patch, now).await;
        changed.unwrap()
    };
    let same = change(EndpointPatch::default()).await;
    assert_eq!(same.updated_at, now);
    assert_eq!(
        EndpointRow {
            updated_at: before.updated_at,
            ..same
        },
        before
    );
    let other = change(EndpointPatch {
        url: Some("https://other.example/".to_owned()),
        description: Some(None),
        events: Some(only([EventKind::ModelDeleted])),
        is_enabled: Some(false),
    })
    .await;
    assert_eq!(other.url, "https://other.example/");
    assert_eq!(other.description, None);
    assert_eq!(other.events, only([EventKind::ModelDeleted]));
    assert_eq!(other.state, EndpointState::Disabled);
    assert_eq!(other.secret, before.secret);
    let nobody = lab.id(EndpointId::generate);
    let patch = EndpointPatch::default();
    assert_not_found!(
        lab.catalog.update_endpoint(nobody, &patch, now).await,
        Endpoint
    );
}

async fn a_disabled_endpoint_keeps_what_waits_and_gets_nothing_new(lab: &Lab) {
    let id = endpoint(lab, Subscriptions::All).await.id;
    lab.model("kaethe").await;
    let waiting = count(lab, id, DeliveryState::Waiting).await;
    assert_eq!(waiting, 2, "created and published");
    let enable = |is_enabled| async move {
        let patch = EndpointPatch {
            is_enabled: Some(is_enabled),
            ..EndpointPatch::default()
        };
        lab.catalog
            .update_endpoint(id, &patch, lab.now())
            .await
            .unwrap();
    };
    enable(false).await;
    lab.model("kaethe").await;
    assert_eq!(count(lab, id, DeliveryState::Waiting).await, waiting);
    let due = lab.catalog.due_endpoints(lab.after(60), 9).await.unwrap();
    assert_eq!(due, []);
    enable(true).await;
    lab.model("kaethe").await;
    assert_eq!(count(lab, id, DeliveryState::Waiting).await, 2 * waiting);
    let due = lab.catalog.due_endpoints(lab.after(60), 9).await.unwrap();
    assert_eq!(due.len(), 1);
}

async fn a_deleted_endpoint_is_gone_and_what_waited_is_given_up(lab: &Lab) {
    let id = endpoint(lab, Subscriptions::All).await.id;
    lab.model("kaethe").await;
    lab.catalog.delete_endpoint(id, lab.now()).await.unwrap();
    assert_eq!(lab.catalog.find_endpoint(id).await.unwrap(), None);
    let listed = lab.catalog.list_endpoints(&Page::default()).await.unwrap();
    assert_eq!(listed.items, []);
    assert_eq!(count(lab, id, DeliveryState::Waiting).await, 0);
    assert_eq!(count(lab, id, DeliveryState::Failed).await, 2);
    lab.model("kaethe").await;
    assert_eq!(count(lab, id, DeliveryState::Waiting).await, 0);
    assert_not_found!(lab.catalog.delete_endpoint(id, lab.now()).await, Endpoint);
    assert_not_found!(lab.catalog.test_endpoint(id, lab.now()).await, Endpoint);
}

async fn a_secret_is_exchanged_while_the_old_one_still_counts(lab: &Lab) {
    let first = endpoint(lab, Subscriptions::All).await;
    assert_eq!(first.old_secret, None);
    let until = lab.after(3600);
    let second = EndpointSecret("whsec_second".to_owned());
    let rotated = lab
        .catalog
        .rotate_endpoint_secret(first.id, &second, until, lab.now())
        .await
        .unwrap();
    assert_eq!(rotated.secret, second);
    assert_eq!(rotated.old_secret, Some((first.secret, until)));
    let third = EndpointSecret("whsec_third".to_owned());
    let again = lab
        .catalog
        .rotate_endpoint_secret(first.id, &third, until, lab.now())
        .await
        .unwrap();
    assert_eq!(again.old_secret, Some((second, until)));
}

async fn endpoints_come_in_pages_newest_first(lab: &Lab) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(endpoint(lab, Subscriptions::All).await.id);
    }
    ids.reverse();
    let mut page = Page::first(2);
    let mut listed = Vec::new();
    loop {
        let found = lab.catalog.list_endpoints(&page).await.unwrap();
        listed.extend(found.items.iter().map(|row| row.id));
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, ids);
}

async fn a_test_goes_to_one_endpoint_whatever_it_is_sent(lab: &Lab) {
    let tested = endpoint(lab, only([])).await.id;
    let other = endpoint(lab, Subscriptions::All).await.id;
    let event = lab.catalog.test_endpoint(tested, lab.now()).await.unwrap();
    let page = Page::default();
    let listed = lab.catalog.list_deliveries(tested, None, &page).await;
    let listed = listed.unwrap().items;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].event_id, listed[0].kind),
        (event, EventKind::EndpointTest)
    );
    assert_eq!(count(lab, other, DeliveryState::Waiting).await, 0);
    let outcome = Attempt::Delivered { status: 204 };
    lab.catalog
        .note_attempt(tested, event, &outcome, lab.now())
        .await
        .unwrap();
    assert_eq!(count(lab, tested, DeliveryState::Delivered).await, 1);
}
