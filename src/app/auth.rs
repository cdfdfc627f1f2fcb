//! Who clients are: the keys from where the configuration names them, and whether the database has what it names.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::auth::jwt::{random_key, sign};
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

/// In which the demo keeps a secret key of its own, for `rowcast token`.
const DEMO_KEY: &str = ".rowcast/secret_key";
const DEMO_TTL_S: u64 = 3600;

/// The demo takes tokens: with the configured key, or with one that is made for it.
pub fn demo_key(config: &mut Config) -> anyhow::Result<()> {
    if config.auth.jwt || config.auth.secret_key_file.is_some() || config.auth.secret_key_env.is_some() {
        return Ok(());
    }
    let path = Path::new(DEMO_KEY);
    if !path.exists() {
        let key = random_key().context("the system gives no random numbers")?;
        std::fs::create_dir_all(path.parent().expect("in a folder")).context(DEMO_KEY)?;
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        writeln!(file.context(DEMO_KEY)?, "{key}").context(DEMO_KEY)?;
    }
    config.auth.jwt = true;
    config.auth.secret_key_file = Some(path.into());
    Ok(())
}

/// What a token is to say.
pub struct TokenWish {
    pub user: String,
    pub name: Option<String>,
    pub roles: Vec<String>,
    pub staff: bool,
    pub ttl_s: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("no secret key is configured, and no demo runs in this directory")]
    NoKey,
    #[error("{0}")]
    Other(#[from] anyhow::Error),
}

/// An access token, signed as the server of this configuration verifies it.
pub fn token(config: &Config, wish: &TokenWish, now_s: i64) -> Result<String, TokenError> {
    let mut config = config.clone();
    if !config.auth.jwt && Path::new(DEMO_KEY).exists() {
        demo_key(&mut config)?;
    }
    let secrets = secrets(&config)?;
    let secret = secrets.present().map_err(|_| TokenError::NoKey)?;
    let auth = &config.auth;
    let ttl_s = i64::try_from(wish.ttl_s.unwrap_or(DEMO_TTL_S)).unwrap_or(i64::MAX);
    let mut claims = serde_json::json!({
        "exp": now_s.saturating_add(ttl_s),
        "iat": now_s,
        "jti": random_key().context("the system gives no random numbers")?[..32],
    });
    let mut put = |name: &str, value: serde_json::Value| claims[name] = value;
    put(&auth.jwt_user_claim, wish.user.clone().into());
    if auth.jwt_type_claim != "none" {
        put(&auth.jwt_type_claim, auth.jwt_type.clone().into());
    }
    if let Some(name) = &wish.name {
        put(&auth.jwt_name_claim, name.clone().into());
    }
    if let (Some(claim), false) = (auth.jwt_roles_claims.first(), wish.roles.is_empty()) {
        put(claim, wish.roles.clone().into());
    }
    if let (Some(claim), true) = (auth.jwt_staff_claims.first(), wish.staff) {
        put(claim, true.into());
    }
    if let Some(issuer) = &auth.jwt_issuer {
        put("iss", issuer.clone().into());
    }
    if let Some(audience) = auth.jwt_audiences.first() {
        put("aud", audience.clone().into());
    }
    let signed = sign(auth.jwt_algorithm, secret.expose().as_bytes(), &claims);
    Ok(signed.map_err(anyhow::Error::from)?)
}
