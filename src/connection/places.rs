//! How many of something somebody has, by a text that names whom; and how many there are in all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who has how many. As large as there are holders, so bounded by what is held.
#[derive(Debug, Default)]
pub struct Counts(Mutex<HashMap<Arc<str>, usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Held {
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

/// How many there are of something, whoever has them.
#[derive(Debug, Default)]
pub struct Total(AtomicUsize);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct One(Arc<Total>);

impl Total {
    /// `None`: there are `max` already. 0: there is no bound.
    pub fn hold(self: &Arc<Self>, max: usize) -> Option<One> {
        let more = |n: usize| (max == 0 || n < max).then_some(n + 1);
        self.0.fetch_update(Relaxed, Relaxed, more).is_ok().then(|| One(self.clone()))
    }

    pub fn now(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// The places of users, each of whom may have `max` connections; 0: any number.
pub struct Users {
    counts: Arc<Counts>,
    max: usize,
}

impl Users {
    pub fn new(max: usize) -> Self {
        Self { counts: Arc::default(), max }
    }

    /// `None`: this user has all that it may have.
    pub fn hold(&self, user: &str) -> Option<Held> {
        self.counts.hold(&user.into(), self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_than_the_most() {
        let total = Arc::new(Total::default());
        let held: Vec<_> = (0..2).map(|_| total.hold(2).expect("room")).collect();
        assert!(total.hold(2).is_none() && total.hold(0).is_some());
        drop(held);
        assert_eq!(total.now(), 0);
    }

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
}
