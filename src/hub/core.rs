//! Who listens to what, under one lock; and the order of everything, since whatever a lane is told is pushed to its
//! FIFO while that lock is held.
//!
//! ```text
//!            join                go_live
//!  (nothing) ────▶ Joining ───────────────▶ Live ──┐
//!                    ▲  │ buffer overflowed        │ begin (a new stream)
//!               join │  ▼                          │
//!                   Reset ◀────────────────────────┘        leave, or the connection's end: from anywhere to (nothing)
//! ```
//! Locks: a lane's FIFO may be locked while the core is; never the other way round, and neither while a client,
//! a dialect aside, is called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

use super::backlog::Frame;
use super::config::{Config, Stats, add};
use super::joins::{Buffer, included, is_remembered};
use super::lane::{ConnId, Fifo, Form, GoingLive, Heartbeat, Item, Lane, SLOTS_MAX, lock};
use super::recent::Recent;
use super::{Framing, JoinError, Part, Resumed};
use crate::domain::{ChannelName, Cursor, Dialect, Incarnation, Position, Snapshot};

pub struct Core {
    pub state: Mutex<State>,
    pub fifos: Box<[Arc<Fifo>]>,
    pub dialects: Box<[Arc<dyn Dialect>]>,
    pub config: Config,
    pub stats: Stats,
    /// A FIFO has fallen below its mark.
    pub room: Arc<Notify>,
    /// The last connection has gone.
    pub empty: Notify,
    pub begun: Instant,
}

pub struct State {
    pub stream: Option<(Incarnation, Position)>,
    pub names: HashMap<ChannelName, u32>,
    pub channels: Slab<Channel>,
    topics: Slab<()>,
    /// Per lane.
    slots: Box<[Slots]>,
    pub recent: Recent,
    /// The number of the next message.
    pub number: u64,
    pub join_bytes: usize,
    pub subscriptions: usize,
    pub connections: usize,
    /// No connection is taken any more.
    pub shut: Option<u16>,
    /// What goes to each lane once the present call is done.
    pub outgoing: Box<[Vec<Item>]>,
    pub scratch: Vec<u8>,
}

#[derive(Default)]
struct Slots {
    conns: Vec<Conn>,
    free: Vec<u32>,
    used: usize,
}

struct Conn {
    generation: u32,
    /// Adopted, and not yet ended.
    open: bool,
    form: Form,
    subs: Vec<Sub>,
    /// Of those, not live.
    waiting: u32,
}

#[derive(Clone, Copy)]
struct Sub {
    channel: u32,
    state: SubState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SubState {
    /// To be joined again.
    Reset,
    /// Everything numbered so or higher is in the channel's buffer.
    Joining(u64),
    Live,
}

pub struct Channel {
    pub name: ChannelName,
    pub live: Vec<Topic>,
    pub joining: u32,
    pub reset: u32,
    pub buffer: Option<Box<Buffer>>,
    /// Live subscriptions that may have seen, in their snapshot, what is only now about to be dispatched.
    pub settling: Vec<(ConnId, Position)>,
    /// The newest snapshot among `settling`.
    pub settling_cur: Option<Arc<Snapshot>>,
    /// A state has been published here: not only the log speaks on this channel.
    pub reads: bool,
}

/// The live subscribers of a channel that share a form.
pub struct Topic {
    pub form: Form,
    pub id: u32,
    /// How many, per lane.
    pub count: Box<[u32]>,
}

impl Core {
    pub fn open(
        &self,
        lanes: std::ops::Range<usize>,
        form: Form,
    ) -> Result<(ConnId, std::sync::MutexGuard<'_, State>), u16> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        if let Some(code) = state.shut {
            return Err(code);
        }
        let lane = lanes.min_by_key(|&l| state.slots[l].used).ok_or(super::close::TRY_LATER)?;
        let slots = &mut state.slots[lane];
        let slot = match slots.free.pop() {
            Some(slot) => slot,
            None if slots.conns.len() < SLOTS_MAX => {
                slots.conns.push(Conn { generation: 0, open: false, form, subs: Vec::new(), waiting: 0 });
                slots.conns.len() as u32 - 1
            }
            None => return Err(super::close::TRY_LATER),
        };
        let conn = &mut slots.conns[slot as usize];
        conn.open = true;
        conn.form = form;
        slots.used += 1;
        state.connections += 1;
        let id = ConnId::new(conn.generation, lane, form.framing, slot);
        Ok((id, guard))
    }

    pub fn join(&self, id: ConnId, name: &ChannelName) -> Result<Position, JoinError> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let position = state.stream.as_ref().ok_or(JoinError::NotReady)?.1.clone();
        let conn = state.slots[id.lane()].get(id).ok_or(JoinError::Gone)?;
        let joining = SubState::Joining(state.number);
        let known = state.names.get(name).copied();
        let sub = known.and_then(|n| conn.subs.iter_mut().find(|s| s.channel == n));
        let channel = match (sub, known) {
            (Some(sub), Some(n)) if sub.state == SubState::Reset => {
                sub.state = joining;
                state.channels[n].reset -= 1;
                n
            }
            (Some(_), _) => return Err(JoinError::AlreadyJoined),
            (None, known) => {
                let n = known.unwrap_or_else(|| {
                    let n = state.channels.insert(Channel::new(name.clone()));
                    state.names.insert(name.clone(), n);
                    n
                });
                conn.subs.push(Sub { channel: n, state: joining });
                conn.waiting += 1;
                state.subscriptions += 1;
                n
            }
        };
        state.channels[channel].joining += 1;
        Ok(position)
    }

    /// See `Hub::go_live_all`. `frames` are the lead payloads, framed outside of the lock.
    pub fn go_live(&self, id: ConnId, parts: &[Part<'_>], frames: Vec<Frame>) -> Result<(), JoinError> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let starts = self.joining(state, id, parts.iter().map(|p| p.channel))?;
        let form = state.slots[id.lane()].get(id).ok_or(JoinError::Gone)?.form;
        let mut missed: Vec<(u64, Bytes)> = Vec::new();
        for (part, &(n, start)) in parts.iter().zip(&starts) {
            let channel = &mut state.channels[n];
            let Some(buffer) = &mut channel.buffer else { continue };
            let from = buffer.items.partition_point(|held| held.number < start);
            let before = buffer.bytes;
            for held in buffer.items.range_mut(from..) {
                if included(part.since, &held.message.stamp) {
                    continue;
                }
                let bytes = held.bytes();
                if let Some(frame) = self.encode_held(held, form, &channel.name, &mut state.scratch) {
                    missed.push((held.number, frame));
                }
                buffer.bytes += held.bytes() - bytes;
            }
            state.join_bytes += buffer.bytes - before;
        }
        let sinces = starts.iter().zip(parts).map(|(&(n, _), p)| (n, p.since.clone())).collect();
        self.attach(state, id, form, sinces, frames, missed);
        Ok(())
    }

    /// See `Hub::resume`.
    pub fn resume(
        &self,
        id: ConnId,
        name: &ChannelName,
        from: &Cursor,
        limit: usize,
        frames: Vec<Frame>,
    ) -> Result<Resumed, JoinError> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let (incarnation, position) = state.stream.as_ref().ok_or(JoinError::NotReady)?;
        if *incarnation != from.incarnation {
            return Ok(Resumed::Forgotten);
        }
        if !position.cur.covers(&from.position.cur) {
            return Ok(Resumed::Behind);
        }
        let (n, start) = self.joining(state, id, std::iter::once(name))?[0];
        let form = state.slots[id.lane()].get(id).ok_or(JoinError::Gone)?.form;
        let Some(numbers) = state.recent.after(name, &from.position) else { return Ok(Resumed::Forgotten) };
        if numbers.len() > limit {
            return Ok(Resumed::TooMany);
        }
        let State { recent, scratch, channels, .. } = state;
        let mut missed = Vec::with_capacity(numbers.len());
        for event in numbers {
            let frame = recent.with_held(event, |held| (held.number, self.encode_held(held, form, name, scratch)));
            if let Some((number, Some(frame))) = frame {
                missed.push((number, frame));
            }
        }
        // What came since the join and is never remembered.
        if let Some(buffer) = &mut channels[n].buffer {
            for held in buffer.items.iter_mut().filter(|h| h.number >= start && !is_remembered(&h.message)) {
                if included(&from.position, &held.message.stamp) {
                    continue;
                }
                let before = held.bytes();
                missed.extend(self.encode_held(held, form, name, scratch).map(|frame| (held.number, frame)));
                buffer.bytes += held.bytes() - before;
                state.join_bytes += held.bytes() - before;
            }
        }
        let count = missed.len();
        self.attach(state, id, form, vec![(n, from.position.clone())], frames, missed);
        Ok(Resumed::Live(count))
    }

    /// The channels and where their buffers must begin, if all of them are `Joining` and none has overflowed.
    fn joining<'a>(
        &self,
        state: &mut State,
        id: ConnId,
        names: impl Iterator<Item = &'a ChannelName>,
    ) -> Result<Vec<(u32, u64)>, JoinError> {
        let conn = state.slots[id.lane()].get(id).ok_or(JoinError::Gone)?;
        let mut starts = Vec::new();
        let mut overflowed = false;
        for name in names {
            let n = *state.names.get(name).ok_or(JoinError::Gone)?;
            let sub = conn.subs.iter_mut().find(|s| s.channel == n).ok_or(JoinError::Gone)?;
            match sub.state {
                SubState::Live => return Err(JoinError::AlreadyJoined),
                SubState::Reset => overflowed = true,
                SubState::Joining(start) => {
                    let channel = &mut state.channels[n];
                    if channel.buffer.as_ref().is_none_or(|b| b.has_all_since(start)) {
                        starts.push((n, start));
                        continue;
                    }
                    overflowed = true;
                    add(&self.stats.joins_overflowed, 1);
                    sub.state = SubState::Reset;
                    channel.reset += 1;
                    channel.stop_joining(&mut state.join_bytes);
                }
            }
        }
        if overflowed { Err(JoinError::Overflow) } else { Ok(starts) }
    }

    /// Makes `Joining` subscriptions live: `frames`, then `missed` in the order of its numbers, then whatever comes.
    fn attach(
        &self,
        state: &mut State,
        id: ConnId,
        form: Form,
        sinces: Vec<(u32, Position)>,
        mut frames: Vec<Frame>,
        mut missed: Vec<(u64, Bytes)>,
    ) {
        missed.sort_by_key(|(number, _)| *number);
        frames.extend(missed.into_iter().map(|(_, bytes)| Frame { lead: true, ..Frame::plain(bytes) }));
        let lanes = self.fifos.len();
        let mut topics = Vec::with_capacity(sinces.len());
        for (n, since) in sinces {
            let Some(conn) = state.slots[id.lane()].get(id) else { return };
            let Some(sub) = conn.subs.iter_mut().find(|s| s.channel == n) else { continue };
            sub.state = SubState::Live;
            conn.waiting -= 1;
            let channel = &mut state.channels[n];
            channel.stop_joining(&mut state.join_bytes);
            let at = channel.live.iter().position(|t| t.form == form).unwrap_or_else(|| {
                let id = state.topics.insert(());
                channel.live.push(Topic { form, id, count: vec![0; lanes].into() });
                channel.live.len() - 1
            });
            channel.live[at].count[id.lane()] += 1;
            topics.push(channel.live[at].id);
            if channel.settling_cur.as_ref().is_none_or(|newest| since.cur.covers(newest)) {
                channel.settling_cur = Some(since.cur.clone());
            }
            if channel.settling.len() > 64 && channel.settling.len() > 2 * channel.live_count() {
                let slots = &mut state.slots;
                channel.settling.retain(|(id, _)| slots[id.lane()].get(*id).is_some());
            }
            channel.settling.push((id, since));
        }
        self.fifos[id.lane()].push(Item::Live(Box::new(GoingLive { conn: id, topics, frames })));
    }

    pub fn leave(&self, id: ConnId, name: &ChannelName) -> bool {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let Some(conn) = state.slots[id.lane()].get(id) else { return false };
        let Some(&n) = state.names.get(name) else { return false };
        let Some(at) = conn.subs.iter().position(|s| s.channel == n) else { return false };
        let sub = conn.subs.swap_remove(at);
        conn.waiting -= u32::from(sub.state != SubState::Live);
        let form = conn.form;
        state.channels[n].settling.retain(|(other, _)| *other != id);
        if let Some(topic) = state.unsubscribe(sub, id.lane(), form) {
            self.fifos[id.lane()].push(Item::Detach { conn: id, topic });
        }
        true
    }

    /// The connection has ended: its subscriptions go.
    pub fn retire(&self, id: ConnId) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let Some(conn) = state.slots[id.lane()].get(id) else { return };
        conn.open = false;
        conn.waiting = 0;
        let (subs, form) = (std::mem::take(&mut conn.subs), conn.form);
        for sub in subs {
            state.unsubscribe(sub, id.lane(), form);
        }
    }

    /// Its lane has let go of it: the slot may be used again.
    pub fn release(&self, id: ConnId) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let slots = &mut state.slots[id.lane()];
        let Some(conn) = slots.conns.get_mut(id.slot() as usize) else { return };
        if conn.generation != id.generation() || conn.open {
            return;
        }
        conn.generation = conn.generation.wrapping_add(1);
        slots.free.push(id.slot());
        slots.used -= 1;
        state.connections -= 1;
        if state.connections == 0 {
            self.empty.notify_waiters();
        }
    }

    pub fn begin(&self, incarnation: Incarnation, start: Arc<Snapshot>) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let first = state.stream.replace((incarnation, Position::at(start.clone()))).is_none();
        state.recent.begin(start);
        if first {
            // Nobody can have joined.
            return;
        }
        for channel in state.channels.iter_mut() {
            channel.reset += channel.joining + channel.live_count() as u32;
            channel.joining = 0;
            channel.live.clear();
            channel.buffer = None;
            channel.settling = Vec::new();
            channel.settling_cur = None;
        }
        state.join_bytes = 0;
        state.topics = Slab::default();
        for conn in state.slots.iter_mut().flat_map(|s| &mut s.conns) {
            conn.subs.iter_mut().for_each(|s| s.state = SubState::Reset);
            conn.waiting = conn.subs.len() as u32;
        }
        for fifo in &self.fifos {
            fifo.push(Item::ResetAll);
        }
    }

    /// Puts a heartbeat into the FIFO of `lane`, with the cursor of what is before it.
    pub fn heartbeat(&self, lane: usize, turn: u32, of: u32) {
        let guard = lock(&self.state);
        let cursor = guard.stream.as_ref().map(|(incarnation, position)| {
            Cursor { incarnation: *incarnation, position: position.clone() }.to_string()
        });
        let conns = &guard.slots[lane].conns;
        let slots = (turn..conns.len() as u32).step_by(of as usize);
        let joining = slots.filter(|&slot| conns[slot as usize].waiting > 0).collect();
        self.fifos[lane].push(Item::Heartbeat(Box::new(Heartbeat { cursor, turn, of, joining })));
    }
}

impl State {
    pub fn new(lanes: usize, config: &Config) -> Self {
        Self {
            stream: None,
            names: HashMap::new(),
            channels: Slab::default(),
            topics: Slab::default(),
            slots: std::iter::repeat_with(Slots::default).take(lanes).collect(),
            recent: Recent::new(config.recent_items_max, config.recent_bytes_max),
            number: 0,
            join_bytes: 0,
            subscriptions: 0,
            connections: 0,
            shut: None,
            outgoing: std::iter::repeat_with(Vec::new).take(lanes).collect(),
            scratch: Vec::new(),
        }
    }

    /// Takes one subscription out of its channel, and the channel away with its last. The topic, if it was live.
    fn unsubscribe(&mut self, sub: Sub, lane: usize, form: Form) -> Option<u32> {
        self.subscriptions -= 1;
        let channel = &mut self.channels[sub.channel];
        let mut topic = None;
        match sub.state {
            SubState::Reset => channel.reset -= 1,
            SubState::Joining(_) => channel.stop_joining(&mut self.join_bytes),
            SubState::Live => {
                if let Some(at) = channel.live.iter().position(|t| t.form == form) {
                    let live = &mut channel.live[at];
                    topic = Some(live.id);
                    live.count[lane] -= 1;
                    if live.count.iter().all(|&n| n == 0) {
                        self.topics.remove(live.id);
                        channel.live.swap_remove(at);
                    }
                }
            }
        }
        if channel.audience() == 0 {
            let name = channel.name.clone();
            self.channels.remove(sub.channel);
            self.names.remove(&name);
        }
        topic
    }
}

impl Slots {
    /// The open connection `id`.
    fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot() as usize).filter(|c| c.open && c.generation == id.generation())
    }
}

impl Channel {
    fn new(name: ChannelName) -> Self {
        Self {
            name,
            live: Vec::new(),
            joining: 0,
            reset: 0,
            buffer: None,
            settling: Vec::new(),
            settling_cur: None,
            reads: false,
        }
    }

    pub fn live_count(&self) -> usize {
        self.live.iter().flat_map(|t| &t.count).map(|&n| n as usize).sum()
    }

    /// Everybody who listens, is about to, or has to start over.
    pub fn audience(&self) -> usize {
        self.live_count() + (self.joining + self.reset) as usize
    }

    /// One joining subscription fewer; the buffer goes with the last.
    fn stop_joining(&mut self, join_bytes: &mut usize) {
        self.joining -= 1;
        if self.joining == 0
            && let Some(buffer) = self.buffer.take()
        {
            *join_bytes -= buffer.bytes;
        }
    }
}

/// The lanes that WebSockets over plain TCP, and everything else, go to.
pub fn lanes_for(framing_over_tcp: bool, lanes: usize) -> std::ops::Range<usize> {
    if framing_over_tcp { 0..lanes - 1 } else { lanes - 1..lanes }
}

/// Numbered places, used again.
pub struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn insert(&mut self, item: T) -> u32 {
        let n = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            self.items.len() as u32 - 1
        });
        self.items[n as usize] = Some(item);
        n
    }

    pub fn remove(&mut self, n: u32) {
        if self.items[n as usize].take().is_some() {
            self.free.push(n);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut().flatten()
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, n: u32) -> &T {
        self.items[n as usize].as_ref().expect("a number is given out only with its item, and forgotten with it")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, n: u32) -> &mut T {
        self.items[n as usize].as_mut().expect("a number is given out only with its item, and forgotten with it")
    }
}

/// The frames of a payload for one connection. Large ones are not copied: their head goes before them.
pub fn pieces(framing: Framing, payload: &Bytes) -> (Bytes, Option<Bytes>) {
    const COPIED_BYTES_MAX: usize = 4096;
    match framing {
        Framing::EventStream => (payload.clone(), None),
        Framing::WebSocket if payload.len() <= COPIED_BYTES_MAX => {
            (super::codec::frame(super::codec::TEXT, payload), None)
        }
        Framing::WebSocket => {
            let (head, start) = super::codec::head(super::codec::TEXT, payload.len());
            (Bytes::copy_from_slice(&head[start..]), Some(payload.clone()))
        }
    }
}
