//! Scale: what a large catalog costs where a small one costs little. Both are asked the same questions in turns.

mod questions;

use std::fs;
use std::thread;
use std::time::Duration;

use self::questions::{Asker, QUESTIONS, Question};
use crate::database::Database;
use crate::http::Connection;
use crate::measure::{self, now, peak_rss_bytes};
use crate::page::Section;
use crate::samples::{median, order, spread_to};
use crate::server::{Server, free_address};
use crate::shop::Shop;
use crate::table::{Table, mib};
use crate::wrk::Load;
use crate::{Bench, Outcome, say};

/// How many models the small shop has, and how many of them, evenly spread, the buyer who asks has bought.
const BOUGHT: u64 = 10_000;

const FILES_OF_A_MODEL: u64 = 10;

/// Who bought them.
const COLLECTOR: &str = "collector";

/// Requests at the same time.
const CONNECTIONS: u64 = 8;

/// For how long a server has nothing to do while its processor time is looked at, after a while for what it does
/// when it starts.
const IDLE: Duration = Duration::from_secs(20);
const SETTLING: Duration = Duration::from_secs(5);

/// A shop that is served.
struct Served {
    shop: Shop,
    server: Server,
    models: u64,
    operator: String,
    collector: String,
    /// From the start of the program to its first answer.
    ready: Duration,
}

/// Asks a small and a large shop on both databases, as far as they are there.
pub(crate) fn beside_a_small_one(bench: &Bench) -> Outcome<Section> {
    let large = bench.models / BOUGHT * BOUGHT;
    if large <= BOUGHT {
        return Err(format!("--models has to be at least {}", 2 * BOUGHT).into());
    }
    let mut text = vec![format!(
        "A shop of {BOUGHT} models and one of {large}, with {FILES_OF_A_MODEL} files each. `wrk -t1 -c{CONNECTIONS} \
         -d{}s` asks for paths that are drawn from all of the shop; medians of {} rounds in turns, after one that does \
         not count. A ratio is how many times as fast the large shop is.",
        bench.seconds, bench.rounds
    )];
    text.extend(on(bench, large, Where::File)?);
    match &bench.peers.postgres_url {
        Some(url) => text.extend(on(bench, large, Where::Server(url))?),
        None => say("PostgreSQL is missing; scripts/bench starts one for this part"),
    }
    Ok(Section {
        name: "scale",
        text,
    })
}

/// Where the databases are.
#[derive(Debug, Clone, Copy)]
enum Where<'a> {
    File,
    /// The address of a database on a server, which is to get others.
    Server(&'a str),
}

impl Where<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::File => "SQLite",
            Self::Server(_) => "PostgreSQL",
        }
    }

    /// What makes a shop of an empty database.
    fn statements(self, models: u64) -> String {
        let text = match self {
            Self::File => include_str!("fill_sqlite.sql"),
            Self::Server(_) => include_str!("fill_postgres.sql"),
        };
        let text = text.replace("{models}", &models.to_string());
        text.replace("{bought}", &BOUGHT.to_string())
    }

    /// An empty database.
    fn database(self, bench: &Bench, name: &str) -> Outcome<Database> {
        match self {
            Self::File => Ok(Database::in_folder(&bench.scratch.join(name))),
            Self::Server(url) => {
                let server = Database::Server(url.to_owned());
                server.tell(&bench.peers, &format!("CREATE DATABASE {name};"))?;
                let (server, _) = url
                    .rsplit_once('/')
                    .ok_or("an address without a database")?;
                Ok(Database::Server(format!("{server}/{name}")))
            }
        }
    }

    /// The processor time so far of the server with the database.
    fn cpu(self, bench: &Bench) -> Outcome<Duration> {
        match (self, bench.peers.postgres_pid) {
            (Self::Server(_), Some(pid)) => measure::cpu_of_all(pid),
            _ => Ok(Duration::ZERO),
        }
    }
}

fn on(bench: &Bench, large: u64, place: Where<'_>) -> Outcome<[String; 2]> {
    let mut shops = Vec::new();
    for models in [BOUGHT, large] {
        say(&format!(
            "making a shop of {models} models on {}",
            place.name()
        ));
        shops.push(Served::start(bench, models, place)?);
    }
    let mut table = Table::new(&[
        place.name(),
        "requests/s, small (least to most)",
        "requests/s, large",
        "ratio",
    ]);
    for question in QUESTIONS {
        say(question.name);
        let [small, large] = rates(bench, question, &shops)?;
        let ratio = median(large.iter().copied()) / median(small.iter().copied());
        table.row([
            question.name.to_owned(),
            spread_to(&small, 0),
            spread_to(&large, 0),
            format!("{ratio:.2}"),
        ]);
    }
    let mut words = Vec::new();
    for shop in &shops {
        words.push(shop.at_rest(bench, place)?);
    }
    for shop in shops {
        drop(shop.server);
        fs::remove_dir_all(&shop.shop.folder)?;
    }
    Ok([table.to_string(), words.join(" ")])
}

/// How many answers to a question come in a second from each shop, in each round.
fn rates(bench: &Bench, question: &Question, shops: &[Served]) -> Outcome<[Vec<f64>; 2]> {
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=bench.rounds {
        for turn in order(round, shops.len()) {
            let rate = shops[turn].rate(bench, question)?;
            if round > 0 {
                rates[turn].push(rate);
            }
        }
    }
    Ok(rates)
}

impl Served {
    fn start(bench: &Bench, models: u64, place: Where<'_>) -> Outcome<Self> {
        let program = &bench.stockroom.program;
        let name = format!("scale_{models}");
        let database = place.database(bench, &name)?;
        let shop = Shop::filled_by(bench, &name, database, &place.statements(models))?;
        let operator = shop.key(program, "operator", None)?;
        let collector = shop.key(program, "buyer", Some(COLLECTOR))?;
        let address = free_address()?;
        let mut command = shop.serve(program, None, address);
        let began = now();
        let server = Server::start(&mut command, address)?;
        let status = Connection::with_headers(address, &[])?.status("/readyz")?;
        let ready = began.elapsed();
        match status {
            200 => Ok(Self {
                shop,
                server,
                models,
                operator,
                collector,
                ready,
            }),
            _ => Err(format!("a shop of {models} models answers {status} to /readyz").into()),
        }
    }

    fn headers(&self, asker: Asker) -> Vec<String> {
        let key = match asker {
            Asker::Anybody => return Vec::new(),
            Asker::Collector => &self.collector,
            Asker::Operator => &self.operator,
        };
        vec![format!("authorization: Bearer {key}")]
    }

    /// How many answers to a question come in a second. One is looked at first.
    fn rate(&self, bench: &Bench, question: &Question) -> Outcome<f64> {
        let headers = self.headers(question.asker);
        let paths = question.paths(self.models);
        let mut connection = Connection::with_headers(self.server.address, &headers)?;
        let answer = question.ask(&mut connection, &paths[0])?;
        if !question.is_answered_by(&answer) {
            return Err(format!("{} was answered by {answer}", paths[0]).into());
        }
        let load = Load {
            url: format!("http://{}/", self.server.address),
            headers: &headers,
            connections: CONNECTIONS,
            seconds: bench.seconds,
            requests: &question.requests(&paths),
        };
        let tally = load.run(bench.wrk()?, &bench.scratch)?;
        tally.expect_success()?;
        Ok(tally.requests_per_second())
    }

    /// What a server with this shop took to start, and takes while nobody asks.
    fn at_rest(&self, bench: &Bench, place: Where<'_>) -> Outcome<String> {
        thread::sleep(SETTLING);
        let cpu = || {
            Ok::<_, Box<dyn std::error::Error>>(
                measure::cpu(self.server.pid())? + place.cpu(bench)?,
            )
        };
        let before = cpu()?;
        thread::sleep(IDLE);
        let idle = cpu()?.saturating_sub(before);
        let peak = peak_rss_bytes(self.server.pid()).ok_or("the server is gone")?;
        Ok(format!(
            "With {} models the server was ready after {} ms, took {:.2} s of processor time in {} s without requests{}, \
             and {:.0} MiB of memory at most.",
            self.models,
            self.ready.as_millis(),
            idle.as_secs_f64(),
            IDLE.as_secs(),
            match place {
                Where::File => "",
                Where::Server(_) => " (with what PostgreSQL took for it)",
            },
            mib(peak),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_no_gaps() {
        for place in [Where::File, Where::Server("")] {
            let text = place.statements(BOUGHT);
            assert!(
                text.contains("10000") && !text.contains("{models}"),
                "{text}"
            );
            assert!(!text.contains("{bought}"), "{text}");
        }
    }
}
