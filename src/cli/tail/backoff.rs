use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(300);
const LAST: Duration = Duration::from_secs(15);

/// Waits that double, half of each random: the readers of a server that restarts do not all come at once.
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    pub fn new() -> Self {
        Self { failures: 0 }
    }

    pub fn next(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LAST);
        self.failures += 1;
        // std seeds each of these from the system: enough to spread readers.
        let part = RandomState::new().hash_one(self.failures) as f64 / u64::MAX as f64;
        ceiling.mul_f64(0.5 + part / 2.0)
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over() {
        let mut backoff = Backoff::new();
        for n in 0..40 {
            let ceiling = FIRST.saturating_mul(1 << n.min(16)).min(LAST);
            let wait = backoff.next();
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{n}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
