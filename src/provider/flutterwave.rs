//! Flutterwave v3 transfer rates: executable quotes, one request per pair, a bearer key.
//!
//! The field `rate` means source per destination in the classic answer and destination per source in the new one;
//! both agree on the two amounts, so only those are read. Quotes are directional: none is ever inverted.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream;
use reqwest::header::AUTHORIZATION;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Answer, Missing, Quote, Wanted};
use super::client::{Ask, Heard, Reply, Wire};
use super::config::Cadence;
use super::error::ProviderError;
use super::number;
use super::pair::Pair;
use super::{Kind, Provider};
use crate::domain::Boxed;
use crate::domain::Currency;

pub(super) const BASE_URL: &str = "https://api.flutterwave.com/v3";
/// So many failures with no quote in between, and the rest of the round is not asked: a dead server costs some time-outs,
/// not one per pair.
const FAILURES_IN_A_ROW_MAX: usize = 5;

pub(super) struct Flutterwave {
    pub wire: Wire,
    pub cadence: Cadence,
    pub symbols: Vec<Currency>,
    pub concurrency: usize,
    pub amount: u32,
}

impl Provider for Flutterwave {
    fn name(&self) -> &'static str {
        "flutterwave"
    }

    fn kind(&self) -> Kind {
        Kind::Pairs
    }

    fn cadence(&self) -> Cadence {
        self.cadence
    }

    fn fetch<'a>(&'a self, wanted: &'a Wanted) -> Boxed<'a, Result<Answer, ProviderError>> {
        Box::pin(self.round(wanted))
    }
}

impl Flutterwave {
    async fn round(&self, wanted: &Wanted) -> Result<Answer, ProviderError> {
        let started = std::time::Instant::now();
        let asked = |p: &&Pair| self.symbols.is_empty() || self.symbols.contains(&p.quote);
        let pairs: Vec<Pair> = wanted.pairs.iter().filter(asked).copied().collect();
        let mut results = HashMap::with_capacity(pairs.len());
        let mut failures_in_a_row = 0;
        let requests = pairs.iter().copied().map(|pair| async move { (pair, self.ask(pair, wanted.now).await) });
        let mut running = stream::iter(requests).buffer_unordered(self.concurrency);
        while let Some((pair, result)) = running.next().await {
            failures_in_a_row = match &result {
                Err(error) if says_no_to_this_pair(error) => failures_in_a_row,
                Err(_) => failures_in_a_row + 1,
                Ok(_) => 0,
            };
            let over = result.as_ref().is_err_and(ProviderError::ends_the_round);
            let given_up = over || failures_in_a_row >= FAILURES_IN_A_ROW_MAX;
            let left_out = if given_up { result.as_ref().err().cloned() } else { None };
            results.insert(pair, result);
            if let Some(progress) = &wanted.progress {
                progress(results.len(), pairs.len());
            }
            if let Some(error) = left_out {
                for pair in &pairs {
                    results.entry(*pair).or_insert_with(|| Err(error.clone()));
                }
                break;
            }
        }
        drop(running);
        // In the order of asking, not of answering.
        let (mut quotes, mut missing) = (Vec::new(), Vec::new());
        for pair in pairs {
            match results.remove(&pair) {
                Some(Ok(quote)) => quotes.push(quote),
                Some(Err(error)) => missing.push(Missing { pair, error }),
                None => {} // the same pair was wanted twice
            }
        }
        if quotes.is_empty() && !missing.is_empty() {
            let first = missing.iter().position(|m| m.error.ends_the_round()).unwrap_or(0);
            return Err(missing.swap_remove(first).error);
        }
        Ok(Answer {
            base: wanted.base,
            provider_ts: wanted.now,
            quotes,
            unknown: Vec::new(),
            missing,
            latency_ms: started.elapsed().as_millis() as u64,
            unchanged: false,
            next_at: None,
        })
    }

    async fn ask(&self, pair: Pair, now: DateTime<Utc>) -> Result<Quote, ProviderError> {
        let ask = Ask::path(&["transfers", "rates"])
            .query("amount", self.amount.to_string())
            .query("destination_currency", pair.quote.as_str())
            .query("source_currency", pair.base.as_str())
            .secret_header(AUTHORIZATION, "Bearer ", self.wire.key()?)?;
        let Heard { said: rate, .. } = self.wire.ask(ask, now, |reply| read(reply, pair)).await?;
        Ok(Quote { base: pair.base, quote: pair.quote, rate, provider_ts: now })
    }
}

/// A validation error: the provider is well, it does not trade this pair.
fn says_no_to_this_pair(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Status { status: 400 | 404 | 422 })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    status: String,
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    source: Amount<'a>,
    #[serde(borrow)]
    destination: Amount<'a>,
}

#[derive(Deserialize)]
struct Amount<'a> {
    currency: Currency,
    /// A number; a text in the answers of v4, which otherwise have this shape too.
    #[serde(borrow)]
    amount: &'a RawValue,
}

pub(super) fn read(reply: &Reply, pair: Pair) -> Result<Decimal, ProviderError> {
    if let Some(error) = reply.status_error() {
        return Err(error);
    }
    let envelope: Envelope<'_> = reply.json()?;
    if envelope.status != "success" {
        return Err(ProviderError::Refused { what: "it cannot quote at the moment" });
    }
    let data = envelope.data.ok_or(ProviderError::Malformed { what: "success, but without data" })?;
    if (data.source.currency, data.destination.currency) != (pair.base, pair.quote) {
        return Err(ProviderError::Malformed { what: "a quote for another pair" });
    }
    let amount = |amount: &RawValue| {
        let text = amount.get().trim_matches('"');
        number::decimal(text).filter(|a| *a > Decimal::ZERO)
    };
    amount(data.destination.amount)
        .zip(amount(data.source.amount))
        .and_then(|(bought, sold)| Some(bought.checked_div(sold)?.normalize()))
        .and_then(number::in_bounds)
        .ok_or(ProviderError::Malformed { what: "its amounts make no rate" })
}
