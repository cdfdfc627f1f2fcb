//! What the servers hold on to, looked at while they run: memory, descriptors, locks, the log.

use std::fmt;

use super::ChaosError;
use super::stage::Stage;

/// Of all instances together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// 0 where there is no /proc.
    pub resident_kib: u64,
    pub descriptors: u64,
    pub advisory_locks: u64,
    pub sessions: u64,
    pub log_bytes: u64,
    /// rowcast's other tables, bloat included.
    pub other_bytes: u64,
    /// Those of the log are rows that were rolled back, and go with their slot.
    pub dead_tuples: u64,
    /// What the instances wrote to their own logs.
    pub said_bytes: u64,
}

impl Held {
    pub async fn now(stage: &Stage) -> Result<Self, ChaosError> {
        let mut held = Self::default();
        for instance in &stage.instances {
            let Some(pid) = instance.pid().await else { continue };
            held.resident_kib += instance.resident_kib().await;
            held.said_bytes += instance.log_bytes();
            held.descriptors += std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.count() as u64);
        }
        let row = stage.connect().await?.query_one(include_str!("../../sql/chaos/upkeep.sql"), &[]).await?;
        let number = |name: &str| row.get::<_, Option<i64>>(name).unwrap_or(0) as u64;
        held.advisory_locks = number("advisory_locks");
        held.sessions = number("sessions");
        held.log_bytes = number("log_bytes");
        held.other_bytes = number("other_bytes");
        held.dead_tuples = number("dead_tuples");
        Ok(held)
    }
}

impl Held {
    /// The middle of each number.
    pub fn median(all: &[Self]) -> Self {
        let of = |number: fn(&Self) -> u64| {
            let mut sorted: Vec<u64> = all.iter().map(number).collect();
            sorted.sort_unstable();
            sorted.get(sorted.len() / 2).copied().unwrap_or_default()
        };
        Self {
            resident_kib: of(|h| h.resident_kib),
            descriptors: of(|h| h.descriptors),
            advisory_locks: of(|h| h.advisory_locks),
            sessions: of(|h| h.sessions),
            log_bytes: of(|h| h.log_bytes),
            other_bytes: of(|h| h.other_bytes),
            dead_tuples: of(|h| h.dead_tuples),
            said_bytes: of(|h| h.said_bytes),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident_kib, descriptors, advisory_locks, sessions, log_bytes, .. } = self;
        write!(
            f,
            "{:.1} MiB resident, {descriptors} descriptors, {advisory_locks} advisory locks, {sessions} sessions, log \
             {:.1} MiB, other tables {} KiB with {} dead rows, {} KiB said",
            *resident_kib as f64 / 1024.0,
            *log_bytes as f64 / f64::from(1 << 20),
            self.other_bytes / 1024,
            self.dead_tuples,
            self.said_bytes / 1024
        )
    }
}
