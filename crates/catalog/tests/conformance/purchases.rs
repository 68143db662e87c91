//! Purchases, downloads and libraries.

use stockroom_catalog::{CatalogError, Conflict, NewPurchase, Page, PurchaseFilter, Recorded};
use stockroom_domain::{ModelId, PurchaseId, PurchaseStatus};

use crate::lab::{Lab, on_both_databases, race, subject};
use crate::{assert_conflict, assert_not_found};

on_both_databases!(
    a_purchase_reads_back_as_it_was_recorded,
    the_same_order_again_is_the_same_purchase,
    another_body_of_an_order_is_a_conflict,
    of_many_equal_orders_at_once_one_is_recorded,
    of_many_different_orders_at_once_one_wins,
    an_order_of_what_is_not_there_is_refused,
    an_order_needs_a_name,
    a_refund_keeps_its_first_time,
    purchases_are_listed_by_buyer_and_model,
    a_library_shows_the_newest_files_of_what_was_bought,
);

async fn a_purchase_reads_back_as_it_was_recorded(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let new = NewPurchase {
        order_ref: "it's #1; \"%_\\ Ü".to_owned(),
        expires_at: Some(lab.after(60)),
        download_limit: Some(i64::MAX.unsigned_abs()),
        ..lab.new_purchase("bo", model)
    };
    let row = lab.buy(new.clone()).await;
    assert_eq!(
        lab.catalog.find_purchase(new.id).await.unwrap(),
        Some(row.clone())
    );
    assert_eq!(
        (row.buyer.clone(), row.order_ref.clone()),
        (new.buyer, new.order_ref)
    );
    assert_eq!((row.download_limit, row.downloads), (new.download_limit, 0));
    assert_eq!(row.status(new.purchased_at), PurchaseStatus::Active);
    assert_eq!(row.status(new.expires_at.unwrap()), PurchaseStatus::Expired);
    let unknown = lab.id(PurchaseId::generate);
    assert_eq!(lab.catalog.find_purchase(unknown).await.unwrap(), None);
}

async fn the_same_order_again_is_the_same_purchase(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let new = lab.new_purchase("bo", model);
    let row = lab.buy(new.clone()).await;
    let again = NewPurchase {
        id: lab.id(PurchaseId::generate),
        purchased_at: lab.now(),
        ..new.clone()
    };
    let outcome = lab.catalog.record_purchase(&again).await.unwrap();
    assert_eq!(outcome, Recorded::Same(row.clone()));
    // An event that comes late applies once too: after a refund, after the model was deleted.
    let refunded = lab
        .catalog
        .refund_purchase(row.id, lab.now())
        .await
        .unwrap();
    lab.catalog
        .retire_model(model, lab.now(), lab.now())
        .await
        .unwrap();
    let outcome = lab.catalog.record_purchase(&again).await.unwrap();
    assert_eq!(outcome, Recorded::Same(refunded));
}

async fn another_body_of_an_order_is_a_conflict(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let new = lab.new_purchase("bo", model);
    let row = lab.buy(new.clone()).await;
    let other_model = lab.model("kaethe").await.id;
    for other in [
        NewPurchase {
            buyer: subject("Bo"),
            ..new.clone()
        },
        NewPurchase {
            model_id: other_model,
            ..new.clone()
        },
        NewPurchase {
            expires_at: Some(lab.now()),
            ..new.clone()
        },
        NewPurchase {
            download_limit: Some(1),
            ..new.clone()
        },
    ] {
        assert_conflict!(lab.catalog.record_purchase(&other).await, Conflict::Order);
    }
    assert_eq!(lab.catalog.find_purchase(row.id).await.unwrap(), Some(row));
}

async fn of_many_equal_orders_at_once_one_is_recorded(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let new = lab.new_purchase("bo", model);
    let outcomes = race(|_| {
        let (catalog, new) = (
            lab.catalog.clone(),
            NewPurchase {
                id: lab.id(PurchaseId::generate),
                ..new.clone()
            },
        );
        async move { catalog.record_purchase(&new).await.unwrap() }
    })
    .await;
    let new: Vec<_> = outcomes
        .iter()
        .filter(|o| matches!(o, Recorded::New(_)))
        .collect();
    assert_eq!(new.len(), 1);
    let rows: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Recorded::New(row) | Recorded::Same(row) => row,
        })
        .collect();
    assert!(rows.iter().all(|row| *row == rows[0]), "{rows:?}");
}

async fn of_many_different_orders_at_once_one_wins(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let new = lab.new_purchase("bo", model);
    let outcomes = race(|n| {
        let (catalog, new) = (
            lab.catalog.clone(),
            NewPurchase {
                id: lab.id(PurchaseId::generate),
                download_limit: Some(n.into()),
                ..new.clone()
            },
        );
        async move { catalog.record_purchase(&new).await }
    })
    .await;
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(won, 1, "{outcomes:?}");
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert_conflict!(outcome, Conflict::Order);
    }
}

async fn an_order_of_what_is_not_there_is_refused(lab: &Lab) {
    let unknown = lab.id(ModelId::generate);
    let new = lab.new_purchase("bo", unknown);
    assert_not_found!(lab.catalog.record_purchase(&new).await, Model);
    let deleted = lab.model("kaethe").await.id;
    lab.catalog
        .retire_model(deleted, lab.now(), lab.now())
        .await
        .unwrap();
    let new = NewPurchase {
        model_id: deleted,
        ..new
    };
    assert_not_found!(lab.catalog.record_purchase(&new).await, Model);
}

async fn an_order_needs_a_name(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    for order_ref in ["", "a\0b", &"é".repeat(128)] {
        let new = NewPurchase {
            order_ref: order_ref.to_owned(),
            ..lab.new_purchase("bo", model)
        };
        let error = lab.catalog.record_purchase(&new).await.unwrap_err();
        assert!(
            matches!(error, CatalogError::InvalidText { .. }),
            "{error:?}"
        );
    }
    let too_many = NewPurchase {
        download_limit: Some(u64::MAX),
        ..lab.new_purchase("bo", model)
    };
    let error = lab.catalog.record_purchase(&too_many).await.unwrap_err();
    assert!(matches!(error, CatalogError::TooLarge { .. }), "{error:?}");
}

async fn a_refund_keeps_its_first_time(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let row = lab.buy(lab.new_purchase("bo", model)).await;
    let first = lab.now();
    for now in [first, lab.now()] {
        let refunded = lab.catalog.refund_purchase(row.id, now).await.unwrap();
        assert_eq!(refunded.refunded_at, Some(first));
        assert_eq!(refunded.status(now), PurchaseStatus::Refunded);
    }
    let unknown = lab.id(PurchaseId::generate);
    assert_not_found!(lab.catalog.refund_purchase(unknown, first).await, Purchase);
}

async fn purchases_are_listed_by_buyer_and_model(lab: &Lab) {
    let (one, two) = (lab.model("kaethe").await.id, lab.model("kaethe").await.id);
    let bo_one = lab.buy(lab.new_purchase("bo", one)).await.id;
    let bo_two = lab.buy(lab.new_purchase("bo", two)).await.id;
    let al_one = lab.buy(lab.new_purchase("al", one)).await.id;
    let bo = Some(subject("bo"));
    for (buyer, model_id, expected) in [
        (None, None, vec![al_one, bo_two, bo_one]),
        (bo.clone(), None, vec![bo_two, bo_one]),
        (None, Some(one), vec![al_one, bo_one]),
        (bo, Some(one), vec![bo_one]),
        (Some(subject("BO")), None, vec![]),
    ] {
        let filter = PurchaseFilter { buyer, model_id };
        let mut page = Page::first(1);
        let mut seen = Vec::new();
        loop {
            let found = lab.catalog.list_purchases(&filter, &page).await.unwrap();
            seen.extend(found.items.iter().map(|purchase| purchase.id));
            match found.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{filter:?}");
    }
}

async fn a_library_shows_the_newest_files_of_what_was_bought(lab: &Lab) {
    let (one, two) = (lab.model("kaethe").await.id, lab.model("kaethe").await.id);
    lab.asset(one, "a.stl").await;
    let a2 = lab.asset(one, "a.stl").await;
    let b1 = lab.asset(one, "b.stl").await;
    lab.asset(lab.model("kaethe").await.id, "not bought.stl")
        .await;
    let c1 = lab.asset(two, "c.stl").await;
    let first = lab.buy(lab.new_purchase("bo", one)).await;
    let second = lab.buy(lab.new_purchase("bo", two)).await;
    let again = lab.buy(lab.new_purchase("bo", one)).await;
    lab.buy(lab.new_purchase("al", one)).await;

    let bo = subject("bo");
    let library = lab.catalog.library(&bo, &Page::first(2)).await.unwrap();
    assert_eq!(library.next, Some(second.id.to_string()));
    assert_eq!(library.items[0].purchase, again);
    assert_eq!(library.items[0].assets, [b1.clone(), a2.clone()]);
    assert_eq!(library.items[1].purchase, second);
    assert_eq!(library.items[1].model.id, two);
    assert_eq!(library.items[1].assets, [c1]);

    let rest = Page {
        limit: 2,
        after: library.next,
    };
    let library = lab.catalog.library(&bo, &rest).await.unwrap();
    assert_eq!((library.items.len(), library.next), (1, None));
    assert_eq!(library.items[0].purchase, first);
    assert_eq!(library.items[0].assets, [b1, a2]);

    // What was bought stays in the library, without files, when its model is deleted.
    lab.catalog
        .retire_model(one, lab.now(), lab.now())
        .await
        .unwrap();
    let library = lab.catalog.library(&bo, &Page::default()).await.unwrap();
    assert_eq!(library.items.len(), 3);
    assert!(library.items[0].model.deleted_at.is_some());
    assert!(library.items[0].assets.is_empty());
    assert_eq!(library.items[1].assets.len(), 1);
}
