//! Pace: a bound on bytes per second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A bound on how many bytes move in a second, shared by everybody who moves some.
///
/// Whoever spends bytes pays afterwards: the next one waits until they fit into the rate. So a
/// single large object never has to wait for itself, and idle time is not saved up.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: Option<f64>,
    paid_until: Mutex<Option<Instant>>,
}

impl Pace {
    /// This many bytes per second; none for as many as there can be.
    #[must_use]
    pub fn per_second(bytes: Option<u64>) -> Self {
        Self::at(bytes.map(|bytes| bytes as f64))
    }

    /// This many bytes per day.
    #[must_use]
    pub fn per_day(bytes: u64) -> Self {
        Self::at(Some(bytes as f64 / 86_400.0))
    }

    fn at(bytes_per_second: Option<f64>) -> Self {
        Self {
            bytes_per_second,
            paid_until: Mutex::new(None),
        }
    }

    /// Waits until what was spent before is paid, and spends this.
    pub async fn spend(&self, bytes: u64) {
        if let Some(wait_until) = self.owe(bytes) {
            tokio::time::sleep_until(wait_until).await;
        }
    }

    /// Whether everything that was spent is paid.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        let paid_until = self
            .paid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        paid_until.is_none_or(|until| until <= Instant::now())
    }

    /// Spends bytes; until when what was spent before is to be paid.
    fn owe(&self, bytes: u64) -> Option<Instant> {
        let rate = self.bytes_per_second?;
        let mut paid_until = self
            .paid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let begin = paid_until.map_or(now, |until| until.max(now));
        *paid_until = Some(begin + Duration::from_secs_f64(bytes as f64 / rate));
        (begin > now).then_some(begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_as_long_as_the_rate_says() {
        let pace = Pace::per_second(Some(1_000));
        let began = Instant::now();
        for _ in 0..11 {
            pace.spend(500).await;
        }
        assert_eq!(began.elapsed().as_secs(), 5);
        assert!(!pace.is_paid());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(pace.is_paid());
        // A minute of rest is no credit.
        let began = Instant::now();
        for _ in 0..3 {
            pace.spend(1_000).await;
        }
        assert_eq!(began.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_nobody_waits() {
        let pace = Pace::per_second(None);
        let began = Instant::now();
        for _ in 0..1_000 {
            pace.spend(u64::MAX).await;
        }
        assert!(began.elapsed().is_zero() && pace.is_paid());
    }
}
