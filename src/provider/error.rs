use std::time::Duration;

/// Why a provider gave no answer. Says nothing of the request's URL or key, nor anything that the provider
/// wrote (some repeat the key in their message).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    #[error("no answer in time")]
    Timeout,
    /// No connection, or it broke before the answer was complete.
    #[error("cannot be reached: {why}")]
    Unreachable { why: String },
    #[error("answered with HTTP status {status}")]
    Status { status: u16 },
    /// Asked too often: HTTP 429, 503 with `Retry-After`, or the provider's own word for it.
    #[error("asked too often{}", left_alone(.retry_after))]
    RateLimited { retry_after: Option<Duration> },
    /// The plan's requests are used up, usually until next month.
    #[error("the plan's quota is used up")]
    Quota,
    /// HTTP 401, 403, a key that is missing, wrong, inactive or without the right to this: open until reload.
    #[error("refused the key, or the plan does not allow the request")]
    Auth,
    #[error("does not quote against this base currency, or not on this plan")]
    UnsupportedBase,
    /// The provider understood, and says no. `what` is our word for its reason.
    #[error("refused the request: {what}")]
    Refused { what: &'static str },
    /// The answer is not what the provider documents.
    #[error("unreadable answer: {what}")]
    Malformed { what: &'static str },
    #[error("the answer is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
}

impl ProviderError {
    /// Stable: for the database, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::Status { .. } => "status",
            Self::RateLimited { .. } => "rate_limited",
            Self::Quota => "quota",
            Self::Auth => "auth",
            Self::UnsupportedBase => "unsupported_base",
            Self::Refused { .. } => "refused",
            Self::Malformed { .. } => "malformed",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// Asking the same provider again at once is pointless, whatever is asked.
    pub(super) fn ends_the_round(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Quota | Self::Auth)
    }
}

fn left_alone(retry_after: &Option<Duration>) -> String {
    retry_after.map(|d| format!(", wants to be left alone for {} s", d.as_secs())).unwrap_or_default()
}
