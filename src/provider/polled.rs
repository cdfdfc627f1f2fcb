use chrono::{DateTime, Utc};

use super::answer::{Answer, Listing, Wanted};
use super::client::{Ask, Reply, Wire};
use super::config::Cadence;
use super::error::ProviderError;
use super::{Kind, Provider};
use crate::domain::Boxed;
use crate::domain::Currency;

/// What differs between the providers that answer one request with all their rates.
pub(super) trait Feed: Send + Sync + 'static {
    fn ask(&self, question: &Question<'_>) -> Result<Ask, ProviderError>;
    fn read(&self, reply: &Reply, question: &Question<'_>) -> Result<Listing, ProviderError>;
}

pub(super) struct Question<'a> {
    pub base: Currency,
    pub now: DateTime<Utc>,
    pub wire: &'a Wire,
    symbols: &'a [Currency],
}

pub(super) struct Polled<F> {
    pub name: &'static str,
    pub cadence: Cadence,
    pub symbols: Vec<Currency>,
    pub wire: Wire,
    pub feed: F,
}

impl<'a> Question<'a> {
    #[cfg(any(test, fuzzing))]
    pub fn of(base: Currency, now: DateTime<Utc>, wire: &'a Wire) -> Self {
        Self { base, now, wire, symbols: &[] }
    }
}

impl Question<'_> {
    /// What the request shall be narrowed to, if the configuration says so. By default nothing is: an answer with all
    /// currencies is small, and some providers refuse a list as a whole for one code they do not know.
    pub fn symbols(&self) -> Option<String> {
        if self.symbols.is_empty() {
            return None;
        }
        let mut codes: Vec<&str> = self.symbols.iter().map(Currency::as_str).collect();
        if !self.symbols.contains(&self.base) {
            codes.push(self.base.as_str());
        }
        Some(codes.join(","))
    }

    /// "Invalid currency", where the provider does not say which.
    pub fn invalid_currency(&self) -> ProviderError {
        if self.symbols.is_empty() { ProviderError::UnsupportedBase } else { ProviderError::Refused { what: SYMBOLS } }
    }
}

pub(super) const SYMBOLS: &str = "it does not know one of the currencies under `symbols`";

impl<F: Feed> Provider for Polled<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> Kind {
        Kind::Snapshot
    }

    fn cadence(&self) -> Cadence {
        self.cadence
    }

    fn fetch<'a>(&'a self, wanted: &'a Wanted) -> Boxed<'a, Result<Answer, ProviderError>> {
        Box::pin(async move {
            let question = Question { base: wanted.base, now: wanted.now, wire: &self.wire, symbols: &self.symbols };
            let ask = self.feed.ask(&question)?;
            let read = |reply: &Reply| self.feed.read(reply, &question)?.pick(wanted, &self.symbols);
            let heard = self.wire.ask(ask, wanted.now, read).await?;
            Ok(Answer { latency_ms: heard.latency_ms, unchanged: heard.unchanged, ..heard.said })
        })
    }
}
