//! Exchange rates: the aggregation's vectors, refreshes against a real Postgres, retention.

mod memory;
mod refresh;
mod retention;
pub mod round;
mod vectors;

use chrono::{DateTime, Utc};
use rowcast::domain::DatabaseUrl;
use rowcast::rates::{Answer, Config, Pace, Quoted, Refresher, Report, Round};
use rowcast::store::Store;

use crate::kit::{APP_ROLE, TestDb};

/// Friday afternoon.
const NOW: &str = "2026-11-20T16:05:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// `provider: base/quote rate, …` by a minute provider, as of `now`; `provider!: …` executes.
fn answer(spec: &str, now: DateTime<Utc>) -> Answer {
    let (provider, quotes) = spec.split_once(": ").expect("a colon");
    let quotes = quotes.split(", ").map(|q| {
        let (pair, rate) = q.split_once(' ').expect("a rate");
        let (base, quote) = pair.split_once('/').expect("a pair");
        Quoted { base: base.into(), quote: quote.into(), rate: rate.parse().expect("a decimal"), as_of: now }
    });
    Answer {
        provider: provider.trim_end_matches('!').into(),
        pace: Pace::Minute,
        executes: provider.ends_with('!'),
        fetched_at: now,
        quotes: quotes.collect(),
    }
}

/// Another instance: a store and a refresher of its own.
async fn refresher(db: &TestDb<'_>, config: &str) -> Refresher {
    let config: Config = toml::from_str(config).expect("a configuration");
    Refresher::new(store(db), &config).expect("a right configuration")
}

fn store(db: &TestDb<'_>) -> Store {
    Store::new(&DatabaseUrl::parse(&db.url(), APP_ROLE).expect("our own URL"), Default::default())
}

async fn refresh(refresher: &Refresher, specs: &[&str], now: DateTime<Utc>) -> Report {
    let answers: Vec<Answer> = specs.iter().map(|s| answer(s, now)).collect();
    refresher.refresh(&Round::from(answers), now).await.unwrap_or_else(|e| panic!("{specs:?}: {e}"))
}
