//! frankfurter.dev: no key, daily. Version 1 has the ECB's thirty currencies, version 2 those of 84 central banks,
//! each row with its own date.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Listing, day};
use super::client::{Ask, Reply};
use super::error::ProviderError;
use super::number;
use super::polled::{Feed, Question};
use crate::domain::Currency;

pub(super) const BASE_URL: &str = "https://api.frankfurter.dev";

pub(super) enum Frankfurter {
    V1,
    V2,
}

impl Feed for Frankfurter {
    fn ask(&self, question: &Question<'_>) -> Result<Ask, ProviderError> {
        let (path, symbols) = match self {
            Self::V1 => (["v1", "latest"], "symbols"),
            Self::V2 => (["v2", "rates"], "quotes"),
        };
        let ask = Ask::path(&path).query("base", question.base.as_str());
        Ok(match question.symbols() {
            Some(list) => ask.query(symbols, list),
            None => ask,
        })
    }

    fn read(&self, reply: &Reply, question: &Question<'_>) -> Result<Listing, ProviderError> {
        // It says "not found" of a base that it does not know, with a JSON message; a 404 without is another matter.
        if matches!(reply.status, 404 | 422) && reply.json::<Message>().is_ok() {
            return Err(question.invalid_currency());
        }
        if let Some(error) = reply.status_error() {
            return Err(error);
        }
        match self {
            Self::V1 => latest(reply.json()?, question),
            Self::V2 => rows(reply.json()?, question),
        }
    }
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "message")]
    _message: String,
}

#[derive(Deserialize)]
struct Latest<'a> {
    /// What the rates are for; older copies of the service leave it out.
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    base: Currency,
    date: String,
    #[serde(borrow)]
    rates: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Row<'a> {
    date: String,
    base: Currency,
    quote: String,
    #[serde(borrow)]
    rate: &'a RawValue,
}

fn latest(latest: Latest<'_>, question: &Question<'_>) -> Result<Listing, ProviderError> {
    if latest.amount.is_some_and(|amount| number::rate(amount) != Some(Decimal::ONE)) {
        return Err(ProviderError::Malformed { what: "rates for another amount than 1" });
    }
    let mut listing = Listing::new(latest.base, day(&latest.date, question.now)?);
    latest.rates.iter().for_each(|(code, rate)| listing.add(code, number::rate(rate)));
    Ok(listing)
}

fn rows(rows: Vec<Row<'_>>, question: &Question<'_>) -> Result<Listing, ProviderError> {
    let base = rows.first().ok_or(ProviderError::Malformed { what: "an empty list" })?.base;
    let mut newest = None;
    let mut dated = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.base != base {
            return Err(ProviderError::Malformed { what: "rates of several bases" });
        }
        let at = day(&row.date, question.now)?;
        newest = newest.max(Some(at));
        dated.push((row, at));
    }
    let mut listing = Listing::new(base, newest.expect("there is a first row"));
    for (row, at) in dated {
        listing.add_at(&row.quote, number::rate(row.rate), at);
    }
    Ok(listing)
}
