//! One client: what it may ask for, snapshot-then-stream, resume, start over.
//!
//! ```text
//!  shard thread                     tokio                                   shard thread
//!  frame ─▶ Client::text ─▶ Inbox ─▶ one task per busy connection ─▶ join ─▶ hub.go_live ─▶ frames, then live
//!           (decode, queue)          (commands one after another)
//! ```
//!
//! `inbox` (order and bounds), `join` and `missed` (no gap, no echo) and `admission` know no dialect; `native`, `sse`
//! and `endpoint` (other applications' languages) put them into frames.

mod admission;
pub mod endpoint;
mod inbox;
mod join;
mod limit;
mod missed;
pub mod native;
mod places;
mod recheck;
mod roster;
mod seat;
pub mod sse;
mod stats;
mod visit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::auth::{Access, Auth};
use crate::domain::{
    Boxed, CHANNEL_BYTES_MAX, ChannelName, Cursor, Drains, Message, Position, ReadError, Reading, ReplayError, Source,
};
use crate::hub::{self, Hub};
use crate::protocol::native::Limits;

pub use admission::{Admission, AdmissionError, Denied};
pub use limit::{Limit, Refusals};
pub use missed::settled;
pub use places::{Counts, Held, One, Total, Users};
pub use roster::{Roster, start as start_clock};
pub use stats::{Stats, StatsSnapshot};
pub use visit::Visit;

/// Bounds of one connection, and of all of them where they start over together.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Channels that one connection may be subscribed to.
    pub subscriptions_per_connection_max: usize,
    /// Length of a channel's name; 255 at most.
    pub channel_bytes_max: usize,
    /// Frames of one connection that wait to be worked on; past it the connection is not read.
    pub inbox_max: usize,
    /// Channels of one connection that are joined at the same time.
    pub joins_at_once_max: usize,
    /// Connections that start over at the same time when the stream does.
    pub resets_at_once_max: usize,
    /// How long a snapshot may take.
    pub snapshot_timeout_ms: u64,
    /// Missed events that a resuming client gets; past it a fresh snapshot is cheaper.
    pub replay_events_max: usize,
    /// The same in bytes, frames included. Keep it well below the hub's `lead_bytes_max`, or a client that resumes is
    /// cut off as slow before it has begun.
    pub replay_bytes_max: usize,
    /// How often a join is tried whose buffer overflowed while the snapshot was read.
    pub join_tries_max: u32,
    /// What an event stream tells its reader to wait before it connects again; up to as much again is added at
    /// random, so that not all come back at once.
    pub sse_retry_ms: u64,
    /// Patterns of the channels that may be listened to at all. Empty: all of them.
    pub channels: Vec<String>,
    /// May everybody use the channels of which no rule (`rowcast.define_access`) speaks? The demo sets it.
    pub open: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            subscriptions_per_connection_max: 100,
            channel_bytes_max: CHANNEL_BYTES_MAX,
            inbox_max: 32,
            joins_at_once_max: 8,
            resets_at_once_max: 64,
            snapshot_timeout_ms: 10_000,
            replay_events_max: 100_000,
            replay_bytes_max: 8 * 1024 * 1024,
            join_tries_max: 3,
            sse_retry_ms: 2_000,
            channels: Vec::new(),
            open: false,
        }
    }
}

/// What `Source::replay` says: the events, and whether there are more.
pub type Replay = Result<(Vec<(Message, Position)>, bool), ReplayError>;

/// What all connections share.
pub struct Shared {
    pub hub: Hub,
    pub source: Arc<dyn Source>,
    pub drains: Arc<dyn Drains>,
    pub admission: Admission,
    pub auth: Arc<Auth>,
    pub roster: Arc<Roster>,
    pub users: Users,
    pub config: Config,
    pub stats: Stats,
    /// As the hub was started with.
    pub hub_config: hub::Config,
    runtime: Handle,
    resets: Semaphore,
    opened: AtomicU64,
}

impl Shared {
    /// Must be called within the tokio runtime on which commands are to run.
    pub fn new(
        config: Config,
        hub_config: hub::Config,
        hub: Hub,
        source: Arc<dyn Source>,
        drains: Arc<dyn Drains>,
        auth: Arc<Auth>,
        users: Users,
    ) -> Result<Arc<Self>, AdmissionError> {
        let access = Arc::new(Access::new(auth.store().clone(), auth.stats.clone(), config.open));
        Ok(Arc::new(Self {
            admission: Admission::new(&config.channels, access.clone())?,
            roster: Roster::new(auth.clone(), access),
            resets: Semaphore::new(config.resets_at_once_max.max(1)),
            stats: Stats::default(),
            runtime: Handle::current(),
            opened: AtomicU64::new(0),
            hub_config,
            hub,
            source,
            drains,
            auth,
            users,
            config,
        }))
    }

    /// The channel's content, within the time that a snapshot may take.
    pub async fn read(&self, channel: &ChannelName) -> Result<Reading, ReadError> {
        self.within(self.source.snapshot(channel)).await?
    }

    /// Events from the log, within the time that a snapshot may take.
    pub async fn replay(
        &self,
        channel: &ChannelName,
        from: &Cursor,
        upto: &Position,
        limit: usize,
    ) -> Result<Replay, ReadError> {
        self.within(self.source.replay(channel, from, upto, limit)).await
    }

    fn limits(&self) -> Limits {
        Limits {
            subscriptions_max: self.config.subscriptions_per_connection_max,
            channel_bytes_max: self.channel_bytes_max(),
            frame_bytes_max: self.hub_config.frame_bytes_max,
        }
    }

    pub fn channel_bytes_max(&self) -> usize {
        self.config.channel_bytes_max.min(CHANNEL_BYTES_MAX)
    }

    fn snapshot_timeout(&self) -> Duration {
        Duration::from_millis(self.config.snapshot_timeout_ms)
    }

    /// The number of the next connection in this process: what `welcome` calls it, for logs.
    fn next_number(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Ends when a drain that begins now has been dispatched: nothing that is committed now comes later.
    async fn barrier(&self) -> Result<(), ReadError> {
        self.within(self.drains.barrier()).await.ok().filter(|&done| done).map(|_| ()).ok_or(ReadError::Unavailable)
    }

    async fn within<T>(&self, work: Boxed<'_, T>) -> Result<T, ReadError> {
        let limit = self.snapshot_timeout();
        tokio::time::timeout(limit, work)
            .await
            .map_err(|_| ReadError::Timeout { limit_ms: self.config.snapshot_timeout_ms })
    }

    fn stands(&self) -> Option<Position> {
        self.hub.position().map(|(_, position)| position)
    }
}
