//! How fast somebody comes by more of something, by a text that names whom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A token bucket for each: `per_s` a second, the double at once.
pub(super) struct Rate {
    per_s: u32,
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

const BURST_S: f64 = 2.0;
const BUCKETS_MAX: usize = 65_536;

impl Rate {
    /// 0: there is no bound.
    pub fn new(per_s: u32) -> Self {
        Self { per_s, buckets: Mutex::default() }
    }

    /// Takes a token; false: there is none.
    pub fn take(&self, whose: &Arc<str>, now: Instant) -> bool {
        if self.per_s == 0 {
            return true;
        }
        let (rate, most) = (f64::from(self.per_s), f64::from(self.per_s) * BURST_S);
        let tokens = |b: &Bucket| (b.tokens + now.saturating_duration_since(b.at).as_secs_f64() * rate).min(most);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(whose) {
            // A full bucket says as much as none. Where there are none: better to forget than to refuse strangers.
            buckets.retain(|_, b| tokens(b) < most);
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(whose.clone()).or_insert(Bucket { tokens: most, at: now });
        let left = tokens(bucket);
        bucket.at = now;
        bucket.tokens = if left >= 1.0 { left - 1.0 } else { left };
        left >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn two_seconds_at_once_and_then_the_rate() {
        let (rate, start) = (Rate::new(5), Instant::now());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert!((0..10).all(|_| rate.take(&a, start)) && !rate.take(&a, start));
        assert!(rate.take(&b, start), "each has its own");
        let later = start + Duration::from_millis(400);
        assert!(rate.take(&a, later) && rate.take(&a, later) && !rate.take(&a, later));
        assert!((0..1000).all(|_| Rate::new(0).take(&a, start)));
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let (rate, start) = (Rate::new(1), Instant::now());
        for n in 0..BUCKETS_MAX + 10 {
            assert!(rate.take(&n.to_string().into(), start));
        }
        assert!(rate.buckets.lock().expect("whole").len() <= BUCKETS_MAX);
        for n in 0..BUCKETS_MAX {
            rate.take(&format!("late {n}").into(), start + Duration::from_secs(60));
        }
        assert!(rate.buckets.lock().expect("whole").len() <= BUCKETS_MAX);
    }
}
