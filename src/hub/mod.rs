//! Channel -> subscribers: fan-out, per-connection queues, slow consumers, recent events in memory.
//!
//! ```text
//! router ──Outlet──▶ core (one lock: who listens to what, order) ──FIFO per lane──▶ shard threads, task lane ──▶ sockets
//!                      ▲                                                                    │
//!                      └── join, go_live, leave ◀── connection (`Client`) ◀── text ─────────┘
//! ```
//! A message is encoded once per dialect and framing; each lane gets one item for it, each connection one write.

mod backlog;
mod channel;
pub mod close;
mod codec;
mod config;
mod conn;
mod core;
mod dispatch;
mod fanout;
mod few;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod golive;
mod heartbeat;
mod joins;
mod lane;
#[doc(hidden)]
pub mod measured;
mod members;
mod meter;
mod outlet;
mod pace;
mod recent;
mod shard;
mod slab;
mod task;

use std::io;
use std::net::TcpStream;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use self::backlog::Frame;
use self::core::{Core, State, lanes_for};
use self::lane::{
    Adopted, Closing, Fifo, Form, Item, LANES_MAX, Lane, ShuttingDown, Wake, Way, guarded, lock, tell_closed,
};
use self::task::{Events, Seat, Talk};
use crate::domain::{ChannelName, Cursor, Dialect, Incarnation, Message, Position};

pub use self::config::{Config, Figures};
pub use self::few::Few;
pub use self::lane::{ConnId, Early};
pub use self::slab::push_tight;

/// Index into the dialects that `Hub::start` was given.
pub type DialectId = u16;

/// How payloads become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Framing {
    /// RFC 6455 text frames.
    WebSocket,
    /// As they are: a payload is a complete block of a server-sent events stream.
    EventStream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    More,
    /// Nothing is read from this connection until `Hub::resume_reading`, which may be called before this is returned.
    Pause,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The client closed it or went away.
    Peer,
    /// We closed it with this code.
    Ours(u16),
}

/// The owner of one connection: `connection`'s side. Called from the threads that serve thousands of others, so it must
/// not block; it may call the hub. On a shard the calls come one after another; on the task transport `reset` and
/// `closed` may come while `text` or `binary` still runs.
pub trait Client: Send + Sync {
    fn text(self: Arc<Self>, payload: &str) -> Intake;
    /// A binary message came; its content is not kept.
    fn binary(self: Arc<Self>) -> Intake;
    /// A new stream has begun. Every subscription that there was then is detached: `join` each again, then `go_live`
    /// (or `leave` it). Where `join` says `AlreadyJoined`, it was joined after the new stream had begun and needs
    /// nothing. A `go_live` under way meanwhile has ended with `Overflow`, or counts.
    fn reset(self: Arc<Self>);
    /// Nothing is delivered any more, and no text taken; the hub has forgotten the connection's subscriptions. Exactly
    /// once, even where adoption was refused.
    fn closed(self: Arc<Self>, why: Closed);
}

pub trait AsyncReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> AsyncReadWrite for T {}

#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum JoinError {
    #[error("already subscribed")]
    AlreadyJoined,
    /// Or: it has not joined this channel (any more).
    #[error("the connection is gone")]
    Gone,
    /// Call `join` again and start over.
    #[error("too much happened while the snapshot was read")]
    Overflow,
    #[error("the stream has not begun")]
    NotReady,
}

/// One subscription of `Hub::go_live_all`.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub channel: &'a ChannelName,
    pub since: &'a Position,
    pub lead: &'a [Bytes],
}

/// A live subscription that `Hub::hold` has made stand still.
#[derive(Clone, Debug)]
pub struct Standstill {
    since: Position,
    /// Tells it from whatever joins the channel later on the same connection.
    number: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("cannot start a shard: {0}")]
    Shard(#[from] std::io::Error),
}

/// Cheap to clone. Its threads end with `shutdown`, or with the last clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Hub {
    /// Starts the shard threads and the task lane's.
    pub fn start(config: Config, dialects: Vec<Arc<dyn Dialect>>) -> Result<Hub, HubError> {
        let shards = config.shard_count().min(LANES_MAX - 1);
        let room = Arc::new(Notify::new());
        let fifo = |wake| Arc::new(Fifo::new(wake, config.fifo_items_max, config.fifo_bytes_max, room.clone()));
        let mut polls = Vec::with_capacity(shards);
        let mut fifos = Vec::with_capacity(shards + 1);
        for _ in 0..shards {
            let poll = mio::Poll::new()?;
            fifos.push(fifo(Wake::Mio(mio::Waker::new(poll.registry(), shard::WAKE)?)));
            polls.push(poll);
        }
        fifos.push(fifo(Wake::Park(Default::default())));
        let core = Arc::new(Core {
            state: Mutex::new(State::new(fifos.len(), &config)),
            fifos: fifos.into(),
            dialects: dialects.into(),
            config,
            stats: Default::default(),
            room,
            empty: Notify::new(),
            begun: Instant::now(),
            next_release_ms: AtomicU64::new(u64::MAX),
        });
        // Made first: should a thread not start, its drop ends those that did.
        let hub = Hub(Arc::new(Inner { core: core.clone(), threads: Mutex::default() }));
        for (lane, poll) in polls.into_iter().enumerate() {
            let core = core.clone();
            hub.spawn(format!("hub-shard-{lane}"), move || shard::run(lane, core, poll))?;
        }
        hub.spawn("hub-tasks".into(), move || {
            task::run(shards, core);
            Ok(())
        })?;
        Ok(hub)
    }

    /// Takes a plain-TCP WebSocket after its handshake, with what was read behind the request (half a frame, maybe).
    pub fn adopt_tcp(
        &self,
        tcp: TcpStream,
        early: impl Into<Early>,
        dialect: DialectId,
        client: Arc<dyn Client>,
    ) -> ConnId {
        let form = Form { dialect, framing: Framing::WebSocket };
        if let Err(error) = tcp.set_nonblocking(true) {
            // A blocking socket would hold up its whole shard.
            tracing::error!(%error, "a socket was not adopted");
            return refuse(form.framing, client, close::INTERNAL);
        }
        // Without it only latency suffers.
        let _ = tcp.set_nodelay(true);
        match self.core().open(lanes_for(true, self.core().fifos.len()), form) {
            Ok((id, guard)) => {
                self.push(id, Item::Adopt(Box::new(Adopted { id, dialect, client, way: Way::Tcp(tcp, early.into()) })));
                drop(guard);
                id
            }
            Err(code) => refuse(form.framing, client, code),
        }
    }

    /// Takes a WebSocket whose bytes tokio moves. Within a tokio runtime.
    pub fn adopt_io(
        &self,
        io: Box<dyn AsyncReadWrite>,
        early: impl Into<Early>,
        dialect: DialectId,
        client: Arc<dyn Client>,
    ) -> ConnId {
        let form = Form { dialect, framing: Framing::WebSocket };
        match self.seat(form, &client) {
            Ok(seat) => {
                let id = seat.id;
                tokio::spawn(Talk::new(io, early.into(), seat, client));
                id
            }
            Err(code) => refuse(form.framing, client, code),
        }
    }

    /// A client that only listens: the stream is its response's body, and dropping it closes the connection.
    pub fn adopt_stream(
        &self,
        dialect: DialectId,
        client: Arc<dyn Client>,
    ) -> (ConnId, impl Stream<Item = Bytes> + Send + use<>) {
        let form = Form { dialect, framing: Framing::EventStream };
        match self.seat(form, &client) {
            Ok(seat) => (seat.id, Events::new(seat)),
            Err(code) => {
                let id = refuse(form.framing, client, code);
                (id, Events::new(Arc::new(Seat::ended(id, self.core().clone()))))
            }
        }
    }

    /// Sends one payload, framed as the connection's transport needs it, in order with everything else.
    pub fn send(&self, conn: ConnId, payload: &[u8]) {
        let frame = match conn.framing() {
            Framing::WebSocket => codec::frame(codec::TEXT, payload),
            Framing::EventStream => Bytes::copy_from_slice(payload),
        };
        self.push(conn, Item::Send { conn, frame, rest: None });
    }

    /// The same without a copy, where the payload is large.
    pub fn send_bytes(&self, conn: ConnId, payload: &Bytes) {
        let (frame, rest) = pieces(conn.framing(), payload);
        self.push(conn, Item::Send { conn, frame, rest });
    }

    /// A close frame after everything that was sent so far (a stream just ends). Nothing after it is delivered.
    pub fn close(&self, conn: ConnId, code: u16, reason: &str) {
        self.push(conn, Item::Close(Box::new(Closing { conn, code, reason: reason.into() })));
    }

    pub fn resume_reading(&self, conn: ConnId) {
        self.push(conn, Item::Resume(conn));
    }

    /// Registers: from the returned place on, everything on `channel` is kept for this subscription.
    /// `AlreadyJoined` unless it is new or was reset (see `Client::reset`); `Gone`; `NotReady`.
    pub fn join(&self, conn: ConnId, channel: &ChannelName) -> Result<Position, JoinError> {
        self.core().join(conn, channel)
    }

    /// `leave`, if it is there, and `join`, with nothing in between.
    pub fn rejoin(&self, conn: ConnId, channel: &ChannelName) -> Result<Position, JoinError> {
        self.core().rejoin(conn, channel)
    }

    /// A live subscription stands still: what comes on the channel is kept, until `release`. `None`: it is not live. Not for
    /// dialects with an interval, whose waiting state it drops.
    pub fn hold(&self, conn: ConnId, channel: &ChannelName) -> Option<Standstill> {
        self.core().hold(conn, channel)
    }

    /// It goes on, without a gap. `Overflow`: what was kept had to be given up, or a new stream has begun: `join` again. `Gone`:
    /// it has left the channel, or joined it anew.
    pub fn release(&self, conn: ConnId, channel: &ChannelName, still: &Standstill) -> Result<(), JoinError> {
        self.core().release(conn, channel, still)
    }

    /// Sends the `lead` payloads, then what was kept and is not included in `since` (a state read at a snapshot that
    /// `since` covers, is), then whatever comes. What `since` includes is not sent later either, however late the
    /// dispatcher comes to it. Atomic with dispatch.
    ///
    /// `Overflow`: what was kept had to be given up, or a new stream has begun: `join` again. `Gone`: the connection
    /// is, or it has left the channel. `AlreadyJoined`: it is live.
    pub fn go_live(
        &self,
        conn: ConnId,
        channel: &ChannelName,
        since: &Position,
        lead: &[Bytes],
    ) -> Result<(), JoinError> {
        self.go_live_all(conn, &[Part { channel, since, lead }])
    }

    /// `go_live` of several subscriptions at once, all or none: all leads, then what was kept for all of them in the
    /// order in which it was dispatched. For a stream with one cursor for all its channels, whose cursor would
    /// otherwise run ahead of the channels that are still joining.
    pub fn go_live_all(&self, conn: ConnId, parts: &[Part<'_>]) -> Result<(), JoinError> {
        let lead = lead_frames(conn.framing(), parts.iter().flat_map(|p| p.lead));
        self.core().go_live(conn, parts, lead)
    }

    /// Ends a subscription, joining or live; false: there is none. What was dispatched before still arrives.
    pub fn leave(&self, conn: ConnId, channel: &ChannelName) -> bool {
        self.core().leave(conn, channel)
    }

    /// Where the stream is; `None` before the first `begin`.
    pub fn position(&self) -> Option<(Incarnation, Position)> {
        lock(&self.core().state).stream.clone()
    }

    /// The events of `channel` after `from`, up to now, each with the position that its cursor shows; `None`: memory
    /// does not reach back. To go live with them as the lead after a `join` that returned J, leave out what J does not
    /// include: it has been kept for the subscription and would come twice.
    pub fn recent(&self, channel: &ChannelName, from: &Cursor) -> Option<Vec<(Arc<Message>, Position)>> {
        let state = lock(&self.core().state);
        state.stream.as_ref().filter(|(incarnation, _)| *incarnation == from.incarnation)?;
        let numbers = state.recent.after(channel, &from.position)?;
        let event = |n| state.recent.event(n).map(|(message, position)| (message.clone(), position.clone()));
        Some(numbers.into_iter().filter_map(event).collect())
    }

    /// The same name, as the channel's first subscriber brought it: thousands share one text.
    pub fn shared_name(&self, channel: ChannelName) -> ChannelName {
        lock(&self.core().state).names.get_key_value(&channel).map_or(channel.clone(), |(name, _)| name.clone())
    }

    /// The channels with an audience, and how many each has.
    pub fn channels(&self) -> Vec<(ChannelName, usize)> {
        lock(&self.core().state).channels.iter().map(|c| (c.name.clone(), c.audience())).collect()
    }

    pub fn connections(&self) -> usize {
        lock(&self.core().state).connections
    }

    pub fn stats(&self) -> Figures {
        let state = lock(&self.core().state);
        Figures {
            connections: state.connections as u64,
            subscriptions: state.subscriptions as u64,
            channels: state.names.len() as u64,
            fifo_items: self.core().fifos.iter().map(|f| f.len() as u64).sum(),
            recent_items: state.recent.len() as u64,
            recent_bytes: state.recent.bytes() as u64,
            ..self.core().stats.snapshot()
        }
    }

    /// Closes everything with `code` behind what is queued, waits until all sockets are closed or `grace` has passed,
    /// and ends the lanes. From its beginning, nothing is adopted any more.
    pub async fn shutdown(&self, code: u16, reason: &str, grace: Duration) {
        let core = self.core();
        {
            let mut state = lock(&core.state);
            if state.shut.is_none() {
                state.shut = Some(code);
                for fifo in &core.fifos {
                    let back_over_ms = lane::back_over_ms(state.connections);
                    let ending = ShuttingDown { code, reason: reason.into(), grace, back_over_ms };
                    fifo.push(Item::Shutdown(Box::new(ending)));
                }
            }
        }
        let gone = async {
            loop {
                let empty = core.empty.notified();
                tokio::pin!(empty);
                empty.as_mut().enable();
                if self.connections() == 0 {
                    return;
                }
                empty.await;
            }
        };
        if tokio::time::timeout(grace, gone).await.is_err() {
            tracing::warn!(connections = self.connections(), "shutdown: some connections did not drain in time");
        }
        for fifo in &core.fifos {
            fifo.push(Item::End);
        }
        let threads = std::mem::take(&mut *lock(&self.0.threads));
        let joined = tokio::task::spawn_blocking(|| threads.into_iter().for_each(|t| drop(t.join())));
        let _ = joined.await;
    }

    fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    fn push(&self, conn: ConnId, item: Item) {
        if let Some(fifo) = self.core().fifos.get(conn.lane()) {
            fifo.push(item);
        }
    }

    /// A connection of the task lane.
    fn seat(&self, form: Form, client: &Arc<dyn Client>) -> Result<Arc<Seat>, u16> {
        let (id, guard) = self.core().open(lanes_for(false, self.core().fifos.len()), form)?;
        let seat = Arc::new(Seat::new(id, self.core().clone()));
        let (dialect, client, way) = (form.dialect, client.clone(), Way::Seat(seat.clone()));
        self.push(id, Item::Adopt(Box::new(Adopted { id, dialect, client, way })));
        drop(guard);
        Ok(seat)
    }

    fn spawn(&self, name: String, lane: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), HubError> {
        let thread = thread::Builder::new().name(name).spawn(move || {
            let ended = guarded("lane", lane);
            if !matches!(ended, Some(Ok(()))) {
                // Half of the clients would hang and the dispatcher wait for a queue that nobody empties.
                tracing::error!(?ended, "a lane of the hub has failed: the process ends, so that it is started again");
                std::process::abort();
            }
        })?;
        lock(&self.0.threads).push(thread);
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for fifo in &self.core.fifos {
            fifo.push(Item::End);
        }
    }
}

/// No connection came to be: its client is told, and gets a name that nothing answers to.
fn refuse(framing: Framing, client: Arc<dyn Client>, code: u16) -> ConnId {
    tell_closed(client, Closed::Ours(code));
    ConnId::new(u32::MAX, 0, framing, 0)
}

fn lead_frames<'a>(framing: Framing, payloads: impl Iterator<Item = &'a Bytes>) -> Vec<Frame> {
    let mut frames = Vec::new();
    for payload in payloads {
        let (frame, rest) = pieces(framing, payload);
        frames.push(Frame { lead: true, ..Frame::plain(frame) });
        frames.extend(rest.map(|rest| Frame { lead: true, glued: true, ..Frame::plain(rest) }));
    }
    frames
}

/// The frames of a payload for one connection. Large ones are not copied: their head goes before them.
fn pieces(framing: Framing, payload: &Bytes) -> (Bytes, Option<Bytes>) {
    const COPIED_BYTES_MAX: usize = 4096;
    match framing {
        Framing::EventStream => (payload.clone(), None),
        Framing::WebSocket if payload.len() <= COPIED_BYTES_MAX => (codec::frame(codec::TEXT, payload), None),
        Framing::WebSocket => {
            let (head, start) = codec::head(codec::TEXT, payload.len());
            (Bytes::copy_from_slice(&head[start..]), Some(payload.clone()))
        }
    }
}

#[cfg(test)]
mod tests;
