//! What every lane does, whatever its sockets are: which connections it has and what they listen to, one turn over
//! what has queued in its FIFO, heartbeats and deadlines.
//!
//! ```text
//! FIFO ──take──▶ items ──▶ frames of this turn ◀── links ── connections ──put (once each)──▶ Port
//! ```
//! A connection notes the frames it gets in this turn as a chain of `Link`s, so that a frame costs eight bytes per
//! subscriber and no reference count until a socket refuses it. Where all that queued is for one topic, there are not
//! even links: its subscribers are gone through once, with the frames in one piece.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::backlog::{Frame, Tally};
use super::codec;
use super::config::{Stats, add};
use super::core::Core;
use super::few::Few;
use super::lane::{Adopted, ConnId, Fifo, Form, Item};
use super::slab::Pages;
use super::{Client, Closed, Framing, close};

/// The socket of one connection, as its lane sees it.
pub trait Port {
    /// Writes, or queues, `run`: indices into `frames`. `whole` is the same in one piece, where that is at hand.
    fn put(&mut self, core: &Core, frames: &[Frame], run: &[u32], whole: Option<&[u8]>, tally: &mut Tally) -> Put;
    /// When the client was last heard; `None` where it has no way to speak, or is not being listened to.
    fn heard_ms(&self) -> Option<u64>;
    /// Ends at once, whatever is queued.
    fn kill(&mut self, stats: &Stats);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Fine,
    /// The backlog was full: it has been cut, and ends with a close frame.
    Slow,
    Dead,
}

/// What makes ports.
pub trait Transport {
    type Port: Port;
    /// `None`: it is dead already.
    fn open(&mut self, core: &Core, now_ms: u64, adopted: Adopted) -> Option<Self::Port>;
    fn resume(&mut self, slot: u32, port: &mut Self::Port);
}

pub struct Member<P> {
    pub id: ConnId,
    pub form: Form,
    /// Gone once closing has begun: nothing is delivered to it, nothing taken from it any more.
    pub client: Option<Arc<dyn Client>>,
    pub port: P,
    pub subs: Vec<Sub>,
    /// The chain of links to the frames that it gets in this turn.
    pub head: u32,
    pub tail: u32,
}

/// `topics[topic][at]` is this subscription.
#[derive(Clone, Copy)]
pub struct Sub {
    pub topic: u32,
    pub at: u32,
}

/// `members[slot].subs[sub]` is this listener.
#[derive(Clone, Copy)]
pub struct Listener {
    pub slot: u32,
    pub sub: u32,
}

#[derive(Clone, Copy)]
struct Link {
    frame: u32,
    next: u32,
}

/// No link.
pub const NONE: u32 = u32::MAX;
/// Frames of one turn before they are written out.
const TURN_FRAMES_MAX: usize = 1024;
const TURN_LINKS_MAX: usize = 256 * 1024;
/// Below this, one copy of several frames costs less than a list of them for each connection.
const WHOLE_BYTES_MAX: usize = 256 * 1024;
/// Heartbeats are spread over this many ticks.
const TICKS_PER_HEARTBEAT: u64 = 16;
const TICK_MS_MIN: u64 = 5;

pub struct Fanout<P> {
    lane: usize,
    pub core: Arc<Core>,
    pub fifo: Arc<Fifo>,
    pub members: Pages<Option<Member<P>>>,
    pub topics: Pages<Few<Listener>>,
    items: Vec<Item>,
    pub frames: Vec<Frame>,
    links: Vec<Link>,
    dirty: Vec<u32>,
    run: Vec<u32>,
    whole: Vec<u8>,
    outcomes: Vec<(ConnId, Put)>,
    pub deadlines: BTreeSet<(u64, ConnId)>,
    /// Retired since a transport last looked: whoever of them was paused is read again, for its last word.
    pub retired: Vec<ConnId>,
    begun: Instant,
    tick_ms: u64,
    next_tick_ms: u64,
    ticks: u64,
    pub ended: bool,
}

impl<P: Port> Fanout<P> {
    pub fn new(lane: usize, core: Arc<Core>) -> Self {
        let heartbeat_ms = core.config.heartbeat_ms.max(1);
        let tick_ms = (heartbeat_ms / TICKS_PER_HEARTBEAT).max(TICK_MS_MIN.min(heartbeat_ms));
        Self {
            lane,
            fifo: core.fifos[lane].clone(),
            begun: core.begun,
            core,
            members: Pages::default(),
            topics: Pages::default(),
            items: Vec::new(),
            frames: Vec::new(),
            links: Vec::new(),
            dirty: Vec::new(),
            run: Vec::new(),
            whole: Vec::new(),
            outcomes: Vec::new(),
            deadlines: BTreeSet::new(),
            retired: Vec::new(),
            tick_ms,
            next_tick_ms: tick_ms,
            ticks: 0,
            ended: false,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// Ticks and deadlines that are due; how long until the next.
    pub fn clock(&mut self) -> u64 {
        let now = self.now_ms();
        if now >= self.next_tick_ms {
            let of = (self.core.config.heartbeat_ms.max(1) / self.tick_ms).max(1);
            self.core.heartbeat(self.lane, (self.ticks % of) as u32, of as u32);
            self.ticks += 1;
            self.next_tick_ms = now + self.tick_ms;
        }
        while let Some(&(due, id)) = self.deadlines.first() {
            if due > now {
                break;
            }
            self.deadlines.pop_first();
            self.release(id);
        }
        let next = self.deadlines.first().map_or(self.next_tick_ms, |(due, _)| self.next_tick_ms.min(*due));
        let next_ms = next.saturating_sub(now);
        if self.lane == 0 { next_ms.min(self.core.release_held()) } else { next_ms }
    }

    pub fn member(&mut self, id: ConnId) -> Option<&mut Member<P>> {
        self.members.get_mut(id.slot() as usize)?.as_mut().filter(|m| m.id == id)
    }

    /// Deals with all that has queued. Each connection is written to once.
    pub fn turn<T: Transport<Port = P>>(&mut self, transport: &mut T) {
        let mut items = std::mem::take(&mut self.items);
        let load = self.fifo.take(&mut items);
        let mut tally = Tally::default();
        match one_topic(&items) {
            Some(topic) => {
                self.frames.extend(items.drain(..).map(publish_frame));
                self.spread(topic, &mut tally);
            }
            None => {
                for item in items.drain(..) {
                    self.handle(item, transport);
                    if self.frames.len() >= TURN_FRAMES_MAX || self.links.len() >= TURN_LINKS_MAX {
                        self.flush(&mut tally);
                    }
                }
                self.flush(&mut tally);
            }
        }
        if items.capacity() > 4096 {
            items = Vec::new();
        }
        self.items = items;
        self.count(tally);
        self.fifo.done(load);
    }

    pub fn count(&self, tally: Tally) {
        if tally.bytes > 0 {
            add(&self.core.stats.delivered_frames, tally.frames);
            add(&self.core.stats.delivered_bytes, tally.bytes);
        }
    }

    fn handle<T: Transport<Port = P>>(&mut self, item: Item, transport: &mut T) {
        match item {
            Item::Publish { topic, frame, key, skip } => {
                let n = self.add_frame(Frame { topic, key, ..Frame::plain(frame) });
                let Some(listeners) = self.topics.get(topic as usize) else { return };
                for listener in &**listeners {
                    let Some(member) = &mut self.members[listener.slot as usize] else { continue };
                    if skip.as_ref().is_none_or(|skip| skip.binary_search(&member.id).is_err()) {
                        link(member, n, listener.slot, &mut self.links, &mut self.dirty);
                    }
                }
            }
            Item::Send { conn, frame, rest } => {
                self.give(conn, Frame::plain(frame));
                if let Some(rest) = rest {
                    self.give(conn, Frame { glued: true, ..Frame::plain(rest) });
                }
            }
            Item::Live(live) => self.go_live(*live),
            Item::Detach { conn, topic } => self.detach(conn, topic),
            Item::Adopt(adopted) => self.adopt(*adopted, transport),
            Item::Close(closing) => self.close(closing.conn, closing.code, &closing.reason, None),
            Item::CloseTopic(closing) => {
                let listeners = self.topics.get(closing.topic as usize).map_or(&[][..], |l| &l[..]);
                let members = listeners.iter().filter_map(|l| self.members[l.slot as usize].as_ref());
                let skipped = |id: &ConnId| closing.skip.binary_search(id).is_ok();
                let ids: Vec<ConnId> = members.map(|m| m.id).filter(|id| !skipped(id)).collect();
                ids.into_iter().for_each(|id| self.close(id, closing.code, &closing.reason, None));
            }
            Item::Resume(id) => {
                if let Some(member) = self.member(id) {
                    transport.resume(id.slot(), &mut member.port);
                }
            }
            Item::ResetAll => self.reset_all(),
            Item::Restart(id) => self.restart(id),
            Item::Heartbeat(heartbeat) => self.beat(&heartbeat),
            Item::Shutdown(shutdown) => self.shut_down(&shutdown),
            Item::Retired { conn, code } => self.retire(conn, code.map_or(Closed::Peer, Closed::Ours), None),
            Item::Gone(id) => self.release(id),
            Item::LookAtClock => {}
            Item::End => {
                for id in self.ids() {
                    self.release(id);
                }
                self.fifo.close();
                self.ended = true;
            }
        }
    }

    /// All of `self.frames` to all listeners of `topic`: the path that fan-out is measured on.
    fn spread(&mut self, topic: u32, tally: &mut Tally) {
        let Self { core, members, topics, frames, run, whole, outcomes, .. } = self;
        run.clear();
        run.extend(0..frames.len() as u32);
        whole.clear();
        if frames.len() > 1 {
            frames.iter().for_each(|f| whole.extend_from_slice(&f.bytes));
        }
        let piece = if frames.len() > 1 { Some(&whole[..]) } else { None };
        for listener in topics.get(topic as usize).map_or(&[][..], |l| &l[..]) {
            let Some(member) = &mut members[listener.slot as usize] else { continue };
            let put = member.port.put(core, frames, run, piece, tally);
            if put != Put::Fine {
                outcomes.push((member.id, put));
            }
        }
        if whole.capacity() > WHOLE_BYTES_MAX {
            *whole = Vec::new();
        }
        self.frames.clear();
        self.settle();
    }

    /// Each connection gets the frames of this turn that it has links to.
    fn flush(&mut self, tally: &mut Tally) {
        let Self { core, members, frames, links, dirty, run, outcomes, .. } = self;
        for slot in dirty.drain(..) {
            let Some(member) = &mut members[slot as usize] else { continue };
            run.clear();
            let mut at = std::mem::replace(&mut member.head, NONE);
            while at != NONE {
                let link = links[at as usize];
                run.push(link.frame);
                at = link.next;
            }
            if run.is_empty() {
                continue;
            }
            let put = member.port.put(core, frames, run, None, tally);
            if put != Put::Fine {
                outcomes.push((member.id, put));
            }
        }
        self.frames.clear();
        self.links.clear();
        self.settle();
    }

    /// Acts on what writing has shown.
    fn settle(&mut self) {
        while let Some((id, put)) = self.outcomes.pop() {
            match put {
                Put::Fine => {}
                Put::Slow => self.slow(id),
                Put::Dead => self.release(id),
            }
        }
    }

    pub fn slow(&mut self, id: ConnId) {
        add(&self.core.stats.slow_closed, 1);
        self.retire(id, Closed::Ours(close::SLOW), None);
    }

    /// A frame for one open connection.
    pub fn give(&mut self, id: ConnId, frame: Frame) {
        if self.member(id).is_some_and(|m| m.client.is_some()) {
            let n = self.add_frame(frame);
            self.link(id.slot(), n);
        }
    }

    pub fn add_frame(&mut self, frame: Frame) -> u32 {
        self.frames.push(frame);
        self.frames.len() as u32 - 1
    }

    pub fn link(&mut self, slot: u32, frame: u32) {
        if let Some(member) = &mut self.members[slot as usize] {
            link(member, frame, slot, &mut self.links, &mut self.dirty);
        }
    }

    pub fn close(&mut self, id: ConnId, code: u16, reason: &str, grace_ms: Option<u64>) {
        self.give(id, Frame::last(close_bytes(id.framing(), code, reason)));
        self.retire(id, Closed::Ours(code), grace_ms);
    }

    pub fn ids(&self) -> Vec<ConnId> {
        self.members.iter().flatten().map(|m| m.id).collect()
    }
}

/// The topic that all `items` are published on, where it is one, for everybody, and not too much for one piece.
fn one_topic(items: &[Item]) -> Option<u32> {
    let mut bytes = 0;
    let mut one = None;
    for item in items {
        let Item::Publish { topic, frame, skip: None, .. } = item else { return None };
        bytes += frame.len();
        if one.is_some_and(|one| one != *topic) || (one.is_some() && bytes > WHOLE_BYTES_MAX) {
            return None;
        }
        one = Some(*topic);
    }
    one
}

fn publish_frame(item: Item) -> Frame {
    match item {
        Item::Publish { topic, frame, key, .. } => Frame { topic, key, ..Frame::plain(frame) },
        _ => unreachable!("one_topic has seen that all are Publish"),
    }
}

fn link<P>(member: &mut Member<P>, frame: u32, slot: u32, links: &mut Vec<Link>, dirty: &mut Vec<u32>) {
    let n = links.len() as u32;
    links.push(Link { frame, next: NONE });
    if member.head == NONE {
        member.head = n;
        dirty.push(slot);
    } else {
        links[member.tail as usize].next = n;
    }
    member.tail = n;
}

/// What ends a connection: a close frame, or nothing for a stream, whose end says it.
pub fn close_bytes(framing: Framing, code: u16, reason: &str) -> Bytes {
    match framing {
        Framing::WebSocket => codec::close_frame(Some(code), reason),
        Framing::EventStream => Bytes::new(),
    }
}
