//! From what holds to the rates of pairs, and which of them changed enough to be published.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::config::Rules;
use super::consensus::Confidence;
use super::figure::Figure;
use super::pair::Pair;
use super::price::{RATE_DIGITS, cross, customer_rate};
use super::settle::Standing;
use crate::domain::Currency;

// Without figures: a warning whose text moves would publish the rate each time.
pub const WARNING_CACHED: &str = "no fresh quote: this is the last good value";
pub const WARNING_HELD: &str = "a jump of the market waits for confirmation";
pub const WARNING_ALARM: &str = "the payout price is far from the middle of the market";
pub const WARNING_EXPIRED: &str = "no fresh quote for too long: do not use this rate";

/// A pair's rate as it should stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    pub pair: Pair,
    /// Units of the destination for 1 source.
    pub rate: Figure,
    /// Units of the source for 1 destination: of the price before it was rounded.
    pub inverse: Figure,
    pub mid: Option<Figure>,
    pub confidence: Confidence,
    pub sources: Vec<Arc<str>>,
    pub executed_by: Option<Arc<str>>,
    pub as_of: Option<DateTime<Utc>>,
    pub cached: bool,
    pub expired: bool,
    pub warnings: Vec<String>,
}

/// A pair's rate as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    pub rate: Figure,
    pub confidence: Confidence,
    pub executed_by: Option<Arc<str>>,
    pub cached: bool,
    pub expired: bool,
    pub warnings: Vec<String>,
    /// Changed by hand: to be left alone, or (false) not any more.
    pub held: Option<bool>,
    pub updated_at: DateTime<Utc>,
}

/// None: there never was a quote for it.
pub fn offer(
    rules: &Rules,
    pair: Pair,
    mids: &BTreeMap<Currency, Standing>,
    payout: Option<(&Arc<str>, &Standing)>,
) -> Option<Offer> {
    let market = mids.get(&pair.source).zip(mids.get(&pair.destination)).map(|legs| of_market(rules, pair, legs));
    match payout {
        Some((provider, price)) if !price.expired => Some(of_payout(rules, pair, provider, price, market)),
        _ => market,
    }
}

/// Is it worth a row and a message?
pub fn is_due(rules: &Rules, offer: &Offer, published: Option<&Published>, now: DateTime<Utc>) -> bool {
    let Some(p) = published else { return !offer.expired };
    if let Some(held) = p.held {
        return !held;
    }
    let said = (p.confidence, &p.executed_by, p.cached, p.expired, &p.warnings);
    if said != (offer.confidence, &offer.executed_by, offer.cached, offer.expired, &offer.warnings) {
        return true;
    }
    let change = offer.rate.deviation(p.rate);
    !change.is_zero() && !offer.expired && (change >= rules.publish || now - p.updated_at >= rules.heartbeat)
}

fn of_market(rules: &Rules, pair: Pair, (source, destination): (&Standing, &Standing)) -> Offer {
    let mid = cross(source.value, destination.value);
    let price = match rules.markup_bps(pair) {
        0 => mid,
        bps => customer_rate(mid, bps),
    };
    let mut sources = source.sources.clone();
    sources.extend(destination.sources.iter().filter(|s| !source.sources.contains(s)).cloned());
    let cached = source.cached_s.is_some() || destination.cached_s.is_some();
    let expired = source.expired || destination.expired;
    let held = source.held.is_some() || destination.held.is_some();
    Offer {
        pair,
        rate: price.to_significant(RATE_DIGITS),
        inverse: price.inverse().to_significant(RATE_DIGITS),
        mid: Some(mid.to_significant(RATE_DIGITS)),
        confidence: source.confidence.min(destination.confidence),
        sources,
        executed_by: None,
        as_of: source.as_of.iter().chain(&destination.as_of).min().copied(),
        cached,
        expired,
        warnings: warnings(cached, expired, held, false),
    }
}

/// The payout provider's price is the rate; the market is only the alarm.
fn of_payout(rules: &Rules, pair: Pair, provider: &Arc<str>, price: &Standing, market: Option<Offer>) -> Offer {
    let market = market.filter(|m| !m.expired);
    let mid = market.as_ref().and_then(|m| m.mid);
    let far = mid.is_some_and(|mid| price.value.deviation(mid) > rules.alarm);
    let cached = price.cached_s.is_some();
    let trusted = market.filter(|_| !far && !cached).map(|m| m.confidence);
    Offer {
        pair,
        rate: price.value.to_significant(RATE_DIGITS),
        inverse: price.value.inverse().to_significant(RATE_DIGITS),
        mid,
        confidence: trusted.unwrap_or(Confidence::Low),
        sources: price.sources.clone(),
        executed_by: Some(provider.clone()),
        as_of: price.as_of,
        cached,
        expired: false,
        warnings: warnings(cached, false, price.held.is_some(), far),
    }
}

fn warnings(cached: bool, expired: bool, held: bool, far: bool) -> Vec<String> {
    let all = [
        (expired, WARNING_EXPIRED),
        (cached && !expired && !held, WARNING_CACHED),
        (held, WARNING_HELD),
        (far, WARNING_ALARM),
    ];
    all.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::Config;

    fn rules(toml: &str) -> Rules {
        let config: Config = toml::from_str(toml).expect("TOML");
        Rules::new(&config).expect("right")
    }

    fn standing(value: &str, confidence: Confidence) -> Standing {
        let value = value.parse().expect("a figure");
        Standing {
            value,
            confidence,
            sources: vec!["a".into()],
            as_of: None,
            cached_s: None,
            expired: false,
            held: None,
        }
    }

    fn usd_ngn(rules: &Rules, ngn: Standing, payout: Option<Standing>) -> Option<Offer> {
        let usd = Standing { sources: vec![], ..standing("1", Confidence::High) };
        let mids = BTreeMap::from([(Currency::USD, usd), ("NGN".parse().expect("a code"), ngn)]);
        let provider = Arc::from("flutterwave");
        offer(rules, "USD_NGN".parse().expect("a pair"), &mids, payout.as_ref().map(|p| (&provider, p)))
    }

    #[test]
    fn a_payout_price_is_the_rate_and_the_market_its_alarm() {
        use Confidence::*;
        let rules = rules("markup_bps = 150");
        let cached = |value| Standing { cached_s: Some(60), ..standing(value, Low) };
        let expired = |value| Standing { expired: true, ..cached(value) };
        for (market, payout, rate, confidence, warned) in [
            (standing("1000", High), None, "985", High, vec![]),
            (standing("1000", High), Some(standing("1049", Low)), "1049", High, vec![]),
            (standing("1000", High), Some(standing("1051", Low)), "1051", Low, vec![WARNING_ALARM]),
            (standing("1000", Medium), Some(standing("949", Low)), "949", Low, vec![WARNING_ALARM]),
            (standing("1000", High), Some(cached("1001")), "1001", Low, vec![WARNING_CACHED]),
            (standing("1000", High), Some(expired("1001")), "985", High, vec![]),
            (expired("1000"), Some(standing("2000", Low)), "2000", Low, vec![]),
            (cached("1000"), None, "985", Low, vec![WARNING_CACHED]),
            (expired("1000"), None, "985", Low, vec![WARNING_EXPIRED]),
            (Standing { held: Some(Figure::ONE), ..cached("1000") }, None, "985", Low, vec![WARNING_HELD]),
        ] {
            let offer = usd_ngn(&rules, market.clone(), payout.clone()).expect("a rate");
            let case = format!("{market:?} {payout:?}");
            assert_eq!((offer.rate.to_string().as_str(), offer.confidence), (rate, confidence), "{case}");
            assert_eq!(offer.warnings, warned, "{case}");
        }
    }

    #[test]
    fn only_a_change_is_due() {
        let rules = rules("");
        let now: DateTime<Utc> = "2026-11-18T12:00:00Z".parse().expect("a time");
        let offered = |value: &str, confidence| usd_ngn(&rules, standing(value, confidence), None).expect("a rate");
        let last = offered("10000", Confidence::High);
        for (offer, after_s, due) in [
            (offered("10000", Confidence::High), 5, false),
            (offered("10000", Confidence::High), 3_600, false),
            (offered("10000.9", Confidence::High), 59, false),
            (offered("10000.9", Confidence::High), 60, true),
            (offered("10001", Confidence::High), 5, true),
            (offered("9999", Confidence::High), 5, true),
            (offered("10000", Confidence::Medium), 5, true),
        ] {
            let published = Published {
                rate: last.rate,
                confidence: last.confidence,
                executed_by: None,
                cached: false,
                expired: false,
                warnings: vec![],
                held: None,
                updated_at: now,
            };
            let later = now + chrono::Duration::seconds(after_s);
            assert_eq!(is_due(&rules, &offer, Some(&published), later), due, "{} after {after_s} s", offer.rate);
            assert!(is_due(&rules, &offer, None, later));
            // By hand: not touched, and then set by all means.
            for held in [true, false] {
                let published = Published { held: Some(held), ..published.clone() };
                assert_eq!(is_due(&rules, &offer, Some(&published), later), !held);
            }
        }
    }
}
