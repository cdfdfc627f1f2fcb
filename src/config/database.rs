use std::fmt;

use serde::Deserialize;

/// Which database: shared by the listener and the pool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// None: a private Postgres.
    pub url: Option<Secret>,
    pub listen_url: Option<Secret>,
}

/// A text that must not be shown: it may hold a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For whom it is meant; not for logs and errors.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Database {
    /// Where to LISTEN: past a pooler, if one is named.
    pub fn listen_url(&self) -> Option<&Secret> {
        self.listen_url.as_ref().or(self.url.as_ref())
    }
}
