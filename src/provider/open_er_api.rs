//! open.er-api.com: no key, daily, attribution required. HTTP 429 per address, lifted after 20 minutes.
//! Its envelope is exchangerate-api's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Listing, unix};
use super::client::{Ask, Reply};
use super::error::ProviderError;
use super::number;
use super::polled::{Feed, Question};

pub(super) const BASE_URL: &str = "https://open.er-api.com/v6";

pub(super) struct OpenErApi;

impl Feed for OpenErApi {
    fn ask(&self, question: &Question<'_>) -> Result<Ask, ProviderError> {
        Ok(Ask::path(&["latest", question.base.as_str()]))
    }

    fn read(&self, reply: &Reply, _: &Question<'_>) -> Result<Listing, ProviderError> {
        envelope(reply)
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    result: String,
    #[serde(rename = "error-type")]
    error_type: Option<String>,
    time_last_update_unix: Option<i64>,
    time_next_update_unix: Option<i64>,
    base_code: Option<String>,
    #[serde(borrow, alias = "conversion_rates")]
    rates: Option<BTreeMap<String, &'a RawValue>>,
    // The answer to a single pair.
    target_code: Option<String>,
    #[serde(borrow)]
    conversion_rate: Option<&'a RawValue>,
}

/// What exchangerate-api answers on all its sites; target for 1 base.
pub(super) fn envelope(reply: &Reply) -> Result<Listing, ProviderError> {
    let envelope: Envelope<'_> = reply.json()?;
    if envelope.result != "success" {
        return Err(refusal(envelope.error_type.as_deref().unwrap_or_default(), reply));
    }
    let incomplete = ProviderError::Malformed { what: "success, but without base, time or rates" };
    let (Some(base), Some(at)) = (envelope.base_code, envelope.time_last_update_unix) else { return Err(incomplete) };
    let base = base.parse().map_err(|_| ProviderError::Malformed { what: "its base is no currency" })?;
    // A time of 0 means none.
    let next_at = envelope.time_next_update_unix.filter(|t| *t > 0).and_then(|t| unix(t).ok());
    let mut listing = Listing::new(base, unix(at)?).next_at(next_at);
    match (envelope.rates, envelope.target_code, envelope.conversion_rate) {
        (Some(rates), _, _) => rates.iter().for_each(|(code, rate)| listing.add(code, number::rate(rate))),
        (None, Some(code), Some(rate)) => listing.add(&code, number::rate(rate)),
        _ => return Err(incomplete),
    }
    Ok(listing)
}

fn refusal(error_type: &str, reply: &Reply) -> ProviderError {
    match error_type {
        "unsupported-code" => ProviderError::UnsupportedBase,
        "invalid-key" | "inactive-account" | "plan-upgrade-required" => ProviderError::Auth,
        "quota-reached" => ProviderError::Quota,
        "malformed-request" => ProviderError::Refused { what: "it calls the request malformed" },
        _ => reply.status_error().unwrap_or(ProviderError::Refused { what: "for a reason that it does not document" }),
    }
}
