//! From the providers' answers to the middle of the market: units of each currency for 1 USD.
//!
//! Pure: time is an argument. What is rejected is kept with its reason; an unknown currency is nobody's error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, Duration, Utc, Weekday};
use rust_decimal::Decimal;

use super::config::Rules;
use super::consensus::{Confidence, Voice, consensus};
use super::figure::Figure;
use super::pair::Pair;
use super::quote::{Answer, Judged, Pace, Quoted, Reason};
use crate::domain::Currency;

/// Codes that are none, kept of one answer for the record.
const BAD_CODES_MAX: usize = 16;

/// All that the answers say.
#[derive(Clone, Debug, Default)]
pub struct Market {
    pub mids: BTreeMap<Currency, Mid>,
    /// Of payout providers, by pair.
    pub executable: BTreeMap<Pair, Executable>,
    /// Of the currencies and pairs that are asked for; and what is no currency code at all.
    pub quotes: Vec<Judged>,
}

/// One currency, against USD.
#[derive(Clone, Debug, PartialEq)]
pub struct Mid {
    /// None: nobody had a usable quote.
    pub value: Option<Figure>,
    pub confidence: Confidence,
    /// Whose quotes made the value; in the order of the answers, as are the following.
    pub sources: Vec<Arc<str>>,
    /// The sources' values.
    pub values: Vec<Figure>,
    /// Left out by their value.
    pub rejected: Vec<Arc<str>>,
    /// Left out by their age.
    pub stale: Vec<Arc<str>>,
    /// The newest of the sources' time stamps.
    pub as_of: Option<DateTime<Utc>>,
}

/// A price at which a payout provider executes.
#[derive(Clone, Debug, PartialEq)]
pub struct Executable {
    pub provider: Arc<str>,
    pub price: Figure,
    pub as_of: DateTime<Utc>,
}

struct Candidate {
    quote: usize,
    weight: u32,
    value: Figure,
}

pub fn aggregate(rules: &Rules, answers: &[Answer], now: DateTime<Utc>) -> Market {
    let mut quotes = Vec::new();
    let mut voices: BTreeMap<Currency, Vec<Candidate>> = BTreeMap::new();
    let mut offers: BTreeMap<Pair, Vec<Candidate>> = BTreeMap::new();
    for answer in answers {
        let weight = rules.weight(&answer.provider, answer.pace);
        let mut bad_codes = 0;
        let mut seen = BTreeSet::new();
        let pivots = if answer.executes { BTreeMap::new() } else { pivots(rules, answer, now) };
        for quoted in &answer.quotes {
            let mut judge = |rejected: Option<Reason>| {
                let (provider, fetched_at, quoted) = (answer.provider.clone(), answer.fetched_at, quoted.clone());
                quotes.push(Judged { provider, fetched_at, quoted, rejected });
                quotes.len() - 1
            };
            let (Ok(base), Ok(quote)) = (quoted.base.parse::<Currency>(), quoted.quote.parse::<Currency>()) else {
                bad_codes += 1;
                if bad_codes <= BAD_CODES_MAX {
                    judge(Some(Reason::Code));
                }
                continue;
            };
            let pair = Pair { source: base, destination: quote };
            let wanted = if answer.executes { rules.pairs.contains(&pair) } else { rules.currencies.contains(&quote) };
            if !wanted || base == quote {
                continue;
            }
            let fresh = usable(rules, answer.pace, quoted, now).and_then(|rate| match answer.executes {
                true => Ok(rate),
                false => match pivots.get(&base) {
                    Some(per_usd) => in_range(rate.times(*per_usd)).ok_or(Reason::Range),
                    None => Err(Reason::NoPivot),
                },
            });
            match fresh {
                Err(reason) => drop(judge(Some(reason))),
                Ok(_) if !seen.insert(if answer.executes { (base, quote) } else { (Currency::USD, quote) }) => {
                    judge(Some(Reason::Duplicate));
                }
                Ok(value) => {
                    let candidate = Candidate { quote: judge(None), weight, value };
                    if answer.executes {
                        offers.entry(pair).or_default().push(candidate);
                    } else {
                        voices.entry(quote).or_default().push(candidate);
                    }
                }
            }
        }
        // A base has no quote of its own: that 1 EUR is 1.1453 USD says what 1 USD is in EUR.
        for &base in rules.currencies.iter().filter(|b| !answer.executes && !pivots.contains_key(b)) {
            for pivot in answer.quotes.iter().filter(|q| is_pivot(q, base)) {
                let rejected = usable(rules, answer.pace, pivot, now).err();
                let (provider, fetched_at, quoted) = (answer.provider.clone(), answer.fetched_at, pivot.clone());
                quotes.push(Judged { provider, fetched_at, quoted, rejected });
            }
        }
        for (&base, &per_usd) in pivots.iter().filter(|(b, _)| rules.currencies.contains(b)) {
            if seen.insert((Currency::USD, base)) {
                let pivot = answer.quotes.iter().find(|q| is_pivot(q, base)).expect("where the pivot came from");
                let (provider, fetched_at, quoted) = (answer.provider.clone(), answer.fetched_at, pivot.clone());
                quotes.push(Judged { provider, fetched_at, quoted, rejected: None });
                voices.entry(base).or_default().push(Candidate { quote: quotes.len() - 1, weight, value: per_usd });
            }
        }
    }
    let mut mids: BTreeMap<Currency, Mid> = rules
        .currencies
        .iter()
        .map(|&c| (c, agree(rules, c, voices.remove(&c).unwrap_or_default(), &mut quotes)))
        .collect();
    for judged in quotes.iter().filter(|j| j.rejected.as_ref().is_some_and(Reason::is_stale)) {
        let quoted = &judged.quoted;
        let code = if quoted.quote == Currency::USD.as_str() { &quoted.base } else { &quoted.quote };
        let mid = code.parse().ok().and_then(|c: Currency| mids.get_mut(&c));
        if let Some(mid) = mid.filter(|m| !m.stale.contains(&judged.provider)) {
            mid.stale.push(judged.provider.clone());
        }
    }
    mids.insert(Currency::USD, Mid::itself());
    let executable = offers.into_iter().map(|(pair, offers)| (pair, choose(offers, &mut quotes))).collect();
    Market { mids, executable, quotes }
}

impl Mid {
    /// USD, for 1 USD.
    fn itself() -> Self {
        Self {
            value: Some(Figure::ONE),
            confidence: Confidence::High,
            sources: Vec::new(),
            values: Vec::new(),
            rejected: Vec::new(),
            stale: Vec::new(),
            as_of: None,
        }
    }
}

/// What 1 USD is in each base of the answer.
fn pivots(rules: &Rules, answer: &Answer, now: DateTime<Utc>) -> BTreeMap<Currency, Figure> {
    let mut pivots = BTreeMap::from([(Currency::USD, Figure::ONE)]);
    for quoted in &answer.quotes {
        if let Ok(base) = quoted.base.parse()
            && is_pivot(quoted, base)
            && let Ok(usd) = usable(rules, answer.pace, quoted, now)
        {
            pivots.entry(base).or_insert(usd.inverse());
        }
    }
    pivots
}

fn is_pivot(quoted: &Quoted, base: Currency) -> bool {
    quoted.quote == Currency::USD.as_str() && quoted.base == base.as_str() && base != Currency::USD
}

/// In range, and fresh by the provider's own time stamp.
fn usable(rules: &Rules, pace: Pace, quoted: &Quoted, now: DateTime<Utc>) -> Result<Figure, Reason> {
    let rate = Figure::new(quoted.rate).and_then(in_range).ok_or(Reason::Range)?;
    let age = now - quoted.as_of;
    if age < -rules.clock_skew {
        return Err(Reason::Future { by_s: -age.num_seconds() });
    }
    let counted = if pace == Pace::Daily { age - weekend(quoted.as_of, now) } else { age };
    if counted > rules.fresh_for(pace) {
        return Err(Reason::Stale { age_s: age.num_seconds() });
    }
    Ok(rate)
}

fn in_range(rate: Figure) -> Option<Figure> {
    let limit = Figure::new(Decimal::new(1_000_000_000, 0)).expect("positive");
    (rate < limit).then_some(rate)
}

/// How much of the time between is Saturday or Sunday (UTC).
fn weekend(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    let mut sum = Duration::zero();
    // Whoever is older than this is stale with or without its weekends.
    let mut start = from.max(to - Duration::days(60));
    while start < to {
        let midnight = (start.date_naive() + Days::new(1)).and_time(chrono::NaiveTime::MIN).and_utc();
        let end = midnight.min(to);
        if matches!(start.weekday(), Weekday::Sat | Weekday::Sun) {
            sum += end - start;
        }
        start = end;
    }
    sum
}

fn agree(rules: &Rules, currency: Currency, candidates: Vec<Candidate>, quotes: &mut [Judged]) -> Mid {
    let voice = |c: &Candidate| Voice {
        value: c.value,
        weight: c.weight,
        as_of_us: quotes[c.quote].quoted.as_of.timestamp_micros(),
    };
    let voices: Vec<Voice> = candidates.iter().map(voice).collect();
    let mut mid = Mid { value: None, confidence: Confidence::Low, ..Mid::itself() };
    let Some(found) = consensus(&voices, rules.floor(currency)) else { return mid };
    for (candidate, rejected) in candidates.iter().zip(found.rejected) {
        let judged = &mut quotes[candidate.quote];
        match rejected {
            None => {
                mid.sources.push(judged.provider.clone());
                mid.values.push(candidate.value);
                mid.as_of = mid.as_of.max(Some(judged.quoted.as_of));
            }
            Some(_) => mid.rejected.push(judged.provider.clone()),
        }
        judged.rejected = rejected;
    }
    Mid { value: Some(found.value), confidence: found.confidence, ..mid }
}

/// Of several payout providers the heaviest, of equally heavy ones the first.
fn choose(mut offers: Vec<Candidate>, quotes: &mut [Judged]) -> Executable {
    offers.sort_by_key(|o| std::cmp::Reverse(o.weight));
    for other in &offers[1..] {
        quotes[other.quote].rejected = Some(Reason::NotExecuting);
    }
    let judged = &quotes[offers[0].quote];
    Executable { provider: judged.provider.clone(), price: offers[0].value, as_of: judged.quoted.as_of }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::Config;

    /// Wednesday noon.
    const NOW: &str = "2026-11-18T12:00:00Z";

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// `provider pace as_of: base/quote rate, …`
    fn answer(spec: &str) -> Answer {
        let (head, quotes) = spec.split_once(": ").expect("a colon");
        let head: Vec<&str> = head.split(' ').collect();
        let pace = match head[1] {
            "minute" => Pace::Minute,
            "hourly" => Pace::Hourly,
            _ => Pace::Daily,
        };
        let quotes = quotes.split(", ").map(|q| {
            let (pair, rate) = q.split_once(' ').expect("a rate");
            let (base, quote) = pair.split_once('/').expect("a pair");
            let rate = rate.parse().expect("a decimal");
            Quoted { base: base.into(), quote: quote.into(), rate, as_of: at(head[2]) }
        });
        let executes = head.get(3) == Some(&"executes");
        Answer { provider: head[0].into(), pace, executes, fetched_at: at(NOW), quotes: quotes.collect() }
    }

    fn market(specs: &[&str], now: &str) -> Market {
        let answers: Vec<Answer> = specs.iter().map(|s| answer(s)).collect();
        aggregate(&Rules::new(&Config::default()).expect("right"), &answers, at(now))
    }

    fn fates(market: &Market) -> Vec<String> {
        let fate = |j: &Judged| {
            format!("{} {} {}", j.provider, j.quoted.quote, j.rejected.as_ref().map_or("used", |r| r.code()))
        };
        market.quotes.iter().map(fate).collect()
    }

    #[test]
    fn every_quote_has_its_fate() {
        for (specs, expected) in [
            (vec!["a hourly 2026-11-18T11:00:00Z: USD/NGN 1535.5, USD/XXX 3, USD/USD 1"], vec!["a NGN used"]),
            (
                vec![
                    "a hourly 2026-11-18T11:00:00Z: USD/ngn 1535.5, USD/NGN 0, USD/KES 1000000000, USD/GHS 10.8, USD/GHS 10.8",
                ],
                vec!["a ngn code", "a NGN range", "a KES range", "a GHS used", "a GHS duplicate"],
            ),
            (vec!["a hourly 2026-11-18T08:59:59Z: USD/NGN 1535.5"], vec!["a NGN stale"]),
            (vec!["a hourly 2026-11-18T09:00:00Z: USD/NGN 1535.5"], vec!["a NGN used"]),
            (vec!["a minute 2026-11-18T11:49:59Z: USD/NGN 1535.5"], vec!["a NGN stale"]),
            (vec!["a daily 2026-11-17T00:00:00Z: USD/NGN 1535.5"], vec!["a NGN used"]),
            (vec!["a daily 2026-11-16T23:59:59Z: USD/NGN 1535.5"], vec!["a NGN stale"]),
            (vec!["a minute 2026-11-18T12:01:00Z: USD/NGN 1535.5"], vec!["a NGN used"]),
            (vec!["a minute 2026-11-18T12:01:01Z: USD/NGN 1535.5"], vec!["a NGN future"]),
            (vec!["a minute 2026-11-18T12:00:00Z: EUR/NGN 1700"], vec!["a NGN no_pivot"]),
            (
                vec!["a minute 2026-11-18T12:00:00Z: EUR/NGN 1700, EUR/USD 1.25"],
                vec!["a NGN used", "a USD used"], // the pivot speaks for EUR
            ),
            (
                vec![
                    "a minute 2026-11-18T12:00:00Z: USD/NGN 1535, USD/KES 129",
                    "b minute 2026-11-18T12:00:00Z: USD/NGN 1536",
                    "c minute 2026-11-18T12:00:00Z: USD/NGN 153.6, USD/KES 135",
                ],
                vec!["a NGN used", "a KES used", "b NGN used", "c NGN outlier", "c KES apart"],
            ),
            (
                vec![
                    "a minute 2026-11-18T12:00:00Z executes: USD/NGN 1510, NGN/USD 0.0006, GBP/NGN 1990, JPY/NGN 10",
                    "b hourly 2026-11-18T12:00:00Z executes: USD/NGN 1500",
                ],
                vec!["a NGN used", "a NGN used", "b NGN not_executing"],
            ),
        ] {
            assert_eq!(fates(&market(&specs, NOW)), expected, "{specs:?}");
        }
    }

    #[test]
    fn a_weekend_does_not_age_daily_quotes() {
        for (as_of, now, stale) in [
            ("2026-11-20T16:00:00Z", "2026-11-24T04:00:00Z", false), // Friday to Tuesday: 84 h
            ("2026-11-20T16:00:00Z", "2026-11-24T04:00:01Z", true),
            ("2026-11-19T16:00:00Z", "2026-11-21T04:00:01Z", false), // Saturday has begun: 32 h count
            ("2026-11-19T16:00:00Z", "2026-11-23T04:00:01Z", true),  // Friday's was missed
            ("2026-11-21T10:00:00Z", "2026-11-24T12:00:00Z", false), // published on Saturday
            ("2026-11-17T16:00:00Z", "2026-11-19T04:00:01Z", true),
            ("2020-01-01T00:00:00Z", "2026-11-19T04:00:01Z", true),
        ] {
            let found = market(&[&format!("a daily {as_of}: USD/NGN 1535.5")], now);
            assert_eq!(fates(&found), [if stale { "a NGN stale" } else { "a NGN used" }], "{as_of} {now}");
            let mid = &found.mids[&"NGN".parse().expect("a code")];
            assert_eq!((mid.value.is_none(), mid.stale.len()), (stale, usize::from(stale)));
            let found = market(&[&format!("a daily {as_of}: EUR/USD 1.1453")], now);
            assert_eq!(fates(&found), [if stale { "a USD stale" } else { "a USD used" }], "{as_of} {now}");
            let mid = &found.mids[&"EUR".parse().expect("a code")];
            assert_eq!((mid.value.is_none(), mid.stale.len()), (stale, usize::from(stale)));
        }
        let found = market(&["a hourly 2026-11-20T16:00:00Z: USD/NGN 1535.5"], "2026-11-21T16:00:00Z");
        assert_eq!(fates(&found), ["a NGN stale"]);
    }

    #[test]
    fn other_bases_are_put_on_usd() {
        let found = market(&["a minute 2026-11-18T12:00:00Z: EUR/NGN 1700, EUR/USD 1.25, EUR/GBP 0.85"], NOW);
        for (code, expected) in [("NGN", "1360"), ("EUR", "0.8"), ("GBP", "0.68")] {
            let mid = &found.mids[&code.parse().expect("a code")];
            assert_eq!(mid.value.map(|v| v.to_string()).as_deref(), Some(expected));
            assert_eq!(mid.sources, ["a".into()]);
        }
    }
}
