//! What is asked of a provider, and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rust_decimal::Decimal;

use super::error::ProviderError;
use super::pair::Pair;
use crate::domain::Currency;

/// What is asked.
#[derive(Clone)]
pub struct Wanted {
    /// A snapshot is asked against this currency. A provider that has only its own base answers with that, and
    /// then quotes this currency too, so that the answer can be rebased.
    pub base: Currency,
    /// Of a snapshot.
    pub currencies: BTreeSet<Currency>,
    /// Of a provider that quotes pairs, in the order of asking.
    pub pairs: Vec<Pair>,
    pub now: DateTime<Utc>,
    /// Called by pair providers as (done, total).
    pub progress: Option<Arc<dyn Fn(usize, usize) + Send + Sync>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of a snapshot: what its quotes are against. Its own rate, 1, is not among them.
    pub base: Currency,
    /// When the provider last updated: its own time stamp, of the newest quote. A provider that gives a date only is
    /// taken to publish at 14:00 UTC (the ECB: about 16:00 in Frankfurt); one that gives none, now.
    pub provider_ts: DateTime<Utc>,
    /// Only what was wanted, each once.
    pub quotes: Vec<Quote>,
    /// Wanted, and not known to the provider or without a usable rate: no error.
    pub unknown: Vec<Currency>,
    /// Pairs that got no quote while others did, and why.
    pub missing: Vec<Missing>,
    /// Of the whole round, the last byte included.
    pub latency_ms: u64,
    /// The provider says that nothing changed since the answer before (HTTP 304).
    pub unchanged: bool,
    /// When the provider says that it will have news: asking earlier is pointless.
    pub next_at: Option<DateTime<Utc>>,
}

/// 1 `base` buys `rate` `quote`; 0 < rate < 1e9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    pub base: Currency,
    pub quote: Currency,
    pub rate: Decimal,
    /// As in [`Answer`]; some providers date each quote.
    pub provider_ts: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub pair: Pair,
    pub error: ProviderError,
}

impl Answer {
    /// What of a partial answer the whole provider must answer for: a quota, a rate limit, a refused key.
    pub fn trouble(&self) -> Option<&ProviderError> {
        self.missing.iter().map(|m| &m.error).find(|e| e.ends_the_round())
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self { base, currencies, pairs, now, .. }, mut f) = (self, f.debug_struct("Wanted"));
        f.field("base", base).field("currencies", currencies).field("pairs", pairs).field("now", now);
        f.finish_non_exhaustive()
    }
}

/// All that a snapshot provider said, before what is wanted is picked from it.
pub(super) struct Listing {
    base: Currency,
    at: DateTime<Utc>,
    next_at: Option<DateTime<Utc>>,
    rates: BTreeMap<Currency, (Decimal, DateTime<Utc>)>,
}

impl Listing {
    pub fn new(base: Currency, at: DateTime<Utc>) -> Self {
        Self { base, at, next_at: None, rates: BTreeMap::new() }
    }

    pub fn next_at(self, next_at: Option<DateTime<Utc>>) -> Self {
        Self { next_at, ..self }
    }

    /// A code that is no currency's, and a rate that is none, are passed over.
    pub fn add(&mut self, code: &str, rate: Option<Decimal>) {
        self.add_at(code, rate, self.at);
    }

    /// Of two rates for one currency the newer counts.
    pub fn add_at(&mut self, code: &str, rate: Option<Decimal>, at: DateTime<Utc>) {
        let (Ok(quote), Some(rate)) = (code.parse(), rate) else { return };
        match self.rates.get(&quote) {
            Some((_, known)) if *known >= at => {}
            _ => drop(self.rates.insert(quote, (rate, at))),
        }
    }

    pub fn pick(self, wanted: &Wanted, symbols: &[Currency]) -> Result<Answer, ProviderError> {
        if self.rates.is_empty() {
            return Err(ProviderError::Malformed { what: "not one usable rate" });
        }
        let mut quotes = Vec::new();
        let mut unknown = Vec::new();
        let asked = wanted.currencies.iter().filter(|c| symbols.is_empty() || symbols.contains(c));
        let asked: BTreeSet<Currency> = asked.copied().chain([wanted.base]).collect();
        for quote in asked.into_iter().filter(|c| *c != self.base) {
            match self.rates.get(&quote) {
                Some(&(rate, provider_ts)) => quotes.push(Quote { base: self.base, quote, rate, provider_ts }),
                None => unknown.push(quote),
            }
        }
        let provider_ts = quotes.iter().map(|q| q.provider_ts).max().unwrap_or(self.at);
        Ok(Answer {
            base: self.base,
            provider_ts,
            quotes,
            unknown,
            missing: Vec::new(),
            latency_ms: 0,
            unchanged: false,
            next_at: self.next_at,
        })
    }
}

/// Seconds since 1970.
pub(super) fn unix(seconds: i64) -> Result<DateTime<Utc>, ProviderError> {
    DateTime::from_timestamp(seconds, 0).ok_or(ProviderError::Malformed { what: "its time stamp is out of range" })
}

/// `2026-11-20`: the moment that a source which publishes once on that day is taken to have published. The hour is
/// our guess, so on the day itself it is never later than now; another day in the future stays one.
pub(super) fn day(date: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, ProviderError> {
    let bad = ProviderError::Malformed { what: "its date is no date" };
    let date: NaiveDate = date.parse().map_err(|_| bad)?;
    let published = NaiveTime::from_hms_opt(14, 0, 0).expect("an hour of the day");
    let at = date.and_time(published).and_utc();
    Ok(if date == now.date_naive() { at.min(now) } else { at })
}
