//! How many changes a second reach all subscribers of one table in time: the rate is doubled until they do not, then the
//! bound is narrowed down.

use std::time::Duration;

use super::crowd::Crowd;
use super::figures::Spread;
use super::ground::Ground;
use super::report::{Fanout, Step};
use super::server::Server;
use super::ticker::{Ticker, Ticks};
use super::{Agenda, BenchError};

pub const IN_TIME_MS: f64 = 250.0;
/// Deliveries a second to begin with.
const FIRST: f64 = 20_000.0;
const PER_S_MIN: f64 = 1.0;
const PER_S_MAX: f64 = 20_000.0;
const STEPS_MAX: usize = 9;
/// Halvings of the gap between what was in time and what was not.
const NARROWINGS: usize = 2;
const WRITERS: usize = 16;
/// Writers that make fewer of the changes than they should are what is slow.
const MADE_MIN: f64 = 0.9;
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(5);

pub async fn measure(agenda: &Agenda<'_>, ground: &Ground, server: &Server) -> Result<Fanout, BenchError> {
    let clients = agenda.plan.clients;
    agenda.begin(&format!("fan-out to {clients} clients"), agenda.plan.lasts * 2);
    let lasts = (agenda.plan.lasts / 4).clamp(Duration::from_millis(500), Duration::from_secs(3));
    let mut ticker = Ticker::new(ground, WRITERS, false).await?;
    let mut crowd = Crowd::gather(server.authority(), "bench_tick", clients).await?;
    let mut search = Search::new((FIRST / clients as f64).clamp(PER_S_MIN, PER_S_MAX));
    let mut steps = Vec::new();
    while let Some(per_s) = search.next().filter(|_| steps.len() < STEPS_MAX) {
        let count = ((per_s * lasts.as_secs_f64()).ceil() as u64).max(3);
        let before = crowd.heard();
        let ticks = ticker.run(count, per_s, crowd.epoch()).await?;
        let expected = (ticks.all.len() * clients) as u64;
        let complete = crowd.wait_for(before + expected, CATCHES_UP_WITHIN).await;
        let step = judge(&crowd, &ticks, per_s, clients, complete);
        let slow_writers = ticks.per_s < MADE_MIN * per_s;
        search.tell(per_s, step.in_time, step.in_time && slow_writers);
        steps.push(step);
        if !complete {
            // Somebody was cut off, or is seconds behind: from here on they would be measured, not the rate.
            drop(crowd);
            crowd = Crowd::gather(server.authority(), "bench_tick", clients).await?;
        }
    }
    let best = steps.iter().filter(|s| s.in_time).max_by(|a, b| a.changes_per_s.total_cmp(&b.changes_per_s)).cloned();
    Ok(Fanout { clients, best, writers_were_the_limit: search.writers_were_the_limit, steps })
}

fn judge(crowd: &Crowd, ticks: &Ticks, asked_per_s: f64, clients: usize, complete: bool) -> Step {
    let late = |(n, at): (u64, u64)| Some(at.saturating_sub(ticks.find(n)?.committed_us));
    let spread = Spread::of_us(crowd.take().into_iter().filter_map(late)).unwrap_or_default();
    Step {
        asked_per_s,
        changes_per_s: ticks.per_s,
        messages_per_s: ticks.per_s * clients as f64,
        p50_ms: spread.p50_ms,
        p95_ms: spread.p95_ms,
        complete,
        in_time: complete && spread.p95_ms <= IN_TIME_MS,
    }
}

/// Which rate to try next.
struct Search {
    next: Option<f64>,
    good: Option<f64>,
    bad: Option<f64>,
    narrowings: usize,
    writers_were_the_limit: bool,
}

impl Search {
    fn new(first: f64) -> Self {
        Self { next: Some(first), good: None, bad: None, narrowings: NARROWINGS, writers_were_the_limit: false }
    }

    fn next(&self) -> Option<f64> {
        self.next
    }

    fn tell(&mut self, rate: f64, in_time: bool, slow_writers: bool) {
        match in_time {
            true => self.good = Some(self.good.map_or(rate, |good| good.max(rate))),
            false => self.bad = Some(self.bad.map_or(rate, |bad| bad.min(rate))),
        }
        self.writers_were_the_limit |= slow_writers;
        self.next = match (self.good, self.bad) {
            _ if slow_writers => None,
            (Some(good), None) => Some(good * 2.0).filter(|rate| *rate <= PER_S_MAX),
            (None, Some(bad)) => Some(bad / 2.0).filter(|rate| *rate >= PER_S_MIN),
            (Some(good), Some(bad)) if self.narrowings > 0 => {
                self.narrowings -= 1;
                Some((good * bad).sqrt())
            }
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found where everything up to `bound` is in time, and how many steps that takes.
    fn found(first: f64, bound: f64) -> (Option<f64>, usize) {
        let mut search = Search::new(first);
        let mut steps = 0;
        while let Some(rate) = search.next().filter(|_| steps < STEPS_MAX) {
            search.tell(rate, rate <= bound, false);
            steps += 1;
        }
        (search.good, steps)
    }

    #[test]
    fn the_bound_is_found_from_below_and_from_above() {
        for (first, bound) in [(40.0, 40.0), (40.0, 200.0), (40.0, 333.0), (40.0, 30.0), (40.0, 7.0), (1.0, 1.5)] {
            let (good, steps) = found(first, bound);
            let good = good.expect("found");
            assert!(good <= bound && good > bound * 0.7, "{first} {bound}: {good}");
            assert!(steps <= STEPS_MAX);
        }
        assert_eq!(found(4.0, 0.0).0, None, "nothing is in time");
        let mut search = Search::new(40.0);
        search.tell(40.0, true, true);
        assert_eq!((search.next(), search.writers_were_the_limit), (None, true));
    }
}
