//! Who a client is, and what it may do: tokens, Django's sessions, origins.
//!
//! ```text
//! origin ─▶ token | session cookie ─▶ Caller (Identity, and what it rests on) ─▶ Access, asked once per subscription
//! ```
//! Nothing of it is asked where no credentials are offered: such a client is anonymous.

mod config;
mod identity;
pub mod jwt;
mod origin;
mod secret;
pub mod session;

use std::sync::Arc;

use crate::domain::{Caller, Credential, Identity};
use crate::store::{Store, StoreError};

pub use config::{Carrier, Config, SecretError, Secrets, UserColumns};
pub use origin::Origins;
pub use secret::Secret;

use identity::{Person, of_claims, of_user};
use jwt::{Jwks, Key, KeyError, Keys, Rules, TokenError, Verifier};
use session::Sessions;

/// Microseconds since 1970, UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

pub struct Auth {
    config: Config,
    store: Store,
    clock: Clock,
    tokens: Option<Verifier>,
    sessions: Option<Sessions>,
    origins: Origins,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("auth.jwt_public_key_file: {0}")]
    Key(#[from] KeyError),
    #[error("auth.jwt_public_key_file: cannot read {path}: {source}")]
    KeyFile { path: String, source: std::io::Error },
    #[error("auth.jwt_algorithm {} needs auth.jwt_public_key_file or auth.jwt_jwks_url", .0.name())]
    NoPublicKey(jwt::Algorithm),
    #[error("auth.jwt_jwks_url holds public keys, and auth.jwt_algorithm {} has none", .0.name())]
    SharedKeySet(jwt::Algorithm),
    #[error("auth.session_table, auth.user_table and auth.user_columns: {0}")]
    Tables(StoreError),
    #[error("auth.roles_sql: {0}")]
    Roles(StoreError),
}

/// Credentials that were offered and are not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error("User not found")]
    UserNotFound,
    #[error("User is inactive")]
    UserInactive,
    /// Tokens are not taken here.
    #[error("Tokens are not accepted here")]
    NoTokens,
    #[error("the database cannot be asked who this is")]
    Database(#[from] StoreError),
}

impl Auth {
    /// `client` fetches key sets. Reads key files.
    pub fn new(
        config: Config,
        secrets: Secrets,
        store: Store,
        clock: Clock,
        client: Option<reqwest::Client>,
    ) -> Result<Self, AuthError> {
        let tokens = config.jwt.then(|| verifier(&config, &secrets, client)).transpose()?;
        let sessions = match config.sessions {
            true => {
                secrets.present()?;
                Some(Sessions::new(store.clone(), secrets, config.clone()))
            }
            false => None,
        };
        let origins = Origins::new(&config.origins, config.origin_required);
        Ok(Self { config, store, clock, tokens, sessions, origins })
    }

    /// Does the database have what the configuration names?
    pub async fn check(&self) -> Result<(), AuthError> {
        if let Some(sessions) = &self.sessions {
            sessions.check().await.map_err(AuthError::Tables)?;
        }
        if self.tokens.is_some() && self.config.jwt_check_user {
            session::users(&self.store, &self.config, &[]).await.map_err(AuthError::Tables)?;
        }
        if let Some(function) = &self.config.roles_sql {
            self.store.roles_of(function, &[]).await.map_err(AuthError::Roles)?;
        }
        Ok(())
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    pub fn takes(&self, carrier: Carrier) -> bool {
        self.tokens.is_some() && self.config.carriers.contains(&carrier)
    }

    pub fn takes_sessions(&self) -> bool {
        self.sessions.is_some()
    }

    pub fn now_us(&self) -> i64 {
        (self.clock)()
    }

    pub async fn token(&self, token: &str) -> Result<Caller, Refusal> {
        let tokens = self.tokens.as_ref().ok_or(Refusal::NoTokens)?;
        let claims = tokens.verify(token, self.now_us() / 1_000_000).await?;
        let mut person = Person::of_token(&self.config, &claims);
        if self.config.jwt_check_user {
            let users = session::users(&self.store, &self.config, std::slice::from_ref(&claims.user)).await?;
            let user = users.get(&claims.user).ok_or(Refusal::UserNotFound)?;
            if !user.active {
                return Err(Refusal::UserInactive);
            }
            person.check(user);
        }
        person.roles.extend(self.roles(&claims.user).await?);
        let identity = of_claims(person, claims, self.config.jwt_leeway_s);
        Ok(Caller { identity: Arc::new(identity), credential: Credential::Token })
    }

    /// Anonymous where the session is not there, has ended, or is nobody's: as Django has it.
    pub async fn session(&self, key: &str) -> Result<Caller, Refusal> {
        let Some(sessions) = &self.sessions else { return Ok(Caller::default()) };
        let found = sessions.users(&[key.to_owned()]).await?;
        let Some(user) = found.get(key) else { return Ok(Caller::default()) };
        let mut person = Person::of_row(user);
        person.roles.extend(self.roles(&user.id).await?);
        let identity: Identity = of_user(person);
        Ok(Caller { identity: Arc::new(identity), credential: Credential::Session(key.into()) })
    }

    async fn roles(&self, user: &str) -> Result<Vec<Arc<str>>, StoreError> {
        let Some(function) = &self.config.roles_sql else { return Ok(Vec::new()) };
        let rows = self.store.roles_of(function, &[user.to_owned()]).await?;
        Ok(rows.into_iter().flat_map(|row| row.roles).map(Into::into).collect())
    }
}

fn verifier(config: &Config, secrets: &Secrets, client: Option<reqwest::Client>) -> Result<Verifier, AuthError> {
    let algorithm = config.jwt_algorithm;
    let keys = match (&config.jwt_jwks_url, &config.jwt_public_key_file, client) {
        (Some(_), _, _) if algorithm.is_shared() => return Err(AuthError::SharedKeySet(algorithm)),
        (Some(url), _, Some(client)) => Keys::Jwks(Jwks::new(url.clone(), client)),
        _ if algorithm.is_shared() => {
            secrets.present()?;
            let key = |secret: &Secret| Key::secret(algorithm, secret.expose().as_bytes());
            Keys::Fixed(secrets.all().map(key).collect::<Result<_, _>>()?)
        }
        (_, Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| AuthError::KeyFile { path: path.display().to_string(), source })?;
            Keys::Fixed(vec![Key::pem(algorithm, &text)?])
        }
        _ => return Err(AuthError::NoPublicKey(algorithm)),
    };
    let typed = config.jwt_type_claim != "none";
    let rules = Rules {
        issuer: config.jwt_issuer.clone(),
        audiences: config.jwt_audiences.clone(),
        leeway_s: config.jwt_leeway_s,
        token_type: typed.then(|| (config.jwt_type_claim.clone(), config.jwt_type.clone())),
        user_claim: config.jwt_user_claim.clone(),
    };
    Ok(Verifier { algorithm, keys, rules })
}
