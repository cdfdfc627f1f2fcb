use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::consensus::Confidence;
use super::figure::Figure;
use super::pair::Pair;
use super::panel::Fared;
use super::quote::Judged;

/// What a refresh did. Its text is one line, for the log and a job's history.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Number of the refresh.
    pub cycle: i64,
    pub at: DateTime<Utc>,
    /// Another refresh had later quotes: these were not used, and all below is empty.
    pub superseded: bool,
    /// Rates to be written: another value, or another confidence or warning.
    pub changed: Vec<Change>,
    /// Rates that were written; fewer than `changed` where somebody had just written the same.
    pub written: usize,
    pub unchanged: usize,
    /// Rates that somebody changed by hand, and that stand.
    pub by_hand: usize,
    /// Jumps that wait for confirmation.
    pub held: Vec<Held>,
    /// What nobody has a usable quote for now: its last good value, and how old it is.
    pub cached: Vec<Cached>,
    /// Pairs whose last good value is too old.
    pub expired: Vec<Pair>,
    /// Pairs that never had a quote.
    pub missing: Vec<Pair>,
    /// How each provider fared.
    pub providers: Vec<Fared>,
    /// Each quote with its fate.
    pub quotes: Vec<Judged>,
    pub used: usize,
    pub rejected: usize,
    /// Of the rejected.
    pub stale: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub pair: Pair,
    /// None: a new pair.
    pub old: Option<Figure>,
    /// May equal `old` where confidence or warnings changed.
    pub new: Figure,
    pub confidence: Confidence,
    pub sources: Vec<Arc<str>>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// A currency, or the pair of a payout price.
    pub of: String,
    pub last: Figure,
    pub jump: Figure,
    pub sources: Vec<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// A currency, or the pair of a payout price.
    pub of: String,
    pub age_s: i64,
    pub expired: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.superseded {
            return f.write_str("nothing done: another refresh had later quotes");
        }
        write!(f, "{} rates changed, {} unchanged", self.changed.len(), self.unchanged)?;
        let counted = [
            (self.by_hand, "held by hand"),
            (self.held.len(), "jumps on hold"),
            (self.cached.len(), "from the last good value"),
            (self.expired.len(), "expired"),
            (self.missing.len(), "without a quote"),
        ];
        for (count, what) in counted.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        write!(f, "; {} quotes used, {} rejected", self.used, self.rejected)?;
        if self.stale > 0 { write!(f, " ({} stale)", self.stale) } else { Ok(()) }
    }
}
