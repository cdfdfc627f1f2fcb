//! Who clients are: the keys from where the configuration names them, and whether the database has what it names.

use std::sync::Arc;

use anyhow::Context as _;

use crate::auth::{Auth, Secrets};
use crate::config::Config;
use crate::connection::endpoint::Clock;
use crate::store::Store;

pub async fn open(config: &Config, store: &Store, clock: &Clock) -> anyhow::Result<Arc<Auth>> {
    let secrets = secrets(config)?;
    let client = match config.auth.jwt && config.auth.jwt_jwks_url.is_some() {
        true => Some(crate::provider::client(&config.provider).context("jwt_jwks_url")?),
        false => None,
    };
    let auth = Auth::new(config.auth.clone(), secrets, store.clone(), clock.clone(), client)?;
    auth.check().await?;
    Ok(Arc::new(auth))
}

#[expect(clippy::disallowed_methods, reason = "the configuration names the variables that hold secrets")]
pub fn secrets(config: &Config) -> anyhow::Result<Secrets> {
    Ok(Secrets::read(&config.auth, |name| std::env::var(name).ok())?)
}
