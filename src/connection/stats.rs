use super::limit::Refusals;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of all connections since the process began.
#[derive(Debug, Default)]
pub struct Stats {
    pub websockets: AtomicU64,
    pub event_streams: AtomicU64,
    /// Client frames that were understood, and those that were not.
    pub commands: AtomicU64,
    pub refused_frames: AtomicU64,
    /// Times that a connection was not read because its inbox was full.
    pub pauses: AtomicU64,
    pub joins_fresh: AtomicU64,
    pub joins_resumed: AtomicU64,
    pub joins_failed: AtomicU64,
    /// Joins that had to be tried again because too much happened meanwhile.
    pub joins_repeated: AtomicU64,
    /// `reset` frames sent.
    pub resets: AtomicU64,
    pub replayed_events: AtomicU64,
    pub refusals: Refusals,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    pub websockets: u64,
    pub event_streams: u64,
    pub commands: u64,
    pub refused_frames: u64,
    pub pauses: u64,
    pub joins_fresh: u64,
    pub joins_resumed: u64,
    pub joins_failed: u64,
    pub joins_repeated: u64,
    pub resets: u64,
    pub replayed_events: u64,
}

impl Stats {
    pub fn snapshot(&self) -> StatsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StatsSnapshot {
            websockets: read(&self.websockets),
            event_streams: read(&self.event_streams),
            commands: read(&self.commands),
            refused_frames: read(&self.refused_frames),
            pauses: read(&self.pauses),
            joins_fresh: read(&self.joins_fresh),
            joins_resumed: read(&self.joins_resumed),
            joins_failed: read(&self.joins_failed),
            joins_repeated: read(&self.joins_repeated),
            resets: read(&self.resets),
            replayed_events: read(&self.replayed_events),
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
