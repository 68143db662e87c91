//! Every statement uses an index: with ten million objects, reading a whole table would stop the
//! shop. The test calls every method, takes the statements from the driver's log, and asks the
//! database for its plan of each.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};
use stockroom_catalog::{
    AssetQuery, Attempt, AuditRow, Dialect, EndpointPatch, Freed, Given, GrantBatch, GrantEnd,
    KeyHash, LateEnd, ModelFilter, ModelPatch, NewGrant, NewKey, NewModel, ObjectRow, Page, Placed,
    PlacementStep, PurchaseFilter, Read, Sample, Subscriptions, VisibleTo, Wanted,
};
use stockroom_domain::{
    AssetId, AuditId, DeliveryState, GrantId, GrantKind, KeyId, KeyPrefix, LedgerId, ModelStatus,
    PlacementState, PurchaseId, Role, StoreName,
};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::lab::{Lab, key, on_both_databases, subject};

on_both_databases!(every_statement_uses_an_index);

/// Collects the statements that the driver logs.
#[derive(Clone, Default)]
struct Statements {
    texts: Arc<Mutex<BTreeSet<String>>>,
    runs: Arc<AtomicU64>,
}

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        event.record(&mut self.clone());
    }
}

impl Visit for Statements {
    fn record_str(&mut self, field: &Field, value: &str) {
        // What a new connection is told first is no query of anybody.
        if field.name() == "db.statement" && is_about_rows(value.trim()) {
            self.runs.fetch_add(1, Ordering::SeqCst);
            self.texts.lock().unwrap().insert(value.trim().to_owned());
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

/// PostgreSQL plans by what is in the tables, and reads small ones whole.
const FILL: &str = "
    INSERT INTO keys (id, hash, role, created_at)
        SELECT 'key_' || i, decode(md5(i::text) || md5(i::text), 'hex'), 'operator', i
        FROM generate_series(1, 20000) i;
    INSERT INTO audit_log (id, at, key_id, action)
        SELECT 'aud_' || i, i, 'key_' || 1 + i % 1000, 'POST /v1/models'
        FROM generate_series(1, 20000) i;
    INSERT INTO models (id, artist, title, tags, search_text, status, created_at, updated_at)
        SELECT 'mdl_' || i, 'artist' || i % 1000, '', '[]', '',
            CASE i % 4 WHEN 0 THEN 'draft' ELSE 'published' END, i, i
        FROM generate_series(1, 20000) i;
    INSERT INTO objects (id, key, location, state, size_bytes, sha256, chunk_sums, content_type,
            metadata, opened_at, live_at, retire_after, lease_until)
        SELECT 'obj_' || i, 'models/' || i, 'models/' || i,
            CASE i % 10 WHEN 0 THEN 'retiring' WHEN 1 THEN 'gone' ELSE 'live' END,
            1, decode(md5(i::text) || md5(i::text), 'hex'), '', '', '{}', i, i, i,
            CASE WHEN i % 100 IN (0, 1) THEN i END
        FROM generate_series(1, 20000) i;
    INSERT INTO placements
            (object_id, store, state, verified_at, updated_at, attempts, next_attempt_at)
        SELECT 'obj_' || i, store,
            CASE i % 100 WHEN 2 THEN 'suspect' WHEN 3 THEN 'copying' ELSE 'present' END, i, i, 0, i
        FROM generate_series(1, 20000) i, (VALUES ('local'), ('s3')) AS stores (store);
    INSERT INTO assets (id, model_id, filename, version, format, object_id, created_at)
        SELECT 'ast_' || i, 'mdl_' || 1 + i % 10000, 'a.stl', i, 'stl', 'obj_' || i, i
        FROM generate_series(1, 20000) i;
    INSERT INTO purchases (id, buyer, model_id, order_ref, purchased_at, downloads)
        SELECT 'pur_' || i, 'buyer' || i % 5000, 'mdl_' || 1 + i % 10000, i::text, i, 0
        FROM generate_series(1, 20000) i;
    INSERT INTO downloads (purchase_id, asset_id, id, began_at, size_bytes, charged_bytes)
        SELECT 'pur_' || i, 'ast_' || i, 'dow_' || i, i, 1, 1 FROM generate_series(1, 20000) i;
    INSERT INTO ledger (purchase_id, id, lines)
        SELECT 'pur_' || 1 + i % 10000, 'led_' || i, '[]' FROM generate_series(1, 20000) i;
    INSERT INTO refunds (order_ref, refunded_at)
        SELECT i::text, i FROM generate_series(1, 20000) i;
    INSERT INTO migrations (id, source, target, prefix, phase, state, grace_ms, began_at,
            phase_began_at, updated_at)
        SELECT 'mig_' || i, 'local', 's3', '', 'copy', 'finished', 0, i, i, i
        FROM generate_series(1, 20000) i;
    INSERT INTO endpoints (id, url, state, secret, old_secrets, created_at, updated_at)
        SELECT 'whk_' || i, '', CASE i % 10 WHEN 0 THEN 'disabled' ELSE 'enabled' END, '', '[]',
            i, i
        FROM generate_series(1, 20000) i;
    INSERT INTO subscriptions (endpoint_id, kind)
        SELECT 'whk_' || i, 'kind' || i % 5000 FROM generate_series(1, 20000) i;
    INSERT INTO events (id, kind, body, created_at)
        SELECT 'evt_' || i, 'model.created', '{}', i FROM generate_series(1, 20000) i;
    INSERT INTO deliveries (event_id, endpoint_id, state, attempts, next_attempt_at, updated_at)
        SELECT 'evt_' || i, 'whk_' || 1 + i % 1000,
            CASE i % 10 WHEN 0 THEN 'waiting' WHEN 1 THEN 'failed' ELSE 'delivered' END, 0, i, i
        FROM generate_series(1, 20000) i;
    ANALYZE;";

/// Statements of workers, by words that only one of them has, with what their plans are to name
/// on SQLite and on PostgreSQL. A claim reads the few rows it takes off an index and changes them
/// by their ids: with a million rows due, it must not walk through them.
const MADE_FOR: &[(&str, &[&str], &[&str])] = &[
    (
        ") owed UNION ALL",
        &[
            "SEARCH placements USING PRIMARY KEY (object_id=? AND store=?)",
            "SEARCH p USING COVERING INDEX placements_by_state (store=? AND state=? AND next_attempt_at<?)",
        ],
        &[
            "using placements_pkey on placements ",
            "placements_by_state on placements p",
        ],
    ),
    (
        "attempts = attempts - 1",
        &["SEARCH placements USING PRIMARY KEY (object_id=? AND store=?)"],
        &["using placements_pkey on placements "],
    ),
    (
        "attempts = 0, last_error = NULL, updated_at",
        &["SEARCH placements USING PRIMARY KEY (object_id=? AND store=?)"],
        &["using placements_pkey on placements "],
    ),
    (
        " OR next_attempt_at > ",
        &["SEARCH placements USING PRIMARY KEY (object_id=? AND store=?)"],
        &["using placements_pkey on placements "],
    ),
    (
        "ORDER BY coalesce(p.verified_at, 0) LIMIT",
        &[
            "SEARCH placements USING PRIMARY KEY (object_id=? AND store=?)",
            "SEARCH p USING INDEX placements_by_verification (store=? AND <expr><?)",
        ],
        &[
            "using placements_pkey on placements ",
            "using placements_by_verification on placements p",
        ],
    ),
    (
        "ORDER BY o.lease_until LIMIT",
        &[
            "SEARCH objects USING INDEX sqlite_autoindex_objects_1 (id=?)",
            "SEARCH o USING INDEX objects_leased (lease_until<?)",
        ],
        &[
            "using objects_pkey on objects ",
            "using objects_leased on objects o",
        ],
    ),
    (
        "ORDER BY o.retire_after LIMIT",
        &[
            "SEARCH o USING INDEX objects_to_retire (<expr>=? AND retire_after<?)",
            "SEARCH o USING INDEX objects_to_retire (<expr>>? AND <expr><?)",
        ],
        &["using objects_to_retire on objects o"],
    ),
    (
        "AS owed_store",
        &["COVERING INDEX placements_owed"],
        &["placements_owed"],
    ),
    (
        "ORDER BY d.next_attempt_at, d.event_id LIMIT",
        &["SEARCH d USING COVERING INDEX deliveries_waiting (endpoint_id=? AND next_attempt_at<?)"],
        &["deliveries_waiting on deliveries d"],
    ),
    (
        "FROM objects o WHERE o.location IN",
        &["SEARCH o USING INDEX sqlite_autoindex_objects_2 (location=?)"],
        &["objects_location_unique"],
    ),
    (
        "ORDER BY p.next_attempt_at LIMIT 1",
        &["SEARCH p USING COVERING INDEX placements_by_state (store=? AND state=?)"],
        &["placements_by_state on placements p"],
    ),
    (
        "LEFT JOIN assets a ON a.object_id = o.id",
        &["SEARCH o USING INDEX objects_retiring_by_key (key=?)"],
        &["objects_retiring_by_key on objects o"],
    ),
];

async fn every_statement_uses_an_index(lab: &Lab) {
    let statements = Statements::default();
    // The driver logs from threads of its own, so the collector is everybody's.
    let collector = tracing_subscriber::registry().with(statements.clone());
    let is_set = tracing::subscriber::set_global_default(collector).is_ok();
    assert!(
        is_set,
        "each test needs a process of its own; use `cargo nextest run`"
    );
    call_every_method(lab).await;
    a_download_costs_one_query(lab, &statements).await;

    let statements = statements.texts.lock().unwrap().clone();
    assert!(
        statements.len() > 60,
        "only {} statements",
        statements.len()
    );
    let mut connection = AnyConnection::connect(&lab.url).await.unwrap();
    if lab.catalog.dialect() == Dialect::Postgres {
        connection.execute(sqlx::raw_sql(FILL)).await.unwrap();
    }
    let mut slow = Vec::new();
    let mut made_for = 0;
    // What goes to SQLite's driver at once is explained one by one.
    for statement in statements.iter().flat_map(|it| it.split(";\n")) {
        let plan = match lab.catalog.dialect() {
            Dialect::Sqlite => sqlite_plan(&mut connection, statement).await,
            Dialect::Postgres => postgres_plan(&mut connection, statement).await,
        };
        for (words, sqlite, postgres) in MADE_FOR {
            let indexes = match lab.catalog.dialect() {
                Dialect::Sqlite => sqlite,
                Dialect::Postgres => postgres,
            };
            if !statement.contains(words) {
                continue;
            }
            made_for += 1;
            for index in *indexes {
                assert!(
                    plan.iter().any(|step| step.contains(index)),
                    "no {index} in the plan of {statement}\n    {}",
                    plan.join("\n    ")
                );
            }
        }
        for step in plan
            .iter()
            .filter(|step| reads_a_whole_table(step, statement))
        {
            slow.push(format!(
                "{step}\n    in {statement}\n    {}",
                plan.join("\n    ")
            ));
        }
    }
    connection.close().await.unwrap();
    assert_eq!(made_for, MADE_FOR.len());
    assert!(slow.is_empty(), "{}", slow.join("\n\n"));
}

async fn a_download_costs_one_query(lab: &Lab, statements: &Statements) {
    const DOWNLOADS: u64 = 10;
    // The driver logs a statement a moment after it gave its rows.
    let pause = Duration::from_millis(200);
    tokio::time::sleep(pause).await;
    let before = statements.runs.load(Ordering::SeqCst);
    for _ in 0..DOWNLOADS {
        let query = AssetQuery {
            asset_id: lab.id(AssetId::generate),
            key_hash: Some(KeyHash(lab.bytes())),
            acting_for: None,
            now: lab.now(),
        };
        lab.catalog.asset_view(query).await.unwrap();
    }
    tokio::time::sleep(pause).await;
    let after = statements.runs.load(Ordering::SeqCst);
    assert_eq!(after - before, DOWNLOADS);
}

fn is_about_rows(statement: &str) -> bool {
    ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"]
        .iter()
        .any(|verb| statement.starts_with(verb))
        && !["pg_", "schema_migrations"]
            .iter()
            .any(|other| statement.contains(other))
}

/// Whether a step of a plan reads a table, or one of its indexes, from end to end.
fn reads_a_whole_table(step: &str, statement: &str) -> bool {
    let step = step.trim().trim_start_matches("->").trim_start();
    // Counting all placements, how far a migration is, and searching the models' texts is what
    // these methods are for, and they say so. The table `meta` has one row, and `keepers` one for each server.
    let may_walk = [
        "count(*)",
        "'all' AS id",
        "search_text LIKE",
        "FROM meta",
        "keepers",
    ]
    .iter()
    .any(|text| statement.contains(text));
    // A list walks an index in the list's order until the page is full.
    let is_page = statement.contains("LIMIT") && (step.contains("INDEX") || step.contains("Index"));
    let sqlite_walks = step.starts_with("SCAN")
        && step != "SCAN v"
        // The row of one before the left joins, rows that the statement brings along, and what a
        // subquery has found by an index.
        && ![
            "CONSTANT ROW",
            "VALUES CLAUSE",
            "anchor",
            "shown",
            "(subquery",
            "owed",
            "doubted",
            "due",
            "chosen",
        ]
        .iter()
        .any(|s| step.contains(s));
    let postgres_walks = ["Seq Scan", "Index Scan", "Index Only Scan"]
        .iter()
        .any(|scan| step.starts_with(scan))
        && !step.contains("Index Cond");
    (sqlite_walks || postgres_walks) && !is_page && !may_walk
}

async fn sqlite_plan(connection: &mut AnyConnection, statement: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = connection.fetch_all(sqlx::raw_sql(explain)).await.unwrap();
    rows.iter()
        .map(|row| row.get::<String, _>("detail"))
        .collect()
}

async fn postgres_plan(connection: &mut AnyConnection, statement: &str) -> Vec<String> {
    let parameters = (1..200)
        .take_while(|n| statement.contains(&format!("${n}")))
        .count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let arguments = if parameters == 0 {
        String::new()
    } else {
        format!("({nulls})")
    };
    // A generic plan is what a prepared statement gets after some calls.
    let explain = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE asked AS {statement}; EXPLAIN EXECUTE asked{arguments}; DEALLOCATE asked;"
    );
    let rows = connection
        .fetch_all(sqlx::raw_sql(AssertSqlSafe(explain)))
        .await
        .unwrap();
    let mut steps: Vec<String> = Vec::new();
    for row in &rows {
        let line: String = row.get(0);
        // A condition belongs to the step above it.
        match steps.last_mut() {
            Some(step) if line.contains("Index Cond") => step.push_str(line.trim()),
            _ => steps.push(line),
        }
    }
    steps
}

async fn call_every_method(lab: &Lab) {
    call_keys_and_models(lab).await;
    call_objects_and_placements(lab).await;
    call_assets_and_purchases(lab).await;
    call_endpoints_and_deliveries(lab).await;
    call_migrations(lab).await;
}

/// Every list is asked for its first and for a later page.
fn pages(after: &str) -> [Page; 2] {
    [
        Page::default(),
        Page {
            limit: 10,
            after: Some(after.to_owned()),
        },
    ]
}

async fn call_endpoints_and_deliveries(lab: &Lab) {
    let catalog = &lab.catalog;
    let row = crate::endpoints::endpoint(lab, Subscriptions::All).await;
    let id = row.id;
    catalog.find_endpoint(id).await.unwrap();
    let patch = EndpointPatch {
        events: Some(Subscriptions::All),
        ..EndpointPatch::default()
    };
    catalog
        .update_endpoint(id, &patch, lab.now())
        .await
        .unwrap();
    catalog
        .rotate_endpoint_secret(id, &row.secret, lab.now(), lab.now())
        .await
        .unwrap();
    let event = catalog.test_endpoint(id, lab.now()).await.unwrap();
    for page in pages(&id.to_string()) {
        catalog.list_endpoints(&page).await.unwrap();
    }
    for page in pages(&event.to_string()) {
        for state in [None, Some(DeliveryState::Waiting)] {
            catalog.list_deliveries(id, state, &page).await.unwrap();
        }
    }
    // Everything that is told of is told of once more.
    call_keys_and_models(lab).await;
    call_objects_and_placements(lab).await;
    call_assets_and_purchases(lab).await;
    let now = lab.now();
    catalog.due_endpoints(now, 9).await.unwrap();
    catalog
        .ends_of_deliveries(id, DeliveryState::Waiting)
        .await
        .unwrap();
    let claimed = catalog
        .claim_deliveries(id, now, lab.after(60), 9)
        .await
        .unwrap();
    let delivered = Attempt::Delivered { status: 200 };
    catalog
        .note_attempt(id, &claimed[0], &delivered, now)
        .await
        .unwrap();
    catalog.redeliver(id, event, now).await.unwrap();
    catalog.disable_endpoint(&row, "x", now).await.unwrap();
    catalog
        .redeliver_failed(id, row.created_at, now)
        .await
        .unwrap();
    catalog.delete_endpoint(id, now).await.unwrap();
    assert_eq!(catalog.forget_events(lab.after(60), 1).await.unwrap(), 1);
}

async fn call_migrations(lab: &Lab) {
    let catalog = &lab.catalog;
    let object = lab.put("temp/moved").await.object;
    let now = lab.now();
    for prefix in ["", "temp/"] {
        let row = crate::migrations::migration(lab, prefix).await;
        catalog.find_migration(row.id).await.unwrap();
        catalog.current_migration().await.unwrap();
        for page in pages(&row.id.to_string()) {
            catalog.list_migrations(&page).await.unwrap();
        }
        let read = Read {
            since: now,
            sample: Sample::of_percent(5).unwrap(),
        };
        for only_given in [false, true] {
            for read in [None, Some(read)] {
                let wanted = Wanted {
                    store: row.target.clone(),
                    read,
                    only_given,
                };
                catalog
                    .uncovered(&row, &wanted, Some(object.id), 9)
                    .await
                    .unwrap();
            }
            let freed = Freed {
                from: row.source.clone(),
                kept_on: row.target.clone(),
                read,
                only_given,
            };
            catalog
                .freeable(&row, &freed, Some(object.id), 9)
                .await
                .unwrap();
            catalog
                .free_placements(&[object.id], &freed, row.id, now, now)
                .await
                .unwrap();
        }
        catalog
            .owe_placements(&[object.id], &row.target, row.id, now)
            .await
            .unwrap();
        catalog.count_owed(&row.target).await.unwrap();
        catalog
            .claim_freed(&row.source, now, lab.after(60), 9)
            .await
            .unwrap();
        catalog.has_removable(&row.source, now).await.unwrap();
        catalog
            .unfree_placements(&row.source, row.id, now)
            .await
            .unwrap();
        catalog
            .migration_failures(&row, Some(object.id), 9)
            .await
            .unwrap();
        catalog.count_failures(&row).await.unwrap();
        catalog.retry_failures(&row, now).await.unwrap();
        catalog.copy_progress(&row).await.unwrap();
        catalog.free_progress(&row, &row.source).await.unwrap();
        catalog.plan_counts(&row.target, &row.prefix).await.unwrap();
        catalog.withdraw_owed(row.id).await.unwrap();
        crate::migrations::finish(lab, &row).await;
    }
    catalog.current_migration().await.unwrap();
}

async fn call_keys_and_models(lab: &Lab) {
    let catalog = &lab.catalog;
    let new = NewKey {
        id: lab.id(KeyId::generate),
        hash: KeyHash(lab.bytes()),
        role: Role::Operator,
        subject: None,
        name: None,
        created_at: lab.now(),
        expires_at: None,
    };
    let row = catalog.insert_key(&new).await.unwrap();
    catalog.find_key(&new.hash).await.unwrap();
    let uses = [(row.id, lab.now())].into();
    catalog.touch_keys(&uses).await.unwrap();
    catalog.find_key_by_id(row.id).await.unwrap();
    catalog.revoke_key(row.id, lab.now()).await.unwrap();
    catalog.revoke_key(row.id, lab.now()).await.unwrap();
    catalog.instance("x", lab.now()).await.unwrap();
    for page in pages(&row.id.to_string()) {
        catalog.list_keys(&page).await.unwrap();
    }
    let entry = AuditRow {
        id: lab.id(AuditId::generate),
        at: lab.now(),
        key: Some(row.id),
        action: "POST /v1/models".to_owned(),
        target: None,
        status: None,
        request_id: None,
        address: None,
    };
    catalog.record_audit(&entry).await.unwrap();
    for page in pages(&entry.id.to_string()) {
        for key in [None, Some(row.id)] {
            catalog.list_audit(key, &page).await.unwrap();
        }
    }

    let model = catalog
        .insert_model(NewModel {
            ..lab.new_model("kaethe")
        })
        .await
        .unwrap();
    catalog.find_model(model.id).await.unwrap();
    catalog
        .update_model(model.id, ModelPatch::default(), lab.now())
        .await
        .unwrap();
    let me = subject("me");
    for visible_to in [
        VisibleTo::Everyone,
        VisibleTo::Subject(me.clone()),
        VisibleTo::All,
    ] {
        for status in [None, Some(ModelStatus::Draft), Some(ModelStatus::Published)] {
            for artist in [None, Some(me.clone())] {
                for q in [None, Some("two words".to_owned())] {
                    for page in pages(&model.id.to_string()) {
                        let filter = ModelFilter {
                            artist: artist.clone(),
                            status,
                            q: q.clone(),
                            visible_to: visible_to.clone(),
                        };
                        catalog.list_models(&filter, &page).await.unwrap();
                    }
                }
            }
        }
    }
    catalog
        .retire_model(model.id, lab.now(), lab.now())
        .await
        .unwrap();
}

async fn call_objects_and_placements(lab: &Lab) {
    let catalog = &lab.catalog;
    let object = lab.put("temp/a").await.object;
    catalog.find_object(&object.key).await.unwrap();
    catalog
        .find_object_by_location(&object.location)
        .await
        .unwrap();
    catalog.find_object_by_id(object.id).await.unwrap();
    for prefix in ["", "temp/"] {
        let prefix: KeyPrefix = prefix.parse().unwrap();
        for page in pages("temp/a") {
            catalog.list_objects(&prefix, &page).await.unwrap();
        }
    }
    let upload = lab.open("temp/b").await;
    catalog
        .extend_lease(upload.object_id, lab.after(60))
        .await
        .unwrap();
    catalog.discard_upload(upload.object_id).await.unwrap();
    let upload = lab.open("temp/b").await;
    catalog
        .abandon_upload(upload.object_id, lab.now())
        .await
        .unwrap();
    catalog
        .claim_tombstones(lab.now(), lab.after(60), 9)
        .await
        .unwrap();
    catalog
        .finish_tombstone(upload.object_id, lab.now())
        .await
        .unwrap();
    call_placements(lab, &object).await;

    let now = lab.now();
    catalog.finish_retire(object.id, now).await.unwrap_err();
    let retire_after = lab.after(60);
    catalog
        .retire_object(&object.key, retire_after)
        .await
        .unwrap();
    catalog
        .retire_object(&key("temp/none"), now)
        .await
        .unwrap_err();
    catalog.restore_object(&object.key, now).await.unwrap();
    catalog.retire_object(&object.key, now).await.unwrap();
    let lease_until = lab.after(60);
    let claimed = catalog.claim_retiring(now, lease_until, 9).await.unwrap();
    assert_eq!(claimed.len(), 1);
    catalog
        .postpone_retire(object.id, now, Duration::ZERO)
        .await
        .unwrap();
    catalog.finish_retire(object.id, now).await.unwrap();
}

async fn call_placements(lab: &Lab, object: &ObjectRow) {
    let catalog = &lab.catalog;
    let s3 = &StoreName::S3;
    let (now, suspect) = (lab.now(), PlacementState::Suspect);
    catalog.settle_store_id(s3, "x").await.unwrap();
    catalog.adopt_store_id(s3, "y").await.unwrap();
    catalog.has_copies(s3).await.unwrap();
    catalog.objects_at(&[key("temp/a")], now).await.unwrap();
    catalog.list_recorded(Some(object.id), 9).await.unwrap();
    catalog
        .claim_unverified(s3, lab.now(), lab.now(), now, 9)
        .await
        .unwrap();
    let mut step = PlacementStep {
        object_id: object.id,
        store: s3,
        from: PlacementState::Present,
        to: suspect,
        error: None,
    };
    catalog.step_placement(step, now).await.unwrap();
    catalog
        .claim_placements(s3, now, lab.after(9), 9)
        .await
        .unwrap();
    catalog.renew_placement(object.id, s3, now).await.unwrap();
    let together = [object.id];
    catalog.return_placements(s3, &together, now).await.unwrap();
    for was_read in [true, false] {
        let placed = Placed {
            store: s3,
            from: PlacementState::Copying,
            objects: &together,
            was_read,
        };
        catalog.note_placed(placed, now).await.unwrap();
    }
    let rows = catalog.placements_of(object.id).await.unwrap();
    catalog
        .postpone_placement(&rows[1], "x", now, Duration::ZERO)
        .await
        .unwrap();
    (step.from, step.to) = (suspect, PlacementState::Present);
    catalog.step_placement(step, now).await.unwrap();
    catalog.note_verified(object.id, s3, now).await.unwrap();
    catalog
        .claim_reads(s3, &together, now, now, now)
        .await
        .unwrap();
    catalog.keep_reads(s3, &together, now).await.unwrap();
    catalog
        .note_unreadable(object.id, s3, "x", now)
        .await
        .unwrap();
    catalog.add_placement(object.id, s3, now).await.unwrap();
    catalog.counts_by_state().await.unwrap();
    catalog.under_placed().await.unwrap();
}

async fn call_assets_and_purchases(lab: &Lab) {
    let catalog = &lab.catalog;
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await;
    catalog.find_asset(asset.id).await.unwrap();
    for page in pages(&asset.id.to_string()) {
        catalog.list_assets(model, true, &page).await.unwrap();
        catalog.list_assets(model, false, &page).await.unwrap();
    }
    let bo = subject("bo");
    let purchase = lab.buy(lab.new_purchase("bo", model)).await.id;
    catalog.find_purchase(purchase).await.unwrap();
    call_grants(lab, purchase, asset.id).await;
    let location = &asset.object.location;
    catalog.linked_asset(location, purchase).await.unwrap();
    catalog.refund_purchase(purchase, lab.now()).await.unwrap();
    for page in pages(&purchase.to_string()) {
        for buyer in [None, Some(bo.clone())] {
            for model_id in [None, Some(model)] {
                let filter = PurchaseFilter {
                    buyer: buyer.clone(),
                    model_id,
                };
                catalog.list_purchases(&filter, &page).await.unwrap();
            }
        }
        catalog.library(&bo, &page).await.unwrap();
    }
    let query = AssetQuery {
        asset_id: asset.id,
        key_hash: Some(KeyHash(lab.bytes())),
        acting_for: Some(&bo),
        now: lab.now(),
    };
    catalog.asset_view(query).await.unwrap();
    let retire_after = lab.after(60);
    catalog
        .retire_asset(asset.id, lab.now(), retire_after)
        .await
        .unwrap();
    catalog.deleted_assets(model).await.unwrap();
    catalog.find_asset_deleted_or_not(asset.id).await.unwrap();
    catalog.find_purchase_by_order("x").await.unwrap();
    catalog.restore_asset(asset.id, lab.now()).await.unwrap();
    catalog
        .retire_model(model, lab.now(), retire_after)
        .await
        .unwrap();
    catalog.restore_model(model, lab.now()).await.unwrap();
}

async fn call_grants(lab: &Lab, purchase: PurchaseId, asset: AssetId) {
    let catalog = &lab.catalog;
    let grant = NewGrant {
        id: lab.id(GrantId::generate),
        purchase_id: purchase,
        size_bytes: 2,
        charged_bytes: 2,
        given: Given {
            asset_id: asset,
            kind: GrantKind::Stream,
            at: lab.now(),
            range: 0..2,
            stores: "local".to_owned(),
            key_id: None,
            address: None,
        },
    };
    catalog.charge_grant(&grant, lab.now()).await.unwrap();
    let end = LateEnd {
        purchase_id: purchase,
        asset_id: asset,
        grant_id: grant.id,
        charged_bytes: 2,
        end: GrantEnd {
            ended_at: lab.now(),
            sent_bytes: 1,
            stores: "local".to_owned(),
        },
    };
    let id = lab.id(GrantId::generate);
    let batch = GrantBatch {
        grants: vec![(NewGrant { id, ..grant }, None)],
        ends: vec![end],
    };
    let id = lab.id(LedgerId::generate);
    catalog.record_grants(id, &batch).await.unwrap();
    catalog.downloads_of(purchase, 9).await.unwrap();
}
