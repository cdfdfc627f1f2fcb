//! The reference vectors: real-shaped answers of six providers in, the reference aggregator's figures out.

use std::collections::BTreeMap;

use rowcast::rates::aggregate::aggregate;
use rowcast::rates::price::{cross, customer_rate};
use rowcast::rates::{Answer, Config, Currency, Pace, Quoted, Rules};
use serde::Deserialize;
use serde_json::value::RawValue;

use chrono::{DateTime, Utc};

#[derive(Deserialize)]
struct Vectors {
    now: i64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    label: String,
    providers: Vec<String>,
    usd: BTreeMap<String, Usd>,
    pairs: BTreeMap<String, PairRow>,
}

#[derive(Deserialize)]
struct Usd {
    rate: String,
    confidence: String,
    sources: Vec<String>,
    rejected: Vec<String>,
    stale: Vec<String>,
}

#[derive(Deserialize)]
struct PairRow {
    mid: String,
    inverse: String,
    customer_150bps: String,
    confidence: String,
}

#[test]
fn every_reference_vector_holds() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../fixtures/aggregator_vectors.json")).expect("JSON");
    let now = DateTime::from_timestamp(vectors.now, 0).expect("a time");
    let rules = Rules::new(&Config::default()).expect("the default is right");
    let (mut currencies, mut pairs) = (0, 0);
    for case in &vectors.cases {
        let answers: Vec<Answer> = case.providers.iter().map(|p| answer(p, &case.label, now)).collect();
        let market = aggregate(&rules, &answers, now);
        let mid = |code: &str| &market.mids[&code.parse::<Currency>().expect("a code")];
        assert_eq!(market.mids.len(), case.usd.len(), "{}", case.label);
        for (code, expected) in &case.usd {
            let found = mid(code);
            let what = format!("{} {code}", case.label);
            assert_eq!(found.value.expect(&what).to_decimals(12), expected.rate, "{what}");
            assert_eq!(found.confidence.as_str(), expected.confidence, "{what}");
            assert_eq!(found.sources, texts(&expected.sources), "{what}");
            assert_eq!(found.rejected, texts(&expected.rejected), "{what}");
            assert_eq!(found.stale, texts(&expected.stale), "{what}");
            currencies += 1;
        }
        for (pair, expected) in &case.pairs {
            let (source, destination) = pair.split_once('_').expect("two codes");
            let (source, destination) = (mid(source), mid(destination));
            let found = cross(source.value.expect(pair), destination.value.expect(pair));
            let what = format!("{} {pair}", case.label);
            assert_eq!(found.to_decimals(12), expected.mid, "{what}");
            assert_eq!(found.inverse().to_decimals(12), expected.inverse, "{what}");
            assert_eq!(customer_rate(found, 150).to_string(), expected.customer_150bps, "{what}");
            assert_eq!(source.confidence.min(destination.confidence).as_str(), expected.confidence, "{what}");
            pairs += 1;
        }
    }
    println!("{} cases: {currencies} currencies and {pairs} pairs are as the reference has them", vectors.cases.len());
    assert_eq!((vectors.cases.len(), currencies, pairs), (3, 57, 180));
}

fn texts(names: &[String]) -> Vec<std::sync::Arc<str>> {
    names.iter().map(|n| n.as_str().into()).collect()
}

/// A provider's bytes as quotes, by their text.
fn answer(provider: &str, label: &str, now: DateTime<Utc>) -> Answer {
    let (file, pace, base) = match provider {
        "open_er_api" if label.starts_with("one_outlier") => {
            ("outlier_open_er_api_latest_usd.json", Pace::Daily, "USD")
        }
        "open_er_api" => ("open_er_api_latest_usd.json", Pace::Daily, "USD"),
        "exchangerate_api" => ("exchangerate_api_v6_latest_usd.json", Pace::Daily, "USD"),
        "openexchangerates" => ("openexchangerates_latest.json", Pace::Hourly, "USD"),
        "currencylayer" => ("currencylayer_live.json", Pace::Hourly, "USD"),
        "fixer" => ("fixer_latest_eur.json", Pace::Hourly, "EUR"),
        "ecb" => ("ecb_eurofxref-daily.xml", Pace::Daily, "EUR"),
        other => panic!("no fixture of {other}"),
    };
    let path = format!("{}/tests/fixtures/providers/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let (as_of, rates) = if file.ends_with("xml") { xml(&text) } else { json(&text) };
    let quote = |(code, rate): (String, String)| {
        let rate = rate.parse().unwrap_or_else(|e| panic!("{provider} {code} {rate}: {e}"));
        Quoted { base: base.into(), quote: code.trim_start_matches(base).into(), rate, as_of }
    };
    // A base's own rate, 1, has no code left: providers' answers do not hold it.
    let quotes = rates.into_iter().map(quote).filter(|q| !q.quote.is_empty() && q.quote != base).collect();
    Answer { provider: provider.into(), pace, executes: false, fetched_at: now, quotes }
}

type Rates = BTreeMap<String, String>;

fn json(text: &str) -> (DateTime<Utc>, Rates) {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).expect("an object");
    let of = |names: &[&str]| names.iter().find_map(|n| members.get(*n)).expect("one of them").get();
    let as_of = of(&["timestamp", "time_last_update_unix"]).parse().expect("seconds");
    let rates: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(of(&["rates", "conversion_rates", "quotes"])).expect("an object");
    let rates = rates.into_iter().map(|(code, rate)| (code, rate.get().to_owned())).collect();
    (DateTime::from_timestamp(as_of, 0).expect("a time"), rates)
}

fn xml(text: &str) -> (DateTime<Utc>, Rates) {
    let attribute = |s: &str, name: &str| Some(s.split_once(&format!("{name}='"))?.1.split_once('\'')?.0.to_owned());
    let date = attribute(text, "time").expect("a date");
    let rates = text.lines().filter_map(|l| Some((attribute(l, "currency")?, attribute(l, "rate")?))).collect();
    (format!("{date}T14:00:00Z").parse().expect("a time"), rates)
}
