//! Samples: what came out of the rounds, and the middle of it.

/// The middle of some values: the mean of the two middle ones where they are even in number. Not a
/// number when there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

/// The median, and the smallest and the largest in brackets.
pub(crate) fn spread(values: &[f64]) -> String {
    spread_to(values, 2)
}

/// The same with another number of decimals.
pub(crate) fn spread_to(values: &[f64], decimals: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let middle = median(values.iter().copied());
    format!("{middle:.decimals$} ({least:.decimals$} to {most:.decimals$})")
}

/// In which order `count` contestants take their turns: every round begins with another one, and every
/// second one goes backwards, so that nobody always follows the same one.
pub(crate) fn order(round: usize, count: usize) -> Vec<usize> {
    (0..count)
        .map(|turn| {
            let step = if round % 2 == 1 { count - turn } else { turn };
            (round / 2 + step) % count
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
        assert_eq!(spread(&[1.0, 9.0, 2.0]), "2.00 (1.00 to 9.00)");
        assert_eq!(spread_to(&[1.6, 9.8], 0), "6 (2 to 10)");
    }

    #[test]
    fn everybody_has_one_turn_in_a_round_and_begins_some() {
        let mut first = [0; 3];
        for round in 0..6 {
            let mut turns = order(round, 3);
            first[turns[0]] += 1;
            turns.sort_unstable();
            assert_eq!(turns, [0, 1, 2]);
        }
        assert_eq!(first, [2, 2, 2]);
    }
}
