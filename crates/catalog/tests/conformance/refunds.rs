//! Refunds: remembered for ever, whenever they come.

use stockroom_catalog::{
    Catalog, CatalogError, Conflict, NewPurchase, Page, PurchaseFilter, Recorded,
};
use stockroom_domain::{PurchaseId, PurchaseStatus, Timestamp};

use crate::assert_conflict;
use crate::lab::{Lab, RACERS, on_both_databases, race, subject};

on_both_databases!(
    a_purchase_whose_refund_came_first_is_recorded_as_refunded,
    the_first_refund_of_an_order_stays,
    a_refund_by_the_purchase_is_one_of_its_order,
    a_remembered_refund_refuses_no_other_order,
    a_refund_needs_the_name_of_an_order,
    of_many_refunds_at_once_one_is_the_first,
    events_of_the_same_orders_at_once_end_in_the_same_state,
    a_purchase_and_its_refund_at_once_never_leave_it_open,
);

async fn a_purchase_whose_refund_came_first_is_recorded_as_refunded(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let new = lab.new_purchase("bo", model);
    let refunded_at = lab.now();
    let refund = lab
        .catalog
        .refund_order(&new.order_ref, refunded_at, Some("fraudulent"))
        .await
        .unwrap();
    assert!(refund.is_new);
    assert_eq!(refund.purchase, None);

    let row = lab.buy(new.clone()).await;
    assert_eq!(row.refunded_at, Some(refunded_at));
    assert_eq!(row.status(lab.now()), PurchaseStatus::Refunded);
    let again = lab.catalog.record_purchase(&new).await.unwrap();
    assert_eq!(again, Recorded::Same(row.clone()));
    assert_eq!(lab.catalog.find_purchase(row.id).await.unwrap(), Some(row));
}

async fn the_first_refund_of_an_order_stays(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let new = lab.new_purchase("bo", model);
    let first = lab.now();
    let is_new = async |reason| {
        let now = if reason == Some("first") {
            first
        } else {
            lab.now()
        };
        let refund = lab
            .catalog
            .refund_order(&new.order_ref, now, reason)
            .await
            .unwrap();
        assert_eq!(refund.refunded_at, first);
        assert_eq!(refund.reason.as_deref(), Some("first"));
        if let Some(row) = refund.purchase {
            assert_eq!(row.refunded_at, Some(first));
        }
        refund.is_new
    };
    assert!(is_new(Some("first")).await);
    assert!(!is_new(Some("second")).await);
    lab.buy(new.clone()).await;
    assert!(!is_new(None).await);
}

async fn a_refund_by_the_purchase_is_one_of_its_order(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let row = lab.buy(lab.new_purchase("bo", model)).await;
    let refunded = lab
        .catalog
        .refund_purchase(row.id, lab.now())
        .await
        .unwrap();
    let refund = lab
        .catalog
        .refund_order(&row.order_ref, lab.now(), Some("late"))
        .await
        .unwrap();
    assert!(!refund.is_new);
    assert_eq!(refund.reason, None);
    assert_eq!(refund.purchase, Some(refunded));
}

async fn a_remembered_refund_refuses_no_other_order(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let (one, other) = (lab.new_purchase("bo", model), lab.new_purchase("bo", model));
    lab.catalog
        .refund_order(&one.order_ref, lab.now(), None)
        .await
        .unwrap();
    assert_eq!(lab.buy(other).await.refunded_at, None);
    let row = lab.buy(one.clone()).await;
    let of_somebody_else = NewPurchase {
        buyer: subject("al"),
        ..one
    };
    assert_conflict!(
        lab.catalog.record_purchase(&of_somebody_else).await,
        Conflict::Order
    );
    assert_eq!(lab.catalog.find_purchase(row.id).await.unwrap(), Some(row));
}

async fn a_refund_needs_the_name_of_an_order(lab: &Lab) {
    let too_long = "x".repeat(256);
    for (order_ref, reason) in [
        ("", None),
        ("a\0b", None),
        (too_long.as_str(), None),
        ("a", Some("b\0c")),
    ] {
        let error = lab
            .catalog
            .refund_order(order_ref, lab.now(), reason)
            .await
            .unwrap_err();
        assert!(
            matches!(error, CatalogError::InvalidText { .. }),
            "{error:?}"
        );
    }
}

async fn of_many_refunds_at_once_one_is_the_first(lab: &Lab) {
    let refunds = race(|_| {
        let (catalog, now) = (lab.catalog.clone(), lab.now());
        async move { catalog.refund_order("order", now, None).await.unwrap() }
    })
    .await;
    let first = refunds.iter().filter(|refund| refund.is_new).count();
    assert_eq!(first, 1);
    let time = refunds[0].refunded_at;
    assert!(refunds.iter().all(|refund| refund.refunded_at == time));
}

/// Every racer tells of all orders, each in an order of its own. A third of them is refunded; of
/// the rest only the purchases are told.
async fn events_of_the_same_orders_at_once_end_in_the_same_state(lab: &Lab) {
    const ORDERS: usize = 12;
    let model = lab.model("kaethe").await.id;
    let orders: Vec<NewPurchase> = (0..ORDERS).map(|_| lab.new_purchase("bo", model)).collect();
    let news: Vec<usize> = race(|racer| {
        let (catalog, now) = (lab.catalog.clone(), lab.now());
        let orders: Vec<NewPurchase> = orders
            .iter()
            .map(|order| NewPurchase {
                id: lab.id(PurchaseId::generate),
                ..order.clone()
            })
            .collect();
        let racer = usize::try_from(racer).unwrap();
        async move {
            let mut news = 0;
            for step in 0..ORDERS {
                // 5 and 12 have no common divisor, so each racer comes to all orders.
                let number = (racer + step * 5) % ORDERS;
                let order = &orders[number];
                let refunds_first = number.is_multiple_of(3) && racer.is_multiple_of(2);
                if refunds_first {
                    refund(&catalog, order, now).await;
                }
                if let Recorded::New(_) = catalog.record_purchase(order).await.unwrap() {
                    news += 1;
                }
                if number.is_multiple_of(3) && !refunds_first {
                    refund(&catalog, order, now).await;
                }
            }
            news
        }
    })
    .await;
    assert_eq!(news.iter().sum::<usize>(), ORDERS);
    let listed = lab
        .catalog
        .list_purchases(&PurchaseFilter::default(), &Page::first(100))
        .await
        .unwrap();
    assert_eq!(listed.items.len(), ORDERS);
    for (number, order) in orders.iter().enumerate() {
        let rows: Vec<_> = listed
            .items
            .iter()
            .filter(|row| row.order_ref == order.order_ref)
            .collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            rows[0].refunded_at.is_some(),
            number.is_multiple_of(3),
            "{number}"
        );
    }
}

/// One purchase and one refund of it at the very same moment, many times: neither transaction may
/// pass the other by.
async fn a_purchase_and_its_refund_at_once_never_leave_it_open(lab: &Lab) {
    const ROUNDS: usize = 10;
    let model = lab.model("kaethe").await.id;
    for _ in 0..ROUNDS {
        let order = lab.new_purchase("bo", model);
        race(|racer| {
            let (catalog, now) = (lab.catalog.clone(), lab.now());
            let order = NewPurchase {
                id: lab.id(PurchaseId::generate),
                order_ref: format!("{} {}", order.order_ref, racer / 2),
                ..order.clone()
            };
            async move {
                if racer.is_multiple_of(2) {
                    catalog.record_purchase(&order).await.map(drop).unwrap();
                } else {
                    refund(&catalog, &order, now).await;
                }
            }
        })
        .await;
    }
    let listed = lab
        .catalog
        .list_purchases(&PurchaseFilter::default(), &Page::first(1_000))
        .await
        .unwrap();
    let expected = ROUNDS * usize::try_from(RACERS / 2).unwrap();
    assert_eq!(listed.items.len(), expected);
    let open = listed
        .items
        .iter()
        .filter(|row| row.refunded_at.is_none())
        .count();
    assert_eq!(open, 0, "refunded orders that let their buyer download");
}

async fn refund(catalog: &Catalog, order: &NewPurchase, now: Timestamp) {
    catalog
        .refund_order(&order.order_ref, now, None)
        .await
        .map(drop)
        .unwrap();
}
