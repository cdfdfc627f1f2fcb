//! Rules of access, keys of servers, and the end of a user's connections.

use serde::Serialize;

use super::{Store, StoreError};

/// A row of `rowcast.access`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRow {
    pub id: i32,
    pub pattern: String,
    pub action: String,
    pub everyone: bool,
    pub roles: Option<Vec<String>>,
    pub claims: Option<serde_json::Value>,
    /// Has a condition in SQL.
    pub asks: bool,
    /// Differs when the rule was defined again.
    pub revision: String,
    /// The sources that its condition reads.
    pub reads: Vec<i32>,
}

/// A rule's condition, to be asked for one client and channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct AccessRequest {
    #[serde(skip)]
    pub rule: i32,
    pub claims: std::sync::Arc<str>,
    pub params: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessAnswer {
    Allowed,
    Denied,
    /// A statement's time was not enough for it alone.
    Failed,
    /// It was not asked: others took the time.
    Unasked,
}

#[derive(Clone, Debug)]
pub struct ApiKeyRow {
    pub id: i32,
    pub name: String,
    pub listen: Vec<String>,
    pub publish: Vec<String>,
    pub admin: bool,
    pub expires_at_us: Option<i64>,
}

/// A key as it is listed: without its secret, which nobody has.
#[derive(Clone, Debug, Serialize)]
pub struct ApiKeyFacts {
    pub name: String,
    pub listen: Vec<String>,
    pub publish: Vec<String>,
    pub admin: bool,
    pub created_at: String,
    pub expires_at: Option<String>,
    pub last_used_at: Option<String>,
}

impl Store {
    pub async fn access_rules(&self) -> Result<Vec<AccessRow>, StoreError> {
        let query = sqlx::query_file_as!(AccessRow, "sql/auth/rules.sql");
        self.bounded(async { Ok(query.fetch_all(&self.pool).await?) }).await
    }

    /// The templates of all families of channels.
    pub async fn channel_templates(&self) -> Result<Vec<String>, StoreError> {
        let query = sqlx::query_file_scalar!("sql/auth/families.sql");
        self.bounded(async { Ok(query.fetch_all(&self.pool).await?) }).await
    }

    /// Of requests of one rule, in their order, by one statement that begins no other request once `within_ms` are over. Never
    /// leaves the first unasked.
    pub async fn check_access(
        &self,
        rule: i32,
        requests: &[AccessRequest],
        within_ms: i32,
    ) -> Result<Vec<AccessAnswer>, StoreError> {
        let asked = serde_json::to_value(requests).map_err(|e| StoreError::Answer(e.to_string()))?;
        let query = sqlx::query_file!("sql/auth/check.sql", rule, asked, within_ms);
        let rows = self.bounded(async { Ok(query.fetch_all(&self.pool).await?) }).await?;
        let mut answers = vec![AccessAnswer::Unasked; requests.len()];
        for row in rows {
            if let Some(place) = usize::try_from(row.i - 1).ok().and_then(|i| answers.get_mut(i)) {
                *place = match row.allowed {
                    Some(true) => AccessAnswer::Allowed,
                    Some(false) => AccessAnswer::Denied,
                    None => AccessAnswer::Failed,
                };
            }
        }
        if answers.first() == Some(&AccessAnswer::Unasked) {
            return Err(StoreError::Answer("check_access left its first request out".into()));
        }
        Ok(answers)
    }

    pub async fn use_api_key(&self, hash: &[u8]) -> Result<Option<ApiKeyRow>, StoreError> {
        let query = sqlx::query_file_as!(ApiKeyRow, "sql/auth/use_key.sql", hash);
        self.bounded(async { Ok(query.fetch_optional(&self.pool).await?) }).await
    }

    /// Those of these keys that hold.
    pub async fn api_keys_alive(&self, ids: &[i32]) -> Result<Vec<i32>, StoreError> {
        let query = sqlx::query_file_scalar!("sql/auth/keys_alive.sql", ids);
        self.bounded(async { Ok(query.fetch_all(&self.pool).await?) }).await
    }

    pub async fn create_api_key(
        &self,
        name: &str,
        listen: &[String],
        publish: &[String],
        admin: bool,
    ) -> Result<String, StoreError> {
        let query = sqlx::query_file_scalar!("sql/auth/key_create.sql", name, listen, publish, admin);
        Ok(query.fetch_one(&self.pool).await?)
    }

    pub async fn rotate_api_key(&self, name: &str, grace_s: f64) -> Result<String, StoreError> {
        Ok(sqlx::query_file_scalar!("sql/auth/key_rotate.sql", name, grace_s).fetch_one(&self.pool).await?)
    }

    /// How many there were.
    pub async fn revoke_api_key(&self, name: &str) -> Result<i32, StoreError> {
        Ok(sqlx::query_file_scalar!("sql/auth/key_revoke.sql", name).fetch_one(&self.pool).await?)
    }

    pub async fn api_keys(&self) -> Result<Vec<ApiKeyFacts>, StoreError> {
        Ok(sqlx::query_file_as!(ApiKeyFacts, "sql/auth/key_list.sql").fetch_all(&self.pool).await?)
    }

    /// Closes the user's connections on every instance.
    pub async fn disconnect(&self, user: &str, reason: &str) -> Result<(), StoreError> {
        let query = sqlx::query_file!("sql/auth/disconnect.sql", user, reason);
        self.bounded(async { Ok(query.fetch_one(&self.pool).await?) }).await?;
        Ok(())
    }
}
