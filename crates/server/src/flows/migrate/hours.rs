//! The hours of the day in which a migration works.

use std::fmt;
use std::str::FromStr;

use stockroom_domain::Timestamp;

/// A window of the day in UTC, in whole hours: from the beginning of the first to the beginning of
/// the second. `22-06` goes over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: u8,
    until: u8,
}

/// The text is no window of hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hours are two different whole hours of the day in UTC, such as 22-06")]
pub struct HoursError;

impl Hours {
    /// Whether a moment lies in the window.
    #[must_use]
    pub fn contain(self, now: Timestamp) -> bool {
        let hour = now.unix_seconds().div_euclid(3_600).rem_euclid(24);
        let (from, until) = (i64::from(self.from), i64::from(self.until));
        if from < until {
            (from..until).contains(&hour)
        } else {
            hour >= from || hour < until
        }
    }
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let (from, until) = text.split_once('-').ok_or(HoursError)?;
        let hour = |text: &str| {
            let is_number =
                (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u8>()
                .ok()
                .filter(|hour| is_number && *hour <= 24)
        };
        let (from, until) = hour(from).zip(hour(until)).ok_or(HoursError)?;
        if from == until || from == 24 {
            return Err(HoursError);
        }
        Ok(Self { from, until })
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.from, self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_unix_ms((20_000 * 24 + hour) * 3_600_000 + 1)
    }

    #[test]
    fn a_window_may_go_over_midnight() {
        for (text, inside, outside) in [
            ("22-06", &[22, 23, 0, 5][..], &[6, 12, 21][..]),
            ("8-18", &[8, 17], &[7, 18, 0]),
            ("0-24", &[0, 12, 23], &[]),
            ("23-24", &[23], &[0, 22]),
        ] {
            let hours: Hours = text.parse().unwrap();
            for hour in inside {
                assert!(hours.contain(at(*hour)), "{text} {hour}");
            }
            for hour in outside {
                assert!(!hours.contain(at(*hour)), "{text} {hour}");
            }
            assert_eq!(hours.to_string().parse(), Ok(hours));
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "", "22", "22-", "-6", "22-22", "24-6", "25-6", "1-2-3", "a-b", "+1-2", "001-2",
        ] {
            assert_eq!(text.parse::<Hours>(), Err(HoursError), "{text}");
        }
    }
}
