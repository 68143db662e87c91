//! Reading rows: a value that does not parse is reported with its table and row.

use std::fmt::Display;
use std::str::FromStr;

use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row, Type};
use stockroom_domain::Timestamp;

use crate::error::{CatalogError, Result};

/// The columns of one table in a row of a result.
#[derive(Clone, Copy)]
pub(crate) struct Record<'r> {
    row: &'r AnyRow,
    table: &'static str,
    id_column: &'static str,
}

impl<'r> Record<'r> {
    pub(crate) const fn new(row: &'r AnyRow, table: &'static str, id_column: &'static str) -> Self {
        Self {
            row,
            table,
            id_column,
        }
    }

    /// Whether a left join found a row of this table.
    pub(crate) fn is_there(self) -> Result<bool> {
        Ok(self.text_or_null(self.id_column)?.is_some())
    }

    pub(crate) fn text(self, column: &'static str) -> Result<&'r str> {
        self.get(column)
    }

    pub(crate) fn text_or_null(self, column: &'static str) -> Result<Option<&'r str>> {
        self.get(column)
    }

    pub(crate) fn bytes(self, column: &'static str) -> Result<&'r [u8]> {
        self.get(column)
    }

    pub(crate) fn parsed<T>(self, column: &'static str) -> Result<T>
    where
        T: FromStr<Err: Display>,
    {
        self.parse(column, self.text(column)?)
    }

    pub(crate) fn parsed_or_null<T>(self, column: &'static str) -> Result<Option<T>>
    where
        T: FromStr<Err: Display>,
    {
        self.text_or_null(column)?
            .map(|text| self.parse(column, text))
            .transpose()
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(self, column: &'static str) -> Result<T> {
        serde_json::from_str(self.text(column)?).map_err(|error| self.corrupt(column, &error))
    }

    pub(crate) fn number(self, column: &'static str) -> Result<i64> {
        self.get(column)
    }

    pub(crate) fn number_or_null(self, column: &'static str) -> Result<Option<i64>> {
        self.get(column)
    }

    /// A number that counts something.
    pub(crate) fn count<T: TryFrom<i64>>(self, column: &'static str) -> Result<T> {
        self.to_count(column, self.number(column)?)
    }

    pub(crate) fn count_or_null<T: TryFrom<i64>>(self, column: &'static str) -> Result<Option<T>> {
        self.number_or_null(column)?
            .map(|number| self.to_count(column, number))
            .transpose()
    }

    pub(crate) fn time(self, column: &'static str) -> Result<Timestamp> {
        self.number(column).map(Timestamp::from_unix_ms)
    }

    pub(crate) fn time_or_null(self, column: &'static str) -> Result<Option<Timestamp>> {
        Ok(self.number_or_null(column)?.map(Timestamp::from_unix_ms))
    }

    /// The error for a value that this program cannot have written.
    pub(crate) fn corrupt(self, column: &'static str, reason: &dyn Display) -> CatalogError {
        CatalogError::Corrupt {
            table: self.table,
            id: self
                .row
                .try_get::<&str, _>(self.id_column)
                .unwrap_or("(unknown)")
                .to_owned(),
            reason: format!("{column}: {reason}"),
        }
    }

    fn parse<T>(self, column: &'static str, text: &str) -> Result<T>
    where
        T: FromStr<Err: Display>,
    {
        text.parse().map_err(|error| self.corrupt(column, &error))
    }

    fn to_count<T: TryFrom<i64>>(self, column: &'static str, number: i64) -> Result<T> {
        T::try_from(number).map_err(|_| self.corrupt(column, &format_args!("{number} is no count")))
    }

    fn get<T>(self, column: &'static str) -> Result<T>
    where
        T: Decode<'r, Any> + Type<Any>,
    {
        self.row.try_get(column).map_err(|error| match error {
            // A column that is missing is a slip in a statement here, not damage.
            sqlx::Error::ColumnNotFound(_) => CatalogError::Database(error),
            other => self.corrupt(column, &other),
        })
    }
}

/// What was read, or nothing where the row is damaged: one such row must not keep a worker from all
/// the others. Whoever runs the server is told, because only they can mend it.
pub(crate) fn unless_damaged<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(CatalogError::Corrupt { table, id, reason }) => {
            tracing::error!(table, id, reason, "a row is damaged and is passed over");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What is wrong with a text that has NUL.
pub(crate) const NUL: &str = "contains a NUL character";

/// A text that both databases can hold: PostgreSQL has no NUL in texts.
pub(crate) fn check_text(field: &'static str, text: &str) -> Result<()> {
    if text.contains('\0') {
        Err(CatalogError::InvalidText { field, reason: NUL })
    } else {
        Ok(())
    }
}

/// A size or a limit as the databases hold it.
pub(crate) fn to_number(field: &'static str, value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| CatalogError::TooLarge { field })
}

/// JSON as the databases hold it.
pub(crate) fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| CatalogError::Database(sqlx::Error::Encode(error.into())))
}
