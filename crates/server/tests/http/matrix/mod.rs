//! Who may do what: every route that the router serves, asked by every kind of caller.
//!
//! The router is the one that says which routes there are (`routes::served`), so a route without a
//! row in `rows.rs` fails the first test here, and so does a row without a route.
//!
//! **To add a row** for a new route, write in `rows.rs`
//!
//! ```text
//! row("GET /v1/things/{id}", OPERATOR_ONLY),
//! ```
//!
//! with the path as `routes.rs` has it and one of the outcomes above the tables, or an own list
//! of `("STATUS WORD", "callers")` that names every caller once. Above 399 the word is the code of
//! the problem; below it says what the body must be (`Cell::wrong_with` in `cell.rs`). A row that
//! changes something says `.changes()` and gets stock of its own for each caller that is let
//! through; `.json(...)` and the like say what is sent. `{id}` stands for what `Stock::id_of` gives for the segment before
//! it, so a new kind of id is made in `stock.rs`. A GET row stands for HEAD as well.

mod callers;
mod cell;
mod rows;
mod stock;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use stockroom::http::routes::served;

use crate::support::{Backend, Shop, answer};
use callers::Callers;
use rows::Row;
use stock::State;

#[test]
fn every_route_has_its_row_and_every_row_its_route() {
    let served: BTreeSet<String> = served()
        .into_iter()
        // HEAD is asked wherever GET is.
        .filter(|(method, _)| method != Method::HEAD)
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    let rows: BTreeSet<String> = rows::published()
        .iter()
        .map(|row| row.route.to_owned())
        .collect();
    let without_row: Vec<_> = served.difference(&rows).collect();
    let without_route: Vec<_> = rows.difference(&served).collect();
    assert!(
        without_row.is_empty() && without_route.is_empty(),
        "routes without a row in matrix/rows.rs: {without_row:#?}; rows without a route: {without_route:#?}"
    );
    println!("figure: matrix: {} routes", served.len());
}

#[test]
fn every_row_names_every_caller_once() {
    for row in rows::all() {
        let mut named: Vec<_> = row.cells().map(|(caller, _)| caller).collect();
        named.sort_unstable();
        let mut expected = callers::ALL.to_vec();
        expected.sort_unstable();
        assert_eq!(named, expected, "{}", row.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_with_published_models() {
    ask_all(&Shop::start(Backend::Local).await, rows::published()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_with_drafts() {
    ask_all(&Shop::start(Backend::Local).await, rows::drafts()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_with_deleted_models_and_files() {
    ask_all(&Shop::start(Backend::Local).await, rows::deleted()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_paid_bytes_from_both_stores_with_postgres() {
    if let Some(shop) = Shop::start_on_postgres(Backend::Hybrid, &[]).await {
        let paid = rows::all().into_iter().filter(Row::is_about_bytes);
        ask_all(&shop, paid.collect()).await;
    }
}

/// Asks each cell, and reports all that are wrong together.
async fn ask_all(shop: &Shop, rows: Vec<Row>) {
    let callers = Callers::create(shop).await;
    let mut shared = BTreeMap::<State, stock::Stock>::new();
    let (mut cells, mut requests, mut wrong) = (0, 0, Vec::new());
    for row in &rows {
        if let Entry::Vacant(place) = shared.entry(row.state) {
            place.insert(stock::Stock::prepare(shop, &callers, row.state).await);
        }
        for (caller, expected) in row.cells() {
            let own;
            // A call that is refused changes nothing, which the cell looks at.
            let stock = if row.changes && !cell::is_refusal(expected) {
                own = stock::Stock::prepare(shop, &callers, row.state).await;
                &own
            } else {
                &shared[&row.state]
            };
            let outcome = cell::Cell {
                shop,
                callers: &callers,
                stock,
                row,
                caller,
                expected,
            }
            .ask()
            .await;
            cells += 1;
            requests += outcome.requests;
            wrong.extend(outcome.wrong);
        }
    }
    println!(
        "figure: matrix: {} rows, {cells} cells, {requests} requests",
        rows.len()
    );
    assert!(
        wrong.is_empty(),
        "{} cells are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The header Allow is written by the router itself, so it cannot leave out what is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_route_does_not_take_is_405_and_the_others_are_named() {
    let shop = Shop::start(Backend::Local).await;
    let callers = Callers::create(&shop).await;
    let mut methods = BTreeMap::<String, BTreeSet<String>>::new();
    for (method, path) in served() {
        // What is below a key of several segments is one route for the router.
        let route = match path.strip_prefix("/v1/objects/{key}") {
            Some(_) => "/v1/objects/{*key}".to_owned(),
            None => path,
        };
        methods.entry(route).or_default().insert(method.to_string());
    }
    let tried = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND",
    ];
    let mut refused = 0;
    for (route, taken) in &methods {
        let path = route.replace(['{', '}', '*'], "");
        for method in tried.iter().filter(|method| !taken.contains(**method)) {
            for caller in ["anonymous", "operator"] {
                let what = format!("{method} {route} by {caller}");
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let request = callers.call(&shop, caller, method.clone(), &path);
                let answer = answer(request).await;
                assert_eq!(answer.status, 405, "{what}");
                if method != Method::HEAD {
                    answer.assert_problem(405, "method_not_allowed", &what);
                }
                let allowed: BTreeSet<String> = answer
                    .header("allow")
                    .split(',')
                    .map(|method| method.trim().to_owned())
                    .collect();
                assert_eq!(&allowed, taken, "{what}");
                refused += 1;
            }
        }
    }
    println!("figure: matrix: {refused} methods refused");
}
