//! A sample: which copies are read where not all of them are.

use crate::error::Result;
use crate::row::Record;

/// Crockford's alphabet, in which the random end of an id is written.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The share of objects whose copies are read, drawn by the random end of their ids: the same objects
/// each time, so that a larger sample holds a smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample(u8);

impl Default for Sample {
    fn default() -> Self {
        Self::ALL
    }
}

impl Sample {
    /// All of them.
    pub const ALL: Self = Self(100);

    /// So many of a hundred, 1 to 100; none for another number.
    #[must_use]
    pub fn of_percent(percent: u8) -> Option<Self> {
        (1..=100).contains(&percent).then_some(Self(percent))
    }

    /// How many of a hundred.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }

    /// What the last two digits of the ids in the sample come before.
    pub(crate) fn end(self) -> String {
        let of_1024 = usize::from(self.0) * 1_024 / 100;
        match (DIGITS.get(of_1024 / 32), DIGITS.get(of_1024 % 32)) {
            (Some(high), Some(low)) => [char::from(*high), char::from(*low)].iter().collect(),
            // Behind all digits.
            _ => "~".to_owned(),
        }
    }

    pub(crate) fn read(row: Record<'_>, column: &'static str) -> Result<Self> {
        let percent = row.count::<u64>(column)?;
        u8::try_from(percent)
            .ok()
            .and_then(Self::of_percent)
            .ok_or_else(|| row.corrupt(column, &"no share of a hundred"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_share_that_it_says() {
        for percent in 1..=100 {
            let sample = Sample::of_percent(percent).expect("a share");
            let end = sample.end();
            let ends = DIGITS.iter().flat_map(|high| {
                DIGITS
                    .iter()
                    .map(|low| [char::from(*high), char::from(*low)])
            });
            let within = ends
                .filter(|it| it.iter().collect::<String>() < end)
                .count();
            assert_eq!(within, usize::from(percent) * 1_024 / 100, "{percent} %");
        }
        assert_eq!(Sample::ALL.end(), "~");
        assert_eq!(
            (Sample::of_percent(0), Sample::of_percent(101)),
            (None, None)
        );
    }
}
