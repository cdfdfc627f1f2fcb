//! What can be set about the hub, and what it counts.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::available_parallelism;

use super::meter::Rates;

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Threads that own plain-TCP WebSockets; 0: one per core, 64 at most.
    pub shards: usize,
    /// Each connection is pinged, and told the stream's cursor, this often.
    pub heartbeat_ms: u64,
    /// A WebSocket from which nothing came for this long, not even a pong, is closed (4009). Seen at heartbeats.
    pub idle_timeout_ms: u64,
    /// The largest message a client may send (1009), fragments together.
    pub frame_bytes_max: usize,
    /// What a client may say in a second, frames and bytes; the double at once. Past it: closed (4429). 0: no bound.
    pub frames_in_per_s_max: u32,
    pub bytes_in_per_s_max: u32,
    /// `SO_SNDBUF` of accepted sockets: the kernel otherwise swallows megabytes for a stalled client, unseen.
    pub send_buffer_bytes: usize,
    /// What may wait for one client; past it the client is closed (4008). Counted where the socket takes no more.
    pub backlog_bytes_max: usize,
    pub backlog_frames_max: usize,
    /// The same for what a client asked for itself: snapshots, and what happened while they were read.
    pub lead_bytes_max: usize,
    /// How long a closed connection may take to read what is queued and to answer the close frame.
    pub close_grace_ms: u64,
    /// Above either, the queue of a shard holds up the dispatcher.
    pub fifo_items_max: usize,
    pub fifo_bytes_max: usize,
    /// A shard that was woken waits this long for more, to write once for several events. 0: batches form by
    /// themselves under load. At most 10,000.
    pub flush_window_us: u64,
    /// What is kept of one channel while somebody reads its snapshot, and of all channels together.
    pub join_buffer_items_max: usize,
    pub join_buffer_bytes_max: usize,
    pub join_buffers_bytes_max: usize,
    /// Recent events in memory, for clients that resume.
    pub recent_items_max: usize,
    pub recent_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            shards: 0,
            heartbeat_ms: 25_000,
            idle_timeout_ms: 60_000,
            frame_bytes_max: 64 * 1024,
            frames_in_per_s_max: 200,
            bytes_in_per_s_max: MIB as u32,
            send_buffer_bytes: 64 * 1024,
            backlog_bytes_max: MIB,
            backlog_frames_max: 8192,
            lead_bytes_max: 16 * MIB,
            close_grace_ms: 5_000,
            fifo_items_max: 16_384,
            fifo_bytes_max: 16 * MIB,
            flush_window_us: 0,
            join_buffer_items_max: 10_000,
            join_buffer_bytes_max: 4 * MIB,
            join_buffers_bytes_max: 64 * MIB,
            recent_items_max: 100_000,
            recent_bytes_max: 16 * MIB,
        }
    }
}

impl Config {
    /// What the acceptor does with each accepted socket: a send buffer of `send_buffer_bytes`, no Nagle.
    pub fn prepare_socket(&self, tcp: &impl AsFd) -> io::Result<()> {
        let socket = socket2::SockRef::from(tcp);
        if self.send_buffer_bytes > 0 {
            socket.set_send_buffer_size(self.send_buffer_bytes)?;
        }
        socket.set_tcp_nodelay(true)
    }

    pub(super) fn rates(&self) -> Rates {
        Rates { frames: self.frames_in_per_s_max, bytes: self.bytes_in_per_s_max }
    }

    pub(super) fn shard_count(&self) -> usize {
        let count = if self.shards == 0 { available_parallelism().map_or(1, |n| n.get()) } else { self.shards };
        count.min(64)
    }
}

/// What the hub counts, since its start or as of now. Plain numbers: names for the outside are telemetry's.
#[derive(Debug, Default)]
pub struct Stats {
    pub(super) delivered_frames: AtomicU64,
    pub(super) delivered_bytes: AtomicU64,
    pub(super) conflated: AtomicU64,
    pub(super) slow_closed: AtomicU64,
    pub(super) idle_closed: AtomicU64,
    pub(super) flood_closed: AtomicU64,
    pub(super) backlog_bytes: AtomicU64,
    pub(super) joins_overflowed: AtomicU64,
    pub(super) frames_in: AtomicU64,
    pub(super) protocol_errors: AtomicU64,
}

/// `Stats` and sizes, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub connections: u64,
    pub subscriptions: u64,
    pub channels: u64,
    /// Frames that the kernel took, control frames included.
    pub delivered_frames: u64,
    pub delivered_bytes: u64,
    /// Frames that a newer one of the same channel and key replaced before they were sent.
    pub conflated: u64,
    pub slow_closed: u64,
    pub idle_closed: u64,
    /// Closed because they said too much in too short a time.
    pub flood_closed: u64,
    /// What waits for clients whose sockets take no more, now.
    pub backlog_bytes: u64,
    /// Items in the queues of the shards, now.
    pub fifo_items: u64,
    pub recent_items: u64,
    pub recent_bytes: u64,
    pub joins_overflowed: u64,
    /// Text and binary messages of clients.
    pub frames_in: u64,
    pub protocol_errors: u64,
}

impl Stats {
    pub(super) fn snapshot(&self) -> Figures {
        let get = |n: &AtomicU64| n.load(Relaxed);
        Figures {
            delivered_frames: get(&self.delivered_frames),
            delivered_bytes: get(&self.delivered_bytes),
            conflated: get(&self.conflated),
            slow_closed: get(&self.slow_closed),
            idle_closed: get(&self.idle_closed),
            flood_closed: get(&self.flood_closed),
            backlog_bytes: get(&self.backlog_bytes),
            joins_overflowed: get(&self.joins_overflowed),
            frames_in: get(&self.frames_in),
            protocol_errors: get(&self.protocol_errors),
            ..Figures::default()
        }
    }
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

pub(super) fn sub(counter: &AtomicU64, n: u64) {
    counter.fetch_sub(n, Relaxed);
}
