use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::config::Config;

/// Pauses that double, each shortened by up to a half at random, so that instances do not come back in step.
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    pub fn new(config: &Config) -> Self {
        let (min, max) =
            (Duration::from_millis(config.reconnect_ms_min), Duration::from_millis(config.reconnect_ms_max));
        // Seeded by the standard library's own random keys; xorshift must not start at 0.
        Self { min, max, next: min, random: RandomState::new().hash_one(0) | 1 }
    }

    pub fn next(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let pause = self.next.mul_f64(0.5 + 0.5 * (self.random >> 11) as f64 / (1u64 << 53) as f64);
        self.next = (self.next * 2).min(self.max);
        pause
    }

    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_differ() {
        let mut backoff = Backoff::new(&Config { reconnect_ms_min: 100, reconnect_ms_max: 1_000, ..Config::default() });
        for bound_ms in [100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.next();
            let bound = Duration::from_millis(bound_ms);
            assert!(bound / 2 <= pause && pause <= bound, "{pause:?} of {bound:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
        assert_ne!(backoff.next(), Backoff::new(&Config::default()).next());
    }
}
