//! `stockroom key` with the real binary and a database of its own.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn stockroom(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(arguments)
        .env_clear()
        .current_dir(folder.path())
        .output()
        .expect("to run the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn objects(folder: &TempDir, arguments: &[&str]) -> Vec<Value> {
    let (code, stdout, stderr) = stockroom(folder, &[arguments, &["--json"]].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn a_key_is_shown_once_listed_and_revoked() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = &objects(&folder, &["key", "create", "--role", "service"])[0];
    let (id, key) = (service["id"].as_str(), service["key"].as_str());
    let (id, key) = (id.expect("an id"), key.expect("a key"));
    assert!(
        id.starts_with("key_") && key.starts_with("sr_live_"),
        "{service}"
    );
    assert_eq!(service["role"], "service");
    assert_eq!(service["subject"], Value::Null);

    let artist = [
        "key",
        "create",
        "--role",
        "artist",
        "--subject",
        "u-42",
        "--name",
        "Mia",
    ];
    let (code, stdout, stderr) = stockroom(&folder, &[&artist[..], &["--expires", "90d"]].concat());
    assert_eq!(code, Some(0));
    // The key alone is on stdout, so that a script can take it from there.
    assert!(
        stdout.starts_with("sr_live_") && stdout.lines().count() == 1,
        "{stdout}"
    );
    assert!(
        stderr.contains("only time") && !stderr.contains(stdout.trim()),
        "{stderr}"
    );

    let listed = objects(&folder, &["key", "list"]);
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["subject"], "u-42");
    assert_eq!(listed[0]["name"], "Mia");
    assert!(listed[0]["expires_at"].is_string());
    assert_eq!(listed[1]["id"], id);
    assert_eq!(listed[1]["revoked_at"], Value::Null);
    assert!(
        !format!("{listed:?}").contains(key),
        "a listed key was shown"
    );

    assert_eq!(objects(&folder, &["key", "revoke", id])[0]["revoked"], true);
    assert_eq!(objects(&folder, &["key", "revoke", id])[0]["revoked"], true);
    assert!(objects(&folder, &["key", "list"])[1]["revoked_at"].is_string());
    let (_, table, _) = stockroom(&folder, &["key", "list"]);
    let line = table
        .lines()
        .find(|line| line.starts_with(id))
        .expect("a line");
    assert!(line.ends_with("revoked"), "{line}");
}

#[test]
fn a_request_that_makes_no_sense_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [
        &["create"][..],
        &["create", "--role", "root"],
        &["create", "--role", "buyer"],
        &["create", "--role", "service", "--subject", "u-42"],
        &["create", "--role", "buyer", "--subject", "two words"],
        &["create", "--role", "service", "--expires", "90"],
        &["create", "--role", "service", "--expires", "0s"],
        &["revoke"],
        &["revoke", "mdl_01K0000000000000000000000X"],
    ] {
        let arguments = [&["key"], arguments].concat();
        let (code, stdout, stderr) = stockroom(&folder, &arguments);
        assert_eq!(
            (code, stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}: {stderr}"
        );
    }
    assert!(!folder.path().join("data").exists(), "a database was made");
}

#[test]
fn a_secret_key_in_the_place_of_an_id_is_not_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = "sr_live_canary";
    let (code, stdout, stderr) = stockroom(&folder, &["key", "revoke", secret]);
    assert_eq!(code, Some(2));
    assert!(!format!("{stdout}{stderr}").contains("canary"), "{stderr}");
}

#[test]
fn a_key_that_is_not_there_cannot_be_revoked() {
    let folder = tempfile::tempdir().expect("a folder");
    let id = &objects(&folder, &["key", "create", "--role", "operator"])[0]["id"];
    let id = id.as_str().expect("an id");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let (code, stdout, _) = stockroom(&elsewhere, &["key", "revoke", id, "--json"]);
    assert_eq!(code, Some(1));
    let error: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(error["error"]["code"], "not_found");
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let folder = tempfile::tempdir().expect("a folder");
    // A folder stands where the file would be made.
    std::fs::write(folder.path().join("data"), "").expect("to write a file");
    std::fs::write(
        folder.path().join(".env"),
        "DATA_DIR=other\nDATABASE_URL=sqlite://data/stockroom.db\n",
    )
    .expect("to write a file");
    let (code, stdout, stderr) = stockroom(&folder, &["key", "list", "--json"]);
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    let error: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(error["error"]["code"], "database_unreachable");
    assert!(error["error"]["fix"].is_string());
}
