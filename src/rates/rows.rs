//! Between the store's rows, where numbers are text, and our types.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::RatesError;
use super::consensus::Confidence;
use super::pair::Pair;
use super::panel::{Fared, Outcome};
use super::publish::{Offer, Published};
use super::quote::Judged;
use super::refresh::Of;
use super::settle::{Good, Mark};
use crate::domain::Currency;
use crate::provider::Circuit;
use crate::store::{MarkRow, NewQuote, NewRate, ProviderRow, RateRow, RatesState, StoreError};

pub struct State {
    pub cycle: i64,
    pub at: Option<DateTime<Utc>>,
    pub marks: BTreeMap<Of, Mark>,
    pub rates: BTreeMap<Pair, Published>,
}

pub fn read(state: RatesState) -> Result<State, RatesError> {
    let marks = state.marks.iter().map(|m| read_mark(m).ok_or_else(|| strange("rate_mark", &m.base, &m.quote)));
    let rates = state.rates.iter().map(|r| read_rate(r).ok_or_else(|| strange("rates", &r.source, &r.destination)));
    Ok(State {
        cycle: state.cycle,
        at: state.at_us.and_then(DateTime::from_timestamp_micros),
        marks: marks.collect::<Result<_, _>>()?,
        rates: rates.collect::<Result<_, _>>()?,
    })
}

fn strange(table: &str, base: &str, quote: &str) -> StoreError {
    StoreError::Answer(format!("row {base}, {quote} of rowcast_fx.{table} cannot be read"))
}

fn read_mark(m: &MarkRow) -> Option<(Of, Mark)> {
    let of = match m.kind.as_str() {
        "mid" => Of::Mid(m.quote.parse().ok()?),
        _ => Of::Executable(Pair { source: m.base.parse().ok()?, destination: m.quote.parse().ok()? }),
    };
    let time = |us: Option<i64>| us.and_then(DateTime::from_timestamp_micros);
    let good = match (&m.value, time(m.good_at_us)) {
        (Some(value), Some(at)) => Some(Good {
            value: value.parse().ok()?,
            at,
            as_of: time(m.as_of_us),
            confidence: Confidence::parse(&m.confidence)?,
            sources: m.sources.iter().map(|s| Arc::from(s.as_str())).collect(),
        }),
        _ => None,
    };
    let held = match (&m.held, time(m.held_at_us)) {
        (Some(held), Some(at)) => Some((held.parse().ok()?, at)),
        _ => None,
    };
    Some((of, Mark { good, held }))
}

fn read_rate(r: &RateRow) -> Option<(Pair, Published)> {
    let pair = Pair { source: r.source.parse().ok()?, destination: r.destination.parse().ok()? };
    Some((
        pair,
        Published {
            rate: r.rate.parse().ok()?,
            confidence: Confidence::parse(&r.confidence)?,
            executed_by: r.executed_by.as_deref().map(Arc::from),
            cached: r.cached,
            expired: r.expired,
            warnings: r.warnings.clone(),
            held: r.held,
            updated_at: DateTime::from_timestamp_micros(r.updated_at_us)?,
        },
    ))
}

pub fn mark(of: Of, mark: &Mark) -> MarkRow {
    let (kind, pair) = match of {
        Of::Mid(currency) => ("mid", Pair { source: Currency::USD, destination: currency }),
        Of::Executable(pair) => ("executable", pair),
    };
    let good = mark.good.as_ref();
    MarkRow {
        kind: kind.into(),
        base: pair.source.to_string(),
        quote: pair.destination.to_string(),
        value: good.map(|g| g.value.to_string()),
        good_at_us: good.map(|g| g.at.timestamp_micros()),
        as_of_us: good.and_then(|g| g.as_of).map(|t| t.timestamp_micros()),
        confidence: good.map_or(Confidence::Low, |g| g.confidence).as_str().into(),
        sources: good.map_or(Vec::new(), |g| names(&g.sources)),
        held: mark.held.map(|(value, _)| value.to_string()),
        held_at_us: mark.held.map(|(_, at)| at.timestamp_micros()),
    }
}

pub fn rate(offer: &Offer) -> NewRate {
    NewRate {
        source: offer.pair.source.to_string(),
        destination: offer.pair.destination.to_string(),
        rate: offer.rate.to_string(),
        inverse: offer.inverse.to_string(),
        mid: offer.mid.map(|m| m.to_string()),
        confidence: offer.confidence.as_str(),
        sources: names(&offer.sources),
        executed_by: offer.executed_by.as_ref().map(ToString::to_string),
        as_of_us: offer.as_of.map(|t| t.timestamp_micros()),
        cached: offer.cached,
        expired: offer.expired,
        warnings: offer.warnings.clone(),
    }
}

pub fn quote(judged: &Judged) -> NewQuote {
    // A code that is none is kept as it came, but not at any length, nor with what Postgres' text cannot hold.
    let code = |text: &str| text.chars().filter(|c| !c.is_control()).take(16).collect();
    NewQuote {
        provider: judged.provider.to_string(),
        base: code(&judged.quoted.base),
        quote: code(&judged.quoted.quote),
        rate: judged.quoted.rate.to_string(),
        as_of_us: judged.quoted.as_of.timestamp_micros(),
        fetched_at_us: judged.fetched_at.timestamp_micros(),
        reason: judged.rejected.as_ref().map(|r| r.code()),
        detail: judged.rejected.as_ref().map(ToString::to_string),
    }
}

pub fn provider(fared: &Fared) -> ProviderRow {
    ProviderRow {
        provider: fared.provider.to_string(),
        outcome: match fared.outcome {
            Outcome::Answered => "answered",
            Outcome::Held(_) => "held",
            Outcome::Failed(_) => "failed",
            Outcome::Slow => "slow",
        },
        breaker: match fared.circuit {
            Circuit::Closed => "closed",
            Circuit::Open => "open",
            Circuit::HalfOpen => "half_open",
        },
        detail: match &fared.outcome {
            Outcome::Held(why) | Outcome::Failed(why) => Some(why.clone()),
            Outcome::Answered | Outcome::Slow => None,
        },
        why: fared.held.map(|h| h.why.as_str()),
        openings: fared.openings,
        held_until_us: fared.held.and_then(|h| h.until).map(|t| t.timestamp_micros()),
        answered_at_us: fared.answered_at.map(|t| t.timestamp_micros()),
        latency_ms: fared.latency_ms,
    }
}

fn names(sources: &[Arc<str>]) -> Vec<String> {
    sources.iter().map(ToString::to_string).collect()
}
