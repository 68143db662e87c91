//! Randomness as an argument.

use std::fmt;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Where random bytes come from.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `bytes` with random bytes that nobody else can guess.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// A fixed number of random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// The operating system's generator, by way of a generator per thread. Made once, in `main`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks for the thread's generator"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// A generator that repeats itself for the same seed. For tests: what it gives can be guessed.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    /// A generator that starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // A generator is whole after a panic elsewhere, so a poisoned lock is no reason to stop.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_the_system_does_not() {
        let first: &dyn Entropy = &SeededEntropy::new(7);
        let second: &dyn Entropy = &SeededEntropy::new(7);
        assert_eq!(first.bytes::<16>(), second.bytes::<16>());
        let system: &dyn Entropy = &SystemEntropy;
        assert_ne!(system.bytes::<16>(), system.bytes::<16>());
    }
}
