//! The doorbell: when the leader sleeps, polls or lets go. Pure; `task` does what it says.
//!
//! ```text
//!   Following ──elected──▶ Polling ──enough empty drains, K granted, one more drain──▶ Armed (asleep)
//!       ▲                   │  ▲  ▲ refused: a silent writer is in flight; poll on,        │
//!       └──stepped down─────┘  │  └─ with growing pauses                                  │ ring: drain,
//!                              └─ more rings than wake_rings_per_s, or one writer waits ───┘ stay armed
//!                                 for another to have rung: K released
//! ```
//!
//! K is an advisory lock. Armed: the leader's session holds it exclusively, so that no writer can take it shared, and
//! each rings. Otherwise a writer takes it shared until its transaction has ended, and rings nothing.
//! Nothing is lost: K is granted only when no silent writer is in flight; their commits became visible before they
//! released it, so the drain after the grant sees them; who comes later, rings. A ring is delivered only after its
//! transaction became visible, so the drain it causes sees it.

use std::time::Duration;

use tokio::time::Instant;

use super::config::Config;

pub(super) struct Bell {
    state: State,
    interval: Duration,
    empty_enough: u32,
    pause_max: Duration,
    rings_per_s: u32,
}

#[derive(Debug, PartialEq)]
enum State {
    Following,
    Polling { empty: u32, enough: u32, pause: Duration },
    Armed { since: Instant, rings: u64, last: Option<Instant>, looked: Option<Instant> },
}

/// What rings ask for besides a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    Calm,
    /// See whether writers wait for each other.
    Look,
    /// Release K and poll.
    TooOften,
}

/// The rate of rings is looked at over this long.
const WINDOW: Duration = Duration::from_millis(250);
/// Rings that follow each other sooner may be of writers that wait for each other.
const SOON: Duration = Duration::from_secs(1);

impl Bell {
    pub fn new(config: &Config) -> Self {
        Self {
            state: State::Following,
            interval: Duration::from_millis(config.drain_interval_ms),
            empty_enough: config.empty_drains_before_sleep.max(1),
            pause_max: Duration::from_millis(config.arm_backoff_ms_max.max(config.drain_interval_ms)),
            rings_per_s: config.wake_rings_per_s,
        }
    }

    pub fn is_leader(&self) -> bool {
        self.state != State::Following
    }

    pub fn is_armed(&self) -> bool {
        matches!(self.state, State::Armed { .. })
    }

    /// How long after a drain the next one is due without being asked for.
    pub fn pause(&self) -> Option<Duration> {
        match self.state {
            State::Polling { pause, .. } => Some(pause),
            State::Following | State::Armed { .. } => None,
        }
    }

    pub fn follow(&mut self) {
        self.state = State::Following;
    }

    /// Elected: poll until all is quiet.
    pub fn lead(&mut self) {
        self.state = State::Polling { empty: 0, enough: self.empty_enough, pause: self.interval };
    }

    /// After a drain; true: try to take K now.
    pub fn drained(&mut self, rows: u64) -> bool {
        let State::Polling { empty, enough, pause } = &mut self.state else { return false };
        if rows > 0 {
            (*empty, *pause) = (0, self.interval);
            return false;
        }
        *empty += 1;
        *empty >= *enough
    }

    /// K is ours: drain once more, then wait for rings.
    pub fn armed(&mut self, now: Instant) {
        self.state = State::Armed { since: now, rings: 0, last: None, looked: None };
    }

    /// K was refused.
    pub fn refused(&mut self) {
        if let State::Polling { pause, .. } = &mut self.state {
            *pause = (*pause * 2).min(self.pause_max);
        }
    }

    /// A transaction that rings keeps others that ring from committing until it has: where that takes long, for a disk or
    /// a standby far away, they never exceed any rate. So the rate is not all that is looked at.
    pub fn rung(&mut self, count: u64, now: Instant) -> Rung {
        let State::Armed { since, rings, last, looked } = &mut self.state else { return Rung::Calm };
        if now.duration_since(*since) > WINDOW {
            (*since, *rings) = (now, 0);
        }
        *rings += count;
        if *rings as f64 > f64::from(self.rings_per_s) * WINDOW.as_secs_f64() {
            return Rung::TooOften;
        }
        let soon = last.replace(now).is_some_and(|at| now.duration_since(at) < SOON) || count > 1;
        if !soon || looked.is_some_and(|at| now.duration_since(at) < WINDOW) {
            return Rung::Calm;
        }
        *looked = Some(now);
        Rung::Look
    }

    /// K was released because of the rate: asleep again only when that has clearly fallen.
    pub fn released(&mut self) {
        let calm_us = 2_000_000u64.checked_div(u64::from(self.rings_per_s)).unwrap_or(0);
        let empty = calm_us.div_ceil(self.interval.as_micros().max(1) as u64).min(1_000) as u32;
        self.state = State::Polling { empty: 0, enough: self.empty_enough.max(empty), pause: self.interval };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bell() -> Bell {
        let mut bell = Bell::new(&Config { wake_rings_per_s: 100, ..Config::default() });
        bell.lead();
        bell
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn falls_asleep_after_enough_empty_drains_in_a_row() {
        let mut bell = bell();
        for (rows, arm) in [(0, false), (0, false), (5, false), (0, false), (0, false), (0, true), (0, true)] {
            assert_eq!(bell.drained(rows), arm);
        }
        bell.armed(Instant::now());
        assert_eq!((bell.is_armed(), bell.pause(), bell.drained(0)), (true, None, false));
    }

    #[test]
    fn refusals_lengthen_the_pause_and_rows_shorten_it() {
        let mut bell = bell();
        let mut pauses = Vec::new();
        for _ in 0..5 {
            bell.refused();
            pauses.push(bell.pause().expect("polling"));
        }
        assert_eq!(pauses, [4 * MS, 8 * MS, 16 * MS, 20 * MS, 20 * MS]);
        bell.drained(1);
        assert_eq!(bell.pause(), Some(2 * MS));
    }

    #[test]
    fn lets_go_above_the_rate_only() {
        let start = Instant::now();
        for (gap_ms, lets_go) in [(20, false), (11, false), (9, true), (1, true)] {
            let mut bell = bell();
            bell.armed(start);
            let rung = (1..200).any(|i| bell.rung(1, start + gap_ms * i * MS) == Rung::TooOften);
            assert_eq!(rung, lets_go, "a ring each {gap_ms} ms");
        }
        let mut bell = bell();
        bell.armed(start);
        assert_eq!(bell.rung(26, start), Rung::TooOften, "a burst");
        bell.released();
        assert!(!(0..9).any(|_| bell.drained(0)) && bell.drained(0), "asleep again after 20 ms without an event");
    }

    #[test]
    fn a_follower_waits_for_rings() {
        let mut bell = bell();
        bell.follow();
        assert_eq!((bell.is_leader(), bell.pause(), bell.drained(0)), (false, None, false));
        assert_eq!(bell.rung(1_000, Instant::now()), Rung::Calm);
    }

    #[test]
    fn looks_four_times_a_second_at_most_where_rings_follow_each_other() {
        let start = Instant::now();
        let looks = |gap_ms: u32| {
            let mut bell = bell();
            bell.armed(start);
            (1..=3_000 / gap_ms).filter(|i| bell.rung(1, start + gap_ms * *i * MS) == Rung::Look).count()
        };
        assert_eq!([1_000, 900, 300, 125, 50, 11].map(looks), [0, 2, 9, 12, 12, 12]);
    }
}
