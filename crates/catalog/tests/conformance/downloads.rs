//! Downloads: what counts as one, what a limit lets through, and the receipt that remains.

use std::ops::Range;
use std::time::Duration;

use stockroom_catalog::{
    AssetRow, Charged, Given, GrantBatch, GrantEnd, LateEnd, NewGrant, NewPurchase, PurchaseRow,
};
use stockroom_domain::{
    DOWNLOAD_WINDOW, Denial, DownloadId, GrantId, GrantKind, LedgerId, PurchaseId, Timestamp,
};

use crate::assert_not_found;
use crate::lab::{Lab, on_both_databases, race};

on_both_databases!(
    a_limit_is_never_exceeded,
    the_parts_of_a_file_are_one_download,
    what_was_not_sent_is_given_back,
    nothing_is_charged_to_a_purchase_that_ended,
    grants_are_recorded_in_batches,
    a_batch_is_recorded_once,
    an_end_that_comes_late_stands_in_the_receipt,
    a_receipt_shows_every_grant,
    many_servers_at_once_count_the_same,
);

/// What the lab's files have.
const SIZE_BYTES: u64 = 1_000;

/// A purchase of a model with one file.
struct Sale {
    purchase: PurchaseRow,
    asset: AssetRow,
}

async fn sale(lab: &Lab, download_limit: Option<u64>) -> Sale {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await;
    let purchase = lab
        .buy(NewPurchase {
            download_limit,
            ..lab.new_purchase("bo", model)
        })
        .await;
    Sale { purchase, asset }
}

impl Sale {
    fn grant(&self, lab: &Lab, at: Timestamp, range: Range<u64>) -> NewGrant {
        NewGrant {
            id: lab.id(GrantId::generate),
            purchase_id: self.purchase.id,
            size_bytes: SIZE_BYTES,
            charged_bytes: range.end - range.start,
            given: Given {
                asset_id: self.asset.id,
                kind: GrantKind::Stream,
                at,
                range,
                stores: "local".to_owned(),
                key_id: None,
                address: None,
            },
        }
    }

    async fn charge(&self, lab: &Lab, range: Range<u64>) -> (NewGrant, Charged) {
        let now = lab.now();
        let grant = self.grant(lab, now, range);
        let charged = lab.catalog.charge_grant(&grant, now).await.unwrap();
        (grant, charged)
    }

    async fn downloads(&self, lab: &Lab) -> u64 {
        let row = lab.catalog.find_purchase(self.purchase.id).await.unwrap();
        row.unwrap().downloads
    }
}

fn end(at: Timestamp, sent_bytes: u64) -> GrantEnd {
    GrantEnd {
        ended_at: at,
        sent_bytes,
        stores: "s3,local".to_owned(),
    }
}

fn late(grant: &NewGrant, at: Timestamp, sent_bytes: u64) -> LateEnd {
    LateEnd {
        purchase_id: grant.purchase_id,
        asset_id: grant.given.asset_id,
        grant_id: grant.id,
        charged_bytes: grant.charged_bytes,
        end: end(at, sent_bytes),
    }
}

/// Records grants and ends as a server does now and then.
async fn record(lab: &Lab, grants: Vec<(NewGrant, Option<GrantEnd>)>, ends: Vec<LateEnd>) {
    let batch = GrantBatch { grants, ends };
    let id = lab.id(LedgerId::generate);
    lab.catalog.record_grants(id, &batch).await.unwrap();
}

const LIMIT_REACHED: Charged = Charged::Refused(Denial::DownloadLimitReached);

async fn a_limit_is_never_exceeded(lab: &Lab) {
    let sale = sale(lab, Some(5)).await;
    let now = lab.now();
    let outcomes = race(|_| {
        let grant = sale.grant(lab, now, 0..SIZE_BYTES);
        let catalog = lab.catalog.clone();
        async move { catalog.charge_grant(&grant, now).await.unwrap() }
    })
    .await;
    let began = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Charged::Began(_)));
    assert_eq!(began.count(), 5);
    let refused = outcomes.iter().filter(|outcome| **outcome == LIMIT_REACHED);
    assert_eq!(refused.count(), outcomes.len() - 5);
    assert_eq!(sale.downloads(lab).await, 5);
}

async fn the_parts_of_a_file_are_one_download(lab: &Lab) {
    let sale = sale(lab, Some(1)).await;
    let (first, charged) = sale.charge(lab, 0..100).await;
    let download = DownloadId::from(first.id);
    assert_eq!(charged, Charged::Began(download));
    for range in [100..400, 400..1_000, 900..1_000] {
        let (_, charged) = sale.charge(lab, range).await;
        assert_eq!(charged, Charged::Continued(download));
    }
    // Asking for the file as an open range, or for all but one byte, is asking for the file.
    for range in [0..SIZE_BYTES, 1..SIZE_BYTES, 0..SIZE_BYTES - 1] {
        let (_, charged) = sale.charge(lab, range).await;
        assert_eq!(charged, LIMIT_REACHED);
    }
    assert_eq!(sale.downloads(lab).await, 1);

    // A download that is a week old is over, however little was sent.
    let sale = self::sale(lab, Some(2)).await;
    let (first, _) = sale.charge(lab, 0..1).await;
    let later = first.given.at.after(DOWNLOAD_WINDOW);
    let grant = sale.grant(lab, later, 1..2);
    let charged = lab.catalog.charge_grant(&grant, later).await.unwrap();
    assert_eq!(charged, Charged::Began(grant.id.into()));
}

async fn what_was_not_sent_is_given_back(lab: &Lab) {
    let sale = sale(lab, Some(1)).await;
    let (broken, charged) = sale.charge(lab, 0..SIZE_BYTES).await;
    assert_eq!(charged, Charged::Began(broken.id.into()));
    // While it runs, it counts in full.
    assert_eq!(sale.charge(lab, 400..SIZE_BYTES).await.1, LIMIT_REACHED);
    record(lab, vec![], vec![late(&broken, lab.now(), 400)]).await;
    let (rest, charged) = sale.charge(lab, 400..SIZE_BYTES).await;
    assert_eq!(charged, Charged::Continued(broken.id.into()));
    record(lab, vec![], vec![late(&rest, lab.now(), 600)]).await;
    assert_eq!(sale.charge(lab, 0..SIZE_BYTES).await.1, LIMIT_REACHED);
    assert_eq!(sale.downloads(lab).await, 1);
}

async fn nothing_is_charged_to_a_purchase_that_ended(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await;
    let expires_at = lab.after(60);
    let new = NewPurchase {
        expires_at: Some(expires_at),
        download_limit: Some(9),
        ..lab.new_purchase("bo", model)
    };
    let purchase = lab.buy(new).await;
    let sale = Sale { purchase, asset };
    assert!(matches!(sale.charge(lab, 0..1).await.1, Charged::Began(_)));
    let grant = sale.grant(lab, expires_at, 1..2);
    let charged = lab.catalog.charge_grant(&grant, expires_at).await.unwrap();
    assert_eq!(charged, Charged::Refused(Denial::Expired));
    // A refund also ends a download that has begun.
    let id = sale.purchase.id;
    lab.catalog.refund_purchase(id, lab.now()).await.unwrap();
    let (refused, charged) = sale.charge(lab, 1..2).await;
    assert_eq!(charged, Charged::Refused(Denial::Refunded));
    let unknown = NewGrant {
        purchase_id: lab.id(PurchaseId::generate),
        ..refused
    };
    let charged = lab.catalog.charge_grant(&unknown, lab.now()).await;
    assert_not_found!(charged, Purchase);
}

async fn grants_are_recorded_in_batches(lab: &Lab) {
    let (one, two) = (sale(lab, None).await, sale(lab, None).await);
    let now = lab.now();
    // More than fit into one statement: whole files, and one download in three parts at the end.
    let mut grants = Vec::new();
    let whole = std::iter::repeat_n(0..SIZE_BYTES, 498);
    for range in whole.chain([0..SIZE_BYTES, 0..400, 400..900, 900..SIZE_BYTES]) {
        for sale in [&one, &two] {
            let sent_bytes = range.end - range.start;
            let grant = sale.grant(lab, now, range.clone());
            grants.push((grant, Some(end(now, sent_bytes))));
        }
    }
    record(lab, grants, vec![]).await;
    // 499 whole files. The first part is taken for one that got lost, the others begin a download.
    assert_eq!(one.downloads(lab).await, 500);
    assert_eq!(two.downloads(lab).await, 500);
    let (downloads, is_cut) = lab
        .catalog
        .downloads_of(one.purchase.id, 10_000)
        .await
        .unwrap();
    assert_eq!((downloads.len(), is_cut), (500, false));
    record(lab, vec![], vec![]).await;
}

async fn a_batch_is_recorded_once(lab: &Lab) {
    let sale = sale(lab, None).await;
    let now = lab.now();
    let batch = GrantBatch {
        grants: vec![(sale.grant(lab, now, 0..SIZE_BYTES), None)],
        ends: vec![],
    };
    // Whoever is told of a failure cannot know that it came after the commit.
    let id = lab.id(LedgerId::generate);
    race(|_| {
        let (catalog, batch) = (lab.catalog.clone(), batch.clone());
        async move { catalog.record_grants(id, &batch).await.unwrap() }
    })
    .await;
    assert_eq!(sale.downloads(lab).await, 1);
    let (downloads, _) = lab.catalog.downloads_of(sale.purchase.id, 9).await.unwrap();
    assert_eq!(downloads.len(), 1);
    assert_eq!(downloads[0].grants.len(), 1);
}

async fn an_end_that_comes_late_stands_in_the_receipt(lab: &Lab) {
    let sale = sale(lab, None).await;
    let now = lab.now();
    let grant = sale.grant(lab, now, 0..SIZE_BYTES);
    record(lab, vec![(grant.clone(), None)], vec![]).await;
    record(lab, vec![], vec![late(&grant, now, 300)]).await;
    let (downloads, _) = lab.catalog.downloads_of(sale.purchase.id, 9).await.unwrap();
    let [recorded] = &downloads[0].grants[..] else {
        panic!("one grant, not {:?}", downloads[0].grants);
    };
    assert_eq!(recorded.sent_bytes(), Some(300));
    assert_eq!(recorded.stores(), "s3,local");
    // 300 were charged, so what is missing fits, and then nothing does.
    let rest = sale.grant(lab, now, 300..SIZE_BYTES);
    let charged = lab.catalog.charge_grant(&rest, now).await.unwrap();
    assert_eq!(charged, Charged::Continued(grant.id.into()));
    let again = sale.grant(lab, now, 0..SIZE_BYTES);
    let charged = lab.catalog.charge_grant(&again, now).await.unwrap();
    assert_eq!(charged, Charged::Began(again.id.into()));
    // An end of a download that is over gives nothing to the one after it.
    record(lab, vec![], vec![late(&rest, now, 0)]).await;
    let more = sale.grant(lab, now, 0..501);
    let charged = lab.catalog.charge_grant(&more, now).await.unwrap();
    assert_eq!(charged, Charged::Began(more.id.into()));
}

async fn a_receipt_shows_every_grant(lab: &Lab) {
    let sale = sale(lab, None).await;
    let other = self::sale(lab, None).await;
    let now = lab.now();
    let mut grants = Vec::new();
    for (n, kind) in GrantKind::ALL.into_iter().enumerate() {
        let at = now.after(Duration::from_secs(n as u64));
        let mut grant = sale.grant(lab, at, 0..SIZE_BYTES);
        grant.given.kind = kind;
        grant.given.key_id = Some(lab.id(stockroom_domain::KeyId::generate));
        grant.given.address = Some(format!("hash-{n}"));
        grants.push((grant, None));
    }
    grants.push((other.grant(lab, now, 0..SIZE_BYTES), None));
    record(lab, grants.clone(), vec![]).await;
    let id = sale.purchase.id;
    let (downloads, is_cut) = lab.catalog.downloads_of(id, 4).await.unwrap();
    assert!(!is_cut);
    assert_eq!(downloads.len(), 4);
    for (download, (expected, _)) in downloads.iter().zip(&grants) {
        assert_eq!(download.id, DownloadId::from(expected.id));
        assert_eq!(download.file.asset_id, sale.asset.id);
        assert_eq!(download.file.filename, sale.asset.filename);
        assert_eq!(download.file.sha256, sale.asset.object.sha256);
        assert_eq!(download.file.size_bytes, sale.asset.object.size_bytes);
        let [grant] = &download.grants[..] else {
            panic!("one grant, not {:?}", download.grants);
        };
        assert_eq!((grant.id, &grant.given), (expected.id, &expected.given));
        assert_eq!(grant.end, None);
    }
    // The newest are shown when there are too many.
    let (newest, is_cut) = lab.catalog.downloads_of(id, 1).await.unwrap();
    assert!(is_cut);
    assert_eq!(newest[..], downloads[3..]);
}

async fn many_servers_at_once_count_the_same(lab: &Lab) {
    let (one, two) = (sale(lab, None).await, sale(lab, None).await);
    let now = lab.now();
    race(|n| {
        let mut grants: Vec<_> = [&one, &two, &one]
            .into_iter()
            .map(|sale| {
                let grant = sale.grant(lab, now, 0..SIZE_BYTES);
                (grant, Some(end(now, SIZE_BYTES)))
            })
            .collect();
        if n % 2 == 0 {
            grants.reverse();
        }
        let (catalog, id) = (lab.catalog.clone(), lab.id(LedgerId::generate));
        let ends = Vec::new();
        async move {
            let batch = GrantBatch { grants, ends };
            catalog.record_grants(id, &batch).await.unwrap();
        }
    })
    .await;
    assert_eq!(one.downloads(lab).await, 2 * u64::from(crate::lab::RACERS));
    assert_eq!(two.downloads(lab).await, u64::from(crate::lab::RACERS));
}
