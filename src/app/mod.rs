//! The composition root: the only place that knows all stages, and joins them.
//!
//! `start` wires a server; the rest is what the command line asks of the database without one.

mod accounts;
mod auth;
mod database;
mod endpoints;
mod maintenance;
mod numbers;
mod pages;
mod rates;
mod server;
mod step;

use std::time::Duration;

pub use crate::config::Config;
pub use crate::domain::Pattern;
use crate::domain::{DatabaseUrl, DatabaseUrlError};
pub use crate::rates::{Outcome, Progress, RatesError, Report};
pub use crate::scheduler::Job;
pub use crate::shutdown::Shutdown;
pub use crate::store::{
    AccessFacts, ApiKeyFacts, Applied, FxFacts, JobFacts, MigrationSet, ProviderFacts, RuleFacts, ServerFacts,
    SpineFacts, Store, StoreError, TableFacts, UserRow, Watch,
};
pub use accounts::{Account, Accounts};
pub use auth::{TokenError, TokenWish, token};
pub use database::Database;
pub use pages::TryIt;
pub use rates::{JOB as REFRESH_JOB, Rates, RatesSetupError};
pub use server::{Extras, Running, StartError, start};

/// Which database is meant cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("no database is named")]
    Missing,
    #[error("the database URL cannot be used: {0}")]
    Unreadable(#[from] DatabaseUrlError),
}

/// For commands that talk to the database and go. Past a pooler where that is known: migrations need a session.
pub fn store(config: &Config) -> Result<Store, AddressError> {
    let url = config.database.listen_url.clone().or_else(|| Database::known(config)).ok_or(AddressError::Missing)?;
    Ok(Store::new(&database_url(url.expose())?, config.store.clone()))
}

/// The configured database, parsed and as text, past a pooler where that is known; None: none is configured.
pub fn configured_url(config: &Config) -> Result<Option<(DatabaseUrl, String)>, AddressError> {
    let url = config.database.listen_url().map(|url| url.expose());
    url.map(|text| Ok((database_url(text)?, text.to_owned()))).transpose()
}

/// On the database of a server. Migrations need a session, so it goes past a pooler.
pub fn store_at(config: &Config, database: &Database) -> Result<Store, AddressError> {
    let url = config.database.listen_url().unwrap_or(database.url());
    Ok(Store::new(&database_url(url.expose())?, config.store.clone()))
}

/// How long NOTIFY takes to come back to a LISTENing session; or why it does not.
pub async fn round_trip(config: &Config) -> Result<Duration, String> {
    let url = config.database.listen_url.clone().or_else(|| Database::known(config));
    let url = url.ok_or(AddressError::Missing).and_then(|url| database_url(url.expose())).map_err(|e| e.to_string())?;
    install_tls();
    let checked = crate::listener::check(&config.listener, &url).await;
    checked.map(|c| c.ring).map_err(|e| e.to_string())
}

pub fn openapi_yaml() -> String {
    crate::http::openapi_yaml()
}

/// Logs to stderr from here on: for servers; commands speak for themselves.
pub fn start_logging(config: &Config) -> anyhow::Result<()> {
    Ok(crate::telemetry::logging::init(&config.log)?)
}

/// rustls takes its cryptography from the process.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // a second call finds the first one's
}

/// With libpq's defaults from the environment: who we are, and the password that the URL leaves out.
#[expect(clippy::disallowed_methods, reason = "libpq's variables")]
fn database_url(text: &str) -> Result<DatabaseUrl, AddressError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let user = variable("PGUSER").or_else(|| variable("USER")).unwrap_or_else(|| "postgres".into());
    Ok(DatabaseUrl::parse(text, &user)?.or_password(variable("PGPASSWORD")))
}
