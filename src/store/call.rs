//! Functions that a configuration names, called on behalf of a client: what comes from the client is a parameter.

use sqlx::AssertSqlSafe;

use super::{Store, StoreError};
use crate::domain::Snapshot;

/// A function that was there when it was looked up.
#[derive(Clone, Debug)]
pub struct Function {
    statement: String,
}

/// What a function answered.
#[derive(Debug)]
pub struct Called {
    /// As of when, for what it has read.
    pub snapshot: Snapshot,
    /// JSON text; None: SQL null.
    pub json: Option<String>,
}

/// Texts that are not what the function takes (`abc` for a number, or a NUL, which no text of Postgres has): there is no
/// such thing, which is no error.
const NOT_A_VALUE: [&str; 5] = ["22P02", "22003", "22007", "22008", "22021"];

impl Store {
    /// The function of this name (`schema.name`) that takes so many arguments; None: there is none that we may call.
    pub async fn function(&self, name: &str, arguments: usize) -> Result<Option<Function>, StoreError> {
        let arguments = i32::try_from(arguments).unwrap_or(i32::MAX);
        let query = sqlx::query_file_scalar!("sql/store/function.sql", name, arguments);
        let found = self.bounded(async { Ok(query.fetch_optional(&self.pool).await?) }).await?;
        Ok(found.map(|statement| Function { statement }))
    }

    /// Calls it in a transaction of its own, under the client's claims (JSON text; empty: none).
    pub async fn call(
        &self,
        function: &Function,
        arguments: &[Option<String>],
        claims: &str,
    ) -> Result<Called, StoreError> {
        let called = self.bounded(async {
            let mut transaction = self.pool.begin().await?;
            if !claims.is_empty() {
                sqlx::query_file!("sql/store/claims.sql", claims).fetch_one(&mut *transaction).await?;
            }
            // AssertSqlSafe: the text was made by sql/store/function.sql of names that it had looked up and quoted; what
            // clients say is bound.
            let mut query = sqlx::query_as(AssertSqlSafe(function.statement.as_str()));
            for argument in arguments {
                query = query.bind(argument);
            }
            let (json, snapshot): (Option<String>, String) = query.fetch_one(&mut *transaction).await?;
            transaction.commit().await?;
            let snapshot = snapshot.parse().map_err(|_| StoreError::Answer("not a snapshot".into()))?;
            Ok(Called { snapshot, json })
        });
        called.await
    }
}

impl StoreError {
    /// Was a text not of the type that was wanted?
    pub fn is_not_a_value(&self) -> bool {
        matches!(self, Self::Refused { sqlstate, .. } if NOT_A_VALUE.contains(&sqlstate.as_str()))
    }
}
