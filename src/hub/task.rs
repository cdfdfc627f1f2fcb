//! The task lane: connections whose bytes tokio moves (TLS, unix sockets, server-sent events).
//!
//! ```text
//! FIFO ──▶ lane thread ──put──▶ Seat.output ──▶ the connection's task, or the stream that hyper polls ──▶ peer
//!                 ▲                                             │
//!                 └────────────────── Item::Gone ───────────────┘
//! ```
//! Subscriptions, heartbeats, conflation and backlog are `fanout`'s and `backlog`'s, as for a shard; only the last step
//! differs: a frame is left in the seat and its task woken.

use std::any::Any;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::backlog::{Frame, Output, Tally, Verdict};
use super::config::{Stats, add};
use super::conn::{End, Input, Listening};
use super::core::Core;
use super::fanout::{Fanout, Port, Put, Transport, close_bytes};
use super::lane::{Adopted, ConnId, Fifo, Item, Lane, Way, lock};
use super::{AsyncReadWrite, Client, Early, Framing, close, codec};

/// Small frames travel together up to this size.
const CHUNK_BYTES: usize = 16 * 1024;
const READ_BYTES: usize = 4 * 1024;
/// Reads of one poll, then others get their turn.
const READS_MAX: usize = 16;

/// The thread's body. Ends with `Item::End`.
pub fn run(lane: usize, core: Arc<Core>) {
    let mut fanout = Fanout::<Arc<Seat>>::new(lane, core);
    let fifo = fanout.fifo.clone();
    fifo.owned_by(thread::current());
    while !fanout.ended {
        fanout.turn(&mut Seats);
        // Their tasks look for themselves.
        fanout.retired.clear();
        // After the turn, which may have set a deadline. What came meanwhile, or comes from here, has unparked us.
        let wait_ms = fanout.clock();
        if !fanout.ended {
            fifo.sleep(Duration::from_millis(wait_ms));
        }
    }
}

/// Where the lane's thread and a connection's task meet.
pub struct Seat {
    pub id: ConnId,
    core: Arc<Core>,
    fifo: Arc<Fifo>,
    output: Mutex<Output>,
    waker: AtomicWaker,
    killed: AtomicBool,
    resumed: AtomicBool,
    paused: AtomicBool,
    heard_ms: AtomicU64,
}

impl Seat {
    pub fn new(id: ConnId, core: Arc<Core>) -> Self {
        Self {
            id,
            fifo: core.fifos[id.lane()].clone(),
            heard_ms: AtomicU64::new(core.begun.elapsed().as_millis() as u64),
            core,
            output: Mutex::new(Output::new(id.framing() == Framing::WebSocket)),
            waker: AtomicWaker::new(),
            killed: AtomicBool::new(false),
            resumed: AtomicBool::new(false),
            paused: AtomicBool::new(false),
        }
    }

    /// Of a connection that was refused.
    pub fn ended(id: ConnId, core: Arc<Core>) -> Self {
        let seat = Self::new(id, core);
        seat.killed.store(true, Release);
        seat
    }

    /// The next bytes to write; `Ready(None)`: there will be none any more.
    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // Registered before looking, so that a frame put in between wakes.
        self.waker.register(cx.waker());
        let mut output = lock(&self.output);
        if self.killed.load(Acquire) {
            return Poll::Ready(None);
        }
        match output.take(CHUNK_BYTES, &self.core.stats) {
            Some((bytes, tally)) => {
                add(&self.core.stats.delivered_frames, tally.frames);
                add(&self.core.stats.delivered_bytes, tally.bytes);
                Poll::Ready(Some(bytes))
            }
            None if output.is_closing() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn answer(&self, frame: Frame) {
        if self.put_run(&[frame], &[0]) == Put::Slow {
            add(&self.core.stats.slow_closed, 1);
            self.fifo.push(Item::Retired { conn: self.id, code: Some(close::SLOW) });
        }
    }

    fn put_run(&self, frames: &[Frame], run: &[u32]) -> Put {
        let Core { config, stats, .. } = &*self.core;
        let mut output = lock(&self.output);
        if output.is_closing() {
            return Put::Fine;
        }
        for n in run {
            if output.push(frames[*n as usize].clone(), 0, config, stats) == Verdict::Full {
                output.cut(close_bytes(self.id.framing(), close::SLOW, close::SLOW_REASON), stats);
                drop(output);
                self.waker.wake();
                return Put::Slow;
            }
        }
        drop(output);
        self.waker.wake();
        Put::Fine
    }
}

impl Port for Arc<Seat> {
    fn put(&mut self, _: &Core, frames: &[Frame], run: &[u32], _: Option<&[u8]>, _: &mut Tally) -> Put {
        self.put_run(frames, run)
    }

    fn heard_ms(&self) -> Option<u64> {
        let speaks = self.id.framing() == Framing::WebSocket && !self.paused.load(Relaxed);
        speaks.then(|| self.heard_ms.load(Relaxed))
    }

    fn kill(&mut self, stats: &Stats) {
        lock(&self.output).clear(stats);
        self.killed.store(true, Release);
        self.waker.wake();
    }
}

struct Seats;

impl Transport for Seats {
    type Port = Arc<Seat>;

    fn open(&mut self, _: &Core, _: u64, adopted: Adopted) -> Option<Arc<Seat>> {
        match adopted.way {
            Way::Seat(seat) => Some(seat),
            Way::Tcp(..) => None,
        }
    }

    fn resume(&mut self, _: u32, seat: &mut Arc<Seat>) {
        seat.resumed.store(true, Release);
        seat.waker.wake();
    }
}

/// The body of a server-sent events response. Dropping it ends the connection.
pub struct Events {
    seat: Arc<Seat>,
}

impl Events {
    pub fn new(seat: Arc<Seat>) -> Self {
        Self { seat }
    }
}

impl Stream for Events {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.seat.poll_take(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.seat.fifo.push(Item::Gone(self.seat.id));
    }
}

/// A WebSocket whose bytes tokio moves. A future that ends with the connection.
pub struct Talk {
    io: Box<dyn AsyncReadWrite>,
    seat: Arc<Seat>,
    client: Option<Arc<dyn Client>>,
    input: Input,
    buffer: Box<[u8]>,
    writing: Bytes,
    peer_done: bool,
    deaf: bool,
    flushed: bool,
    shut: bool,
    /// What was handed over with the socket has been looked at.
    begun: bool,
    _held: Option<Box<dyn Any + Send + Sync>>,
}

impl Talk {
    pub fn new(io: Box<dyn AsyncReadWrite>, early: Early, seat: Arc<Seat>, client: Arc<dyn Client>) -> Self {
        let mut input = Input::default();
        input.hold(early.bytes);
        Self {
            io,
            seat,
            client: Some(client),
            input,
            buffer: vec![0; READ_BYTES].into(),
            writing: Bytes::new(),
            peer_done: false,
            deaf: false,
            flushed: true,
            shut: false,
            begun: false,
            _held: early.held,
        }
    }

    /// Writes what there is; `Ready`: the connection is broken, or all has been said.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            while self.writing.is_empty() {
                match self.seat.poll_take(cx) {
                    Poll::Ready(Some(bytes)) => self.writing = bytes,
                    Poll::Ready(None) => {
                        if self.seat.killed.load(Acquire) {
                            return Poll::Ready(());
                        }
                        return self.poll_finish(cx);
                    }
                    Poll::Pending => return self.poll_flush(cx),
                }
            }
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.writing)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(n) => self.writing.advance(n),
            }
            self.flushed = false;
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.flushed {
            return Poll::Pending;
        }
        if ready!(Pin::new(&mut self.io).poll_flush(cx)).is_err() {
            return Poll::Ready(());
        }
        self.flushed = true;
        Poll::Pending
    }

    /// All is written. A peer that has said its last word, or cannot say one, needs no more.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.peer_done || self.deaf {
            if !self.shut {
                let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
                self.shut = true;
            }
            return if self.peer_done { Poll::Ready(()) } else { Poll::Pending };
        }
        self.poll_flush(cx)
    }

    /// Reads a share; `Ready`: the peer is gone.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.listen(0);
        }
        if self.seat.resumed.swap(false, AcqRel) && self.input.is_paused() {
            self.seat.heard_ms.store(self.now_ms(), Relaxed);
            self.resume();
            self.listen(0);
        }
        if self.input.is_paused() && lock(&self.seat.output).is_closing() {
            // Closed meanwhile: what it has to say is its close frame.
            self.client = None;
            self.resume();
            self.listen(0);
        }
        for _ in 0..READS_MAX {
            if self.input.is_paused() || self.peer_done {
                return Poll::Pending;
            }
            let mut buf = ReadBuf::new(&mut self.buffer);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
            let n = buf.filled().len();
            self.seat.heard_ms.store(self.now_ms(), Relaxed);
            self.listen(n);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn resume(&mut self) {
        self.input.resume();
        self.seat.paused.store(false, Relaxed);
    }

    /// Deals with `n` bytes in the buffer.
    fn listen(&mut self, n: usize) {
        if self.deaf {
            return;
        }
        let now_ms = self.now_ms();
        let Self { seat, client, input, buffer, .. } = self;
        if lock(&seat.output).is_closing() {
            *client = None;
        }
        let to = Listening {
            client: client.as_ref(),
            stats: &seat.core.stats,
            bytes_max: seat.core.config.frame_bytes_max,
            rates: seat.core.config.rates(),
            now_ms,
            // A resume from before this question belongs to an earlier pause.
            asked: &|| seat.resumed.store(false, Release),
        };
        let mut pong = |payload: &[u8]| seat.answer(Frame::plain(codec::frame(codec::PONG, payload)));
        let end = input.take(&mut buffer[..n], &to, &mut pong).err();
        self.seat.paused.store(self.input.is_paused(), Relaxed);
        let Some(end) = end else { return };
        self.resume();
        self.client = None;
        let (frame, code) = match end {
            End::Peer(code) => {
                self.peer_done = true;
                (codec::close_frame(code, ""), None)
            }
            End::Fault(fault) => {
                if ![close::INTERNAL, close::TOO_MANY].contains(&fault.code) {
                    add(&self.seat.core.stats.protocol_errors, 1);
                }
                self.deaf = true;
                (close_bytes(Framing::WebSocket, fault.code, fault.reason), Some(fault.code))
            }
        };
        self.seat.answer(Frame::last(frame));
        self.seat.fifo.push(Item::Retired { conn: self.seat.id, code });
    }

    fn now_ms(&self) -> u64 {
        self.seat.core.begun.elapsed().as_millis() as u64
    }
}

impl Future for Talk {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Whatever the writing waits for: a resume or a kill must wake us.
        this.seat.waker.register(cx.waker());
        if this.seat.killed.load(Acquire) {
            return Poll::Ready(());
        }
        if this.poll_read(cx).is_ready() || this.poll_write(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.seat.fifo.push(Item::Gone(self.seat.id));
    }
}
