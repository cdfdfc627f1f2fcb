use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::answer::{Answer, Wanted};
use super::error::ProviderError;
use super::guard::{Circuit, Guard, Luck, Memory};
use super::held::Held;
use super::{Cadence, Kind, Provider};

/// A provider behind its guard, with its last answer.
pub struct Guarded {
    provider: Box<dyn Provider>,
    state: Mutex<Inner>,
}

struct Inner {
    guard: Guard,
    last: Option<Arc<Answer>>,
    status: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    rounds: u64,
    failed: u64,
    held: u64,
    latency_ms: Option<u64>,
    error: Option<&'static str>,
}

/// How an attempt to refresh ended. `last` is the newest answer there is, however old: whether its quotes are still
/// fresh is for the aggregation to say.
#[derive(Clone, Debug)]
pub enum Refreshed {
    Answered(Arc<Answer>),
    /// Not asked.
    Held {
        held: Held,
        last: Option<Arc<Answer>>,
    },
    Failed {
        error: ProviderError,
        last: Option<Arc<Answer>>,
    },
}

/// For the eye and for metrics.
#[derive(Clone, Debug)]
pub struct Status {
    pub name: &'static str,
    pub circuit: Circuit,
    pub held: Option<Held>,
    /// By failure, since it was well.
    pub openings: u32,
    /// Rounds that ended, the failed ones included.
    pub rounds: u64,
    pub failed: u64,
    /// Attempts that were not made.
    pub skipped: u64,
    /// Of the last round that was answered.
    pub latency_ms: Option<u64>,
    /// Of the last round, if it failed or something ended it early: [`ProviderError::code`].
    pub error: Option<&'static str>,
    pub answered_at: Option<DateTime<Utc>>,
}

impl Guarded {
    pub fn new(provider: Box<dyn Provider>, min_interval: Duration) -> Self {
        let inner = Inner { guard: Guard::new(min_interval), last: None, status: Counts::default() };
        Self { provider, state: Mutex::new(inner) }
    }

    pub fn name(&self) -> &'static str {
        self.provider.name()
    }

    pub fn kind(&self) -> Kind {
        self.provider.kind()
    }

    pub fn cadence(&self) -> Cadence {
        self.provider.cadence()
    }

    pub fn last(&self) -> Option<Arc<Answer>> {
        self.lock().last.clone()
    }

    /// Asks, if the guard lets it. Dropping the future leaves the guard as if nothing had been asked, but for
    /// the minimal interval.
    pub async fn refresh(&self, wanted: &Wanted, luck: Luck) -> Refreshed {
        {
            let mut inner = self.lock();
            if let Err(held) = inner.guard.admit(wanted.now) {
                inner.status.held += 1;
                return Refreshed::Held { held, last: inner.last.clone() };
            }
        }
        let mut round = Round { guarded: self, settled: false };
        let started = Instant::now();
        let result = self.provider.fetch(wanted).await;
        let now = wanted.now + TimeDelta::from_std(started.elapsed()).unwrap_or_default();
        round.settled = true;
        self.settle(result, now, luck)
    }

    /// See [`Guard::remember`].
    pub fn remember(&self, memory: Memory, now: DateTime<Utc>) {
        self.lock().guard.remember(memory, now);
    }

    pub fn status(&self, now: DateTime<Utc>) -> Status {
        let inner = self.lock();
        let Counts { rounds, failed, held: skipped, latency_ms, error } = inner.status;
        let answered_at = inner.last.as_ref().map(|answer| answer.provider_ts);
        let (circuit, held, openings) = (inner.guard.circuit(), inner.guard.held(now), inner.guard.openings());
        Status { name: self.name(), circuit, held, openings, rounds, failed, skipped, latency_ms, error, answered_at }
    }

    fn settle(&self, result: Result<Answer, ProviderError>, now: DateTime<Utc>, luck: Luck) -> Refreshed {
        let mut inner = self.lock();
        let before = inner.guard.circuit();
        inner.status.rounds += 1;
        let refreshed = match result {
            Ok(answer) => {
                // A part is an answer, but a quota or a refused key in it concerns what comes next.
                let outcome = answer.trouble().map_or(Ok(answer.next_at), Err);
                inner.guard.settle(outcome, now, luck);
                inner.status.latency_ms = Some(answer.latency_ms);
                inner.status.error = answer.trouble().map(ProviderError::code);
                let answer = Arc::new(answer);
                inner.last = Some(answer.clone());
                Refreshed::Answered(answer)
            }
            Err(error) => {
                inner.guard.settle(Err(&error), now, luck);
                inner.status.failed += 1;
                inner.status.error = Some(error.code());
                Refreshed::Failed { error, last: inner.last.clone() }
            }
        };
        match (before, inner.guard.circuit(), inner.guard.held(now)) {
            (Circuit::Closed | Circuit::HalfOpen, Circuit::Open, Some(held)) => {
                tracing::warn!(provider = self.name(), why = %held, "provider left alone");
            }
            (Circuit::HalfOpen, Circuit::Closed, _) => tracing::info!(provider = self.name(), "provider is well again"),
            _ => {}
        }
        refreshed
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}

/// A round that is given up (a deadline, a shutdown) must not keep the only probe.
struct Round<'a> {
    guarded: &'a Guarded,
    settled: bool,
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.guarded.lock().guard.abandon();
        }
    }
}
