//! The server is killed in the middle of an operation, and the next one finds everything in order.

use std::fmt;

use tokio::time::Instant;

use crate::control::{Calls, Order, Strike, Struck};
use crate::database::Dialect;
use crate::points::{Choice, Counted, Point};
use crate::recovery::{Findings, recover};
use crate::scenario::{Scenario, Told};
use crate::server::Server;
use crate::site::{Mode, Site};
use crate::template::{Template, Templates};

/// In the long form each call counts; on PostgreSQL, where each point makes a database, each
/// fourth one.
const fn step(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Sqlite => 1,
        Dialect::Postgres => 4,
    }
}

/// How many points each operation has in the short form for each strike. Copying a database of PostgreSQL takes
/// longer than all the rest.
const fn few(dialect: Dialect) -> u64 {
    match dialect {
        Dialect::Sqlite => 4,
        Dialect::Postgres => 2,
    }
}

/// Files alone are counted too, or most points would lie in the middle of bodies on the network.
const STRIKES: [(Strike, Calls); 2] = [
    (Strike::KillBefore, Calls::All),
    (Strike::KillAfter, Calls::Files),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_on_local_disk() {
    let scenarios = &[Scenario::STORING, Scenario::KEEPING].concat();
    kill_everywhere(Mode::Local, Dialect::Sqlite, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_bytes_are_stored_on_local_disk_with_postgres_loses_nothing() {
    let scenarios = &Scenario::STORING;
    kill_everywhere(Mode::Local, Dialect::Postgres, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_bytes_are_kept_on_local_disk_with_postgres_loses_nothing() {
    let scenarios = &Scenario::KEEPING;
    kill_everywhere(Mode::Local, Dialect::Postgres, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_on_s3() {
    let scenarios = &[Scenario::STORING, Scenario::KEEPING].concat();
    kill_everywhere(Mode::S3, Dialect::Sqlite, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_bytes_are_stored_on_s3_with_postgres_loses_nothing() {
    let scenarios = &Scenario::STORING;
    kill_everywhere(Mode::S3, Dialect::Postgres, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_bytes_are_kept_on_s3_with_postgres_loses_nothing() {
    let scenarios = &Scenario::KEEPING;
    kill_everywhere(Mode::S3, Dialect::Postgres, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_bytes_are_stored_on_both_loses_nothing() {
    let scenarios = &Scenario::STORING;
    kill_everywhere(Mode::Hybrid, Dialect::Sqlite, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_bytes_are_stored_on_both_with_postgres_loses_nothing() {
    let scenarios = &Scenario::STORING;
    kill_everywhere(Mode::Hybrid, Dialect::Postgres, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_both_copies_are_kept_loses_nothing() {
    let scenarios = &Scenario::KEEPING;
    kill_everywhere(Mode::Hybrid, Dialect::Sqlite, scenarios).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_both_copies_are_kept_with_postgres_loses_nothing() {
    let scenarios = &Scenario::KEEPING;
    kill_everywhere(Mode::Hybrid, Dialect::Postgres, scenarios).await;
}

/// Kills these operations at many points.
async fn kill_everywhere(mode: Mode, dialect: Dialect, scenarios: &[Scenario]) {
    if !dialect.is_available() {
        return;
    }
    let choice = Choice::from_environment();
    let began = Instant::now();
    let (mut points, mut struck) = (0, 0);
    let mut failures = Failures::default();
    let mut templates = Templates::new(mode, dialect);
    for scenario in scenarios.iter().copied() {
        if !scenario.exists_in(mode) || !choice.includes(mode, dialect, scenario) {
            continue;
        }
        let template = templates.of(scenario).await;
        let counted = count(scenario, template).await;
        println!("{} on {}: {counted:?}", scenario.as_str(), mode.as_str());
        for order in choice.orders(scenario, counted, &STRIKES, (few(dialect), step(dialect))) {
            let point = Point {
                mode,
                dialect,
                scenario,
                order,
            };
            points += 1;
            struck += u32::from(kill_at(&point, template, &mut failures).await);
        }
    }
    println!(
        "figure: {points} kill points ({}, {}; {struck} in the middle), {failures}, {} ms each",
        mode.as_str(),
        dialect.as_str(),
        began.elapsed().as_millis() / points.max(1),
    );
    failures.assert_none();
}

/// Does the operation undisturbed, to learn how many calls it makes, and checks that it works.
pub(crate) async fn count(scenario: Scenario, template: &Template) -> Counted {
    let site = template.site.copy().await;
    scenario.damage(&site);
    let mut server = start(scenario, &site, Order::COUNT).await;
    let told = scenario.perform(&mut server, &site, template).await;
    let counted = Counted {
        all: server.page.count(Calls::All),
        files: server.page.count(Calls::Files),
    };
    server.kill().await;
    let expected = match scenario {
        Scenario::Removal => Told::Nothing,
        _ => Told::Done,
    };
    assert_eq!(told, expected, "{scenario:?} undisturbed");
    assert!(
        scenario.is_done(&site, &template.bytes),
        "{scenario:?} undisturbed: the engine is not done"
    );
    let findings = recover(&site, template, &scenario.allowed(&told, &template.bytes)).await;
    assert!(
        findings.is_empty(),
        "{scenario:?} undisturbed: {findings:?}"
    );
    counted
}

/// Starts the server and lets it count.
pub(crate) async fn start(scenario: Scenario, site: &Site, order: Order) -> Server {
    if scenario.counts_from_the_start() {
        return Server::start(site, Some(order)).await;
    }
    let server = Server::start(site, None).await;
    // The engine looks around once at the start.
    server.page.arm(Order::COUNT);
    server.page.quiet().await;
    server.page.arm(order);
    server
}

/// Kills the server at a point, or else at the end; whether the point was reached.
async fn kill_at(point: &Point, template: &Template, failures: &mut Failures) -> bool {
    let site = template.site.copy().await;
    point.scenario.damage(&site);
    let mut server = start(point.scenario, &site, point.order).await;
    let told = point.scenario.perform(&mut server, &site, template).await;
    let struck = server.page.struck();
    server.kill().await;
    let allowed = point.scenario.allowed(&told, &template.bytes);
    let findings = recover(&site, template, &allowed).await;
    failures.note(point, struck.as_ref(), &told, &findings, &site);
    struck.is_some()
}

/// What was found at all points.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    lost: usize,
    orphans: usize,
    texts: Vec<String>,
}

impl Failures {
    /// Notes what was found at a point, and prints what helps to replay it.
    pub(crate) fn note(
        &mut self,
        point: &Point,
        struck: Option<&Struck>,
        told: &Told,
        findings: &Findings,
        site: &Site,
    ) {
        if findings.is_empty() {
            return;
        }
        self.lost += findings.lost.len();
        self.orphans += findings.orphans.len();
        let place = struck.map_or("after the end".to_owned(), |struck| {
            format!("{} of {}", struck.call, struck.path)
        });
        let text = format!("STOCKROOM_CRASH_POINT={point} ({place}; told {told:?}): {findings:?}");
        println!("{text}\n{}", site.log());
        self.texts.push(text);
    }

    pub(crate) fn assert_none(&self) {
        assert!(self.texts.is_empty(), "{:#?}", self.texts);
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost {}, orphans {}", self.lost, self.orphans)
    }
}
