//! What a fuzzer feeds: a body as each provider's own reader takes it.

use std::sync::OnceLock;

use chrono::DateTime;
use rust_decimal::Decimal;

use super::client::{Reply, Wire};
use super::pair::Pair;
use super::polled::{Feed, Question};
use super::{
    currencyapi, currencylayer, ecb, exchangerate_api, exchangerate_host, fixer, flutterwave, frankfurter, open_er_api,
    openexchangerates,
};

/// The first byte chooses the provider and the status.
pub fn answers(data: &[u8]) {
    static WIRE: OnceLock<Wire> = OnceLock::new();
    let Some((&choice, body)) = data.split_first() else { return };
    let wire = WIRE.get_or_init(|| {
        // One that is there already will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Wire::to_nowhere()
    });
    let reply = Reply::of([200, 200, 429, 403][usize::from(choice >> 6)], body);
    let currency = |code: &str| code.parse().expect("a currency");
    let question = Question::of(currency("EUR"), DateTime::UNIX_EPOCH, wire);
    let feeds: [&dyn Feed; 10] = [
        &frankfurter::Frankfurter::V1,
        &ecb::Ecb,
        &frankfurter::Frankfurter::V2,
        &fixer::Fixer,
        &currencyapi::CurrencyApi,
        &currencylayer::Currencylayer,
        &open_er_api::OpenErApi,
        &openexchangerates::OpenExchangeRates,
        &exchangerate_api::ExchangerateApi,
        &exchangerate_host::ExchangerateHost,
    ];
    if let Some(feed) = feeds.get(usize::from(choice & 15)) {
        let _ = feed.read(&reply, &question);
    } else if let Ok(rate) = flutterwave::read(&reply, Pair { base: currency("USD"), quote: currency("NGN") }) {
        assert!(rate > Decimal::ZERO);
    }
}
