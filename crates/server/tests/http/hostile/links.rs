//! Signed URLs of which anything is altered, doubled or left out, or that are used for another
//! thing than they were made for.

use std::time::Duration;

use http::Method;
use serde_json::json;
use stockroom_domain::{Clock as _, Key, Timestamp};
use stockroom_storage::{
    Disposition, Purpose, SignMethod, SignRequest, SigningKey, SigningKeys, UrlSigner,
};

use super::row::{Row, ensure};
use super::stage::{KIDS, Stage};
use crate::support::{Who, answer, repr_digest};

/// A signed URL in its pieces, as it stands behind the server's address.
#[derive(Clone)]
struct Link {
    path: String,
    parameters: Vec<(String, String)>,
}

impl Link {
    fn of(url: &str) -> Self {
        let place = url.find("/files/").unwrap();
        let (path, query) = url[place..].split_once('?').unwrap();
        let parameters = query.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        Self {
            path: path.to_owned(),
            parameters: parameters.collect(),
        }
    }

    fn target(&self) -> String {
        let pairs = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        format!("{}?{}", self.path, pairs.collect::<Vec<_>>().join("&"))
    }

    fn value(&self, name: &str) -> &str {
        let mut pairs = self.parameters.iter();
        &pairs.find(|(it, _)| it == name).expect("a parameter").1
    }

    fn with(&self, name: &str, value: &str) -> Self {
        let mut link = self.clone();
        for (it, old) in &mut link.parameters {
            if it == name {
                value.clone_into(old);
            }
        }
        link
    }

    fn changed(&self, change: impl FnOnce(&mut Vec<(String, String)>)) -> Self {
        let mut link = self.clone();
        change(&mut link.parameters);
        link
    }
}

/// What another holder of a link would like each parameter to be.
const ALTERED: [(&str, &[&str]); 9] = [
    ("kid", &["old", "none", "", "new%20"]),
    (
        "exp",
        &[
            "9999999999",
            "9223372036854775807",
            "9223372036854775808",
            "-1",
            "0",
            "",
            "1e12",
        ],
    ),
    ("method", &["PUT", "HEAD", "DELETE", "get", ""]),
    ("disposition", &["inline", "INLINE", ""]),
    ("filename", &["evil.exe", "", "%0d%0aX-Injected:%201"]),
    ("type", &["text%2Fhtml", "", "text%2Fhtml%0d%0aX:%201"]),
    ("purpose", &["object", ""]),
    ("for", &["pur_01k00000000000000000000000", ""]),
    (
        "sig",
        &["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
    ),
];

pub(super) async fn rows(stage: &Stage) -> Vec<Row> {
    let path = format!("/v1/assets/{}/signed-url", stage.asset);
    let bought = link(stage, Who::Buyer, &path).await;
    let of_object = link(stage, Who::Operator, "/v1/objects/models/stock/signed-url").await;
    let as_made = sent(stage, "GET", &bought.target());
    let mut rows = vec![whole(stage, "as it was made", as_made)];
    for (name, values) in ALTERED {
        let altered = values.iter().map(|value| bought.with(name, value));
        rows.push(refused_all(stage, &format!("{name}, altered"), altered));
        let place = bought
            .parameters
            .iter()
            .position(|(it, _)| it == name)
            .unwrap();
        let twice = |value: &str, at: usize| {
            let pair = (name.to_owned(), value.to_owned());
            bought.changed(|pairs| pairs.insert(at, pair))
        };
        let own = bought.value(name);
        let doubled = [
            twice(own, place + 1),
            twice(values[0], place),
            twice(values[0], place + 1),
            twice(values[0], bought.parameters.len()),
        ];
        rows.push(refused_all(stage, &format!("{name}, doubled"), doubled));
        let dropped = bought.changed(|pairs| drop(pairs.remove(place)));
        rows.push(refused_all(stage, &format!("{name}, dropped"), [dropped]));
        let in_capitals = bought.changed(|pairs| pairs[place].0.make_ascii_uppercase());
        rows.push(refused_all(
            stage,
            &format!("{name}, its name in capitals"),
            [in_capitals],
        ));
    }
    rows.extend(other_forms(stage, &bought));
    rows.extend(other_uses(stage, &bought, &of_object));
    rows.extend(other_keys(stage));
    rows
}

async fn link(stage: &Stage, who: Who, path: &str) -> Link {
    let request = stage.shop.call(who, Method::POST, path);
    let made = answer(request.json(&json!({"expires_in": 900})))
        .await
        .json(200);
    Link::of(made["url"].as_str().unwrap())
}

/// Links of which none is honoured.
fn refused_all(stage: &Stage, name: &str, links: impl IntoIterator<Item = Link>) -> Row {
    let mut links = links
        .into_iter()
        .map(|link| sent(stage, "GET", &link.target()));
    let first = links.next().expect("a link");
    let row = Row::refused(name, first, 403, "bad_signature");
    links.fold(row, Row::or)
}

/// A request as it is written, by nobody: a client library would fold and encode.
fn sent(stage: &Stage, method: &str, target: &str) -> String {
    stage.head(Who::Nobody, method, target) + "\r\n"
}

/// A request that is answered with the file that was bought.
fn whole(stage: &Stage, name: &str, request: String) -> Row {
    let digest = repr_digest(&stage.file);
    Row::answered(name, request, 200, move |got| {
        ensure(got.header("repr-digest") == digest, "other bytes")
    })
}

/// The same permission in another spelling.
fn other_forms(stage: &Stage, link: &Link) -> Vec<Row> {
    let (target, query) = (
        link.target(),
        link.target().split_once('?').unwrap().1.to_owned(),
    );
    let signature = link.value("sig");
    let last = if signature.ends_with('A') { "B" } else { "A" };
    let forms = [
        (
            "parameters in another order",
            link.changed(|pairs| pairs.swap(0, 1)).target(),
        ),
        (
            "parameters backwards",
            link.changed(|pairs| pairs.reverse()).target(),
        ),
        ("a parameter more", format!("{target}&admin=1")),
        ("a parameter without a value", format!("{target}&x")),
        ("an empty parameter in front", target.replace('?', "?&")),
        ("an ampersand in the end", format!("{target}&")),
        ("semicolons", target.replace('&', ";")),
        ("no query", link.path.clone()),
        ("an empty query", format!("{}?", link.path)),
        ("two question marks", target.replace('?', "??")),
        ("the query in the path", target.replace('?', "%3F")),
        (
            "a letter of a name in hex",
            target.replace("&exp=", "&%65xp="),
        ),
        (
            "a letter of the path in hex",
            target.replace("helmet", "%68elmet"),
        ),
        (
            "a letter of the path in capitals",
            target.replace("helmet", "Helmet"),
        ),
        (
            "a slash of the path twice",
            target.replace("/ast_", "//ast_"),
        ),
        (
            "a slash of the path in hex",
            target.replace("/ast_", "%2Fast_"),
        ),
        ("a dot in the path", target.replace("/ast_", "/./ast_")),
        ("in and out again", target.replace("/ast_", "/x/../ast_")),
        ("a slash behind the path", format!("{}/?{query}", link.path)),
        ("NUL behind the path", format!("{}%00?{query}", link.path)),
        ("a blank in the expiry", target.replace("&exp=", "&exp=+")),
        ("zeros in the expiry", target.replace("&exp=", "&exp=00")),
        ("a signature with padding", format!("{target}=")),
        (
            "a signature in the other base64",
            link.with("sig", &signature.replace(['-', '_'], "%2B"))
                .target()
                + "%3D",
        ),
        (
            "a signature without its end",
            target[..target.len() - 1].to_owned(),
        ),
        (
            "a signature with another end",
            format!("{}{last}", &target[..target.len() - 1]),
        ),
        ("a signature and a blank", format!("{target}%20")),
        (
            "a signature of 50,000 letters",
            link.with("sig", &"A".repeat(50_000)).target(),
        ),
        (
            "5,000 parameters",
            format!("{target}{}", "&x=1".repeat(5_000)),
        ),
        (
            "a parameter that is no UTF-8",
            link.with("filename", "%ff").target(),
        ),
        (
            "a path that is no UTF-8",
            format!("/files/models/%ff?{query}"),
        ),
    ];
    forms
        .into_iter()
        .map(|(name, target)| Row::refused(name, sent(stage, "GET", &target), 403, "bad_signature"))
        .collect()
}

/// The permission of one thing for another.
fn other_uses(stage: &Stage, bought: &Link, of_object: &Link) -> Vec<Row> {
    let (target, object) = (bought.target(), of_object.target());
    let onto = |path: &str| format!("{path}?{}", target.split_once('?').unwrap().1);
    let with_key = sent(stage, "GET", &target);
    let with_key = with_key.replace("Host:", "Authorization: Bearer none\r\nHost:");
    let mut rows = vec![
        Row::refused(
            "the path of another object",
            sent(stage, "GET", &onto(&of_object.path)),
            403,
            "bad_signature",
        ),
        Row::refused(
            "the path of what is not there",
            sent(stage, "GET", &onto("/files/models/nothing")),
            403,
            "bad_signature",
        ),
        Row::refused(
            "the path above the store",
            sent(stage, "GET", &onto("/files/models/../../canary.txt")),
            403,
            "bad_signature",
        ),
        Row::refused(
            "the path above the store in hex",
            sent(stage, "GET", &onto("/files/..%2f..%2fcanary.txt")),
            403,
            "bad_signature",
        ),
        Row::refused(
            "the signature of another link",
            sent(
                stage,
                "GET",
                &bought.with("sig", of_object.value("sig")).target(),
            ),
            403,
            "bad_signature",
        ),
        Row::refused(
            "a link to an object, made into one to a file",
            sent(
                stage,
                "GET",
                &of_object.with("purpose", "download").target(),
            ),
            403,
            "bad_signature",
        ),
        Row::refused(
            "a query that opens no other call",
            sent(stage, "GET", &onto("/v1/objects/models/stock")),
            401,
            "unauthenticated",
        ),
        Row::answered(
            "HEAD, where GET was signed",
            sent(stage, "HEAD", &target),
            200,
            |got| ensure(got.body.is_empty(), "a body"),
        ),
        whole(stage, "a key that is none beside the signature", with_key),
    ];
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        let request = sent(stage, method, &object);
        rows.push(Row::refused(
            format!("{method} with a link for GET"),
            request,
            405,
            "method_not_allowed",
        ));
    }
    rows
}

/// Links that this server did not sign, or not with the right key, or too long ago.
fn other_keys(stage: &Stage) -> Vec<Row> {
    let now = stage.shop.clock.now();
    let long_ago = Timestamp::from_unix_ms(now.unix_ms() - 901_000);
    let [(newest, newest_secret), (old, old_secret)] = KIDS;
    let other_secret = "not-a-real-secret-not-a-real-secret-other";
    let by = |kid: &str, secret: &str, at: Timestamp, method: SignMethod| {
        let key = SigningKey::new(kid, secret.as_bytes()).unwrap();
        let signer = UrlSigner::new(SigningKeys::new(vec![key]).unwrap(), "http://shop");
        let request = SignRequest {
            method,
            expires_in: Duration::from_secs(900),
            disposition: Disposition::Attachment { filename: None },
            content_type: None,
        };
        let key: Key = "models/stock".parse().unwrap();
        Link::of(
            &signer
                .sign(&key, &request, Purpose::Object, at)
                .unwrap()
                .url,
        )
    };
    let get = SignMethod::Get;
    let expired = by(newest, newest_secret, long_ago, get);
    let refused = |name: &str, link: &Link, code| {
        Row::refused(name, sent(stage, "GET", &link.target()), 403, code)
    };
    let stock = stage.stock.len().to_string();
    let old_link = by(old, old_secret, now, get);
    vec![
        Row::answered(
            "the older key",
            sent(stage, "GET", &old_link.target()),
            200,
            move |got| ensure(got.header("content-length") == stock, "other bytes"),
        ),
        refused(
            "the kid of a key that never was",
            &by("other", other_secret, now, get),
            "bad_signature",
        ),
        refused(
            "another key with the same kid",
            &by(newest, other_secret, now, get),
            "bad_signature",
        ),
        refused(
            "the newest kid over the older key",
            &old_link.with("kid", newest),
            "bad_signature",
        ),
        refused(
            "signed for PUT",
            &by(newest, newest_secret, now, SignMethod::Put),
            "bad_signature",
        ),
        refused("expired", &expired, "signature_expired"),
        refused(
            "expired, with a later expiry",
            &expired.with("exp", "9999999999"),
            "bad_signature",
        ),
        refused(
            "expired, and altered",
            &expired.with("disposition", "inline"),
            "bad_signature",
        ),
        refused(
            "expired, by a key that never was",
            &by("other", other_secret, long_ago, get),
            "bad_signature",
        ),
    ]
}
