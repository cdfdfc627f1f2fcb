use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// What the listener counts, since its start.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])+ pub(super) $name: AtomicU64,)+ }

        /// The numbers at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StatsSnapshot { $($(#[$doc])+ pub $name: u64,)+ }

        impl Stats {
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

stats! {
    /// Drains that ended well.
    drains,
    /// Of those, without a row.
    drains_empty,
    /// Microseconds that drains took, waiting for the consumer included.
    drain_us,
    /// Rows passed on.
    rows,
    /// Bytes of JSON in them.
    bytes,
    /// Rings of others that came.
    rings,
    /// Times it fell asleep.
    arms,
    /// Times it could not, because a silent writer was in flight.
    arms_refused,
    /// Times it let go of the doorbell because it rang too often.
    bell_releases,
    /// Rows that no ring announced: 0 but around a leader's death and with `bell => false`.
    rows_found_by_safety_poll,
    /// Times the stream began: at start, and with each reset.
    begins,
    /// Connections that became live.
    connects,
    /// Tries to connect that failed, and connections that were lost.
    failures,
    /// Drains that were cut off and finished later.
    drains_resumed,
    /// Times the consumer had no room for `feed_stall_ms`.
    feed_stalls,
    /// Times this one became the leader.
    elections,
    /// Backends of stale leaders that it ended.
    leaders_ended,
    /// Barriers answered.
    barriers,
    /// Payloads of foreign pg channels passed on.
    foreign,
    /// Those dropped because the consumer had no room.
    foreign_dropped,
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
