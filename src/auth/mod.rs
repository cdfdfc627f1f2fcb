//! Who a client is, and what it may do: tokens, Django's sessions, origins.
//!
//! ```text
//! origin ─▶ token | session cookie ─▶ Caller (Identity, and what it rests on) ─▶ Access, asked once per subscription
//! ```
//! Nothing of it is asked where no credentials are offered: such a client is anonymous.

mod access;
mod config;
mod identity;
pub mod jwt;
mod origin;
mod secret;
pub mod session;

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::{Caller, Credential, Identity, Pattern, Scope};
use crate::store::{Store, StoreError};

pub use access::{Access, Action, Verdict};
pub use config::{Carrier, Config, SecretError, Secrets, UserColumns};
pub use origin::Origins;
pub use secret::Secret;

use identity::{Person, of_claims, of_user};
use jwt::{Jwks, Key, KeyError, Keys, Rules, TokenError, Verifier};
use session::Sessions;

/// Microseconds since 1970, UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How the secret of an API key begins.
const KEY_PREFIX: &str = "rck_";

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
    #[error("This API key is not valid")]
    Key,
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

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    pub fn takes(&self, carrier: Carrier) -> bool {
        self.config.carriers.contains(&carrier)
    }

    /// Is this a credential that we know how to judge? Where tokens are not taken, one is as good as none.
    pub fn judges(&self, token: &str) -> bool {
        self.tokens.is_some() || token.starts_with(KEY_PREFIX)
    }

    pub fn takes_sessions(&self) -> bool {
        self.sessions.is_some()
    }

    pub fn now_us(&self) -> i64 {
        (self.clock)()
    }

    pub async fn token(&self, token: &str) -> Result<Caller, Refusal> {
        if token.starts_with(KEY_PREFIX) {
            return self.key(token).await;
        }
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

    /// Of these, what holds no longer: sessions, keys, and users where those of tokens are looked up. Tokens end by themselves.
    pub async fn ended(&self, callers: &[Caller]) -> Result<HashSet<(Credential, Option<Arc<str>>)>, StoreError> {
        let (mut sessions, mut keys, mut users) = (Vec::new(), Vec::new(), Vec::new());
        for caller in callers {
            match (&caller.credential, &caller.identity.user) {
                (Credential::Session(key), _) => sessions.push(key.to_string()),
                (Credential::ApiKey(id), _) => keys.push(*id),
                (Credential::Token, Some(user)) if self.config.jwt_check_user => users.push(user.to_string()),
                _ => {}
            }
        }
        for ids in [&mut sessions, &mut users] {
            ids.sort_unstable();
            ids.dedup();
        }
        let sessions = match &self.sessions {
            Some(found) if !sessions.is_empty() => found.users(&sessions).await?,
            _ => Default::default(),
        };
        let keys = if keys.is_empty() { keys } else { self.store.api_keys_alive(&keys).await? };
        let active = match users.is_empty() {
            true => Default::default(),
            false => session::users(&self.store, &self.config, &users).await?,
        };
        let holds = |caller: &&Caller| match (&caller.credential, &caller.identity.user) {
            // Of another user now: it was used to log in anew.
            (Credential::Session(key), user) => {
                sessions.get(&**key).is_some_and(|row| Some(row.id.as_str()) == user.as_deref())
            }
            (Credential::ApiKey(id), _) => keys.contains(id),
            (Credential::Token, Some(user)) if self.config.jwt_check_user => {
                active.get(&**user).is_some_and(|row| row.active)
            }
            _ => true,
        };
        let ended = callers.iter().filter(|caller| !holds(caller));
        Ok(ended.map(|caller| (caller.credential.clone(), caller.identity.user.clone())).collect())
    }

    async fn key(&self, secret: &str) -> Result<Caller, Refusal> {
        let hash = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
        let row = self.store.use_api_key(hash.as_ref()).await?.ok_or(Refusal::Key)?;
        let patterns = |texts: &[String]| texts.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
        let identity = Identity {
            name: row.name.into(),
            staff: row.admin,
            expires_at_us: row.expires_at_us,
            scope: Some(Arc::new(Scope { listen: patterns(&row.listen), publish: patterns(&row.publish) })),
            ..Identity::default()
        };
        Ok(Caller { identity: Arc::new(identity), credential: Credential::ApiKey(row.id) })
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
