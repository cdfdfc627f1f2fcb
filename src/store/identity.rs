//! What stands in an application's own tables about who somebody is. Read only.

use serde::Serialize;

use super::{Store, StoreError};

/// Of a Django session that has not expired.
#[derive(Clone, Debug)]
pub struct SessionRow {
    pub session_key: String,
    pub session_data: String,
}

#[derive(Clone, Debug)]
pub struct UserRow {
    pub id: String,
    pub username: String,
    pub password: String,
    pub active: bool,
    pub staff: bool,
}

#[derive(Clone, Debug)]
pub struct RolesRow {
    pub id: String,
    /// None: the function fails for this user.
    pub roles: Option<Vec<String>>,
}

impl Store {
    /// `table` as SQL names it; `Refused` where there is no such table.
    pub async fn django_sessions(&self, table: &str, keys: &[String]) -> Result<Vec<SessionRow>, StoreError> {
        let query = sqlx::query_file_as!(SessionRow, "sql/auth/sessions.sql", table, keys);
        self.bounded(async { Ok(query.fetch_all(&self.pool).await?) }).await
    }

    /// `columns`: an object with the names of the columns.
    pub async fn django_users(
        &self,
        table: &str,
        columns: &impl Serialize,
        ids: &[String],
    ) -> Result<Vec<UserRow>, StoreError> {
        let columns = serde_json::to_value(columns).map_err(|e| StoreError::Answer(e.to_string()))?;
        let query = sqlx::query_file_as!(UserRow, "sql/auth/users.sql", table, columns, ids);
        self.bounded(async { Ok(query.fetch_all(&self.pool).await?) }).await
    }

    /// By name, where the table has names.
    pub async fn user_named(
        &self,
        table: &str,
        columns: &impl Serialize,
        name: &str,
    ) -> Result<Option<UserRow>, StoreError> {
        let columns = serde_json::to_value(columns).map_err(|e| StoreError::Answer(e.to_string()))?;
        let query = sqlx::query_file_as!(UserRow, "sql/auth/user_named.sql", table, columns, name);
        self.bounded(async { Ok(query.fetch_optional(&self.pool).await?) }).await
    }

    /// By a function (`schema.name`) from a user's key to roles. A user may come twice: the last row counts.
    pub async fn roles_of(&self, function: &str, users: &[String]) -> Result<Vec<RolesRow>, StoreError> {
        let query = sqlx::query_file_as!(RolesRow, "sql/auth/roles.sql", function, users);
        self.bounded(async { Ok(query.fetch_all(&self.pool).await?) }).await
    }
}
