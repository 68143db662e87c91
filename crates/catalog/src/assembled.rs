//! Statements that are put together from pieces, as their number of rows or conditions varies.

use sqlx::AssertSqlSafe;

use crate::error::Result;
use crate::run::Statement;

/// The most rows that [`pieces`] puts together.
const MOST_ROWS: usize = 64;

/// Splits rows into pieces of 64, 32, 16 and so on, as few as there can be: a statement with rows has
/// another text for each number of them, and the databases prepare each text once.
pub(crate) fn pieces<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let most = left.len().min(MOST_ROWS);
        let count = most.checked_ilog2().map(|power| 1 << power)?;
        let (piece, rest) = left.split_at_checked(count)?;
        left = rest;
        Some(piece)
    })
}

/// A statement that is put together from fixed pieces. Values never become part of the text.
pub(crate) struct Assembled(Vec<Part>);

enum Part {
    Fixed(&'static str),
    Argument(Argument),
}

enum Argument {
    Text(String),
    Number(i64),
    Bytes(Vec<u8>),
}

impl Assembled {
    pub(crate) fn new(text: &'static str) -> Self {
        Self(vec![Part::Fixed(text)])
    }

    /// Adds a fixed piece.
    pub(crate) fn push(&mut self, piece: &'static str) -> &mut Self {
        self.0.push(Part::Fixed(piece));
        self
    }

    /// Adds the placeholder of a text.
    pub(crate) fn text(&mut self, value: impl Into<String>) -> &mut Self {
        self.argument(Argument::Text(value.into()))
    }

    /// Adds the placeholder of a number.
    pub(crate) fn number(&mut self, value: i64) -> &mut Self {
        self.argument(Argument::Number(value))
    }

    /// Adds the placeholder of bytes.
    pub(crate) fn bytes(&mut self, value: impl Into<Vec<u8>>) -> &mut Self {
        self.argument(Argument::Bytes(value.into()))
    }

    /// Adds a list of rows, `(..), (..)`, each of which `push` fills with placeholders.
    pub(crate) fn rows<T>(
        &mut self,
        rows: impl IntoIterator<Item = T>,
        mut push: impl FnMut(&mut Self, T) -> Result<()>,
    ) -> Result<&mut Self> {
        for (index, row) in rows.into_iter().enumerate() {
            self.push(if index == 0 { "(" } else { ", (" });
            push(self, row)?;
            self.push(")");
        }
        Ok(self)
    }

    /// Puts a comma before the next placeholder of a row.
    pub(crate) fn comma(&mut self) -> &mut Self {
        self.push(", ")
    }

    fn argument(&mut self, value: Argument) -> &mut Self {
        self.0.push(Part::Argument(value));
        self
    }

    pub(crate) fn finish(self) -> Statement {
        joined([self])
    }
}

/// Several statements as one text, with their placeholders numbered from the first to the last. Only the driver
/// of SQLite takes more than one at once.
pub(crate) fn joined(statements: impl IntoIterator<Item = Assembled>) -> Statement {
    let (mut text, mut arguments) = (String::new(), Vec::new());
    for statement in statements {
        if !text.is_empty() {
            text.push_str(";\n");
        }
        for part in statement.0 {
            match part {
                Part::Fixed(piece) => text.push_str(piece),
                Part::Argument(value) => {
                    arguments.push(value);
                    text.push('$');
                    text.push_str(&arguments.len().to_string());
                }
            }
        }
    }
    // The text consists of pieces with a static lifetime and of placeholders.
    let statement = sqlx::query(AssertSqlSafe(text));
    arguments
        .into_iter()
        .fold(statement, |statement, argument| match argument {
            Argument::Text(value) => statement.bind(value),
            Argument::Number(value) => statement.bind(value),
            Argument::Bytes(value) => statement.bind(value),
        })
}

#[cfg(test)]
mod tests {
    use sqlx::Execute as _;

    use super::*;

    #[test]
    fn placeholders_of_several_statements_are_numbered_from_the_first_to_the_last() {
        let statement = |value: &str| {
            let mut statement = Assembled::new("SELECT ");
            statement.text(value).comma().number(7);
            statement
        };
        let mut both = joined([statement("a"), statement("b")]);
        let arguments = both.take_arguments().unwrap().unwrap();
        assert_eq!(sqlx::Arguments::len(&arguments), 4);
        assert_eq!(both.sql().as_str(), "SELECT $1, $2;\nSELECT $3, $4");
    }

    #[test]
    fn pieces_are_powers_of_two_and_hold_every_row_once() {
        for count in [0, 1, 2, 3, 63, 64, 65, 200] {
            let rows: Vec<usize> = (0..count).collect();
            let pieces: Vec<&[usize]> = pieces(&rows).collect();
            assert_eq!(pieces.concat(), rows);
            let sizes: Vec<usize> = pieces.iter().map(|it| it.len()).collect();
            assert!(sizes.iter().all(|it| it.is_power_of_two()), "{sizes:?}");
            assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        }
        let all: Vec<usize> = (0..200).collect();
        let sizes: Vec<usize> = pieces(&all).map(<[usize]>::len).collect();
        assert_eq!(sizes, [64, 64, 64, 8]);
    }
}
