//! Who a client is, as far as anybody could tell.

use std::fmt;
use std::sync::Arc;

use super::pattern::Pattern;

/// What stood behind the credentials; `anonymous` where there were none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's key as text (`42`, or a UUID); None: anonymous, or a server with an API key.
    pub user: Option<Arc<str>>,
    /// The user's name for people; empty where it is not known.
    pub name: Arc<str>,
    /// May what the application's own staff may: Django's `is_staff` or `is_superuser`.
    pub staff: bool,
    pub roles: Vec<Arc<str>>,
    /// JSON object for SQL (`current_setting('request.jwt.claims')`), as PostgREST shows them; empty: none.
    pub claims: Arc<str>,
    /// When the credentials end, in microseconds since 1970, UTC; None: never.
    pub expires_at_us: Option<i64>,
    /// Of a server's key: what it may do, and nothing else. None: rules decide.
    pub scope: Option<Arc<Scope>>,
}

impl Identity {
    pub fn anonymous() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub fn is_anonymous(&self) -> bool {
        *self == Self::default()
    }

    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|r| &**r == role)
    }
}

/// The channels that an API key was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub listen: Vec<Pattern>,
    pub publish: Vec<Pattern>,
}

/// What an identity rests on, and so how it ends. Whoever has a session's key is its user: it shows itself to nobody.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Credential {
    #[default]
    None,
    /// It says itself when it ends.
    Token,
    /// Ends with its row, or its user.
    Session(Arc<str>),
    /// Ends when it is revoked.
    ApiKey(i32),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token => f.write_str("Token"),
            Self::Session(_) => f.write_str("Session([redacted])"),
            Self::ApiKey(id) => write!(f, "ApiKey({id})"),
        }
    }
}

/// Who asks, and by what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub identity: Arc<Identity>,
    pub credential: Credential,
    /// How many disconnected users had been heard of when this was about to be found out: later ones concern it.
    pub mark: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_key_is_not_shown() {
        let caller = Caller { credential: Credential::Session("s3cret".into()), ..Caller::default() };
        assert!(!format!("{caller:?}").contains("s3cret"));
    }
}
