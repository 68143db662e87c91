//! URLs that carry their own permission.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Place, get, put};
use crate::{Disposition, ErrorKind, MAX_EXPIRES_IN, SignMethod, SignRequest, Store};

/// Sends a request and waits for its answer.
pub type Fetch = Box<dyn Fn(FetchRequest) -> BoxFuture<'static, Fetched> + Send + Sync>;

/// A request for a signed URL.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The method.
    pub method: SignMethod,
    /// The URL as it was signed.
    pub url: String,
    /// The body; empty unless bytes are written.
    pub body: Bytes,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: Option<String>,
    /// The header `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// An expiry outside 1 second to 7 days is refused.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn bad_expiries_are_refused(store: &dyn Store) {
    let place = Place::new("expiry");
    let key = place.key("object");
    for expires_in in [
        Duration::ZERO,
        MAX_EXPIRES_IN + Duration::from_secs(1),
        Duration::MAX,
    ] {
        let signed = store.signed_url(&key, &SignRequest::get(expires_in)).await;
        let error = signed.expect_err("a bad expiry");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{expires_in:?}");
    }
    for expires_in in [Duration::from_secs(1), MAX_EXPIRES_IN] {
        let signed = store.signed_url(&key, &SignRequest::get(expires_in)).await;
        signed.unwrap_or_else(|error| panic!("{expires_in:?}: {error}"));
    }
}

/// A signed URL does what was signed, says so in its headers, and does nothing else.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn signed_urls_work(store: &dyn Store, fetch: &Fetch) {
    let place = Place::new("signed");
    let key = place.key("Größe 1+1.stl");
    put(store, &key, "solid signed").await;

    let request = SignRequest {
        disposition: Disposition::Attachment {
            filename: Some("höhle \"x\".stl".to_owned()),
        },
        content_type: Some("model/stl".to_owned()),
        ..SignRequest::get(Duration::from_secs(300))
    };
    let answer = fetch(get_of(signed(store, &key, &request).await)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, "solid signed");
    assert_eq!(answer.content_type.as_deref(), Some("model/stl"));
    let disposition = answer.content_disposition.expect("Content-Disposition");
    assert_eq!(disposition, request.disposition.header_value(""));

    let inline = SignRequest {
        disposition: Disposition::Inline { filename: None },
        ..request.clone()
    };
    let answer = fetch(get_of(signed(store, &key, &inline).await)).await;
    let disposition = answer.content_disposition.expect("Content-Disposition");
    assert_eq!(
        disposition,
        inline.disposition.header_value(key.file_name())
    );

    let url = signed(store, &key, &request).await;
    let moved = url.replacen("model%2Fstl", "text%2Fhtml", 1);
    assert_ne!(moved, url, "the media type is in the URL");
    let answer = fetch(get_of(moved)).await;
    assert_eq!(answer.status, 403, "a changed URL is refused");

    let head = SignRequest {
        method: SignMethod::Head,
        ..SignRequest::get(Duration::from_secs(300))
    };
    let answer = fetch(FetchRequest {
        method: SignMethod::Head,
        url: signed(store, &key, &head).await,
        body: Bytes::new(),
    })
    .await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));

    let uploaded = place.key("uploaded");
    let upload = SignRequest {
        method: SignMethod::Put,
        ..SignRequest::get(Duration::from_secs(300))
    };
    let answer = fetch(FetchRequest {
        method: SignMethod::Put,
        url: signed(store, &uploaded, &upload).await,
        body: Bytes::from("solid uploaded"),
    })
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(get(store, &uploaded).await, "solid uploaded");
    place.clear(store).await;
}

async fn signed(store: &dyn Store, key: &stockroom_domain::Key, request: &SignRequest) -> String {
    let signed = store.signed_url(key, request).await;
    signed.unwrap_or_else(|error| panic!("sign: {error}")).url
}

const fn get_of(url: String) -> FetchRequest {
    FetchRequest {
        method: SignMethod::Get,
        url,
        body: Bytes::new(),
    }
}
