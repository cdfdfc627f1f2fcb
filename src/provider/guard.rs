//! When a provider may be asked: a circuit breaker and a rate limit. Clock and luck are arguments.
//!
//! ```text
//!            5 failures in a row                  time is up: 1 probe at a time
//!  Closed ───────────────────────▶ Open 30 s … ◀──────────────────────────────▶ HalfOpen ── 2 successes ──▶ Closed
//!     └── 429: Retry-After or 20 min · quota: next month · key refused: until reload ──▲       a failure opens again
//! ```
//! Each opening by failure lasts twice as long as the one before, at most 30 min, ±10 %; closing starts over at 30 s.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};

use super::error::ProviderError;
use super::held::{Held, Why};

const FAILURES_MAX: u32 = 5;
const SUCCESSES_TO_CLOSE: u32 = 2;
const OPEN_S: i64 = 30;
const OPEN_S_MAX: i64 = 30 * 60;
/// A 429 that does not say for how long.
const RATE_LIMITED_S: i64 = 20 * 60;
/// A `Retry-After` is heeded for a day at most, and for a second at least.
const RETRY_AFTER_S_MAX: i64 = 24 * 3600;
/// After a failed round the minimal interval is this at most.
const FAILED_INTERVAL_S_MAX: i64 = 60;
/// A provider that announces its next update is asked this much later (plus up to `NEXT_SPREAD_S`), not sooner.
const NEXT_DELAY_S: i64 = 30;
const NEXT_SPREAD_S: i64 = 270;
/// An announced update is believed for so long.
const NEXT_S_MAX: i64 = 26 * 3600;

/// A uniform draw of 0 to 1000, from whoever owns randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Luck(u16);

pub struct Guard {
    min_interval: TimeDelta,
    state: State,
    /// Openings by failure since it was last closed.
    openings: u32,
    /// The rate limit.
    rest: Option<Held>,
    asked_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open(Held),
    HalfOpen { successes: u32, probing: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    Closed,
    Open,
    HalfOpen,
}

/// What holds a provider, as another process left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub circuit: Circuit,
    pub held: Held,
    pub openings: u32,
}

impl Luck {
    pub fn new(permille: u16) -> Self {
        Self(permille.min(1000))
    }
}

impl Guard {
    pub fn new(min_interval: Duration) -> Self {
        let min_interval = TimeDelta::from_std(min_interval).unwrap_or(TimeDelta::MAX);
        let state = State::Closed { failures: 0 };
        Self { min_interval, state, openings: 0, rest: None, asked_at: None }
    }

    /// May it be asked now? If so, the round has begun: `settle` or `abandon` must follow.
    pub fn admit(&mut self, now: DateTime<Utc>) -> Result<(), Held> {
        if let State::Open(held) = self.state {
            if held.holds(now) {
                return Err(held);
            }
            self.state = State::HalfOpen { successes: 0, probing: false };
        }
        if let Some(rest) = self.rest.filter(|rest| rest.holds(now)) {
            return Err(rest);
        }
        if let State::HalfOpen { probing, .. } = &mut self.state {
            if *probing {
                return Err(Held { why: Why::Probing, since: now, until: None });
            }
            *probing = true;
        }
        self.asked_at = Some(now);
        self.rest(Why::Interval, now, now.checked_add_signed(self.min_interval));
        Ok(())
    }

    /// Takes over what holds it longer than our own memory does; never lets go. A refused key is tried again: this process may
    /// have been given another.
    pub fn remember(&mut self, memory: Memory, now: DateTime<Utc>) {
        let Memory { circuit, mut held, openings } = memory;
        if held.why == Why::Interval {
            // It may have been configured to be shorter since.
            held.until = held.until.min(held.since.checked_add_signed(self.min_interval).or(held.until));
        }
        let longer = |ours: Option<Held>| ours.and_then(|h| h.until) < held.until;
        if held.until.is_none() || !held.holds(now) {
            return;
        }
        match (circuit, held.why, self.state) {
            (_, Why::Auth | Why::Probing, _) => {}
            (Circuit::Open, _, State::Open(ours)) if !longer(Some(ours)) => {}
            (Circuit::Open, ..) => {
                self.state = State::Open(held);
                self.openings = self.openings.max(openings);
            }
            _ if longer(self.rest) => self.rest = Some(held),
            _ => {}
        }
    }

    pub fn openings(&self) -> u32 {
        self.openings
    }

    /// How the round ended: when the provider announced its next update, or an error.
    pub fn settle(&mut self, outcome: Result<Option<DateTime<Utc>>, &ProviderError>, now: DateTime<Utc>, luck: Luck) {
        match outcome {
            Ok(next_at) => {
                self.succeeded();
                if let Some(next_at) = next_at.filter(|at| *at > now) {
                    let delay = NEXT_DELAY_S + NEXT_SPREAD_S * i64::from(luck.0) / 1000;
                    let until = (next_at + TimeDelta::seconds(delay)).min(now + TimeDelta::seconds(NEXT_S_MAX));
                    if self.rest.and_then(|rest| rest.until).is_none_or(|resting| until > resting) {
                        self.rest(Why::NoNews, now, Some(until));
                    }
                }
            }
            Err(error) => {
                self.failed(error, now, luck);
                let asked = self.asked_at.unwrap_or(now);
                let rest = self.min_interval.min(TimeDelta::seconds(FAILED_INTERVAL_S_MAX));
                self.rest(Why::Interval, asked, Some(asked + rest));
            }
        }
    }

    /// The round was given up, and says nothing of the provider.
    pub fn abandon(&mut self) {
        if let State::HalfOpen { probing, .. } = &mut self.state {
            *probing = false;
        }
    }

    pub fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open(_) => Circuit::Open,
            State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// What holds it at `now`, for the eye: admits nothing.
    pub fn held(&self, now: DateTime<Utc>) -> Option<Held> {
        let open = if let State::Open(held) = self.state { Some(held) } else { None };
        [open, self.rest].into_iter().flatten().find(|held| held.holds(now))
    }

    fn succeeded(&mut self) {
        match &mut self.state {
            State::Closed { failures } => *failures = 0,
            State::HalfOpen { successes, probing } => {
                *successes += 1;
                *probing = false;
                if *successes >= SUCCESSES_TO_CLOSE {
                    self.state = State::Closed { failures: 0 };
                    self.openings = 0;
                }
            }
            // A round that began before it opened.
            State::Open(_) => {}
        }
    }

    fn failed(&mut self, error: &ProviderError, now: DateTime<Utc>, luck: Luck) {
        let (why, until) = match error {
            ProviderError::Auth => (Why::Auth, None),
            ProviderError::Quota => (Why::Quota, Some(next_month(now))),
            ProviderError::RateLimited { retry_after } => {
                let wished = retry_after.map(|d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
                let seconds = wished.unwrap_or(RATE_LIMITED_S).clamp(1, RETRY_AFTER_S_MAX);
                (Why::RateLimited, Some(now + TimeDelta::seconds(seconds)))
            }
            _ => match &mut self.state {
                State::Closed { failures } => {
                    *failures += 1;
                    if *failures < FAILURES_MAX {
                        return;
                    }
                    (Why::Failing, Some(now + self.backoff(luck)))
                }
                State::HalfOpen { .. } => (Why::Failing, Some(now + self.backoff(luck))),
                State::Open(_) => return,
            },
        };
        self.state = State::Open(Held { why, since: now, until });
    }

    fn backoff(&mut self, luck: Luck) -> TimeDelta {
        let seconds = OPEN_S.saturating_mul(1 << self.openings.min(16)).min(OPEN_S_MAX);
        self.openings += 1;
        // 900 to 1100 permille of seconds are 900 to 1100 milliseconds of each.
        TimeDelta::milliseconds(seconds * (900 + i64::from(luck.0) / 5))
    }

    fn rest(&mut self, why: Why, since: DateTime<Utc>, until: Option<DateTime<Utc>>) {
        self.rest = Some(Held { why, since, until });
    }
}

fn next_month(now: DateTime<Utc>) -> DateTime<Utc> {
    let (year, month) = if now.month() == 12 { (now.year() + 1, 1) } else { (now.year(), now.month() + 1) };
    let first = NaiveDate::from_ymd_opt(year, month, 1).expect("a month's first day");
    first.and_time(chrono::NaiveTime::MIN).and_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens at a second after the start, and what must hold then.
    enum Do {
        /// The round is admitted, and ends so at once.
        Win,
        Lose(ProviderError),
        /// It is held for this reason, until this second.
        Held(Why, Option<i64>),
        /// A round is admitted and does not come back yet.
        Begin,
        Abandon,
        Is(Circuit),
    }
    use Circuit::{Closed, HalfOpen, Open};
    use Do::{Abandon, Begin, Held as H, Is, Lose, Win};

    const MIDDLE: u16 = 500;

    fn start() -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse().expect("a time")
    }

    fn second(s: i64) -> DateTime<Utc> {
        start() + TimeDelta::seconds(s)
    }

    fn run(label: &str, min_interval_s: u64, luck: u16, steps: Vec<(i64, Do)>) {
        let mut guard = Guard::new(Duration::from_secs(min_interval_s));
        for (i, (s, step)) in steps.into_iter().enumerate() {
            let now = second(s);
            let place = format!("{label}, step {i}, second {s}");
            match step {
                Win => {
                    assert_eq!(guard.admit(now), Ok(()), "{place}");
                    guard.settle(Ok(None), now, Luck::new(luck));
                }
                Lose(error) => {
                    assert_eq!(guard.admit(now), Ok(()), "{place}");
                    guard.settle(Err(&error), now, Luck::new(luck));
                }
                H(why, until) => {
                    let held = guard.admit(now).expect_err(&place);
                    assert_eq!((held.why, held.until), (why, until.map(second)), "{place}");
                    if why != Why::Probing {
                        assert_eq!(guard.held(now), Some(held), "{place}");
                    }
                }
                Begin => assert_eq!(guard.admit(now), Ok(()), "{place}"),
                Abandon => guard.abandon(),
                Is(circuit) => assert_eq!(guard.circuit(), circuit, "{place}"),
            }
        }
    }

    fn timeout() -> Do {
        Lose(ProviderError::Timeout)
    }

    fn five_timeouts(at: i64) -> Vec<(i64, Do)> {
        (0..5).map(|_| (at, timeout())).collect()
    }

    #[test]
    fn another_process_s_memory_holds_longer_but_never_shorter() {
        type Case = (Circuit, Why, Option<i64>, Option<i64>);
        // What is remembered at second 10 of a minimal interval of 100 s, and until when nobody is asked then.
        let cases: [Case; 9] = [
            (Open, Why::Quota, Some(5_000), Some(5_000)),
            (Open, Why::Failing, Some(60), Some(60)),
            (Open, Why::Failing, Some(10), None),
            (Open, Why::Auth, None, None),
            (Open, Why::Probing, Some(60), None),
            (Closed, Why::Interval, Some(90), Some(90)),
            (Closed, Why::Interval, Some(9_000), Some(100)),
            (Closed, Why::NoNews, Some(9_000), Some(9_000)),
            (HalfOpen, Why::Interval, Some(90), Some(90)),
        ];
        for (circuit, why, until, held) in cases {
            let mut guard = Guard::new(Duration::from_secs(100));
            let memory = Memory { circuit, held: Held::new(why, second(0), until.map(second)), openings: 3 };
            guard.remember(memory, second(10));
            assert_eq!(guard.held(second(10)).map(|h| h.until), held.map(|s| Some(second(s))), "{why:?} {until:?}");
            let ours =
                Memory { circuit: Open, held: Held::new(Why::Quota, second(0), Some(second(99_999))), openings: 0 };
            guard.remember(ours, second(10));
            guard.remember(memory, second(10));
            assert_eq!(guard.held(second(10)).and_then(|h| h.until), Some(second(99_999)));
        }
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_two_successes_close_it() {
        let mut steps: Vec<(i64, Do)> = (0..4).map(|_| (0, timeout())).collect();
        steps.extend([(0, Win), (0, timeout()), (0, timeout()), (0, timeout()), (0, timeout()), (0, Is(Closed))]);
        steps.extend([(0, timeout()), (0, Is(Open)), (0, H(Why::Failing, Some(30))), (29, H(Why::Failing, Some(30)))]);
        steps.extend([(30, Win), (30, Is(HalfOpen)), (31, Win), (31, Is(Closed))]);
        // Closed anew: five failures again, and thirty seconds again.
        steps.extend(five_timeouts(40));
        steps.push((40, H(Why::Failing, Some(70))));
        run("closing", 0, MIDDLE, steps);
    }

    #[test]
    fn every_opening_lasts_twice_as_long_up_to_half_an_hour() {
        let mut steps = five_timeouts(0);
        let mut now = 0;
        for lasts in [30, 60, 120, 240, 480, 960, 1800, 1800, 1800] {
            steps.push((now, H(Why::Failing, Some(now + lasts))));
            now += lasts;
            steps.push((now, timeout()));
        }
        run("doubling", 0, MIDDLE, steps);
        // One success is not enough to start over.
        let mut steps = five_timeouts(0);
        steps.extend([(30, Win), (30, timeout()), (30, H(Why::Failing, Some(90)))]);
        run("one success", 0, MIDDLE, steps);
    }

    #[test]
    fn luck_moves_it_by_a_tenth() {
        for (luck, lasts) in [(0, 27), (500, 30), (1000, 33), (u16::MAX, 33)] {
            let mut steps = five_timeouts(0);
            steps.extend([(0, H(Why::Failing, Some(lasts))), (lasts, Win)]);
            run("luck", 0, luck, steps);
        }
    }

    #[test]
    fn half_open_lets_one_probe_through_at_a_time() {
        let mut steps = five_timeouts(0);
        steps.extend([(30, Begin), (30, H(Why::Probing, None)), (30, Is(HalfOpen)), (31, Abandon), (31, Win)]);
        run("probe", 0, MIDDLE, steps);
    }

    #[test]
    fn what_the_provider_says_of_itself_opens_it_at_once() {
        let rate_limited = |s: Option<u64>| ProviderError::RateLimited { retry_after: s.map(Duration::from_secs) };
        let december =
            (NaiveDate::from_ymd_opt(2026, 12, 1).expect("a day").and_time(chrono::NaiveTime::MIN).and_utc() - start())
                .num_seconds();
        for (error, why, until) in [
            (ProviderError::Auth, Why::Auth, None),
            (ProviderError::Quota, Why::Quota, Some(december)),
            (rate_limited(None), Why::RateLimited, Some(1200)),
            (rate_limited(Some(7)), Why::RateLimited, Some(7)),
            (rate_limited(Some(0)), Why::RateLimited, Some(1)),
            (rate_limited(Some(u64::MAX)), Why::RateLimited, Some(86_400)),
        ] {
            let label = format!("{error:?}");
            let mut steps = vec![(0, Lose(error)), (0, H(why, until))];
            match until {
                None => steps.push((366 * 86_400, H(why, None))),
                Some(until) => steps.extend([(until - 1, H(why, Some(until))), (until, Win), (until, Is(HalfOpen))]),
            }
            run(&label, 0, MIDDLE, steps);
        }
        // It is no failure of the server: the next opening by failure is the first.
        let mut steps = vec![(0, Lose(rate_limited(Some(5)))), (5, Win), (5, Win)];
        steps.extend(five_timeouts(5));
        steps.push((5, H(Why::Failing, Some(35))));
        run("429, then failures", 0, MIDDLE, steps);
    }

    #[test]
    fn every_other_error_counts_as_a_failure() {
        for error in [
            ProviderError::Timeout,
            ProviderError::Unreachable { why: "refused".into() },
            ProviderError::Status { status: 500 },
            ProviderError::UnsupportedBase,
            ProviderError::Refused { what: "no" },
            ProviderError::Malformed { what: "not JSON" },
            ProviderError::TooLarge { bytes_max: 1 },
        ] {
            let label = format!("{error:?}");
            let mut steps: Vec<(i64, Do)> = (0..5).map(|_| (0, Lose(error.clone()))).collect();
            steps.push((0, H(Why::Failing, Some(30))));
            run(&label, 0, MIDDLE, steps);
        }
    }

    #[test]
    fn rounds_keep_their_distance() {
        let steps = vec![(0, Win), (0, H(Why::Interval, Some(600))), (599, H(Why::Interval, Some(600))), (600, Win)];
        run("interval", 600, MIDDLE, steps);
        // A round that did not come back counts; a failed one is tried again within a minute.
        let steps =
            vec![(0, Begin), (1, H(Why::Interval, Some(600))), (600, timeout()), (601, H(Why::Interval, Some(660)))];
        run("interval", 600, MIDDLE, steps);
        // The clock was set back: by an hour, by more.
        let steps =
            vec![(0, Win), (-3600, H(Why::Interval, Some(600))), (-3601, Win), (-3601, H(Why::Interval, Some(-3001)))];
        run("interval", 600, MIDDLE, steps);
    }

    #[test]
    fn an_announced_update_is_waited_for() {
        for (next_s, luck, until) in [
            (Some(7200), 0, Some((Why::NoNews, 7230))),
            (Some(7200), 1000, Some((Why::NoNews, 7500))),
            (Some(100), 0, Some((Why::Interval, 3600))),
            (Some(-5), 0, Some((Why::Interval, 3600))),
            (None, 0, Some((Why::Interval, 3600))),
            (Some(1_000_000_000), 0, Some((Why::NoNews, 26 * 3600))),
        ] {
            let mut guard = Guard::new(Duration::from_secs(3600));
            guard.admit(start()).expect("closed");
            guard.settle(Ok(next_s.map(second)), start(), Luck::new(luck));
            let held = guard.held(second(1)).map(|held| (held.why, held.until));
            assert_eq!(held, until.map(|(why, s)| (why, Some(second(s)))), "{next_s:?}");
        }
    }

    #[test]
    fn the_month_ends_everywhere() {
        for (now, next) in [
            ("2026-11-20T12:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("2027-01-31T00:00:00Z", "2027-02-01T00:00:00Z"),
        ] {
            let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
            assert_eq!(next_month(at(now)), at(next));
        }
    }
}
