//! The providers, asked together. Who is slow is not waited for, and not asked again before it is done.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::config::Rules;
use super::pair::Pair;
use super::quote::{Answer, Pace, Quoted};
use crate::domain::Currency;
use crate::provider::{self, Cadence, Circuit, Guarded, Kind, Luck, Refreshed, Wanted};

/// Every provider of the configuration. Dropping it gives up what is on its way.
pub struct Panel {
    seats: Vec<Seat>,
    base: Currency,
    currencies: BTreeSet<Currency>,
    pairs: Vec<provider::Pair>,
    round: std::time::Duration,
}

pub(super) struct Seat {
    provider: Arc<Guarded>,
    state: Mutex<SeatState>,
}

#[derive(Default)]
struct SeatState {
    /// A round that was not done in time.
    running: Option<Running>,
    answered_at: Option<DateTime<Utc>>,
    /// Its last answer, where another process had it.
    recalled: Option<Answer>,
}

struct Running {
    asked_at: DateTime<Utc>,
    task: JoinHandle<Refreshed>,
}

/// What one round brought.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Of those who have answered now or before: whether it is still fresh is for the aggregation to say.
    pub answers: Vec<Answer>,
    pub providers: Vec<Fared>,
}

/// How a provider fared in a round.
#[derive(Clone, Debug)]
pub struct Fared {
    pub provider: Arc<str>,
    pub outcome: Outcome,
    pub circuit: Circuit,
    pub held: Option<provider::Held>,
    /// How often it was left alone for failing since it was well.
    pub openings: u32,
    pub answered_at: Option<DateTime<Utc>>,
    /// Of the last good answer.
    pub latency_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// Not asked, and why.
    Held(String),
    /// Never holds a key.
    Failed(String),
    /// Not done yet.
    Slow,
}

/// Called as (done, total) by providers that are asked pair by pair.
pub type Progress = Arc<dyn Fn(usize, usize) + Send + Sync>;

impl From<Vec<Answer>> for Round {
    fn from(answers: Vec<Answer>) -> Self {
        Self { answers, providers: Vec::new() }
    }
}

impl Panel {
    pub(super) fn seat(&self, provider: &str) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.provider.name() == provider)
    }

    /// Bases and quotes of all that is asked for; no base where it is the provider's to choose.
    pub(super) fn quotable(&self, kind: Kind) -> Vec<(String, String)> {
        let code = |c: &Currency| c.to_string();
        match kind {
            Kind::Snapshot => self.currencies.iter().chain([&self.base]).map(|c| (String::new(), code(c))).collect(),
            Kind::Pairs => self.pairs.iter().map(|p| (code(&p.base), code(&p.quote))).collect(),
        }
    }

    pub fn new(providers: Vec<Guarded>, rules: &Rules) -> Self {
        let seat = |p| Seat { provider: Arc::new(p), state: Mutex::default() };
        Self {
            seats: providers.into_iter().map(seat).collect(),
            base: Currency::USD,
            currencies: rules.currencies.clone(),
            pairs: rules
                .pairs
                .iter()
                .map(|&Pair { source, destination }| provider::Pair { base: source, quote: destination })
                .collect(),
            round: rules.round,
        }
    }

    /// Asks all at once. `luck` is drawn once for each provider.
    pub async fn ask(&self, now: DateTime<Utc>, luck: &(dyn Fn() -> Luck + Sync), progress: Option<Progress>) -> Round {
        let wanted =
            Wanted { base: self.base, currencies: self.currencies.clone(), pairs: self.pairs.clone(), now, progress };
        let asked = self.seats.iter().map(|seat| seat.ask(&wanted, luck(), self.round));
        let mut round = Round::default();
        for (answer, fared) in join_all(asked).await {
            round.answers.extend(answer);
            round.providers.push(fared);
        }
        round
    }
}

impl Seat {
    pub(super) fn provider(&self) -> &Guarded {
        &self.provider
    }

    /// Has another process had an answer later than this one?
    pub(super) fn is_behind(&self, answered_at: DateTime<Utc>) -> bool {
        self.lock().answered_at.is_none_or(|at| at.timestamp_micros() < answered_at.timestamp_micros())
    }

    pub(super) fn recall(&self, answered_at: DateTime<Utc>, quotes: Vec<Quoted>) {
        let answer = self.answer_of(self.provider.name().into(), answered_at, quotes);
        let mut state = self.lock();
        state.answered_at = Some(answered_at);
        state.recalled = Some(answer);
    }

    async fn ask(&self, wanted: &Wanted, luck: Luck, patience: std::time::Duration) -> (Option<Answer>, Fared) {
        let mut running = self.lock().running.take();
        if let Some(done) = running.take_if(|r| r.task.is_finished())
            && self.provider.last().is_some()
        {
            // Too late for its round; it is the last answer now, and a newer one is asked for.
            self.lock().answered(done.asked_at);
        }
        // A task of its own: it goes on when this round does not wait for it.
        let mut running = running.unwrap_or_else(|| {
            let (provider, wanted) = (self.provider.clone(), wanted.clone());
            Running { asked_at: wanted.now, task: tokio::spawn(async move { provider.refresh(&wanted, luck).await }) }
        });
        let outcome = match tokio::time::timeout(patience, &mut running.task).await {
            Err(_) => {
                self.lock().running = Some(running);
                Outcome::Slow
            }
            Ok(Err(_)) => Outcome::Failed("panicked, or the process is ending".into()),
            Ok(Ok(Refreshed::Answered(_))) => {
                self.lock().answered(running.asked_at);
                Outcome::Answered
            }
            Ok(Ok(Refreshed::Held { held, .. })) => Outcome::Held(held.to_string()),
            Ok(Ok(Refreshed::Failed { error, .. })) => Outcome::Failed(error.to_string()),
        };
        let name: Arc<str> = self.provider.name().into();
        let status = self.provider.status(wanted.now);
        let (answered_at, recalled) = {
            let state = self.lock();
            (state.answered_at, state.recalled.clone())
        };
        let own = || self.provider.last().zip(answered_at).map(|(a, at)| self.answer(name.clone(), &a, at));
        let answer = recalled.or_else(own);
        let fared = Fared {
            provider: name,
            outcome,
            circuit: status.circuit,
            held: status.held,
            openings: status.openings,
            answered_at,
            latency_ms: status.latency_ms,
        };
        (answer, fared)
    }

    fn answer(&self, provider: Arc<str>, said: &provider::Answer, fetched_at: DateTime<Utc>) -> Answer {
        let quote = |q: &provider::Quote| Quoted {
            base: q.base.to_string(),
            quote: q.quote.to_string(),
            rate: q.rate,
            as_of: q.provider_ts,
        };
        let quotes = said.quotes.iter().map(quote).collect();
        self.answer_of(provider, fetched_at, quotes)
    }

    fn answer_of(&self, provider: Arc<str>, fetched_at: DateTime<Utc>, quotes: Vec<Quoted>) -> Answer {
        let pace = match self.provider.cadence() {
            Cadence::Daily => Pace::Daily,
            Cadence::Hourly => Pace::Hourly,
            Cadence::Minute => Pace::Minute,
        };
        Answer { provider, pace, executes: self.provider.kind() == Kind::Pairs, fetched_at, quotes }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SeatState> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}

impl SeatState {
    fn answered(&mut self, at: DateTime<Utc>) {
        self.answered_at = Some(at);
        self.recalled = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
