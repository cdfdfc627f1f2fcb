//! How clients said who they are, what became of it, and how it ended. Counters since the process began.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Refusal;
use super::jwt::TokenError;

#[derive(Clone, Copy, Debug)]
pub enum Method {
    Token,
    Session,
    ApiKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Made up, tampered with, of another kind, ended, or taken where none are.
    Invalid,
    Expired,
    /// The user is not there, or deactivated.
    NoUser,
    /// The database, or the issuer's keys, could not be asked.
    Unknown,
}

/// Why somebody lost what he had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A subscription: a rule says so.
    Access,
    /// A subscription: the rule could not be asked.
    AccessUnknown,
    /// The connection: its token has expired.
    Expired,
    /// The connection: its session, key or user has ended, or has other rights.
    Ended,
    /// The connection: `rowcast.disconnect`.
    Disconnected,
}

#[derive(Debug, Default)]
pub struct Stats {
    asked: [[AtomicU64; Outcome::ALL.len()]; Method::ALL.len()],
    lost: [AtomicU64; Loss::ALL.len()],
    /// Questions that were asked again: a subscription each, or those of one user on one channel together.
    pub rechecks: AtomicU64,
    pub rules_failed: AtomicU64,
    pub jwks_fetched: AtomicU64,
    pub jwks_failed: AtomicU64,
}

impl Method {
    pub const ALL: [Self; 3] = [Self::Token, Self::Session, Self::ApiKey];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
            Self::ApiKey => "api_key",
        }
    }
}

impl Outcome {
    pub const ALL: [Self; 5] = [Self::Accepted, Self::Invalid, Self::Expired, Self::NoUser, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::NoUser => "no_user",
            Self::Unknown => "unknown",
        }
    }

    fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Token(TokenError::Expired) => Self::Expired,
            Refusal::Token(TokenError::NoKeys) | Refusal::Database(_) => Self::Unknown,
            Refusal::Token(_) | Refusal::Key | Refusal::NoTokens => Self::Invalid,
            Refusal::UserNotFound | Refusal::UserInactive => Self::NoUser,
        }
    }
}

impl Loss {
    pub const ALL: [Self; 5] = [Self::Access, Self::AccessUnknown, Self::Expired, Self::Ended, Self::Disconnected];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access_lost",
            Self::AccessUnknown => "access_unknown",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::Disconnected => "disconnected",
        }
    }
}

impl Stats {
    pub(super) fn asked<T>(&self, method: Method, answer: &Result<T, Refusal>) {
        self.judged(method, answer.as_ref().err().map_or(Outcome::Accepted, Outcome::of));
    }

    pub(super) fn judged(&self, method: Method, outcome: Outcome) {
        self.asked[method as usize][outcome as usize].fetch_add(1, Relaxed);
    }

    pub fn lost(&self, loss: Loss) {
        self.lost[loss as usize].fetch_add(1, Relaxed);
    }

    pub fn answers(&self, method: Method, outcome: Outcome) -> u64 {
        self.asked[method as usize][outcome as usize].load(Relaxed)
    }

    pub fn losses(&self, loss: Loss) -> u64 {
        self.lost[loss as usize].load(Relaxed)
    }
}
