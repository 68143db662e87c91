//! Listings, page by page.

use aws_sdk_s3::types::EncodingType;
use chaos_s3::{Operation, Options};

use crate::support::{refusal, start};

#[tokio::test]
async fn pages_hold_every_key_once() {
    let (server, client) = start(Options::default().page_size(7)).await;
    let mut keys: Vec<String> = (0..40).map(|i| format!("models/{i:02}")).collect();
    keys.push("images/x".into());
    keys.push("modelsz".into());
    for key in &keys {
        server.plant(key, "x");
    }
    keys.sort();
    for asked in [1, 3, 7, 1_000] {
        let mut pages = client
            .list_objects_v2()
            .bucket(server.bucket())
            .max_keys(asked)
            .into_paginator()
            .send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert!(page.contents().len() <= 7.min(asked as usize));
            assert_eq!(page.key_count(), Some(page.contents().len() as i32));
            listed.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
        }
        assert_eq!(listed, keys, "max-keys {asked}");
    }

    let list = || client.list_objects_v2().bucket(server.bucket());
    let below = list()
        .prefix("models/")
        .start_after("models/36")
        .send()
        .await
        .unwrap();
    let below: Vec<&str> = below.contents().iter().filter_map(|o| o.key()).collect();
    assert_eq!(below, ["models/37", "models/38", "models/39"]);
    let none = list().max_keys(0).send().await.unwrap();
    assert_eq!(
        (none.key_count(), none.is_truncated()),
        (Some(0), Some(false))
    );
    let bad = list().continuation_token("nonsense").send().await;
    assert_eq!(refusal(bad), (400, "InvalidArgument".into()));
    assert_eq!(
        refusal(list().max_keys(-1).send().await),
        (400, "InvalidArgument".into())
    );
}

#[tokio::test]
async fn delimiters_fold_keys() {
    for page_size in [1, 2, 1_000] {
        let (server, client) = start(Options::default().page_size(page_size)).await;
        for key in ["a/1", "a/2", "a/b/3", "b", "c/1", "c0", "d/"] {
            server.plant(key, "x");
        }
        let list = |prefix: &'static str| {
            let client = client.clone();
            let bucket = server.bucket().to_owned();
            async move {
                let request = client.list_objects_v2().bucket(bucket).prefix(prefix);
                let mut pages = request.delimiter("/").into_paginator().send();
                let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
                while let Some(page) = pages.next().await {
                    let page = page.unwrap();
                    keys.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
                    let folded = page.common_prefixes().iter();
                    prefixes.extend(folded.map(|p| p.prefix().unwrap().to_owned()));
                }
                (keys, prefixes)
            }
        };
        let (keys, prefixes) = list("").await;
        assert_eq!(keys, ["b", "c0"], "page size {page_size}");
        assert_eq!(prefixes, ["a/", "c/", "d/"], "page size {page_size}");
        let (keys, prefixes) = list("a/").await;
        assert_eq!(keys, ["a/1", "a/2"], "page size {page_size}");
        assert_eq!(prefixes, ["a/b/"], "page size {page_size}");
    }
}

#[tokio::test]
async fn hidden_keys_are_not_listed() {
    let (server, client) = start(Options::b2()).await;
    server.plant("a", "x");
    server.plant("b", "x");
    let delete = client.delete_object().bucket(server.bucket()).key("a");
    delete.send().await.unwrap();
    let listed = client
        .list_objects_v2()
        .bucket(server.bucket())
        .send()
        .await
        .unwrap();
    let keys: Vec<&str> = listed.contents().iter().filter_map(|o| o.key()).collect();
    assert_eq!(keys, ["b"]);
    assert_eq!(server.count(Operation::ListObjectsV2), 1);
}

#[tokio::test]
async fn url_encoding_is_applied_on_demand() {
    let (server, client) = start(Options::default()).await;
    let key = "a/ü b+c&<d>/\u{7}";
    server.plant(key, "x");
    let request = client
        .list_objects_v2()
        .bucket(server.bucket())
        .prefix("a/ü");
    let listed = request
        .encoding_type(EncodingType::Url)
        .send()
        .await
        .unwrap();
    assert_eq!(listed.prefix(), Some("a/%C3%BC"));
    let told = listed.contents()[0].key().unwrap();
    assert_eq!(told, "a/%C3%BC%20b%2Bc%26%3Cd%3E/%07");
}

#[tokio::test]
async fn versions_are_listed_newest_first_across_pages() {
    for page_size in [1, 2, 3, 1_000] {
        let (server, client) = start(Options::versioned().page_size(page_size)).await;
        for (key, times) in [("a", 3), ("b/1", 2), ("b/2", 1), ("c", 2)] {
            for _ in 0..times {
                server.plant(key, "x");
            }
        }
        let delete = client.delete_object().bucket(server.bucket()).key("a");
        delete.send().await.unwrap();

        // The SDK has no paginator for versions.
        let (mut key_marker, mut id_marker) = (None, None);
        let mut listed: Vec<(String, String)> = Vec::new();
        let mut latest = Vec::new();
        let mut in_order = Vec::new();
        loop {
            let page = client
                .list_object_versions()
                .bucket(server.bucket())
                .set_key_marker(key_marker)
                .set_version_id_marker(id_marker)
                .send()
                .await
                .unwrap();
            assert!(page.versions().len() + page.delete_markers().len() <= page_size);
            for version in page.versions() {
                let id = version.version_id().unwrap().to_owned();
                in_order.push(id.clone());
                listed.push((version.key().unwrap().to_owned(), id.clone()));
                if version.is_latest() == Some(true) {
                    latest.push(id);
                }
            }
            for marker in page.delete_markers() {
                let id = marker.version_id().unwrap().to_owned();
                listed.push((marker.key().unwrap().to_owned(), id.clone()));
                assert_eq!(marker.is_latest(), Some(true));
                latest.push(id);
            }
            if page.is_truncated() != Some(true) {
                break;
            }
            key_marker = page.next_key_marker().map(str::to_owned);
            id_marker = page.next_version_id_marker().map(str::to_owned);
        }
        let mut expected = Vec::new();
        let mut newest = Vec::new();
        for key in ["a", "b/1", "b/2", "c"] {
            let versions = server.versions(key);
            newest.push(versions[0].version_id.clone());
            expected.extend(versions.into_iter().map(|v| (key.to_owned(), v.version_id)));
        }
        let ids = |keys: &[&str]| -> Vec<String> {
            let versions = keys.iter().flat_map(|key| server.versions(key));
            let held = versions.filter(|version| !version.is_delete_marker);
            held.map(|version| version.version_id).collect()
        };
        assert_eq!(in_order, ids(&["a", "b/1", "b/2", "c"]));
        // One page tells versions and markers apart, so only sets can be compared.
        listed.sort();
        expected.sort();
        latest.sort();
        newest.sort();
        assert_eq!(listed, expected, "page size {page_size}");
        assert_eq!(latest, newest, "page size {page_size}");
    }
}

#[tokio::test]
async fn a_version_listing_goes_on_behind_what_was_deleted() {
    let (server, client) = start(Options::versioned().page_size(2)).await;
    for _ in 0..5 {
        server.plant("a", "x");
    }
    server.plant("b", "x");
    let mut deleted = 0;
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let page = client
            .list_object_versions()
            .bucket(server.bucket())
            .set_key_marker(key_marker)
            .set_version_id_marker(id_marker)
            .send()
            .await
            .unwrap();
        for version in page.versions() {
            let delete = client.delete_object().bucket(server.bucket());
            let delete = delete.key(version.key().unwrap());
            delete
                .version_id(version.version_id().unwrap())
                .send()
                .await
                .unwrap();
            deleted += 1;
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        key_marker = page.next_key_marker().map(str::to_owned);
        id_marker = page.next_version_id_marker().map(str::to_owned);
    }
    assert_eq!(deleted, 6);
    assert_eq!(server.all_version_count(), 0);
}

#[tokio::test]
async fn versions_fold_under_a_delimiter() {
    for page_size in [1, 1_000] {
        let (server, client) = start(Options::versioned().page_size(page_size)).await;
        for key in ["a/1", "a/2", "b", "c/1"] {
            server.plant(key, "x");
        }
        let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let page = client
                .list_object_versions()
                .bucket(server.bucket())
                .delimiter("/")
                .set_key_marker(key_marker)
                .set_version_id_marker(id_marker)
                .send()
                .await
                .unwrap();
            keys.extend(page.versions().iter().map(|v| v.key().unwrap().to_owned()));
            let folded = page.common_prefixes().iter();
            prefixes.extend(folded.map(|p| p.prefix().unwrap().to_owned()));
            if page.is_truncated() != Some(true) {
                break;
            }
            key_marker = page.next_key_marker().map(str::to_owned);
            id_marker = page.next_version_id_marker().map(str::to_owned);
        }
        assert_eq!(keys, ["b"], "page size {page_size}");
        assert_eq!(prefixes, ["a/", "c/"], "page size {page_size}");
    }
}
