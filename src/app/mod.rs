//! PROVISIONAL, of branch `cli`: what the command line needs of `app`. The composition root replaces it.

mod database;
pub mod pages;

use std::time::Duration;

pub use crate::config::Config;
pub use crate::scheduler::Job;
pub use crate::store::{Applied, MigrationSet, ServerFacts, SpineFacts, Store, StoreError, TableFacts, Watch};
pub use database::Database;
pub use pages::TryIt;

/// What demo adds to a server.
#[derive(Default)]
pub struct Extras {
    pub jobs: Vec<Job>,
    pub try_it: Option<TryIt>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{address} is in use by another program")]
    AddressInUse { address: String },
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

pub struct Running {
    pub url: String,
}

impl Running {
    /// `http://HOST:PORT`, with the port that it got.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Until SIGINT or SIGTERM; then everything ends in order.
    pub async fn until_stopped(self) -> anyhow::Result<()> {
        anyhow::bail!("not wired on this branch")
    }
}

pub async fn start(_config: Config, _database: &Database, _extras: Extras) -> Result<Running, StartError> {
    Err(anyhow::anyhow!("not wired on this branch").into())
}

/// For commands that talk to the database and go.
pub async fn store(config: &Config) -> Result<Store, StoreError> {
    let url = Database::known(config).ok_or(StoreError::NoDatabase)?;
    let store = Store::new(url.expose(), Default::default())?;
    store.reach().await?;
    Ok(store)
}

pub fn store_at(_config: &Config, database: &Database) -> Result<Store, StoreError> {
    Store::new(database.url().expose(), Default::default())
}

/// How long NOTIFY takes to come back to a LISTENing session; or why it does not.
pub async fn round_trip(config: &Config) -> Result<Duration, String> {
    let url = config.database.listen_url.clone().or_else(|| Database::known(config)).ok_or("no database is named")?;
    let user = std::env::var("USER").unwrap_or_default();
    let url = crate::domain::DatabaseUrl::parse(url.expose(), &user).map_err(|e| e.to_string())?;
    let checked = crate::listener::check(&Default::default(), &url).await.map_err(|e| e.to_string())?;
    Ok(checked.ring)
}

pub fn openapi_yaml() -> String {
    crate::http::openapi_yaml()
}

/// rustls takes its cryptography from the process.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // a second call finds the first one's
}
