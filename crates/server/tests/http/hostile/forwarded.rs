//! Headers with which a caller says where it is, who asked, or what it really wants. None of them
//! counts unless a proxy that the operator trusts says so.

use http::Method;

use super::row::{Row, ensure};
use super::stage::Stage;
use crate::support::Who;

pub(super) fn rows(stage: &Stage) -> Vec<Row> {
    let mut rows = addresses(stage);
    rows.extend(places(stage));
    rows.extend(calls(stage));
    rows
}

/// Headers that name another address: what is on record is that of the connection.
fn addresses(stage: &Stage) -> Vec<Row> {
    [
        ("X-Forwarded-For", "203.0.113.5"),
        ("X-Forwarded-For", "127.0.0.1, 203.0.113.5"),
        ("X-Forwarded-For", "' OR 1=1 --"),
        ("Forwarded", "for=203.0.113.5;proto=https;host=evil.example"),
        ("X-Real-IP", "203.0.113.5"),
        ("X-Client-IP", "203.0.113.5"),
        ("X-Cluster-Client-IP", "203.0.113.5"),
        ("True-Client-IP", "203.0.113.5"),
        ("CF-Connecting-IP", "203.0.113.5"),
        ("Fastly-Client-IP", "203.0.113.5"),
    ]
    .into_iter()
    .map(|(header, value)| {
        let path = "/v1/objects/models/nothing";
        let delete = stage.shop.call(Who::Operator, Method::DELETE, path);
        let record = stage.shop.get(Who::Operator, "/v1/audit?limit=1");
        let name = format!("{header}: {value}");
        Row::refused(name, delete.header(header, value), 404, "not_found").then(Row::answered(
            "",
            record.header(header, value),
            200,
            |got| {
                let entry = &got.json(200)["data"][0];
                let is_own = entry["action"] == "DELETE /v1/objects/{*key}";
                ensure(is_own && entry["address"] == "127.0.0.1", "another address")
            },
        ))
    })
    .collect()
}

/// Headers that name another place of this server: its links lead to itself.
fn places(stage: &Stage) -> Vec<Row> {
    let url = stage.shop.app.public_url.clone();
    [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "4711"),
        ("X-Forwarded-Server", "evil.example"),
        ("X-Host", "evil.example"),
        ("Host", "evil.example"),
        ("Origin", "http://evil.example"),
    ]
    .into_iter()
    .map(|(header, value)| {
        let target = format!("/v1/assets/{}/signed-url", stage.asset);
        let request = stage.wire(Who::Artist, "POST", &target, "");
        let request = match header {
            "Host" => request.replace("Host: shop", "Host: evil.example"),
            _ => request.replace("Host:", &format!("{header}: {value}\r\nHost:")),
        };
        let url = url.clone();
        Row::answered(format!("{header}: {value}"), request, 200, move |got| {
            let link = got.json(200)["url"].as_str().unwrap_or_default().to_owned();
            ensure(link.starts_with(&url), "a link to another place")?;
            ensure(
                got.header("strict-transport-security").is_empty(),
                "it speaks of https",
            )?;
            ensure(
                got.header("access-control-allow-origin").is_empty(),
                "a page may read it",
            )
        })
    })
    .collect()
}

/// Headers that make another call of it.
fn calls(stage: &Stage) -> Vec<Row> {
    [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method-Override", "DELETE"),
        ("X-Original-URL", "/v1/keys"),
        ("X-Rewrite-URL", "/v1/keys"),
        ("X-Forwarded-Prefix", "/v1/keys"),
        ("X-Forwarded-User", "admin"),
        ("X-Remote-User", "admin"),
        ("Cookie", "session=admin"),
    ]
    .into_iter()
    .map(|(header, value)| {
        let path = "/v1/objects/models/stock";
        let as_operator = stage.shop.get(Who::Operator, path).header(header, value);
        let as_nobody = stage.shop.get(Who::Nobody, path).header(header, value);
        let stock = stage.stock.clone();
        let read = Row::answered("", as_operator, 200, move |got| {
            ensure(got.body == stock, "other bytes")
        });
        let name = format!("{header}: {value}");
        Row::refused(name, as_nobody, 401, "unauthenticated").then(read)
    })
    .collect()
}
