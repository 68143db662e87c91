//! API keys.

use std::collections::BTreeMap;

use stockroom_catalog::{CatalogError, Conflict, KeyHash, NewKey, Page};
use stockroom_domain::{KeyId, Role};

use crate::lab::{Lab, on_both_databases, subject};
use crate::{assert_conflict, assert_not_found};

on_both_databases!(
    a_key_is_found_by_its_hash,
    a_hash_and_an_id_are_taken_once,
    keys_are_listed_newest_first_in_pages,
    a_revoked_key_stays_and_opens_nothing,
    the_last_use_only_moves_forward,
    a_user_key_without_a_user_is_refused,
    a_name_with_nul_is_refused,
);

fn new_key(lab: &Lab) -> NewKey {
    NewKey {
        id: lab.id(KeyId::generate),
        hash: KeyHash(lab.bytes()),
        role: Role::Artist,
        subject: Some(subject("käthe".replace('ä', "ae").as_str())),
        name: Some("it's \"her\" key; DROP TABLE keys --".to_owned()),
        created_at: lab.now(),
        expires_at: Some(lab.after(60)),
    }
}

async fn a_key_is_found_by_its_hash(lab: &Lab) {
    let key = new_key(lab);
    let row = lab.catalog.insert_key(&key).await.unwrap();
    assert_eq!(
        lab.catalog.find_key(&key.hash).await.unwrap(),
        Some(row.clone())
    );
    assert_eq!((&row.name, row.hash), (&key.name, key.hash));
    let by_id = lab.catalog.find_key_by_id(key.id).await.unwrap();
    assert_eq!(by_id, Some(row.clone()));
    let unknown = lab.id(KeyId::generate);
    assert_eq!(lab.catalog.find_key_by_id(unknown).await.unwrap(), None);
    assert!(row.is_usable(key.created_at));
    assert!(!row.is_usable(key.expires_at.unwrap()));
    let other = KeyHash(lab.bytes());
    assert_eq!(lab.catalog.find_key(&other).await.unwrap(), None);
}

async fn a_hash_and_an_id_are_taken_once(lab: &Lab) {
    let key = new_key(lab);
    lab.catalog.insert_key(&key).await.unwrap();
    let same_hash = NewKey {
        id: lab.id(KeyId::generate),
        ..key.clone()
    };
    assert_conflict!(lab.catalog.insert_key(&same_hash).await, Conflict::ApiKey);
    let same_id = NewKey {
        hash: KeyHash(lab.bytes()),
        ..key
    };
    assert_conflict!(lab.catalog.insert_key(&same_id).await, Conflict::ApiKey);
}

async fn keys_are_listed_newest_first_in_pages(lab: &Lab) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(lab.catalog.insert_key(&new_key(lab)).await.unwrap().id);
    }
    ids.reverse();
    let mut page = Page::first(2);
    let mut seen = Vec::new();
    loop {
        let found = lab.catalog.list_keys(&page).await.unwrap();
        assert!(found.items.len() <= 2);
        seen.extend(found.items.iter().map(|key| key.id));
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    page.after = Some("mdl_nonsense".to_owned());
    assert!(matches!(
        lab.catalog.list_keys(&page).await,
        Err(CatalogError::InvalidCursor)
    ));
}

async fn a_revoked_key_stays_and_opens_nothing(lab: &Lab) {
    let key = new_key(lab);
    lab.catalog.insert_key(&key).await.unwrap();
    let first = lab.now();
    assert!(lab.catalog.revoke_key(key.id, first).await.unwrap());
    assert!(!lab.catalog.revoke_key(key.id, lab.now()).await.unwrap());
    let row = lab.catalog.find_key(&key.hash).await.unwrap().unwrap();
    assert_eq!(row.revoked_at, Some(first));
    assert!(!row.is_usable(key.created_at));
    let unknown = lab.id(KeyId::generate);
    assert_not_found!(lab.catalog.revoke_key(unknown, first).await, Key);
}

async fn the_last_use_only_moves_forward(lab: &Lab) {
    let key = new_key(lab);
    lab.catalog.insert_key(&key).await.unwrap();
    let other = lab.catalog.insert_key(&new_key(lab)).await.unwrap();
    let unknown = lab.id(KeyId::generate);
    let (earlier, later) = (lab.now(), lab.now());
    for used_at in [later, earlier] {
        let uses = [(key.id, used_at), (unknown, used_at)].into();
        lab.catalog.touch_keys(&uses).await.unwrap();
    }
    let row = lab.catalog.find_key(&key.hash).await.unwrap().unwrap();
    assert_eq!(row.last_used_at, Some(later));
    let untouched = lab.catalog.find_key_by_id(other.id).await.unwrap();
    assert_eq!(untouched, Some(other));
    lab.catalog.touch_keys(&BTreeMap::new()).await.unwrap();
}

async fn a_user_key_without_a_user_is_refused(lab: &Lab) {
    let key = NewKey {
        subject: None,
        ..new_key(lab)
    };
    let error = lab.catalog.insert_key(&key).await.unwrap_err();
    assert!(matches!(error, CatalogError::Database(_)), "{error:?}");
    assert_eq!(lab.catalog.find_key(&key.hash).await.unwrap(), None);
}

async fn a_name_with_nul_is_refused(lab: &Lab) {
    let key = NewKey {
        name: Some("a\0b".to_owned()),
        ..new_key(lab)
    };
    let error = lab.catalog.insert_key(&key).await.unwrap_err();
    assert_eq!(error.to_string(), "name contains a NUL character");
}
