//! Tends the log: renews the lease under which capture records, empties old slots, heals a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::listener::ListenerHandle;
use crate::store::{Store, StoreError};

/// How soon to look again while a gap is not healed: a writer that skipped its row is still in flight.
const GAP_RETRY: Duration = Duration::from_millis(500);
/// At start, a gap is waited for this long; then its resets come while clients are connected.
const SETTLE_TRIES: u32 = 10;
/// A database that does not answer at start is not waited for as long as a gap.
const FAILURES_MAX: u32 = 3;

/// What was found when the log was last tended.
#[derive(Debug, Default)]
pub struct LogState {
    /// Nothing is recorded: writers go on, and nobody hears of them until everyone has been reset.
    pub stopped: AtomicBool,
    pub bytes: AtomicU64,
}

/// Every instance tends: it is cheap, idempotent, and whoever is left must go on.
pub fn start(store: Store, listener: ListenerHandle, log: Arc<LogState>) -> JoinHandle<()> {
    let pause = Duration::from_millis(store.config().tend_interval_ms.max(1_000));
    tokio::spawn(async move {
        loop {
            let next = if tend(&store, Some(&listener), &log).await.unwrap_or(true) { GAP_RETRY } else { pause };
            tokio::time::sleep(next).await;
        }
    })
}

/// Before the first client: renews the lease, and gives a gap some time to be healed.
pub async fn tend_until_settled(store: &Store, log: &LogState) -> Result<(), StoreError> {
    let mut failures = 0;
    for _ in 0..SETTLE_TRIES {
        match tend(store, None, log).await {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => {
                failures += 1;
                if failures == FAILURES_MAX {
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(GAP_RETRY).await;
    }
    Ok(())
}

/// Is a gap pending, so that it is to be tended again soon?
async fn tend(store: &Store, listener: Option<&ListenerHandle>, log: &LogState) -> Result<bool, StoreError> {
    let report = store.tend().await.inspect_err(|error| {
        tracing::warn!(%error, "app.tend: the log could not be tended; trying again");
    })?;
    log.stopped.store(report.stopped, Relaxed);
    log.bytes.store(report.log_bytes.max(0) as u64, Relaxed);
    if report.stopped {
        tracing::error!(
            log_bytes = report.log_bytes,
            "app.tend: the log is over store.log_bytes_max and cannot be emptied (is a long pg_dump running?): nothing is recorded"
        );
    }
    if report.gap {
        tracing::warn!(
            "app.tend: changes went unrecorded while no rowcast tended the log, or it was too large: everyone gets a reset"
        );
        if let Some(listener) = listener {
            // The drain sees the new incarnation. Its failing is told by the listener itself.
            let _ = crate::domain::Drains::barrier(listener).await;
        }
    }
    Ok(report.gap_pending)
}
