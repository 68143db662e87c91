//! Time as an argument.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, in whole milliseconds since 1970. Shown and read as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time, or lies outside the years that RFC 3339 can write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2026-11-23T09:30:00Z")]
pub struct TimestampError;

impl Timestamp {
    /// The first and the last moment (years 0000 to 9998:
    /// the last year is left out so that every offset of it stays readable).
    const RANGE_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_370_764_799_999;

    /// From milliseconds since 1970; values outside the years 0000 to 9998 are clamped to them.
    #[must_use]
    pub fn from_unix_ms(unix_ms: i64) -> Self {
        Self(unix_ms.clamp(*Self::RANGE_MS.start(), *Self::RANGE_MS.end()))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// This moment plus a duration, clamped to the last moment that can be written.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let added_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_unix_ms(self.0.saturating_add(added_ms))
    }

    /// This moment minus a duration, clamped to the first moment that can be written.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let removed_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_unix_ms(self.0.saturating_sub(removed_ms))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            // The constructor clamps, so this is out of reach; the number is still the truth.
            Err(_) => write!(f, "@{}ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>()
            .map(|moment| Self::from_unix_ms(moment.as_millisecond()))
            .map_err(|_| TimestampError)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Where the present moment comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock. Made once, in `main`; everything below takes `&dyn Clock`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        let now = SystemTime::now();
        let unix_ms = match now.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        Timestamp::from_unix_ms(unix_ms)
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub const fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.unix_ms()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let moved = Timestamp(self.0.load(Ordering::SeqCst)).after(by);
        self.0.store(moved.unix_ms(), Ordering::SeqCst);
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.unix_ms(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_milliseconds_in_utc() {
        let moment = Timestamp::from_unix_ms(1_763_888_400_007);
        assert_eq!(moment.to_string(), "2025-11-23T09:00:00.007Z");
        assert_eq!("2025-11-23T10:00:00.007+01:00".parse(), Ok(moment));
        assert_eq!("yesterday".parse::<Timestamp>(), Err(TimestampError));
    }

    #[test]
    fn the_ends_of_time_can_be_written_and_read() {
        for unix_ms in [i64::MIN, i64::MAX, 0, -1] {
            let moment = Timestamp::from_unix_ms(unix_ms);
            assert_eq!(moment.to_string().parse(), Ok(moment), "{unix_ms}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let last = Timestamp::from_unix_ms(i64::MAX);
        assert_eq!(last.after(Duration::MAX), last);
        let first = Timestamp::from_unix_ms(i64::MIN);
        assert_eq!(first.before(Duration::MAX), first);
        assert_eq!(first.since(last), Duration::ZERO);
    }

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = ManualClock::new(Timestamp::from_unix_ms(1_000));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now().unix_ms(), 3_000);
        clock.set(Timestamp::from_unix_ms(5));
        assert_eq!(clock.now().unix_ms(), 5);
    }
}
