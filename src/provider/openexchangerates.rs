//! openexchangerates.org: an app id (in a header), hourly on the free plan, base USD unless paid for; `ETag`.

use std::collections::BTreeMap;

use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Listing, unix};
use super::client::{Ask, Reply};
use super::error::ProviderError;
use super::number;
use super::polled::{Feed, Question, SYMBOLS};
use crate::domain::Currency;

pub(super) const BASE_URL: &str = "https://openexchangerates.org/api";

pub(super) struct OpenExchangeRates;

impl Feed for OpenExchangeRates {
    fn ask(&self, question: &Question<'_>) -> Result<Ask, ProviderError> {
        let mut ask = Ask::path(&["latest.json"]);
        if question.base != Currency::USD {
            ask = ask.query("base", question.base.as_str());
        }
        if let Some(symbols) = question.symbols() {
            ask = ask.query("symbols", symbols);
        }
        ask.secret_header(AUTHORIZATION, "Token ", question.wire.key()?)
    }

    fn read(&self, reply: &Reply, _: &Question<'_>) -> Result<Listing, ProviderError> {
        let latest: Latest<'_> = reply.json()?;
        if latest.error {
            return Err(refusal(latest.message.as_deref().unwrap_or_default(), latest.status, reply));
        }
        if let Some(error) = reply.status_error() {
            return Err(error);
        }
        let (Some(at), Some(base), Some(rates)) = (latest.timestamp, latest.base, latest.rates) else {
            return Err(ProviderError::Malformed { what: "no error, but without base, time or rates" });
        };
        let base = base.parse().map_err(|_| ProviderError::Malformed { what: "its base is no currency" })?;
        let mut listing = Listing::new(base, unix(at)?);
        rates.iter().for_each(|(code, rate)| listing.add(code, number::rate(rate)));
        Ok(listing)
    }
}

#[derive(Deserialize)]
struct Latest<'a> {
    #[serde(default)]
    error: bool,
    status: Option<u16>,
    message: Option<String>,
    timestamp: Option<i64>,
    base: Option<String>,
    #[serde(borrow)]
    rates: Option<BTreeMap<String, &'a RawValue>>,
}

/// The message goes before the status: `not_allowed` is a 429 that has nothing to do with how often one asks.
fn refusal(message: &str, status: Option<u16>, reply: &Reply) -> ProviderError {
    match (message, status) {
        ("not_allowed" | "invalid_base", _) => ProviderError::UnsupportedBase,
        ("invalid_symbols" | "no_valid_symbols", _) => ProviderError::Refused { what: SYMBOLS },
        ("invalid_app_id" | "missing_app_id" | "access_restricted", _) | (_, Some(401 | 403)) => ProviderError::Auth,
        (_, Some(429)) => reply.rate_limited(),
        (_, Some(status)) => ProviderError::Status { status },
        (_, None) => {
            reply.status_error().unwrap_or(ProviderError::Refused { what: "for a reason that it does not say" })
        }
    }
}
