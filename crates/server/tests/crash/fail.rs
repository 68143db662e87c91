//! Calls about files fail in the middle of an operation: the answer is clean, the server goes on,
//! and nothing is left behind.

use http::Method;
use stockroom_domain::Sha256Digest;
use tokio::time::Instant;

use crate::control::{Calls, Errno, Strike, Struck};
use crate::database::Dialect;
use crate::kill::{Failures, count, start};
use crate::points::{Choice, Point};
use crate::recovery::recover;
use crate::scenario::{Scenario, Told, told_of};
use crate::server::Server;
use crate::site::{Mode, Site};
use crate::template::{BASE, NEXT, Template, Templates};

/// How many points each operation has in the short form for each error.
const FEW: u64 = 5;

const STRIKES: [(Strike, Calls); 2] = [
    (Strike::Fail(Errno::Io), Calls::Files),
    (Strike::Fail(Errno::NoSpace), Calls::Files),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_file_operation_is_a_clean_error_on_local_disk() {
    let scenarios = &[Scenario::STORING, Scenario::KEEPING].concat();
    fail_everywhere(Mode::Local, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_file_operation_while_bytes_are_stored_on_both_is_a_clean_error() {
    fail_everywhere(Mode::Hybrid, &Scenario::STORING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_file_operation_while_both_copies_are_kept_is_a_clean_error() {
    fail_everywhere(Mode::Hybrid, &Scenario::KEEPING).await;
}

/// Lets calls of these operations fail.
async fn fail_everywhere(mode: Mode, scenarios: &[Scenario]) {
    let dialect = Dialect::Sqlite;
    let choice = Choice::from_environment();
    let began = Instant::now();
    let (mut points, mut refused) = (0, 0);
    let mut failures = Failures::default();
    let mut templates = Templates::new(mode, dialect);
    for scenario in scenarios.iter().copied() {
        if !scenario.exists_in(mode) || !choice.includes(mode, dialect, scenario) {
            continue;
        }
        let template = templates.of(scenario).await;
        let counted = count(scenario, template).await;
        println!("{} on {}: {counted:?}", scenario.as_str(), mode.as_str());
        for order in choice.orders(scenario, counted, &STRIKES, (FEW, 1)) {
            let point = Point {
                mode,
                dialect,
                scenario,
                order,
            };
            points += 1;
            let told = fail_at(&point, template, &mut failures).await;
            refused += u32::from(matches!(told, Told::Refused { .. }));
        }
    }
    println!(
        "figure: {points} failing calls ({}, {}), refused {refused}, {failures}, {} ms each",
        mode.as_str(),
        dialect.as_str(),
        began.elapsed().as_millis() / points.max(1),
    );
    failures.assert_none();
}

async fn fail_at(point: &Point, template: &Template, failures: &mut Failures) -> Told {
    let scenario = point.scenario;
    let site = template.site.copy().await;
    scenario.damage(&site);
    let mut server = start(scenario, &site, point.order).await;
    let told = scenario.perform(&mut server, &site, template).await;
    server.page.disarm();
    let struck = server.page.struck();

    let mut wrong = Vec::new();
    if let Some(struck) = &struck {
        wrong.extend(judge_answer(point, &told, struck, &site));
    }
    let mut allowed = scenario.allowed(&told, &template.bytes);
    // A server that cannot start says so and ends; it will be started again.
    if server.listens() {
        match serve_next(&mut server, template).await {
            Ok(next) => allowed.iter_mut().for_each(|it| {
                it.insert(next);
            }),
            Err(text) => wrong.push(text),
        }
    } else if scenario != Scenario::Removal {
        wrong.push("the server did not start".to_owned());
    }
    server.kill().await;
    let mut findings = recover(&site, template, &allowed).await;
    findings.wrong = wrong;
    failures.note(point, struck.as_ref(), &told, &findings, &site);
    told
}

/// What is wrong with the answer to an operation in which this call failed.
fn judge_answer(point: &Point, told: &Told, struck: &Struck, site: &Site) -> Option<String> {
    let in_folder = struck.path.starts_with(site.uploads().to_str().unwrap());
    let is_sync = matches!(struck.call.as_str(), "fsync" | "fdatasync");
    let is_full = point.order.strike == Strike::Fail(Errno::NoSpace);
    let stores_bytes = matches!(
        point.scenario,
        Scenario::Upload | Scenario::Form | Scenario::Parts | Scenario::Replace
    );
    match told {
        Told::Done if in_folder && is_sync && stores_bytes && point.mode == Mode::Local => {
            Some("a failed sync was acknowledged".to_owned())
        }
        Told::Done => None,
        Told::Nothing if point.scenario == Scenario::Removal => None,
        Told::Nothing => Some("there was no answer".to_owned()),
        Told::Refused { status, code } => {
            let is_clean = (500..600).contains(status) && code != "no problem";
            let says_full = *status == 507 && code == "storage_full";
            (!is_clean || (in_folder && is_full && !says_full))
                .then(|| format!("the answer was {status} {code}"))
        }
    }
}

/// Whether the server goes on: it reads what is there and takes what is new.
async fn serve_next(server: &mut Server, template: &Template) -> Result<Sha256Digest, String> {
    let get = server
        .call(&template.key, Method::GET, &format!("/v1/objects/{BASE}"))
        .ok_or("the server does not listen")?;
    let read = get.send().await.map_err(|error| error.to_string())?;
    if read.bytes().await.ok().as_ref() != Some(&template.bytes.base) {
        return Err("the next read is wrong".to_owned());
    }
    let next = &template.bytes.next;
    let put = server
        .call(&template.key, Method::PUT, &format!("/v1/objects/{NEXT}"))
        .map(|request| request.body(next.clone()));
    match told_of(put).await {
        Told::Done => Ok(Sha256Digest::of(next)),
        told => Err(format!("the next upload: {told:?}")),
    }
}
