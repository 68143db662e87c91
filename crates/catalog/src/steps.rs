//! Steps: statements of a transaction whose texts do not depend on what came of those before.
//!
//! Each way to the database and back costs more than a short statement. SQLite's driver takes several at once.

use std::mem;

use futures::TryStreamExt as _;
use sqlx::any::AnyRow;
use sqlx::{Either, Executor as _};

use crate::assembled::{Assembled, joined};
use crate::dialect::Dialect;
use crate::error::{CatalogError, Result};
use crate::run::Tx;

/// A statement, and how many rows it has to change.
pub(crate) struct Step {
    statement: Assembled,
    wanted: Option<Wanted>,
}

struct Wanted {
    rows: u64,
    /// What it means when they are not so many.
    otherwise: CatalogError,
}

impl Step {
    /// A statement after which the transaction is given up with this error unless it changed so many rows.
    pub(crate) const fn changing(statement: Assembled, rows: u64, otherwise: CatalogError) -> Self {
        Self {
            statement,
            wanted: Some(Wanted { rows, otherwise }),
        }
    }
}

impl From<Assembled> for Step {
    fn from(statement: Assembled) -> Self {
        Self {
            statement,
            wanted: None,
        }
    }
}

impl Tx {
    /// Runs statements in their order and gives back the rows of each. After one that fails, or changes another
    /// number of rows than it has to, the transaction is of no use any more.
    pub(crate) async fn run(
        &mut self,
        steps: impl IntoIterator<Item = Step>,
    ) -> Result<Vec<Vec<AnyRow>>> {
        let steps: Vec<Step> = steps.into_iter().collect();
        match self.dialect() {
            Dialect::Sqlite => self.run_at_once(steps).await,
            Dialect::Postgres => {
                let mut rows = Vec::new();
                for step in steps {
                    rows.extend(self.run_at_once(vec![step]).await?);
                }
                Ok(rows)
            }
        }
    }

    async fn run_at_once(&mut self, steps: Vec<Step>) -> Result<Vec<Vec<AnyRow>>> {
        let (statements, wanted): (Vec<Assembled>, Vec<Option<Wanted>>) = steps
            .into_iter()
            .map(|step| (step.statement, step.wanted))
            .unzip();
        let mut wanted = wanted.into_iter();
        let (mut all, mut rows) = (Vec::new(), Vec::new());
        let mut answers = (&mut *self.transaction).fetch_many(joined(statements));
        // The rows of a statement come before its end, and its end before anything of the next one.
        while let Some(answer) = answers
            .try_next()
            .await
            .map_err(|error| self.catalog.failed(error))?
        {
            match answer {
                Either::Right(row) => rows.push(row),
                Either::Left(done) => {
                    if let Some(wanted) = wanted.next().flatten()
                        && wanted.rows != done.rows_affected()
                    {
                        return Err(wanted.otherwise);
                    }
                    all.push(mem::take(&mut rows));
                }
            }
        }
        Ok(all)
    }
}
