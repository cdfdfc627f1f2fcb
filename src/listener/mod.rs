//! The way from Postgres into the process: one connection that LISTENs, drains the log and passes the rows on.
//! The state sketch is in `task`; why nothing is lost is said in `bell` (wake-ups) and `drain` (rows).

mod backoff;
mod bell;
mod config;
mod connect;
mod drain;
mod error;
mod rows;
mod session;
mod stats;
mod task;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::domain::{Boxed, DatabaseUrl, Drains, Feed};

pub use config::{Config, ConfigError};
pub use connect::client;
pub use error::ListenerError;
pub use session::{Checked, check};
pub use stats::{Stats, StatsSnapshot};

/// The listener's beginning; what is left in hand is a `ListenerHandle`.
pub struct Listener;

/// A hold on the running listener; clones share it. The listener ends by `shutdown`, or when `feed`'s receiver is
/// gone; not by dropping handles.
#[derive(Clone)]
pub struct ListenerHandle {
    status: watch::Receiver<Status>,
    stop: Arc<watch::Sender<bool>>,
    barriers: mpsc::Sender<oneshot::Sender<()>>,
    barrier_timeout: Duration,
    stats: Arc<Stats>,
}

/// How the listener is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// No connection since `since`; `last_error` says what to do about it. `None`: the first try is under way.
    Connecting {
        since: Instant,
        last_error: Option<Arc<str>>,
    },
    Live(Live),
    /// After `shutdown`, or because nobody receives its feed any more.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    pub since: Instant,
    /// The backend that serves the connection.
    pub backend_pid: i32,
    /// Of all listeners of this database, this one owns the doorbell.
    pub leader: bool,
    /// Holds the doorbell: writers ring it. Otherwise it polls, or follows a leader.
    pub asleep: bool,
    /// Other listeners of this database, as of the last heartbeat.
    pub peers: u32,
}

impl Listener {
    /// Starts the listener's task on the current tokio runtime. It passes what it reads to `feed` and waits while
    /// that is full; it reconnects for ever. Errors only if the configuration contradicts itself: whether the
    /// database is usable is what `check` tells.
    pub fn start(config: Config, url: DatabaseUrl, feed: mpsc::Sender<Feed>) -> Result<ListenerHandle, ConfigError> {
        config.validate()?;
        let stats = Arc::new(Stats::default());
        let (status_tx, status) = watch::channel(Status::Connecting { since: Instant::now(), last_error: None });
        let (stop, stop_rx) = watch::channel(false);
        let (barriers, barriers_rx) = mpsc::channel(1024);
        let barrier_timeout = Duration::from_millis(config.barrier_timeout_ms);
        tokio::spawn(task::run(config, url, feed, stats.clone(), status_tx, stop_rx, barriers_rx));
        Ok(ListenerHandle { status, stop: Arc::new(stop), barriers, barrier_timeout, stats })
    }
}

impl ListenerHandle {
    /// The status now, and as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Ends the listener cleanly: its locks are released when this returns (a server that does not answer is given up
    /// after two seconds).
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut status = self.status.clone();
        // An error means that the task is gone, which is what we wait for.
        let _ = status.wait_for(|status| *status == Status::Stopped).await;
    }
}

impl Drains for ListenerHandle {
    /// Bounded by `barrier_timeout_ms`: false if the connection is not back, or the router does not answer, by then.
    fn barrier(&self) -> Boxed<'_, bool> {
        Box::pin(async move {
            let (passed, answer) = oneshot::channel();
            let asked = async {
                self.barriers.send(passed).await.ok()?;
                answer.await.ok()
            };
            matches!(tokio::time::timeout(self.barrier_timeout, asked).await, Ok(Some(())))
        })
    }
}
