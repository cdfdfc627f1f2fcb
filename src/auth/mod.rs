//! Who a client is, and what it may do: tokens, Django's sessions, origins.
//!
//! ```text
//! origin ─▶ token | session cookie ─▶ Caller (Identity, and what it rests on) ─▶ Access, asked once per subscription
//! ```
//! Nothing of it is asked where no credentials are offered: such a client is anonymous.

mod access;
mod asking;
mod config;
mod departed;
mod identity;
pub mod jwt;
mod origin;
mod secret;
pub mod session;
mod stats;

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{Caller, Credential, Identity, Pattern, Scope};
use crate::store::{Store, StoreError, UserRow};

pub use access::{Access, Action, Verdict};
pub use config::{Carrier, Config, SecretError, Secrets, UserColumns};
pub use departed::{Departed, Farewell};
pub use origin::{Origins, host_listed};
pub use secret::Secret;
pub use stats::{Loss, Method, Outcome, Stats};

use identity::{Person, of_claims, of_user, renewed};
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
    pub stats: Arc<Stats>,
    pub departed: Departed,
}

/// How what a caller rests on stands, looked at again.
pub enum Standing {
    Holds,
    Ended,
    /// The same user, with other roles, another name, or no longer (or now) staff.
    Changed(Arc<Identity>),
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
        let stats = Arc::new(Stats::default());
        let tokens = config.jwt.then(|| verifier(&config, &secrets, client, &stats)).transpose()?;
        let sessions = match config.sessions {
            true => {
                secrets.present()?;
                Some(Sessions::new(store.clone(), secrets, config.clone()))
            }
            false => None,
        };
        let origins = Origins::new(&config.origins, config.origin_required);
        Ok(Self { config, store, clock, tokens, sessions, origins, stats, departed: Departed::default() })
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

    /// A token, or the secret of an API key.
    pub async fn token(&self, token: &str) -> Result<Caller, Refusal> {
        let mark = self.departed.mark();
        let (method, answer) = match token.starts_with(KEY_PREFIX) {
            true => (Method::ApiKey, self.key(token).await),
            false => (Method::Token, self.jwt(token).await),
        };
        self.stats.asked(method, &answer);
        Ok(Caller { mark, ..answer? })
    }

    async fn jwt(&self, token: &str) -> Result<Caller, Refusal> {
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
        Ok(Caller { identity: Arc::new(identity), credential: Credential::Token, ..Caller::default() })
    }

    /// Anonymous where the session is not there, has ended, or is nobody's: as Django has it.
    pub async fn session(&self, key: &str) -> Result<Caller, Refusal> {
        let mark = self.departed.mark();
        let answer = self.user_of_session(key).await;
        match &answer {
            Ok(None) => self.stats.judged(Method::Session, Outcome::Invalid),
            answer => self.stats.asked(Method::Session, answer),
        }
        let Some(identity) = answer? else { return Ok(Caller::default()) };
        Ok(Caller { identity: Arc::new(identity), credential: Credential::Session(key.into()), mark })
    }

    async fn user_of_session(&self, key: &str) -> Result<Option<Identity>, Refusal> {
        let Some(sessions) = &self.sessions else { return Ok(None) };
        let found = sessions.users(&[key.to_owned()]).await?;
        let Some(user) = found.get(key) else { return Ok(None) };
        let mut person = Person::of_row(user);
        person.roles.extend(self.roles(&user.id).await?);
        Ok(Some(of_user(person)))
    }

    /// One look at sessions, keys, roles, and users where those of tokens are looked up; in the callers' order. Tokens end by
    /// themselves. What cannot be found out ends nobody, and keeps nobody else from being judged.
    pub async fn again(&self, callers: &[Arc<Caller>]) -> Vec<Standing> {
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
            Some(found) if !sessions.is_empty() => known("sessions", found.users(&sessions).await),
            _ => Some(Default::default()),
        };
        let keys = if keys.is_empty() { Some(keys) } else { known("keys", self.store.api_keys_alive(&keys).await) };
        let active = match users.is_empty() {
            true => Some(Default::default()),
            false => known("users", session::users(&self.store, &self.config, &users).await),
        };
        let roles = self.roles_of(callers.iter().filter_map(|caller| caller.identity.user.as_deref())).await;
        let roles = known("roles", roles).unwrap_or_default();
        let failing = roles.values().filter(|roles| roles.is_none()).count();
        if failing > 0 {
            tracing::warn!(users = failing, "auth.recheck: auth.roles_sql fails for some: they keep their roles");
        }
        let standing = |caller: &Arc<Caller>| {
            let user = caller.identity.user.as_deref().unwrap_or_default();
            let row: Option<&UserRow> = match &caller.credential {
                Credential::None => return Standing::Holds,
                Credential::ApiKey(id) => match &keys {
                    Some(alive) if !alive.contains(id) => return Standing::Ended,
                    _ => return Standing::Holds,
                },
                Credential::Token if !self.config.jwt_check_user => None,
                Credential::Token => match active.as_ref().map(|all| all.get(user).filter(|row| row.active)) {
                    None => return Standing::Holds,
                    Some(None) => return Standing::Ended,
                    Some(row) => row,
                },
                // Of another user: it was used to log in anew.
                Credential::Session(key) => {
                    match sessions.as_ref().map(|all| all.get(&**key).filter(|row| row.id == user)) {
                        None => return Standing::Holds,
                        Some(None) => return Standing::Ended,
                        Some(row) => row,
                    }
                }
            };
            let by_function = self.config.roles_sql.is_some();
            if row.is_none() && !by_function {
                return Standing::Holds;
            }
            let roles = match roles.get(user) {
                Some(Some(roles)) => &roles[..],
                None if !by_function => &[],
                // They cannot be found out.
                _ => return Standing::Holds,
            };
            let renewed = renewed(&self.config, &caller.identity, row, roles);
            renewed.map_or(Standing::Holds, |identity| Standing::Changed(Arc::new(identity)))
        };
        callers.iter().map(standing).collect()
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
        Ok(Caller { identity: Arc::new(identity), credential: Credential::ApiKey(row.id), ..Caller::default() })
    }

    async fn roles(&self, user: &str) -> Result<Vec<Arc<str>>, StoreError> {
        match self.roles_of(std::iter::once(user)).await?.remove(user) {
            Some(None) => Err(StoreError::Answer("auth.roles_sql fails for this user".into())),
            roles => Ok(roles.flatten().unwrap_or_default()),
        }
    }

    /// By `roles_sql`, None where it fails; nobody has any where it is not set.
    async fn roles_of(&self, users: impl Iterator<Item = &str>) -> Result<HashMap<String, Roles>, StoreError> {
        let Some(function) = &self.config.roles_sql else { return Ok(HashMap::new()) };
        let mut users: Vec<String> = users.map(str::to_owned).collect();
        users.sort_unstable();
        users.dedup();
        let rows = self.store.roles_of(function, &users).await?;
        let roles = |names: Vec<String>| names.into_iter().map(Into::into).collect();
        Ok(rows.into_iter().map(|row| (row.id, row.roles.map(roles))).collect())
    }
}

/// Of one user; None: not known.
type Roles = Option<Vec<Arc<str>>>;

fn known<T>(what: &'static str, found: Result<T, StoreError>) -> Option<T> {
    found.inspect_err(|error| tracing::warn!(%error, what, "auth.recheck: cannot be looked at; trying again")).ok()
}

fn verifier(
    config: &Config,
    secrets: &Secrets,
    client: Option<reqwest::Client>,
    stats: &Arc<Stats>,
) -> Result<Verifier, AuthError> {
    let algorithm = config.jwt_algorithm;
    let keys = match (&config.jwt_jwks_url, &config.jwt_public_key_file, client) {
        (Some(_), _, _) if algorithm.is_shared() => return Err(AuthError::SharedKeySet(algorithm)),
        (Some(url), _, Some(client)) => Keys::Jwks(Jwks::new(url.clone(), client, stats.clone())),
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
