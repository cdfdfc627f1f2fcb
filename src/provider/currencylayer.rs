//! currencylayer.com: the key in the query, 100 requests a month on the free plan, hourly. exchangerate.host is the
//! same service under another address.

use super::answer::Listing;
use super::apilayer;
use super::client::{Ask, Reply};
use super::error::ProviderError;
use super::polled::{Feed, Question};
use crate::domain::Currency;

pub(super) const BASE_URL: &str = "https://api.currencylayer.com";

pub(super) struct Currencylayer;

impl Feed for Currencylayer {
    fn ask(&self, question: &Question<'_>) -> Result<Ask, ProviderError> {
        live(question)
    }

    fn read(&self, reply: &Reply, _: &Question<'_>) -> Result<Listing, ProviderError> {
        apilayer::envelope(reply)
    }
}

pub(super) fn live(question: &Question<'_>) -> Result<Ask, ProviderError> {
    let mut ask = Ask::path(&["live"]).query("access_key", question.wire.key()?.expose());
    // USD is the default, and the only source of the free plan.
    if question.base != Currency::USD {
        ask = ask.query("source", question.base.as_str());
    }
    if let Some(symbols) = question.symbols() {
        ask = ask.query("currencies", symbols);
    }
    Ok(ask)
}
