//! exchangerate.host: currencylayer's request and answers.

use super::answer::Listing;
use super::apilayer;
use super::client::{Ask, Reply};
use super::currencylayer::live;
use super::error::ProviderError;
use super::polled::{Feed, Question};

pub(super) const BASE_URL: &str = "https://api.exchangerate.host";

pub(super) struct ExchangerateHost;

impl Feed for ExchangerateHost {
    fn ask(&self, question: &Question<'_>) -> Result<Ask, ProviderError> {
        live(question)
    }

    fn read(&self, reply: &Reply, _: &Question<'_>) -> Result<Listing, ProviderError> {
        apilayer::envelope(reply)
    }
}
