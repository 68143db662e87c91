//! The record of what operators did.

use stockroom_catalog::{AuditRow, CatalogError, KeyHash, NewKey, Page};
use stockroom_domain::{AuditId, KeyId, Role};

use crate::lab::{Lab, on_both_databases};

on_both_databases!(
    what_was_recorded_comes_back_newest_first,
    the_record_of_one_key_is_that_keys_alone,
    what_cannot_be_is_not_recorded,
);

async fn key(lab: &Lab) -> KeyId {
    let key = NewKey {
        id: lab.id(KeyId::generate),
        hash: KeyHash(lab.bytes()),
        role: Role::Operator,
        subject: None,
        name: None,
        created_at: lab.now(),
        expires_at: None,
    };
    lab.catalog.insert_key(&key).await.unwrap().id
}

fn entry(lab: &Lab, key: Option<KeyId>) -> AuditRow {
    AuditRow {
        id: lab.id(AuditId::generate),
        at: lab.now(),
        key,
        action: "DELETE /v1/objects/{*key}".to_owned(),
        target: Some("models/it's%20\"mine\"; DROP TABLE audit_log --".to_owned()),
        status: Some(204),
        request_id: Some("req_0123456789".to_owned()),
        address: Some("2001:db8::7".parse().unwrap()),
    }
}

async fn all(lab: &Lab, key: Option<KeyId>, limit: u32) -> Vec<AuditRow> {
    let mut page = Page::first(limit);
    let mut entries = Vec::new();
    loop {
        let found = lab.catalog.list_audit(key, &page).await.unwrap();
        assert!(found.items.len() <= limit as usize);
        entries.extend(found.items);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return entries,
        }
    }
}

async fn what_was_recorded_comes_back_newest_first(lab: &Lab) {
    let full = entry(lab, Some(key(lab).await));
    let bare = AuditRow {
        id: lab.id(AuditId::generate),
        target: None,
        status: None,
        request_id: None,
        address: None,
        ..entry(lab, None)
    };
    for entry in [&full, &bare] {
        lab.catalog.record_audit(entry).await.unwrap();
    }
    assert_eq!(all(lab, None, 100).await, [bare.clone(), full.clone()]);
    assert_eq!(all(lab, None, 1).await, [bare, full]);
    let page = Page {
        limit: 1,
        after: Some("key_nonsense".to_owned()),
    };
    assert!(matches!(
        lab.catalog.list_audit(None, &page).await,
        Err(CatalogError::InvalidCursor)
    ));
}

async fn the_record_of_one_key_is_that_keys_alone(lab: &Lab) {
    let (one, other) = (key(lab).await, key(lab).await);
    let mut expected = Vec::new();
    for number in 0..5 {
        let mine = entry(lab, Some(one));
        lab.catalog.record_audit(&mine).await.unwrap();
        expected.insert(0, mine);
        let not_mine = entry(lab, (number % 2 == 0).then_some(other));
        lab.catalog.record_audit(&not_mine).await.unwrap();
    }
    assert_eq!(all(lab, Some(one), 2).await, expected);
    assert_eq!(all(lab, None, 3).await.len(), 10);
    let unknown = lab.id(KeyId::generate);
    assert_eq!(all(lab, Some(unknown), 10).await, []);
}

async fn what_cannot_be_is_not_recorded(lab: &Lab) {
    let unknown_key = entry(lab, Some(lab.id(KeyId::generate)));
    let no_status = AuditRow {
        status: Some(99),
        ..entry(lab, None)
    };
    for wrong in [unknown_key, no_status] {
        let error = lab.catalog.record_audit(&wrong).await.unwrap_err();
        assert!(matches!(error, CatalogError::Database(_)), "{error:?}");
    }
    let with_nul = AuditRow {
        target: Some("a\0b".to_owned()),
        ..entry(lab, None)
    };
    let error = lab.catalog.record_audit(&with_nul).await.unwrap_err();
    assert_eq!(error.to_string(), "target contains a NUL character");
    assert_eq!(all(lab, None, 10).await, []);
}
