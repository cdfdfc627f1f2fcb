//! exchangerate-api.com v6: a key, in the `Authorization` header rather than in the path. Daily on the free plan
//! (1500 requests a month), hourly or each five minutes on others: say so by `cadence`.

use reqwest::header::AUTHORIZATION;

use super::answer::Listing;
use super::client::{Ask, Reply};
use super::error::ProviderError;
use super::open_er_api::envelope;
use super::polled::{Feed, Question};

pub(super) const BASE_URL: &str = "https://v6.exchangerate-api.com/v6";

pub(super) struct ExchangerateApi;

impl Feed for ExchangerateApi {
    fn ask(&self, question: &Question<'_>) -> Result<Ask, ProviderError> {
        let ask = Ask::path(&["latest", question.base.as_str()]);
        ask.secret_header(AUTHORIZATION, "Bearer ", question.wire.key()?)
    }

    fn read(&self, reply: &Reply, _: &Question<'_>) -> Result<Listing, ProviderError> {
        envelope(reply)
    }
}
