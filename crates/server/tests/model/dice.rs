//! Chance that repeats itself: everything a test decides is thrown with dice made of its seed.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// Says which seed a test runs with and how the run is repeated. `STOCKROOM_SEED` in the
/// environment overrules the seed that the test brings.
pub(crate) fn seed(test: &str, default: u64) -> u64 {
    let seed = match std::env::var("STOCKROOM_SEED") {
        Ok(text) => text.parse().expect("STOCKROOM_SEED is a whole number"),
        Err(_) => default,
    };
    println!("seed {seed}; {}", replay(test, seed));
    seed
}

/// The command that repeats a run.
pub(crate) fn replay(test: &str, seed: u64) -> String {
    format!("to replay: STOCKROOM_SEED={seed} cargo nextest run -p stockroom --test model {test}")
}

/// Whether the long proofs are asked for.
pub(crate) fn is_torture() -> bool {
    std::env::var("STOCKROOM_TORTURE").as_deref() == Ok("1")
}

/// A generator of decisions.
#[derive(Debug)]
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Dice for one of several tasks, which throw alike however the tasks take turns.
    pub(crate) fn of_task(seed: u64, task: u64) -> Self {
        Self::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (task + 1))
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    /// An index into something of this length, which is not 0.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.0.random_range(0..len)
    }

    /// True in so many of a hundred throws.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of.choose(&mut self.0).expect("something to choose").clone()
    }

    /// Bytes that are nothing in particular and, from some ten bytes on, never the same twice.
    pub(crate) fn noise(&mut self, size_bytes: usize) -> Bytes {
        // Quick also in an unoptimised build, unlike the generator that makes its state.
        let mut state: u64 = self.0.random::<u64>() | 1;
        let mut bytes = Vec::with_capacity(size_bytes + 8);
        while bytes.len() < size_bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        bytes.truncate(size_bytes);
        bytes.into()
    }
}
