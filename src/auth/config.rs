use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::jwt::Algorithm;
use super::secret::Secret;

/// Who clients are, and how that is found out. Secrets come from files or the environment, which `AuthError` names.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// File with the secret key of the application (Django's SECRET_KEY): verifies its tokens and its sessions.
    pub secret_key_file: Option<PathBuf>,
    /// The same from an environment variable of this name.
    pub secret_key_env: Option<String>,
    /// Environment variables with earlier secret keys (Django's SECRET_KEY_FALLBACKS).
    pub secret_key_fallback_envs: Vec<String>,
    /// Are tokens taken? Needs a key: the secret key, or one of the next two.
    pub jwt: bool,
    /// HS256, HS384, HS512, RS256, RS384, RS512, ES256 or ES384. A token cannot choose another.
    pub jwt_algorithm: Algorithm,
    /// File with the public key in PEM, for RS… and ES….
    pub jwt_public_key_file: Option<PathBuf>,
    /// Where the issuer publishes its keys.
    pub jwt_jwks_url: Option<String>,
    pub jwt_issuer: Option<String>,
    /// Any of these; empty: not looked at.
    pub jwt_audiences: Vec<String>,
    /// How far clocks may differ.
    pub jwt_leeway_s: i64,
    /// The claim that says what a token is for, and what an access token has there. `none`: not looked at.
    pub jwt_type_claim: String,
    pub jwt_type: String,
    /// The claim with the user's key.
    pub jwt_user_claim: String,
    /// The claim with the user's name.
    pub jwt_name_claim: String,
    /// Claims with roles: a text, or a list of texts.
    pub jwt_roles_claims: Vec<String>,
    /// Claims that make somebody staff, where true.
    pub jwt_staff_claims: Vec<String>,
    /// Is the user of a token looked up (`user_table`), so that a deactivated one is refused?
    pub jwt_check_user: bool,
    /// How a token may come: header, subprotocol, frame, cookie, query.
    pub carriers: Vec<Carrier>,
    /// The cookie of the carrier `cookie`.
    pub token_cookie: String,
    /// How long before its token expires a client is told.
    pub expiring_lead_ms: u64,
    /// Are Django's sessions taken? Needs the secret key.
    pub sessions: bool,
    pub session_cookie: String,
    /// Tables as SQL names them, schema and quotes included where needed.
    pub session_table: String,
    pub user_table: String,
    pub user_columns: UserColumns,
    /// Of a custom session class: `django.contrib.sessions.` and its name.
    pub session_salt: String,
    /// Django's AUTHENTICATION_BACKENDS.
    pub session_backends: Vec<String>,
    /// How often the sessions, users and keys behind open connections are looked at again.
    pub recheck_interval_ms: u64,
    /// How long the stream waits for subscriptions to be checked when data that rules read has changed; then it goes on
    /// without those of which it is not known yet.
    pub recheck_timeout_ms: u64,
    /// Function from a user's key as text to `text[]`, such as `app.roles`: its roles are added.
    pub roles_sql: Option<String>,
    /// Origins whose pages may open WebSockets, as Django's ALLOWED_HOSTS or with a scheme. Empty: the request's own host.
    pub origins: Vec<String>,
    /// Is a client without an Origin (no browser) refused?
    pub origin_required: bool,
}

/// The names of a user table's columns; an empty one is not there.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct UserColumns {
    pub id: String,
    pub username: String,
    pub password: String,
    pub is_active: String,
    pub is_staff: String,
    pub is_superuser: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// `Authorization: Bearer TOKEN`
    Header,
    /// `Sec-WebSocket-Protocol: rowcast.v1, bearer.TOKEN`
    Subprotocol,
    /// The native dialect's `auth`.
    Frame,
    Cookie,
    /// `?token=TOKEN`
    Query,
}

impl Default for Config {
    fn default() -> Self {
        let texts = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
        Self {
            secret_key_file: None,
            secret_key_env: None,
            secret_key_fallback_envs: Vec::new(),
            jwt: false,
            jwt_algorithm: Algorithm::HS256,
            jwt_public_key_file: None,
            jwt_jwks_url: None,
            jwt_issuer: None,
            jwt_audiences: Vec::new(),
            jwt_leeway_s: 0,
            jwt_type_claim: "token_type".into(),
            jwt_type: "access".into(),
            jwt_user_claim: "user_id".into(),
            jwt_name_claim: "username".into(),
            jwt_roles_claims: texts(&["role", "roles", "groups"]),
            jwt_staff_claims: texts(&["is_staff", "is_superuser"]),
            jwt_check_user: false,
            carriers: vec![Carrier::Header, Carrier::Subprotocol, Carrier::Frame, Carrier::Query],
            token_cookie: "access_token".into(),
            expiring_lead_ms: 60_000,
            sessions: false,
            session_cookie: "sessionid".into(),
            session_table: "django_session".into(),
            user_table: "auth_user".into(),
            user_columns: UserColumns::default(),
            session_salt: "django.contrib.sessions.SessionStore".into(),
            session_backends: texts(&["django.contrib.auth.backends.ModelBackend"]),
            recheck_interval_ms: 15_000,
            recheck_timeout_ms: 2_000,
            roles_sql: None,
            origins: Vec::new(),
            origin_required: false,
        }
    }
}

impl Default for UserColumns {
    fn default() -> Self {
        Self {
            id: "id".into(),
            username: "username".into(),
            password: "password".into(),
            is_active: "is_active".into(),
            is_staff: "is_staff".into(),
            is_superuser: "is_superuser".into(),
        }
    }
}

/// A secret that is named but cannot be had, or is needed and not named.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("auth.secret_key_file: cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("the environment variable {0}, which [auth] names for a secret key, is not set")]
    Variable(String),
    #[error("auth.secret_key_file and auth.secret_key_env are both set: name one place for the secret key")]
    Both,
    #[error("[auth] needs the secret key: name it by secret_key_file or secret_key_env")]
    Missing,
}

/// The secret keys, the present one first.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// From where the configuration says; none where it says nothing. `variable` reads the environment.
    pub fn read(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Self, SecretError> {
        let named = |name: &String| {
            let secret = variable(name).map(|text| Secret::new(&text)).filter(|s| !s.is_empty());
            secret.ok_or_else(|| SecretError::Variable(name.clone()))
        };
        let present = match (&config.secret_key_file, &config.secret_key_env) {
            (Some(_), Some(_)) => return Err(SecretError::Both),
            (Some(path), None) => {
                let text = std::fs::read_to_string(path);
                Some(Secret::new(&text.map_err(|source| SecretError::File { path: path.clone(), source })?))
            }
            (None, Some(name)) => Some(named(name)?),
            (None, None) => None,
        };
        let earlier = config.secret_key_fallback_envs.iter().map(named).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(present.into_iter().chain(earlier).filter(|s| !s.is_empty()).collect()))
    }

    pub fn of(texts: &[&str]) -> Self {
        Self(texts.iter().map(|text| Secret::new(text)).collect())
    }

    pub fn present(&self) -> Result<&Secret, SecretError> {
        self.0.first().ok_or(SecretError::Missing)
    }

    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }
}
