//! The way from the core to the connections: one FIFO per lane carries everything in order, so that order needs no
//! lock beyond the push. A lane is a thread that owns its connections.

use std::any::Any;
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::backlog::Frame;
use super::task::Seat;
use super::{Client, Closed, DialectId, Framing};

/// Which connection: `generation (32 bits) | lane (7) | stream (1) | slot (24)`. The lane numbers its slots; a slot is
/// used again, under the next generation, once the lane has let go of it. Generations begin at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(NonZeroU64);

pub const LANES_MAX: usize = 1 << 7;
pub const SLOTS_MAX: usize = 1 << 24;

impl ConnId {
    pub(super) fn new(generation: u32, lane: usize, framing: Framing, slot: u32) -> Self {
        debug_assert!(lane < LANES_MAX && (slot as usize) < SLOTS_MAX);
        let stream = u64::from(framing == Framing::EventStream);
        let number = (u64::from(generation) << 32) | ((lane as u64) << 25) | (stream << 24) | u64::from(slot);
        Self(NonZeroU64::new(number).expect("no generation is 0"))
    }

    pub(super) fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    pub(super) fn lane(self) -> usize {
        (self.0.get() >> 25) as usize & (LANES_MAX - 1)
    }

    pub(super) fn framing(self) -> Framing {
        if self.0.get() >> 24 & 1 == 1 { Framing::EventStream } else { Framing::WebSocket }
    }

    pub(super) fn slot(self) -> u32 {
        self.0.get() as u32 & (SLOTS_MAX as u32 - 1)
    }
}

/// How a connection's frames look: encoded once per form, whoever many read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Form {
    pub dialect: DialectId,
    pub framing: Framing,
}

pub enum Item {
    Adopt(Box<Adopted>),
    /// One frame for every live subscriber of a topic (a channel in a form), but those in `skip`, which is sorted.
    Publish {
        topic: u32,
        frame: Bytes,
        key: Option<Arc<str>>,
        skip: Option<Box<[ConnId]>>,
    },
    /// Every live subscriber of a topic, but those in `skip`, is closed.
    CloseTopic(Box<ClosingTopic>),
    /// Subscriptions become live: first `frames`, then whatever comes on `topics`.
    Live(Box<GoingLive>),
    Detach {
        conn: ConnId,
        topic: u32,
    },
    /// An answer: `frame`, and `rest` if it was worth not copying.
    Send {
        conn: ConnId,
        frame: Bytes,
        rest: Option<Bytes>,
    },
    Close(Box<Closing>),
    Resume(ConnId),
    /// A new stream: nobody is subscribed to anything.
    ResetAll,
    /// A client starts over; it was detached from everything.
    Restart(ConnId),
    Heartbeat(Box<Heartbeat>),
    Shutdown(Box<ShuttingDown>),
    End,
    /// From a connection's own task: its client has spoken its last word (or was cut off with a code).
    Retired {
        conn: ConnId,
        code: Option<u16>,
    },
    /// A connection's own task or stream has ended.
    Gone(ConnId),
    /// For the first lane: something is due earlier than its clock knows.
    LookAtClock,
}

pub struct Adopted {
    pub id: ConnId,
    pub dialect: DialectId,
    pub client: Arc<dyn Client>,
    pub way: Way,
}

/// What comes with a socket.
#[derive(Default)]
pub struct Early {
    /// Read behind the request; half a frame, maybe.
    pub bytes: Vec<u8>,
    /// Dropped when the connection's socket is: a place in somebody's count.
    pub held: Option<Box<dyn Any + Send + Sync>>,
}

impl From<Vec<u8>> for Early {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, held: None }
    }
}

pub enum Way {
    Tcp(TcpStream, Early),
    Seat(Arc<Seat>),
}

pub struct GoingLive {
    pub conn: ConnId,
    pub topics: Vec<u32>,
    pub frames: Vec<Frame>,
}

pub struct Closing {
    pub conn: ConnId,
    pub code: u16,
    pub reason: Box<str>,
}

pub struct ClosingTopic {
    pub topic: u32,
    pub code: u16,
    pub reason: Box<str>,
    pub skip: Box<[ConnId]>,
}

pub struct Heartbeat {
    /// Of everything before this item.
    pub cursor: Option<String>,
    /// Slots to visit: those with this remainder.
    pub turn: u32,
    pub of: u32,
    /// Slots that get the ping only: something undelivered of theirs is not in the FIFO yet.
    pub joining: Vec<u32>,
}

pub struct ShuttingDown {
    pub code: u16,
    pub reason: Box<str>,
    pub grace: Duration,
    /// Each is told a moment of its own within this to come back.
    pub back_over_ms: u64,
}

/// Those who are closed together are told to come back 2,000 a second, and over no less than a second.
pub fn back_over_ms(connections: usize) -> u64 {
    (connections as u64 / 2).max(1_000)
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Item::Publish { frame, .. } => frame.len(),
            Item::Send { frame, rest, .. } => frame.len() + rest.as_ref().map_or(0, Bytes::len),
            Item::Live(live) => live.frames.iter().map(|f| f.bytes.len()).sum(),
            _ => 0,
        }
    }
}

pub enum Wake {
    Mio(mio::Waker),
    /// Set by the lane's thread before it first looks at the queue.
    Park(OnceLock<Thread>),
}

/// The FIFO of one lane. `items` and `bytes` count what has been pushed and not been dealt with: what the lane has
/// taken and works on, too.
pub struct Fifo {
    queue: Mutex<Vec<Item>>,
    /// The lane has ended: what is pushed is dropped.
    closed: AtomicBool,
    awake: AtomicBool,
    items: AtomicUsize,
    bytes: AtomicUsize,
    items_max: usize,
    bytes_max: usize,
    wake: Wake,
    room: Arc<Notify>,
}

/// Weight of what `take` gave, to hand back to `done`.
#[derive(Clone, Copy)]
pub struct Load {
    items: usize,
    bytes: usize,
}

/// What the core asks of a lane. `Fifo` is the one implementation: shards and the task lane differ in what wakes them
/// and in what they do with the items.
pub trait Lane: Send + Sync {
    /// Appends `items` as one piece, leaving them empty. Never waits.
    fn push_all(&self, items: &mut Vec<Item>);
    fn push(&self, item: Item);
}

impl Lane for Fifo {
    fn push_all(&self, items: &mut Vec<Item>) {
        if items.is_empty() {
            return;
        }
        if self.closed.load(Acquire) {
            return items.clear();
        }
        self.items.fetch_add(items.len(), Relaxed);
        self.bytes.fetch_add(items.iter().map(Item::bytes).sum(), Relaxed);
        lock(&self.queue).append(items);
        self.wake();
    }

    fn push(&self, item: Item) {
        if self.closed.load(Acquire) {
            return;
        }
        self.items.fetch_add(1, Relaxed);
        self.bytes.fetch_add(item.bytes(), Relaxed);
        lock(&self.queue).push(item);
        self.wake();
    }
}

impl Fifo {
    pub fn new(wake: Wake, items_max: usize, bytes_max: usize, room: Arc<Notify>) -> Self {
        Self {
            queue: Mutex::default(),
            closed: AtomicBool::new(false),
            awake: AtomicBool::new(false),
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            items_max,
            bytes_max,
            wake,
            room,
        }
    }

    fn wake(&self) {
        if self.awake.swap(true, AcqRel) {
            return;
        }
        match &self.wake {
            // An eventfd's counter cannot overflow from this; nothing else can be wrong with it.
            Wake::Mio(waker) => drop(waker.wake()),
            Wake::Park(thread) => {
                if let Some(thread) = thread.get() {
                    thread.unpark();
                }
            }
        }
    }

    /// Names the thread to unpark. Before its first `take`.
    pub fn owned_by(&self, thread: Thread) {
        if let Wake::Park(owner) = &self.wake {
            let _ = owner.set(thread);
        }
    }

    /// The lane will look before it sleeps: pushes until then need not wake it.
    pub fn stay_awake(&self) {
        self.awake.store(true, Release);
    }

    /// Swaps the queue with `into`, which is empty.
    pub fn take(&self, into: &mut Vec<Item>) -> Load {
        self.awake.store(false, SeqCst);
        std::mem::swap(&mut *lock(&self.queue), into);
        Load { items: into.len(), bytes: into.iter().map(Item::bytes).sum() }
    }

    /// Waits for a push since the last `take`, on the thread that `owned_by` named.
    pub fn sleep(&self, at_most: Duration) {
        std::thread::park_timeout(at_most);
    }

    pub fn done(&self, load: Load) {
        if load.items == 0 {
            return;
        }
        self.items.fetch_sub(load.items, Relaxed);
        self.bytes.fetch_sub(load.bytes, Relaxed);
        // Not only if it was full before: somebody may have filled it, and begun to wait, since we looked.
        if !self.is_full() {
            self.room.notify_waiters();
        }
    }

    /// Nothing is taken any more.
    pub fn close(&self) {
        self.closed.store(true, Release);
        lock(&self.queue).clear();
        self.room.notify_waiters();
    }

    pub fn is_full(&self) -> bool {
        if self.closed.load(Acquire) {
            return false;
        }
        self.items.load(Relaxed) > self.items_max || self.bytes.load(Relaxed) > self.bytes_max
    }

    pub fn len(&self) -> usize {
        self.items.load(Relaxed)
    }
}

/// Our locks guard plain data that is consistent between statements that can panic: a dialect or a client that
/// panicked must not take everybody else down.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls of a lane into its clients, in one place.
pub fn tell_closed(client: Arc<dyn Client>, why: Closed) {
    guarded("closed", || client.closed(why));
}

/// A panic in a client's own code must not end the thread that serves thousands. `None`: it panicked.
pub fn guarded<T>(what: &str, call: impl FnOnce() -> T) -> Option<T> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    if result.is_err() {
        tracing::error!(what, "a callback panicked");
    }
    result.ok()
}
