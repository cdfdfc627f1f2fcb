//! fixer.io: the key in the query, 100 requests a month, base EUR unless paid for (so it is always asked for EUR,
//! which can be rebased), `ETag`. Its free plan speaks plain http only: that takes a `base_url` of one's own, since
//! the key would then travel in the clear.

use super::answer::Listing;
use super::apilayer;
use super::client::{Ask, Reply};
use super::error::ProviderError;
use super::polled::{Feed, Question};

pub(super) const BASE_URL: &str = "https://data.fixer.io/api";

pub(super) struct Fixer;

impl Feed for Fixer {
    fn ask(&self, question: &Question<'_>) -> Result<Ask, ProviderError> {
        let ask = Ask::path(&["latest"]).query("access_key", question.wire.key()?.expose());
        Ok(match question.symbols() {
            Some(symbols) => ask.query("symbols", symbols),
            None => ask,
        })
    }

    fn read(&self, reply: &Reply, _: &Question<'_>) -> Result<Listing, ProviderError> {
        apilayer::envelope(reply)
    }
}
