//! What apilayer's services (currencylayer, exchangerate.host, fixer) have in common: `success` decides, not the
//! HTTP status, which is often 200 for an error.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Listing, unix};
use super::client::Reply;
use super::error::ProviderError;
use super::number;
use super::polled::SYMBOLS;

#[derive(Deserialize)]
struct Envelope<'a> {
    success: Option<bool>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
    timestamp: Option<i64>,
    #[serde(alias = "source")]
    base: Option<String>,
    /// currencylayer, exchangerate.host: keyed by both codes (`USDNGN`).
    #[serde(borrow)]
    quotes: Option<BTreeMap<String, &'a RawValue>>,
    /// fixer: keyed by the target's code.
    #[serde(borrow)]
    rates: Option<BTreeMap<String, &'a RawValue>>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    /// A number; a text on some of their gateways.
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

pub(super) fn envelope(reply: &Reply) -> Result<Listing, ProviderError> {
    let envelope: Envelope<'_> = reply.json()?;
    if envelope.success != Some(true) {
        return Err(match (envelope.error, reply.status_error()) {
            (Some(error), status) => refusal(&error, reply, status),
            (None, Some(status)) => status,
            (None, None) => ProviderError::Malformed { what: "neither success nor an error" },
        });
    }
    let (Some(at), Some(base)) = (envelope.timestamp, envelope.base) else {
        return Err(ProviderError::Malformed { what: "success, but without base or time" });
    };
    let currency = base.parse().map_err(|_| ProviderError::Malformed { what: "its base is no currency" })?;
    let mut listing = Listing::new(currency, unix(at)?);
    for (pair, rate) in envelope.quotes.iter().flatten() {
        if let Some(code) = pair.strip_prefix(&base) {
            listing.add(code, number::rate(rate));
        }
    }
    for (code, rate) in envelope.rates.iter().flatten() {
        listing.add(code, number::rate(rate));
    }
    Ok(listing)
}

fn refusal(error: &Refusal<'_>, reply: &Reply, status: Option<ProviderError>) -> ProviderError {
    let code = error.code.map_or("", |c| c.get().trim_matches('"'));
    let kind = error.kind.as_deref().unwrap_or(code);
    match (kind, code) {
        ("base_currency_access_restricted" | "source_currency_access_restricted", _) => ProviderError::UnsupportedBase,
        ("invalid_base_currency" | "invalid_source_currency", _) => ProviderError::UnsupportedBase,
        ("https_access_restricted" | "function_access_restricted", _) => ProviderError::Auth,
        ("invalid_access_key" | "missing_access_key" | "inactive_user", _) => ProviderError::Auth,
        ("usage_limit_reached" | "monthly_usage_limit_reached", _) => ProviderError::Quota,
        ("rate_limit_reached", _) => reply.rate_limited(),
        (_, "101" | "102") => ProviderError::Auth,
        (_, "104") => ProviderError::Quota,
        (_, "105" | "201") => ProviderError::UnsupportedBase,
        (_, "106") => reply.rate_limited(),
        (_, "202") => ProviderError::Refused { what: SYMBOLS },
        _ => status.unwrap_or(ProviderError::Refused { what: "for a reason that it does not document" }),
    }
}
