//! Users who were disconnected, for those who are on their way in meanwhile: whoever was identified before the word came, and
//! entered after it, is sent away as well.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A handshake lasts seconds. What was forgotten counts against everybody who was identified before it.
const REMEMBERED_MAX: usize = 1024;
/// A close frame has room for no more.
const REASON_CHARS_MAX: usize = 100;

#[derive(Default)]
pub struct Departed(Mutex<State>);

#[derive(Default)]
struct State {
    heard: u64,
    forgotten: u64,
    recent: VecDeque<(u64, Box<str>, Box<str>)>,
}

/// Of somebody who was identified at a mark.
#[derive(Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Disconnected since, for this reason.
    Sent(String),
    /// So many were disconnected since that nobody knows.
    Unknown,
}

impl Departed {
    /// Before it is found out who somebody is.
    pub fn mark(&self) -> u64 {
        self.state().heard
    }

    /// Before those who are in are looked through. The reason as they are told it.
    pub fn note<'r>(&self, user: &str, reason: &'r str) -> &'r str {
        let cut = reason.char_indices().nth(REASON_CHARS_MAX).map_or(reason.len(), |(at, _)| at);
        let reason = &reason[..cut];
        let mut state = self.state();
        state.heard += 1;
        let heard = state.heard;
        if state.recent.len() == REMEMBERED_MAX
            && let Some((oldest, ..)) = state.recent.pop_front()
        {
            state.forgotten = oldest;
        }
        state.recent.push_back((heard, user.into(), reason.into()));
        reason
    }

    /// After somebody is in.
    pub fn since(&self, mark: u64, user: &str) -> Option<Farewell> {
        let state = self.state();
        let mut newest_first = state.recent.iter().rev().take_while(|(heard, ..)| *heard > mark);
        let found = newest_first.find(|(_, who, _)| **who == *user);
        match found {
            Some((_, _, reason)) => Some(Farewell::Sent(reason.to_string())),
            None => (state.forgotten > mark).then_some(Farewell::Unknown),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole once the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_identified_before_the_word_came_is_found_and_nobody_else() {
        let departed = Departed::default();
        let before = departed.mark();
        departed.note("7", "bye");
        let after = departed.mark();
        assert_eq!(departed.since(before, "7"), Some(Farewell::Sent("bye".into())));
        assert_eq!(departed.since(after, "7"), None);
        assert_eq!(departed.since(before, "8"), None);
        for n in 0..REMEMBERED_MAX {
            departed.note(&format!("other {n}"), "");
        }
        assert_eq!(departed.since(before, "7"), Some(Farewell::Unknown), "forgotten, and so not let in");
        assert_eq!(departed.since(after, "8"), None);
        assert!(departed.state().recent.len() <= REMEMBERED_MAX);
        assert_eq!(departed.note("9", &"é".repeat(70_000)), "é".repeat(100));
    }
}
