//! Points: where an operation is interrupted, how they are drawn, named and replayed.

use std::fmt;
use std::str::FromStr;

use stockroom_domain::{Entropy, SeededEntropy, SystemEntropy};

use crate::control::{Calls, Errno, Order, Strike};
use crate::database::Dialect;
use crate::scenario::Scenario;
use crate::site::Mode;

/// One operation that is interrupted at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) mode: Mode,
    pub(crate) dialect: Dialect,
    pub(crate) scenario: Scenario,
    pub(crate) order: Order,
}

/// How many calls an operation makes when nothing interrupts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) all: u64,
    pub(crate) files: u64,
}

/// Which points are taken.
pub(crate) enum Choice {
    /// So many for each operation, drawn from this seed.
    Some { seed: u64 },
    /// Every one.
    All,
    /// This one.
    One(String),
}

impl Choice {
    /// As the environment asks; see `main.rs`.
    pub(crate) fn from_environment() -> Self {
        if let Ok(point) = std::env::var("STOCKROOM_CRASH_POINT") {
            return Self::One(point);
        }
        if std::env::var("STOCKROOM_TORTURE").as_deref() == Ok("1") {
            return Self::All;
        }
        let drawn = || {
            let entropy: &dyn Entropy = &SystemEntropy;
            u64::from(u32::from_be_bytes(entropy.bytes()))
        };
        let seed = std::env::var("STOCKROOM_CRASH_SEED").map_or_else(
            |_| drawn(),
            |text| u64::from_str(&text).expect("STOCKROOM_CRASH_SEED is a number"),
        );
        println!("STOCKROOM_CRASH_SEED={seed}");
        Self::Some { seed }
    }

    /// Whether points of this operation are taken at all.
    pub(crate) fn includes(&self, mode: Mode, dialect: Dialect, scenario: Scenario) -> bool {
        match self {
            Self::One(point) => point.starts_with(&prefix(mode, dialect, scenario)),
            Self::Some { .. } | Self::All => true,
        }
    }

    /// The orders for this operation: each strike at about `few` numbers, in the long form at each
    /// `step`-th one.
    pub(crate) fn orders(
        &self,
        scenario: Scenario,
        counted: Counted,
        strikes: &[(Strike, Calls)],
        (few, step): (u64, usize),
    ) -> Vec<Order> {
        if let Self::One(point) = self {
            let order = parse(point);
            let is_meant = strikes.iter().any(|(strike, _)| *strike == order.strike);
            return if is_meant { vec![order] } else { Vec::new() };
        }
        let seed = match self {
            Self::Some { seed } => Some(*seed),
            Self::All | Self::One(_) => None,
        };
        let random = SeededEntropy::new(seed.unwrap_or_default() + scenario as u64);
        let mut orders = Vec::new();
        for (strike, calls) in strikes {
            let (calls, last) = counted.last(*calls);
            let numbers: Vec<u64> = match seed {
                Some(_) => drawn(last + BEYOND, few, &random),
                None => (1..=last + BEYOND).step_by(step).collect(),
            };
            orders.extend(numbers.into_iter().map(|number| Order {
                strike: *strike,
                calls,
                number,
            }));
        }
        orders
    }
}

/// Numbers from 1 to `last`, one from each of `few` stretches, so that no part is left out.
fn drawn(last: u64, few: u64, random: &dyn Entropy) -> Vec<u64> {
    let stretches = (0..few).map(|index| (last * index / few, last * (index + 1) / few));
    stretches
        .map(|(from, to)| {
            let draw = u64::from(u32::from_be_bytes(random.bytes()));
            1 + from + draw % (to - from).max(1)
        })
        .collect()
}

/// How many numbers after the last call are tried: the number of calls differs a little.
const BEYOND: u64 = 2;

impl Counted {
    /// The number of the last call of this kind. Where there are none about files, all are taken:
    /// another database and no folder.
    const fn last(self, calls: Calls) -> (Calls, u64) {
        match calls {
            Calls::Files if self.files > 0 => (Calls::Files, self.files),
            Calls::Files | Calls::All => (Calls::All, self.all),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = match self.order.calls {
            Calls::All => "all",
            Calls::Files => "files",
        };
        let strike = match self.order.strike {
            Strike::KillBefore => "before",
            Strike::KillAfter => "after",
            Strike::Fail(Errno::Io) => "eio",
            Strike::Fail(Errno::NoSpace) => "enospc",
        };
        let prefix = prefix(self.mode, self.dialect, self.scenario);
        write!(f, "{prefix}{calls}/{}/{strike}", self.order.number)
    }
}

fn prefix(mode: Mode, dialect: Dialect, scenario: Scenario) -> String {
    let (mode, dialect, scenario) = (mode.as_str(), dialect.as_str(), scenario.as_str());
    format!("{mode}/{dialect}/{scenario}/")
}

/// The order in the name of a point.
fn parse(point: &str) -> Order {
    let parts: Vec<&str> = point.split('/').collect();
    let [_, _, _, calls, number, strike] = parts[..] else {
        panic!("no point: {point}");
    };
    Order {
        calls: match calls {
            "all" => Calls::All,
            "files" => Calls::Files,
            _ => panic!("neither all nor files: {calls}"),
        },
        number: number.parse().expect("the number of a call"),
        strike: match strike {
            "before" => Strike::KillBefore,
            "after" => Strike::KillAfter,
            "eio" => Strike::Fail(Errno::Io),
            "enospc" => Strike::Fail(Errno::NoSpace),
            _ => panic!("no strike: {strike}"),
        },
    }
}
