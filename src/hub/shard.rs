//! A shard: one thread that owns its plain-TCP WebSockets with a `mio::Poll`.
//!
//! Sockets are registered once, edge-triggered, for both directions. An edge says only that something has changed, so
//! each socket remembers what it still owes: `readable` until a read would block, a backlog until a write succeeds.
//! Whoever has more to read than its share of a turn, or was paused, is on the list `again`: no second edge comes.

use std::any::Any;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use super::Closed;
use super::backlog::{Frame, Output, Tally, Verdict};
use super::codec;
use super::config::{Stats, add};
use super::conn::{End, Input, Listening};
use super::core::Core;
use super::fanout::{Fanout, Port, Put, Transport, close_bytes};
use super::lane::{Adopted, ConnId, Way};
use super::{Framing, close};

pub const WAKE: Token = Token(usize::MAX);
/// One read of a socket; also what a connection may have read in one turn.
const READ_BYTES: usize = 64 * 1024;
const SLICES_MAX: usize = 64;

/// The thread's body. Ends with `Item::End`.
pub fn run(lane: usize, core: Arc<Core>, mut poll: Poll) -> io::Result<()> {
    let registry = poll.registry().try_clone()?;
    let window = Duration::from_micros(core.config.flush_window_us.min(10_000));
    let mut shard = Shard {
        fanout: Fanout::new(lane, core),
        sockets: Sockets { registry, again: Vec::new() },
        buffer: vec![0; READ_BYTES],
    };
    let mut events = Events::with_capacity(1024);
    while !shard.fanout.ended {
        let idle_ms = shard.fanout.clock();
        let wait_ms = if shard.sockets.again.is_empty() { idle_ms } else { 0 };
        match poll.poll(&mut events, Some(Duration::from_millis(wait_ms))) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        shard.fanout.fifo.stay_awake();
        for event in &events {
            shard.ready(event);
        }
        shard.read_all();
        if !window.is_zero() && shard.fanout.fifo.len() > 0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the configured flush window: a shard's own thread waits for more"
            )]
            std::thread::sleep(window);
        }
        shard.fanout.turn(&mut shard.sockets);
        shard.hear_last_words();
    }
    Ok(())
}

struct Shard {
    fanout: Fanout<Socket>,
    sockets: Sockets,
    buffer: Vec<u8>,
}

struct Sockets {
    registry: Registry,
    /// Slots to read from in the next turn.
    again: Vec<u32>,
}

struct Socket {
    tcp: TcpStream,
    output: Output,
    input: Input,
    heard_ms: u64,
    /// An edge came, and no read has blocked since.
    readable: bool,
    /// Is on the list `again`.
    listed: bool,
    /// The peer's last word is in: once all is written, nothing is left to wait for.
    peer_done: bool,
    /// Its bytes make no sense any more: they are read and dropped, so that the close frame is not lost in a reset.
    deaf: bool,
    _held: Option<Box<dyn Any + Send + Sync>>,
}

impl Shard {
    fn ready(&mut self, event: &Event) {
        let slot = event.token().0;
        let Some(Some(member)) = self.fanout.members.get_mut(slot) else { return };
        let id = member.id;
        let socket = &mut member.port;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.readable = true;
            self.sockets.list(slot as u32, socket);
        }
        if event.is_error() && socket.input.is_paused() {
            // Nobody reads it now, and nothing can be written.
            self.fanout.release(id);
        } else if event.is_writable() {
            self.write(id);
        }
    }

    /// Writes what is queued, as far as the socket takes it.
    fn write(&mut self, id: ConnId) {
        let mut tally = Tally::default();
        let core = self.fanout.core.clone();
        let Some(member) = self.fanout.member(id) else { return };
        let fine = member.port.drain(&core.stats, &mut tally).is_ok();
        let over = member.port.finished();
        self.fanout.count(tally);
        if !fine || over {
            self.fanout.release(id);
        }
    }

    fn read_all(&mut self) {
        let mut list = std::mem::take(&mut self.sockets.again);
        for slot in list.drain(..) {
            let Some(Some(member)) = self.fanout.members.get_mut(slot as usize) else { continue };
            member.port.listed = false;
            let id = member.id;
            self.read(id);
            if let Some(member) = self.fanout.member(id) {
                let socket = &mut member.port;
                if socket.readable && !socket.input.is_paused() {
                    self.sockets.list(slot, socket);
                }
            }
        }
        if self.sockets.again.is_empty() {
            // Keeps its capacity; `list` cannot have been pushed to.
            self.sockets.again = list;
        }
    }

    /// A connection that was closed while it was paused is read again, so that its close frame is seen.
    fn hear_last_words(&mut self) {
        for id in std::mem::take(&mut self.fanout.retired) {
            if let Some(member) = self.fanout.member(id) {
                self.sockets.resume(id.slot(), &mut member.port);
            }
        }
    }

    /// Reads a fair share from one socket and deals with it.
    fn read(&mut self, id: ConnId) {
        let core = self.fanout.core.clone();
        let now_ms = self.fanout.now_ms();
        let Some(member) = self.fanout.member(id) else { return };
        let socket = &mut member.port;
        // What was held back by a pause, or handed over with the socket, comes first.
        let mut n = 0;
        let mut eof = false;
        if socket.readable && !socket.input.is_paused() {
            match socket.tcp.read(&mut self.buffer) {
                Ok(0) => eof = true,
                Ok(read) => {
                    n = read;
                    socket.heard_ms = now_ms;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => socket.readable = false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => eof = true,
            }
        }
        let mut tally = Tally::default();
        let mut put = Put::Fine;
        let mut end = None;
        if !socket.deaf {
            let to = Listening {
                client: member.client.as_ref(),
                stats: &core.stats,
                bytes_max: core.config.frame_bytes_max,
                rates: core.config.rates(),
                now_ms,
                asked: &|| {},
            };
            let Socket { input, output, tcp, .. } = socket;
            let mut pong = |payload: &[u8]| {
                if put == Put::Fine {
                    let frame = Frame::plain(codec::frame(codec::PONG, payload));
                    put = write_run(tcp, output, &core, &[frame], &[0], None, &mut tally);
                }
            };
            end = input.take(&mut self.buffer[..n], &to, &mut pong).err();
        }
        self.fanout.count(tally);
        match put {
            Put::Fine => {}
            Put::Slow => self.fanout.slow(id),
            Put::Dead => return self.fanout.release(id),
        }
        if let Some(end) = end {
            self.end(id, end);
        }
        if eof {
            self.fanout.release(id);
        }
    }

    /// Answers a client's last word.
    fn end(&mut self, id: ConnId, end: End) {
        let core = self.fanout.core.clone();
        let Some(member) = self.fanout.member(id) else { return };
        let (frame, why) = match end {
            End::Peer(code) => (codec::close_frame(code, ""), Closed::Peer),
            End::Fault(fault) => {
                if ![close::INTERNAL, close::TOO_MANY].contains(&fault.code) {
                    add(&core.stats.protocol_errors, 1);
                }
                member.port.deaf = true;
                (close_bytes(Framing::WebSocket, fault.code, fault.reason), Closed::Ours(fault.code))
            }
        };
        member.port.peer_done |= matches!(end, End::Peer(_));
        member.port.input.resume();
        let mut tally = Tally::default();
        let put = member.port.put(&core, &[Frame::last(frame)], &[0], None, &mut tally);
        member.port.half_close();
        let over = member.port.finished();
        self.fanout.count(tally);
        self.fanout.retire(id, why, None);
        if over || put == Put::Dead {
            self.fanout.release(id);
        }
    }
}

impl Sockets {
    fn list(&mut self, slot: u32, socket: &mut Socket) {
        if !socket.listed {
            socket.listed = true;
            self.again.push(slot);
        }
    }
}

impl Transport for Sockets {
    type Port = Socket;

    fn open(&mut self, core: &Core, now_ms: u64, adopted: Adopted) -> Option<Socket> {
        let Way::Tcp(tcp, early) = adopted.way else { return None };
        let slot = adopted.id.slot();
        let mut tcp = TcpStream::from_std(tcp);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.registry.register(&mut tcp, Token(slot as usize), interest) {
            tracing::error!(%error, "a socket could not be registered");
            return None;
        }
        let mut input = Input::default();
        if !early.bytes.is_empty() {
            input.hold(early.bytes);
        }
        let _ = core;
        let mut socket = Socket {
            tcp,
            output: Output::new(true),
            input,
            heard_ms: now_ms,
            readable: false,
            listed: false,
            peer_done: false,
            deaf: false,
            _held: early.held,
        };
        self.list(slot, &mut socket);
        Some(socket)
    }

    fn resume(&mut self, slot: u32, socket: &mut Socket) {
        if socket.input.is_paused() {
            socket.input.resume();
            self.list(slot, socket);
        }
    }
}

impl Socket {
    fn drain(&mut self, stats: &Stats, tally: &mut Tally) -> io::Result<()> {
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.output.gather(&mut slices);
            let sent = if count == 0 {
                0
            } else {
                match self.tcp.write_vectored(&slices[..count]) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(n) => n,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                    Err(e) => return Err(e),
                }
            };
            let done = self.output.advance(sent, stats);
            tally.frames += done.frames;
            tally.bytes += done.bytes;
        }
        self.half_close();
        Ok(())
    }

    /// After a fault the peer gets our close frame and then the end of the stream; its own end is awaited.
    fn half_close(&mut self) {
        if self.deaf && self.output.is_empty() {
            // An error means that the peer is gone already; the next read says so.
            let _ = self.tcp.shutdown(Shutdown::Write);
        }
    }

    fn finished(&self) -> bool {
        self.peer_done && self.output.is_closing() && self.output.is_empty()
    }
}

impl Port for Socket {
    fn put(&mut self, core: &Core, frames: &[Frame], run: &[u32], whole: Option<&[u8]>, tally: &mut Tally) -> Put {
        write_run(&mut self.tcp, &mut self.output, core, frames, run, whole, tally)
    }

    fn heard_ms(&self) -> Option<u64> {
        (!self.input.is_paused()).then_some(self.heard_ms)
    }

    fn kill(&mut self, stats: &Stats) {
        self.output.clear(stats);
    }
}

/// Writes as much of `run` as the socket takes at once and queues the rest.
fn write_run(
    tcp: &mut TcpStream,
    output: &mut Output,
    core: &Core,
    frames: &[Frame],
    run: &[u32],
    whole: Option<&[u8]>,
    tally: &mut Tally,
) -> Put {
    if output.is_closing() {
        return Put::Fine;
    }
    let mut at = 0;
    let mut cut = 0;
    while at < run.len() && output.is_empty() {
        let (count, result) = match (whole, &run[at..]) {
            (Some(whole), _) => (run.len(), tcp.write(whole)),
            (None, [one]) => (1, tcp.write(&frames[*one as usize].bytes)),
            (None, rest) => {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = rest.len().min(SLICES_MAX);
                for (slice, n) in slices.iter_mut().zip(rest) {
                    *slice = IoSlice::new(&frames[*n as usize].bytes);
                }
                (count, tcp.write_vectored(&slices[..count]))
            }
        };
        let mut sent = match result {
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return Put::Dead,
        };
        tally.bytes += sent as u64;
        let end = at + count;
        while at < end {
            let frame = &frames[run[at] as usize];
            if sent < frame.bytes.len() {
                break;
            }
            sent -= frame.bytes.len();
            tally.frames += u64::from(!frame.glued);
            if frame.last {
                output.set_closing();
            }
            at += 1;
        }
        if at < end {
            cut = sent;
            break;
        }
    }
    for n in &run[at..] {
        let verdict = output.push(frames[*n as usize].clone(), std::mem::take(&mut cut), &core.config, &core.stats);
        if verdict == Verdict::Full {
            let close = codec::close_frame(Some(close::SLOW), close::SLOW_REASON);
            output.cut(close, &core.stats);
            return Put::Slow;
        }
    }
    Put::Fine
}
