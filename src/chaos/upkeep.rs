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
}

impl Held {
    pub async fn now(stage: &Stage) -> Result<Self, ChaosError> {
        let mut held = Self::default();
        for instance in &stage.instances {
            let Some(pid) = instance.pid().await else { continue };
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
            held.resident_kib += rss.unwrap_or(0u64);
            held.descriptors += std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.count() as u64);
        }
        let row = stage.connect().await?.query_one(include_str!("../../sql/chaos/upkeep.sql"), &[]).await?;
        let number = |name: &str| row.get::<_, Option<i64>>(name).unwrap_or(0) as u64;
        held.advisory_locks = number("advisory_locks");
        held.sessions = number("sessions");
        held.log_bytes = number("log_bytes");
        held.other_bytes = number("other_bytes");
        Ok(held)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident_kib, descriptors, advisory_locks, sessions, log_bytes, other_bytes } = self;
        write!(
            f,
            "{:.1} MiB resident, {descriptors} descriptors, {advisory_locks} advisory locks, {sessions} sessions, log \
             {:.1} MiB, other tables {} KiB",
            *resident_kib as f64 / 1024.0,
            *log_bytes as f64 / f64::from(1 << 20),
            other_bytes / 1024
        )
    }
}
