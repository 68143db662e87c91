//! Everybody who may call, with the headers that each of them sends.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use reqwest::RequestBuilder;
use stockroom::secret_key::SecretKey;
use stockroom_catalog::NewKey;
use stockroom_domain::{KeyId, Role, Timestamp};

use crate::support::Shop;

/// Every caller. Buyers bought the model of the stock, but for `other_buyer`.
pub(crate) const ALL: [&str; 17] = [
    "anonymous",
    "other_buyer",
    "buyer",
    "refunded",
    "expired",
    "used_up",
    "other_artist",
    "owner",
    "service",
    "service_for_buyer",
    "service_for_stranger",
    "service_for_owner",
    "operator",
    "operator_for_buyer",
    "revoked_key",
    "expired_key",
    "malformed_key",
];

/// Several callers in one word.
pub(crate) const GROUPS: [(&str, &str); 4] = [
    ("bad_keys", "revoked_key expired_key malformed_key"),
    ("buyers", "other_buyer buyer refunded expired used_up"),
    (
        "services",
        "service service_for_buyer service_for_stranger service_for_owner",
    ),
    ("operators", "operator operator_for_buyer"),
];

/// The users behind the callers. A caller acts for at most one.
pub(crate) const SUBJECTS: [(&str, &str); 11] = [
    ("other_buyer", "eve"),
    ("buyer", "ben"),
    ("refunded", "rita"),
    ("expired", "ezra"),
    ("used_up", "uma"),
    ("other_artist", "otto"),
    ("owner", "mia"),
    ("service_for_buyer", "ben"),
    ("service_for_stranger", "eve"),
    ("service_for_owner", "mia"),
    ("operator_for_buyer", "ben"),
];

/// The user on whose behalf a caller calls.
pub(crate) fn subject(caller: &str) -> Option<&'static str> {
    let (_, subject) = SUBJECTS.iter().find(|(name, _)| *name == caller)?;
    Some(subject)
}

/// The headers of each caller.
pub(crate) struct Callers(BTreeMap<&'static str, Vec<(&'static str, String)>>);

impl Callers {
    pub(crate) async fn create(shop: &Shop) -> Self {
        let mut headers = BTreeMap::from([("anonymous", Vec::new())]);
        for caller in ALL.into_iter().filter(|caller| *caller != "anonymous") {
            headers.insert(caller, headers_of(shop, caller).await);
        }
        Self(headers)
    }

    /// A request by this caller.
    pub(crate) fn call(
        &self,
        shop: &Shop,
        caller: &str,
        method: Method,
        path: &str,
    ) -> RequestBuilder {
        let url = format!("{}{path}", shop.app.public_url);
        self.0[caller]
            .iter()
            .fold(shop.fetch(method, &url), |request, (name, value)| {
                request.header(*name, value)
            })
    }
}

async fn headers_of(shop: &Shop, caller: &str) -> Vec<(&'static str, String)> {
    // Keys that open nothing would open everything if they were good.
    let (role, own_subject, acts_for) = match caller {
        "other_artist" | "owner" => (Role::Artist, subject(caller), None),
        "operator" | "operator_for_buyer" => (Role::Operator, None, subject(caller)),
        "revoked_key" | "expired_key" | "malformed_key" => (Role::Operator, None, None),
        _ if caller.starts_with("service") => (Role::Service, None, subject(caller)),
        _ => (Role::Buyer, subject(caller), None),
    };
    let key = match caller {
        "revoked_key" => {
            let (id, key) = shop.create_key(role, own_subject).await;
            let now = shop.app.clock.now();
            assert!(shop.app.catalog.revoke_key(id, now).await.unwrap());
            key
        }
        "expired_key" => key_that_expired(shop).await,
        "malformed_key" => {
            let (_, key) = shop.create_key(role, own_subject).await;
            // The last digit is one of the checksum.
            let last = if key.ends_with('0') { '1' } else { '0' };
            format!("{}{last}", &key[..key.len() - 1])
        }
        _ => shop.create_key(role, own_subject).await.1,
    };
    let mut headers = vec![("authorization", format!("Bearer {key}"))];
    headers.extend(acts_for.map(|subject| ("stockroom-act-as", subject.to_owned())));
    headers
}

async fn key_that_expired(shop: &Shop) -> String {
    let secret = SecretKey::generate(&*shop.app.entropy);
    let now = shop.app.clock.now();
    let before = |seconds: i64| Timestamp::from_unix_ms(now.unix_ms() - seconds * 1_000);
    let key = NewKey {
        id: KeyId::generate(before(3_600), &*shop.app.entropy),
        hash: secret.hash(),
        role: Role::Operator,
        subject: None,
        name: None,
        created_at: before(3_600),
        expires_at: Some(before(3_600).after(Duration::from_secs(3_599))),
    };
    shop.app.catalog.insert_key(&key).await.unwrap();
    secret.reveal()
}
