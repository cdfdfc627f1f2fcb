//! How many of something somebody has, and how fast somebody comes by more: both by a text that names whom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Who has how many. As large as there are holders, so bounded by what is held.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<Arc<str>, usize>>);

/// One of them, until it is dropped.
pub(in crate::http) struct Held {
    counts: Arc<Counts>,
    whose: Arc<str>,
}

impl Counts {
    /// `None`: `whose` has `max` already. 0: there is no bound.
    pub fn hold(self: &Arc<Self>, whose: &Arc<str>, max: usize) -> Option<Held> {
        let mut counts = self.lock();
        let count = counts.entry(whose.clone()).or_default();
        if max > 0 && *count >= max {
            return None;
        }
        *count += 1;
        Some(Held { counts: self.clone(), whose: whose.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        // A number is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.whose);
            }
        }
    }
}

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
    fn whoever_has_the_most_gets_no_more_until_one_is_given_back() {
        let counts = Arc::new(Counts::default());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let held: Vec<_> = (0..2).map(|_| counts.hold(&a, 2).expect("room")).collect();
        assert!(counts.hold(&a, 2).is_none() && counts.hold(&b, 2).is_some());
        drop(held);
        assert!(counts.lock().is_empty(), "who has none takes no memory");
        let many: Vec<_> = (0..10).filter_map(|_| counts.hold(&a, 0)).collect();
        assert_eq!(many.len(), 10);
    }

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
