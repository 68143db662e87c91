//! Downloads: what counts as one, what a limit lets through, and the receipt that remains.

use std::ops::Range;
use std::time::Duration;

use stockroom_catalog::{
    AssetRow, Charged, GrantEnd, GrantRecord, LateEnd, NewGrant, NewPurchase, PurchaseRow,
};
use stockroom_domain::{
    DOWNLOAD_WINDOW, Denial, DownloadId, GrantId, GrantKind, PurchaseId, Timestamp,
};

use crate::assert_not_found;
use crate::lab::{Lab, on_both_databases, race};

on_both_databases!(
    a_limit_is_never_exceeded,
    the_parts_of_a_file_are_one_download,
    what_was_not_sent_is_given_back,
    nothing_is_charged_to_a_purchase_that_ended,
    grants_are_recorded_in_batches,
    grants_that_end_later_are_told_so_once,
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
            asset_id: self.asset.id,
            size_bytes: SIZE_BYTES,
            kind: GrantKind::Stream,
            at,
            charged_bytes: range.end - range.start,
            range,
            stores: "local".to_owned(),
            key_id: None,
            address: None,
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
        grant_id: grant.id,
        end: end(at, sent_bytes),
    }
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
    let later = first.at.after(DOWNLOAD_WINDOW);
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
    let ends = [late(&broken, lab.now(), 400)];
    lab.catalog.record_grants(&[], &ends).await.unwrap();
    let (rest, charged) = sale.charge(lab, 400..SIZE_BYTES).await;
    assert_eq!(charged, Charged::Continued(broken.id.into()));
    let ends = [late(&rest, lab.now(), 600)];
    lab.catalog.record_grants(&[], &ends).await.unwrap();
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
            grants.push(GrantRecord {
                grant: sale.grant(lab, now, range.clone()),
                end: Some(end(now, sent_bytes)),
            });
        }
    }
    lab.catalog.record_grants(&grants, &[]).await.unwrap();
    // 499 whole files. The first part is taken for one that got lost, the others begin a download.
    assert_eq!(one.downloads(lab).await, 500);
    assert_eq!(two.downloads(lab).await, 500);
    let (downloads, is_cut) = lab
        .catalog
        .downloads_of(one.purchase.id, 10_000)
        .await
        .unwrap();
    assert_eq!((downloads.len(), is_cut), (500, false));
    let recorded = lab.catalog.recorded_grants(&grants).await.unwrap();
    assert_eq!(recorded.len(), grants.len());
    lab.catalog.record_grants(&[], &[]).await.unwrap();
}

async fn grants_that_end_later_are_told_so_once(lab: &Lab) {
    let sale = sale(lab, None).await;
    let now = lab.now();
    let grant = sale.grant(lab, now, 0..SIZE_BYTES);
    let record = GrantRecord {
        grant: grant.clone(),
        end: None,
    };
    lab.catalog.record_grants(&[record], &[]).await.unwrap();
    for sent_bytes in [300, 900] {
        let ends = [late(&grant, now, sent_bytes)];
        lab.catalog.record_grants(&[], &ends).await.unwrap();
    }
    let (downloads, _) = lab.catalog.downloads_of(sale.purchase.id, 9).await.unwrap();
    assert_eq!(downloads[0].grants[0].sent_bytes, Some(300));
    assert_eq!(downloads[0].grants[0].stores, "s3,local");
    // 300 were charged, so the whole file does not fit any more, but what is missing does.
    let rest = sale.grant(lab, now, 300..SIZE_BYTES);
    let charged = lab.catalog.charge_grant(&rest, now).await.unwrap();
    assert_eq!(charged, Charged::Continued(grant.id.into()));
}

async fn a_receipt_shows_every_grant(lab: &Lab) {
    let sale = sale(lab, None).await;
    let other = self::sale(lab, None).await;
    let now = lab.now();
    let mut grants = Vec::new();
    for (n, kind) in GrantKind::ALL.into_iter().enumerate() {
        let at = now.after(Duration::from_secs(n as u64));
        let grant = NewGrant {
            kind,
            key_id: Some(lab.id(stockroom_domain::KeyId::generate)),
            address: Some(format!("hash-{n}")),
            ..sale.grant(lab, at, 0..SIZE_BYTES)
        };
        grants.push(GrantRecord { grant, end: None });
    }
    grants.push(GrantRecord {
        grant: other.grant(lab, now, 0..SIZE_BYTES),
        end: None,
    });
    lab.catalog.record_grants(&grants, &[]).await.unwrap();
    let id = sale.purchase.id;
    let (downloads, is_cut) = lab.catalog.downloads_of(id, 4).await.unwrap();
    assert!(!is_cut);
    assert_eq!(downloads.len(), 4);
    for (download, record) in downloads.iter().zip(&grants) {
        let expected = &record.grant;
        assert_eq!(download.id, DownloadId::from(expected.id));
        assert_eq!(download.asset_id, sale.asset.id);
        assert_eq!(download.filename, sale.asset.filename);
        assert_eq!(download.sha256, sale.asset.object.sha256);
        assert_eq!(download.size_bytes, SIZE_BYTES);
        let [grant] = &download.grants[..] else {
            panic!("one grant, not {:?}", download.grants);
        };
        assert_eq!(grant.kind, expected.kind);
        assert_eq!(grant.at, expected.at);
        assert_eq!(grant.range, expected.range);
        assert_eq!(grant.key_id, expected.key_id);
        assert_eq!(grant.address, expected.address);
        assert_eq!((grant.ended_at, grant.sent_bytes), (None, None));
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
            .map(|sale| GrantRecord {
                grant: sale.grant(lab, now, 0..SIZE_BYTES),
                end: Some(end(now, SIZE_BYTES)),
            })
            .collect();
        if n % 2 == 0 {
            grants.reverse();
        }
        let catalog = lab.catalog.clone();
        async move { catalog.record_grants(&grants, &[]).await.unwrap() }
    })
    .await;
    assert_eq!(one.downloads(lab).await, 2 * u64::from(crate::lab::RACERS));
    assert_eq!(two.downloads(lab).await, u64::from(crate::lab::RACERS));
}
