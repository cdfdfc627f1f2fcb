//! What the aggregation is given, and what became of each quote.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

/// How often a provider publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Minute,
    Hourly,
    Daily,
}

/// What one provider says now.
#[derive(Clone, Debug)]
pub struct Answer {
    pub provider: Arc<str>,
    pub pace: Pace,
    /// Its quotes are prices at which it pays out, one for each pair and direction; never inverted or crossed.
    pub executes: bool,
    pub fetched_at: DateTime<Utc>,
    pub quotes: Vec<Quoted>,
}

/// 1 `base` buys `rate` `quote`, as the provider has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Quoted {
    pub base: String,
    pub quote: String,
    pub rate: Decimal,
    /// The provider's own time stamp.
    pub as_of: DateTime<Utc>,
}

/// A quote, and what became of it.
#[derive(Clone, Debug)]
pub struct Judged {
    pub provider: Arc<str>,
    pub fetched_at: DateTime<Utc>,
    pub quoted: Quoted,
    /// None: it was used.
    pub rejected: Option<Reason>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    Code,
    Range,
    Stale {
        age_s: i64,
    },
    Future {
        by_s: i64,
    },
    /// The provider quotes against another base, and that base not against USD (or its quote was rejected).
    NoPivot,
    Duplicate,
    Outlier {
        deviation: Decimal,
        allowed: Decimal,
    },
    Apart {
        deviation: Decimal,
        allowed: Decimal,
    },
    NotExecuting,
}

impl Reason {
    /// Stable: for the database, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Range => "range",
            Self::Stale { .. } => "stale",
            Self::Future { .. } => "future",
            Self::NoPivot => "no_pivot",
            Self::Duplicate => "duplicate",
            Self::Outlier { .. } => "outlier",
            Self::Apart { .. } => "apart",
            Self::NotExecuting => "not_executing",
        }
    }

    /// Nothing is wrong with the provider's figure but its age.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |d: &Decimal| (d * Decimal::ONE_HUNDRED).round_dp(2).normalize();
        match self {
            Self::Code => f.write_str("not a currency code"),
            Self::Range => f.write_str("not between 0 and 1000000000"),
            Self::Stale { age_s } => write!(f, "{} h old", age_s / 3_600),
            Self::Future { by_s } => write!(f, "{by_s} s in the future"),
            Self::NoPivot => f.write_str("its base has no usable quote against USD"),
            Self::Duplicate => f.write_str("the provider quoted this before"),
            Self::Outlier { deviation, allowed } => {
                write!(f, "{} % from the median, {} % are allowed", percent(deviation), percent(allowed))
            }
            Self::Apart { deviation, allowed } => {
                write!(
                    f,
                    "two sources are {} % apart, {} % are allowed: the heavier counts",
                    percent(deviation),
                    percent(allowed)
                )
            }
            Self::NotExecuting => f.write_str("another payout provider is used for this pair"),
        }
    }
}
