//! Django's sessions, straight from the database and read only: a row, its signature, its user, his password's mark.
//! `SESSION_ENGINE` db or cached_db; what `cache` keeps is not in Postgres.

mod signing;

use std::collections::HashMap;

use super::config::{Config, Secrets};
use crate::store::{Store, StoreError, UserRow};

pub use signing::{Login, decode, login, matches_password};

const KEY_CHARS_MIN: usize = 8;
const KEY_CHARS_MAX: usize = 64;
/// Sessions looked up by one query.
const BATCH: usize = 500;

pub struct Sessions {
    store: Store,
    secrets: Secrets,
    config: Config,
}

impl Sessions {
    pub fn new(store: Store, secrets: Secrets, config: Config) -> Self {
        Self { store, secrets, config }
    }

    /// Are the tables and columns there that the configuration names?
    pub async fn check(&self) -> Result<(), StoreError> {
        self.store.django_sessions(&self.config.session_table, &[]).await?;
        users(&self.store, &self.config, &[]).await?;
        Ok(())
    }

    /// The users behind these session keys; a key that is not there is nobody's. Two queries for each `BATCH` keys.
    pub async fn users(&self, keys: &[String]) -> Result<HashMap<String, UserRow>, StoreError> {
        let plausible = |key: &&String| {
            (KEY_CHARS_MIN..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        let keys: Vec<String> = keys.iter().filter(plausible).cloned().collect();
        let mut found = HashMap::new();
        for keys in keys.chunks(BATCH) {
            let rows = self.store.django_sessions(&self.config.session_table, keys).await?;
            let logins: Vec<(String, Login)> =
                rows.into_iter().filter_map(|row| Some((row.session_key, self.login(&row.session_data)?))).collect();
            let mut ids: Vec<String> = logins.iter().map(|(_, login)| login.user.clone()).collect();
            ids.sort_unstable();
            ids.dedup();
            if ids.is_empty() {
                continue;
            }
            let users = users(&self.store, &self.config, &ids).await?;
            for (key, login) in logins {
                let user = users.get(&login.user).filter(|u| u.active);
                if let Some(user) = user.filter(|u| matches_password(&login.hash, &u.password, &self.secrets)) {
                    found.insert(key, user.clone());
                }
            }
        }
        Ok(found)
    }

    fn login(&self, data: &str) -> Option<Login> {
        let content = decode(data, &self.config.session_salt, &self.secrets)?;
        login(&content).filter(|login| self.config.session_backends.contains(&login.backend))
    }
}

/// By their keys; whoever is not there does not exist.
pub async fn users(store: &Store, config: &Config, ids: &[String]) -> Result<HashMap<String, UserRow>, StoreError> {
    let rows = store.django_users(&config.user_table, &config.user_columns, ids).await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

#[cfg(test)]
mod tests;
