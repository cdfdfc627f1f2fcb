//! Tends the log: renews the lease under which capture records, empties old slots, heals a gap.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::listener::ListenerHandle;
use crate::store::Store;

/// How soon to look again while a gap is not healed: a writer that skipped its row is still in flight.
const GAP_RETRY: Duration = Duration::from_millis(500);
/// At start, a gap is waited for this long; then its resets come while clients are connected.
const SETTLE_TRIES: u32 = 10;

/// Every instance tends: it is cheap, idempotent, and whoever is left must go on.
pub fn start(store: Store, listener: ListenerHandle) -> JoinHandle<()> {
    let pause = Duration::from_millis(store.config().tend_interval_ms.max(1_000));
    tokio::spawn(async move {
        loop {
            let next = if tend(&store, Some(&listener)).await { GAP_RETRY } else { pause };
            tokio::time::sleep(next).await;
        }
    })
}

/// Before the first client: renews the lease, and gives a gap some time to be healed.
pub async fn tend_until_settled(store: &Store) {
    for _ in 0..SETTLE_TRIES {
        if !tend(store, None).await {
            return;
        }
        tokio::time::sleep(GAP_RETRY).await;
    }
}

/// Is a gap still pending?
async fn tend(store: &Store, listener: Option<&ListenerHandle>) -> bool {
    match store.tend().await {
        Ok(report) => {
            if report.gap {
                tracing::warn!(
                    "app.tend: changes went unrecorded while no rowcast tended the log, or it was too large: everyone gets a reset"
                );
                if let Some(listener) = listener {
                    // The drain sees the new incarnation. Its failing is told by the listener itself.
                    let _ = crate::domain::Drains::barrier(listener).await;
                }
            }
            report.gap_pending
        }
        Err(error) => {
            tracing::warn!(%error, "app.tend: the log could not be tended; trying again");
            false
        }
    }
}
