//! How many of something somebody has, by a text that names whom.

use std::collections::HashMap;
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

    pub fn of(&self, whose: &str) -> usize {
        self.lock().get(whose).copied().unwrap_or_default()
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
