//! currencyapi.com v3: the key in a header, end of day on the free plan.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::Listing;
use super::client::{Ask, Reply};
use super::error::ProviderError;
use super::number;
use super::polled::{Feed, Question};

pub(super) const BASE_URL: &str = "https://api.currencyapi.com/v3";

pub(super) struct CurrencyApi;

impl Feed for CurrencyApi {
    fn ask(&self, question: &Question<'_>) -> Result<Ask, ProviderError> {
        let mut ask = Ask::path(&["latest"]).query("base_currency", question.base.as_str());
        if let Some(symbols) = question.symbols() {
            ask = ask.query("currencies", symbols);
        }
        ask.secret_header(HeaderName::from_static("apikey"), "", question.wire.key()?)
    }

    fn read(&self, reply: &Reply, question: &Question<'_>) -> Result<Listing, ProviderError> {
        match reply.status_error() {
            Some(ProviderError::Status { status: 422 }) => return Err(question.invalid_currency()),
            Some(error) => return Err(error),
            None => {}
        }
        let latest: Latest<'_> = reply.json()?;
        let at = DateTime::parse_from_rfc3339(&latest.meta.last_updated_at)
            .map_err(|_| ProviderError::Malformed { what: "its time stamp is none" })?;
        // The answer does not repeat its base: it is what was asked.
        let mut listing = Listing::new(question.base, at.with_timezone(&Utc));
        for row in latest.data.values().filter_map(|raw| serde_json::from_str::<Row<'_>>(raw.get()).ok()) {
            listing.add(&row.code, number::rate(row.value));
        }
        Ok(listing)
    }
}

#[derive(Deserialize)]
struct Latest<'a> {
    meta: Meta,
    #[serde(borrow)]
    data: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Meta {
    last_updated_at: String,
}

#[derive(Deserialize)]
struct Row<'a> {
    code: String,
    #[serde(borrow)]
    value: &'a RawValue,
}
