//! The proof that secrets appear in no log, error, metric or page (invariant 13 of ARCHITECTURE.md).
//!
//! A real server is given secrets that stand in nothing else: in every setting that is secret, and
//! in variables that are none of its own. It logs everything that it can be made to log. A shop
//! then does its business with it, and secrets come where none belong: in headers, cookies, queries,
//! paths and bodies. Its bucket refuses, breaks off and goes away. All commands are run. Everything
//! that was printed, logged and answered is kept, and each secret is looked for in it: as it is,
//! percent-encoded, escaped, in base64, in hex and as a list of bytes. There is one place for each
//! key and each link where it has to be, which is the answer that gives it.
//!
//! What a caller writes as the *name* of a field, or as the key of an object, is not taken for a
//! secret: answers and the record of operators repeat these.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod commands;
#[path = "../crash/database.rs"]
#[expect(
    dead_code,
    reason = "it is shared with the proof by crashing, which also copies databases"
)]
mod database;
mod evidence;
mod hostile;
mod job;
#[path = "../http/signed.rs"]
#[expect(
    dead_code,
    reason = "it is shared with tests that need the secrets that are written there"
)]
mod signed;
mod site;

use reqwest::Method;

use crate::database::Dialect;
use crate::evidence::Evidence;
use crate::site::{Kind, Site};

#[tokio::test(flavor = "multi_thread")]
async fn secrets_appear_in_no_log_error_metric_or_page() {
    prove(Kind {
        is_hybrid: false,
        dialect: Dialect::Sqlite,
        log_format: "text",
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_appears_with_a_bucket_that_fails() {
    prove(Kind {
        is_hybrid: true,
        dialect: Dialect::Sqlite,
        log_format: "json",
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_appears_with_postgres() {
    if Dialect::Postgres.is_available() {
        prove(Kind {
            is_hybrid: true,
            dialect: Dialect::Postgres,
            log_format: "text",
        })
        .await;
    }
}

#[test]
fn bad_settings_are_not_repeated() {
    let mut evidence = Evidence::default();
    commands::misconfigure(&mut evidence);
    assert_clean(&evidence, "bad settings");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_are_refused_are_not_repeated() {
    let mut evidence = Evidence::default();
    commands::be_refused(&mut evidence).await;
    assert_clean(&evidence, "refused secrets");
}

async fn prove(kind: Kind) {
    let mut site = Site::create(kind).await;
    let shop = job::trade(&mut site).await;
    show(&mut site, &shop.operator).await;
    // What takes long is done once, and not with each database.
    let breaks = kind.is_hybrid && kind.dialect == Dialect::Sqlite;
    if breaks {
        hostile::break_the_bucket(&mut site, &shop).await;
    } else {
        hostile::misplace(&mut site, &shop).await;
    }
    job::read_everything(&mut site, &shop).await;
    for form in forms_of_output(kind) {
        commands::ask(&mut site, &shop, form).await;
    }
    let (mut evidence, log) = site.end().await;
    assert_clean(&evidence, &format!("{kind:?}"));
    assert_complete(kind, &log);
    assert_seen(&mut evidence);
}

/// Words, or JSON, or both.
fn forms_of_output(kind: Kind) -> &'static [&'static [&'static str]] {
    match (kind.is_hybrid, kind.dialect) {
        (false, _) => &[&[], &["--json"]],
        (true, Dialect::Sqlite) => &[&["--json"]],
        (true, Dialect::Postgres) => &[&[]],
    }
}

/// Not a secret, in places that are shown.
const NO_SECRET: &str = "seen-in-the-log-and-on-record";

/// Puts something that is no secret into places that are shown.
async fn show(site: &mut Site, operator: &str) {
    let put = site
        .request(Method::PUT, &format!("/v1/objects/temp/{NO_SECRET}"))
        .bearer_auth(operator)
        .header("x-request-id", NO_SECRET)
        .body("bytes");
    site.send("a call that is shown", put).await.json(201);
}

/// The search finds what is there: in the log, on record, and in the answers.
fn assert_seen(evidence: &mut Evidence) {
    evidence.watch("no secret", NO_SECRET);
    let places = evidence.places_of("no secret");
    for expected in [
        "the log",
        "GET /v1/audit",
        "GET /v1/objects",
        "stdout of ls",
    ] {
        assert!(
            places.iter().any(|place| place.contains(expected)),
            "not found in {expected}: {places:?}"
        );
    }
}

fn assert_clean(evidence: &Evidence, what: &str) {
    let hits = evidence.hits();
    assert!(
        hits.is_empty(),
        "{} secrets were shown:\n{}",
        hits.len(),
        hits.join("\n")
    );
    println!("figure: {what}: {}: 0 hits", evidence.figures());
}

/// The log is the whole one: it has lines of each level, in its form, and none of the libraries
/// that would show requests.
fn assert_complete(kind: Kind, log: &str) {
    let is_json = kind.log_format == "json";
    let of = |level: &str, target: &str| {
        let (level, target) = match is_json {
            true => (
                format!("\"level\":\"{level}\""),
                format!("\"target\":\"{target}"),
            ),
            false => (format!(" {level} "), format!(" {target}")),
        };
        log.lines()
            .filter(|line| line.contains(&level) && line.contains(&target))
            .count()
    };
    // A line of TRACE is a connection, and one may do for all requests.
    let mut levels = vec![("TRACE", "stockroom::", 1), ("DEBUG", "stockroom::", 50)];
    levels.push(("INFO", "stockroom::", 1));
    if kind.is_hybrid && kind.dialect == Dialect::Sqlite {
        levels.push(("WARN", "stockroom_storage::", 1));
    }
    for (level, target, at_least) in levels {
        let lines = of(level, target);
        assert!(lines >= at_least, "{lines} lines {level} {target}");
    }
    for library in ["aws_", "h2", "hyper", "reqwest", "rustls", "sqlx", "tower"] {
        let lines = of("TRACE", library) + of("DEBUG", library);
        assert_eq!(lines, 0, "{library} shows requests");
    }
}
