//! Connecting: new, newer and foreign databases, and those that are not there.

use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use stockroom_catalog::{Catalog, CatalogError, ConnectOptions, Dialect, Probe};
use stockroom_domain::{PurchaseId, Sha256Digest};

use crate::lab::{Lab, TestDatabase, on_both_databases, race, subject};

on_both_databases!(
    servers_may_start_at_the_same_time,
    a_newer_database_is_refused_and_unchanged,
    a_foreign_database_is_refused,
    an_older_database_gets_what_it_lacks,
    a_probe_changes_nothing,
    the_first_instance_is_kept,
    a_damaged_row_is_named,
    a_catalog_that_was_closed_says_so,
);

fn options() -> ConnectOptions {
    ConnectOptions {
        wait: Duration::from_secs(5),
        ..ConnectOptions::default()
    }
}

/// Changes the database past the catalog.
pub(crate) async fn tamper(lab: &Lab, statement: &'static str) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(&lab.url).await.unwrap();
    sqlx::raw_sql(statement)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// The address of a database of the same kind with nothing in it.
async fn empty_database(lab: &Lab) -> String {
    match lab.catalog.dialect() {
        Dialect::Sqlite => format!("{}.other", lab.url),
        Dialect::Postgres => {
            tamper(lab, "DROP SCHEMA public CASCADE; CREATE SCHEMA public;").await;
            lab.url.clone()
        }
    }
}

async fn servers_may_start_at_the_same_time(lab: &Lab) {
    let url = empty_database(lab).await;
    let servers = race(|_| {
        let url = url.clone();
        async move { Catalog::connect(&url, &options()).await.unwrap() }
    })
    .await;
    for server in &servers {
        let model = server.insert_model(lab.new_model("kaethe")).await;
        assert_eq!(model.unwrap().artist, subject("kaethe"));
    }
    for server in servers {
        server.close().await;
    }
}

async fn a_newer_database_is_refused_and_unchanged(lab: &Lab) {
    let known = Catalog::probe(&lab.url, &options()).await.unwrap().known;
    tamper(
        lab,
        "INSERT INTO schema_migrations (version, sha256) VALUES (9999, 'x')",
    )
    .await;
    let error = Catalog::connect(&lab.url, &options()).await.unwrap_err();
    assert!(
        matches!(error, CatalogError::NewerSchema { found: 9999, known: k } if k == known),
        "{error:?}"
    );
    let probe = Catalog::probe(&lab.url, &options()).await.unwrap();
    assert_eq!((probe.found, probe.known), (9999, known));
    assert!(probe.is_newer());
}

async fn a_foreign_database_is_refused(lab: &Lab) {
    tamper(
        lab,
        "UPDATE schema_migrations SET sha256 =
             '0000000000000000000000000000000000000000000000000000000000000000'
         WHERE version = 1",
    )
    .await;
    let error = Catalog::connect(&lab.url, &options()).await.unwrap_err();
    assert!(
        matches!(error, CatalogError::ForeignSchema { version: 1 }),
        "{error:?}"
    );
}

/// A database as the first version of the tables left it.
async fn first_version(lab: &Lab) -> String {
    let url = empty_database(lab).await;
    let text = match lab.catalog.dialect() {
        Dialect::Sqlite => include_str!("../../migrations/sqlite/0001_first.sql"),
        Dialect::Postgres => include_str!("../../migrations/postgres/0001_first.sql"),
    };
    let sha256 = Sha256Digest::of(text.as_bytes());
    let more = format!(
        "CREATE TABLE schema_migrations (
             version BIGINT NOT NULL,
             sha256 TEXT NOT NULL,
             CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
         );
         INSERT INTO schema_migrations VALUES (1, '{sha256}');
         INSERT INTO meta VALUES ('instance', 'older 42');"
    );
    sqlx::any::install_default_drivers();
    let create = match lab.catalog.dialect() {
        Dialect::Sqlite => "?mode=rwc",
        Dialect::Postgres => "",
    };
    let mut connection = AnyConnection::connect(&format!("{url}{create}"))
        .await
        .unwrap();
    for statements in [text.to_owned(), more] {
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
    url
}

async fn an_older_database_gets_what_it_lacks(lab: &Lab) {
    let url = first_version(lab).await;
    let before = Catalog::probe(&url, &options()).await.unwrap();
    assert_eq!(before.found, 1);
    let newer = Catalog::connect(&url, &options()).await.unwrap();
    let after = Catalog::probe(&url, &options()).await.unwrap();
    assert_eq!((after.found, after.known), (before.known, before.known));
    let instance = newer.instance("newer", lab.now()).await.unwrap();
    assert_eq!(instance.id, "older");
    // A table of the third version, and an index of the second.
    newer
        .downloads_of(lab.id(PurchaseId::generate), 1)
        .await
        .unwrap();
    newer.close().await;
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("DROP INDEX placements_by_verification")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn a_probe_changes_nothing(lab: &Lab) {
    let probe = Catalog::probe(&lab.url, &options()).await.unwrap();
    assert_eq!(
        (probe.dialect, probe.found),
        (lab.catalog.dialect(), probe.known)
    );
    assert!(!probe.is_newer());
    tamper(lab, "DROP TABLE schema_migrations").await;
    for _ in 0..2 {
        let probe = Catalog::probe(&lab.url, &options()).await.unwrap();
        assert_eq!(probe.found, 0);
    }
}

async fn the_first_instance_is_kept(lab: &Lab) {
    let now = lab.now();
    let instances = race(|n| {
        let catalog = lab.catalog.clone();
        async move {
            catalog
                .instance(&format!("instance {n}"), now)
                .await
                .unwrap()
        }
    })
    .await;
    assert!(
        instances.iter().all(|instance| *instance == instances[0]),
        "{instances:?}"
    );
    assert_eq!(instances[0].created_at, now);
    assert!(instances[0].id.starts_with("instance "));
    let later = lab.catalog.instance("late", lab.now()).await.unwrap();
    assert_eq!(later, instances[0]);
}

async fn a_damaged_row_is_named(lab: &Lab) {
    let model = lab.model("kaethe").await;
    tamper(lab, "UPDATE models SET tags = 'no JSON'").await;
    let error = lab.catalog.find_model(model.id).await.unwrap_err();
    let named = matches!(
        &error,
        CatalogError::Corrupt { table: "models", id, .. } if *id == model.id.to_string()
    );
    assert!(named && !error.is_transient(), "{error:?}");
}

async fn a_catalog_that_was_closed_says_so(lab: &Lab) {
    lab.catalog.close().await;
    let error = lab.catalog.ping().await.unwrap_err();
    assert!(matches!(error, CatalogError::Unavailable(_)), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_sqlite_file_is_made_with_its_folders_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder
        .path()
        .join("a b%41#ü'")
        .join("..data")
        .join("stock%2froom.db");
    let url = format!("sqlite://{}", path.display());
    let before = Catalog::probe(&url, &options()).await.unwrap();
    assert_eq!((before.dialect, before.found), (Dialect::Sqlite, 0));
    assert!(!path.parent().unwrap().exists());

    let catalog = Catalog::connect(&url, &options()).await.unwrap();
    catalog
        .instance("x", stockroom_domain::Timestamp::from_unix_ms(1))
        .await
        .unwrap();
    assert!(path.is_file());
    #[cfg(unix)]
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
    }
    catalog.close().await;
    let after = Catalog::probe(&url, &options()).await.unwrap();
    assert_eq!(
        after,
        Probe {
            found: after.known,
            ..before
        }
    );
}

#[tokio::test]
async fn a_sqlite_file_that_cannot_be_used_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.db");
    std::fs::write(
        &garbage,
        "this is no database, and longer than a header would be".repeat(9),
    )
    .unwrap();
    let below_a_file = garbage.join("stockroom.db");
    for path in [garbage.as_path(), below_a_file.as_path(), folder.path()] {
        let url = format!("sqlite://{}", path.display());
        let error = Catalog::connect(&url, &options()).await.unwrap_err();
        assert!(
            matches!(error, CatalogError::Unreachable { .. }),
            "{path:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_writer_waits_for_another_program() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/stockroom.db", folder.path().display());
    let catalog = Catalog::connect(&url, &options()).await.unwrap();
    let mut other = AnyConnection::connect(&url).await.unwrap();
    let transaction = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let writer = {
        let catalog = catalog.clone();
        let now = stockroom_domain::Timestamp::from_unix_ms(1);
        tokio::spawn(async move { catalog.instance("x", now).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!writer.is_finished());
    // Readers do not wait.
    catalog.ping().await.unwrap();
    assert!(catalog.counts_by_state().await.unwrap().is_empty());
    transaction.rollback().await.unwrap();
    assert_eq!(writer.await.unwrap().unwrap().id, "x");
}

#[tokio::test]
async fn connections_that_the_server_closed_are_replaced() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let catalog = Catalog::connect(&database.url, &options()).await.unwrap();
    catalog.ping().await.unwrap();
    let mut other = AnyConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .execute(&mut other)
    .await
    .unwrap();
    // Only connections that stood still for a while are tried before they are used.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    catalog.ping().await.unwrap();
    catalog.close().await;
    other.close().await.unwrap();
    database.remove().await;
}

#[tokio::test]
async fn nobody_listening_is_unreachable_and_no_password_is_shown() {
    // A port that was free a moment ago.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("postgres://stockroom:hunter2@127.0.0.1:{port}/stockroom");
    for error in [
        Catalog::connect(&url, &options()).await.unwrap_err(),
        Catalog::probe(&url, &options()).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, CatalogError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_unreachable_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://stockroom:hunter2@127.0.0.1:{port}/stockroom");
    let options = ConnectOptions {
        wait: Duration::from_millis(300),
        ..options()
    };
    let error = Catalog::connect(&url, &options).await.unwrap_err();
    assert!(
        matches!(error, CatalogError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_database_are_unreachable() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let (before, after) = database.url.rsplit_once('@').unwrap();
    let user = before.rsplit_once(':').unwrap().0;
    let wrong_password = format!("{user}:hunter2@{after}");
    let missing = format!("{}_missing", database.url.trim_end_matches('?'));
    for url in [wrong_password, missing] {
        let error = Catalog::connect(&url, &options()).await.unwrap_err();
        assert!(
            matches!(error, CatalogError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    database.remove().await;
}
