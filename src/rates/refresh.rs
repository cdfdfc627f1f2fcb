//! One refresh: read what was, decide, write in one statement; again if somebody else came between.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Duration, Utc};
use rust_decimal::Decimal;

use super::RatesError;
use super::aggregate::{Executable, Market, aggregate};
use super::config::{Config, Rules};
use super::consensus::Confidence;
use super::figure::Figure;
use super::pair::Pair;
use super::panel::Round;
use super::publish::{Offer, Published, is_due, offer};
use super::quote::Judged;
use super::report::{Cached, Change, Held, Report};
use super::rows;
use super::settle::{Fresh, Mark, Standing, settle};
use crate::domain::Currency;
use crate::store::{Refresh, Store};

/// Others may come between so often before a refresh gives up.
const TRIES_MAX: usize = 5;
/// Quotes remembered as written, at most.
const WRITTEN_MAX: usize = 20_000;
/// A refresh that is said to be this far ahead of ours had a clock that was wrong: it does not count as later.
const AHEAD_MAX: Duration = Duration::minutes(1);

/// Turns the providers' answers into rates, again and again. Several may work on one database.
pub struct Refresher {
    store: Store,
    rules: Rules,
    /// Each provider's last quote of each currency, and its fate: repeated ones are not written again.
    written: Mutex<HashMap<QuoteKey, QuoteText>>,
    tended_at: Mutex<Option<DateTime<Utc>>>,
}

type QuoteKey = (Arc<str>, String, String);
type QuoteText = (Decimal, DateTime<Utc>, Option<&'static str>);

/// The key of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    Mid(Currency),
    Executable(Pair),
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mid(currency) => currency.fmt(f),
            Self::Executable(pair) => pair.fmt(f),
        }
    }
}

/// What a refresh decided.
struct Decision {
    due: Vec<Offer>,
    marks: BTreeMap<Of, Mark>,
    report: Report,
}

impl Refresher {
    pub fn new(store: Store, config: &Config) -> Result<Self, RatesError> {
        let rules = Rules::new(config)?;
        Ok(Self { store, rules, written: Mutex::default(), tended_at: Mutex::default() })
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Opens the channels that rates go out on, where they are not open yet.
    pub async fn open_channels(&self) -> Result<(), RatesError> {
        Ok(self.store.open_rate_channels().await?)
    }

    /// An unchanged rate writes nothing.
    pub async fn refresh(&self, round: &Round, now: DateTime<Utc>) -> Result<Report, RatesError> {
        let market = aggregate(&self.rules, &round.answers, now);
        self.tend(now).await;
        for _ in 0..TRIES_MAX {
            let state = rows::read(self.store.rates_state().await?)?;
            let ahead = state.at.map_or(Duration::zero(), |at| at - now);
            if ahead > Duration::zero() && ahead <= AHEAD_MAX {
                return Ok(Report { at: now, cycle: state.cycle, superseded: true, ..Report::default() });
            }
            let mut decision = decide(&self.rules, &market, &state.marks, &state.rates, now);
            let news = self.news(&market.quotes);
            let write = Refresh {
                at_us: now.timestamp_micros(),
                rates: decision.due.iter().map(rows::rate).collect(),
                marks: decision.marks.iter().map(|(of, mark)| rows::mark(*of, mark)).collect(),
                quotes: news.iter().map(|j| rows::quote(j)).collect(),
                providers: round.providers.iter().map(rows::provider).collect(),
                used: decision.report.used,
                rejected: decision.report.rejected,
                summary: decision.report.to_string(),
            };
            if let Some((cycle, written)) = self.store.refresh_rates(state.cycle, &write).await? {
                decision.report.cycle = cycle;
                decision.report.written = written as usize;
                self.remember(&news);
                decision.report.quotes = market.quotes;
                decision.report.providers = round.providers.clone();
                return Ok(decision.report);
            }
        }
        Err(RatesError::Contended)
    }

    /// Quotes that differ from what was written of them last.
    fn news<'a>(&self, quotes: &'a [Judged]) -> Vec<&'a Judged> {
        let written = self.written.lock().expect("no code panics while it holds this lock");
        quotes.iter().filter(|j| written.get(&key(j)) != Some(&text(j))).collect()
    }

    fn remember(&self, news: &[&Judged]) {
        let mut written = self.written.lock().expect("no code panics while it holds this lock");
        if written.len() + news.len() > WRITTEN_MAX {
            written.clear(); // they are written once more, that is all
        }
        written.extend(news.iter().map(|j| (key(j), text(j))));
    }

    /// Once an hour. That retention fails is no reason for rates to stand still.
    async fn tend(&self, now: DateTime<Utc>) {
        {
            let mut tended_at = self.tended_at.lock().expect("no code panics while it holds this lock");
            if tended_at.is_some_and(|at| (Duration::zero()..Duration::hours(1)).contains(&(now - at))) {
                return;
            }
            *tended_at = Some(now);
        }
        let (quote_days, history_days) = (self.rules.quote_retention_days, self.rules.history_retention_days);
        match self.store.tend_rates(quote_days, history_days, now.timestamp_micros()).await {
            Ok(report) => tracing::debug!(report, "tended the rates' partitions"),
            Err(error) => tracing::warn!(%error, "cannot tend the rates' partitions; again in an hour"),
        }
    }
}

fn key(judged: &Judged) -> QuoteKey {
    (judged.provider.clone(), judged.quoted.base.clone(), judged.quoted.quote.clone())
}

fn text(judged: &Judged) -> QuoteText {
    (judged.quoted.rate, judged.quoted.as_of, judged.rejected.as_ref().map(|r| r.code()))
}

fn decide(
    rules: &Rules,
    market: &Market,
    before: &BTreeMap<Of, Mark>,
    published: &BTreeMap<Pair, Published>,
    now: DateTime<Utc>,
) -> Decision {
    let mut report = Report { at: now, ..Report::default() };
    report.used = market.quotes.iter().filter(|j| j.rejected.is_none()).count();
    report.rejected = market.quotes.len() - report.used;
    report.stale = market.quotes.iter().filter(|j| j.rejected.as_ref().is_some_and(|r| r.is_stale())).count();

    let mut marks = BTreeMap::new();
    let none = Mark::default();
    let mut stand = |of: Of, fresh: Option<Fresh>| -> Option<Standing> {
        let mark = before.get(&of).unwrap_or(&none);
        let candidate = fresh.as_ref().map(|f| f.sources.clone());
        let (standing, next) = settle(rules, mark, fresh, now);
        if next != *mark {
            marks.insert(of, next);
        }
        let standing = standing?;
        if let (Some(jump), Some(sources)) = (standing.held, candidate) {
            report.held.push(Held { of: of.to_string(), last: standing.value, jump, sources });
        }
        if let Some(age_s) = standing.cached_s {
            report.cached.push(Cached { of: of.to_string(), age_s, expired: standing.expired });
        }
        Some(standing)
    };

    let usd = Standing {
        value: Figure::ONE,
        confidence: Confidence::High,
        sources: Vec::new(),
        as_of: None,
        cached_s: None,
        expired: false,
        held: None,
    };
    let mut mids = BTreeMap::from([(Currency::USD, usd)]);
    for &currency in &rules.currencies {
        let fresh = market.mids.get(&currency).and_then(|mid| {
            let (value, sources, values) = (mid.value?, mid.sources.clone(), mid.values.clone());
            Some(Fresh { value, confidence: mid.confidence, sources, values, as_of: mid.as_of })
        });
        if let Some(standing) = stand(Of::Mid(currency), fresh) {
            mids.insert(currency, standing);
        }
    }
    let mut payouts = BTreeMap::new();
    for &pair in &rules.pairs {
        let now_offered = market.executable.get(&pair);
        if now_offered.is_none() && !before.contains_key(&Of::Executable(pair)) {
            continue;
        }
        // The market may confirm a jump of the price, but only as it is now.
        let legs = [pair.source, pair.destination].map(|c| mids.get(&c).filter(|s| s.cached_s.is_none()));
        let mid = legs[0].zip(legs[1]).map(|(s, d)| super::price::cross(s.value, d.value));
        let fresh = now_offered.map(|Executable { provider, price, as_of }| Fresh {
            value: *price,
            confidence: Confidence::Low,
            sources: vec![provider.clone()],
            values: [*price].into_iter().chain(mid).collect(),
            as_of: Some(*as_of),
        });
        if let Some(standing) = stand(Of::Executable(pair), fresh) {
            payouts.insert(pair, standing);
        }
    }

    let mut due = Vec::new();
    for &pair in &rules.pairs {
        let payout = payouts.get(&pair).and_then(|s| Some((s.sources.first()?, s)));
        let Some(offer) = offer(rules, pair, &mids, payout) else {
            report.missing.push(pair);
            continue;
        };
        if offer.expired {
            report.expired.push(pair);
        }
        let old = published.get(&pair);
        if is_due(rules, &offer, old, now) {
            report.changed.push(Change {
                pair,
                old: old.map(|p| p.rate),
                new: offer.rate,
                confidence: offer.confidence,
                sources: offer.sources.clone(),
                warnings: offer.warnings.clone(),
            });
            due.push(offer);
        } else if old.is_some_and(|p| p.held == Some(true)) {
            report.by_hand += 1;
        } else if old.is_some() {
            report.unchanged += 1;
        }
    }
    Decision { due, marks, report }
}
