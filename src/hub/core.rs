//! Who listens to what, under one lock; and the order of everything, since whatever a lane is told is pushed to its
//! FIFO while that lock is held.
//!
//! ```text
//!            join          go_live, release
//!  (nothing) ────▶ Joining ───────────────▶ Live ──┐
//!                  ▲ │  ▲ hold              │      │ begin (a new stream)
//!             join │ │  └───────────────────┘      │
//!                  │ ▼ buffer overflowed           │
//!                  Reset ◀─────────────────────────┘        leave, or the connection's end: from anywhere to (nothing)
//! ```
//! Locks: a lane's FIFO may be locked while the core is; never the other way round, and neither while a client,
//! a dialect aside, is called.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::Notify;

use super::channel::Channel;
use super::config::{Config, Stats};
use super::few::Few;
use super::lane::{ConnId, Fifo, Form, Heartbeat, Item, Lane, SLOTS_MAX, lock};
use super::pace::Agenda;
use super::recent::Recent;
use super::slab::{Pages, Slab, push_tight};
use super::{JoinError, Part, Standstill};
use crate::domain::{ChannelName, Cursor, Dialect, Incarnation, Pattern, Position, Snapshot, Target};

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
    /// When the first of the states that wait for their turn is due (`pace`), in milliseconds since `begun`.
    pub next_release_ms: AtomicU64,
}

pub struct State {
    pub stream: Option<(Incarnation, Position)>,
    pub names: HashMap<ChannelName, u32>,
    pub channels: Slab<Channel>,
    pub agenda: Agenda,
    /// Per lane.
    pub slots: Box<[Slots]>,
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
pub struct Slots {
    conns: Pages<Conn>,
    free: Vec<u32>,
    used: usize,
    /// The lane's numbers of topics.
    pub topics: Slab<()>,
}

pub struct Conn {
    generation: u32,
    /// Adopted, and not yet ended.
    open: bool,
    pub form: Form,
    pub subs: Vec<Sub>,
    /// Of those, not live.
    pub waiting: u32,
}

#[derive(Clone, Copy)]
pub struct Sub {
    pub channel: u32,
    /// A `SubState` in 64 bits, in halves: every subscription has one of these, and a whole number would take more.
    state: [u32; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SubState {
    /// To be joined again.
    Reset,
    /// Everything numbered so or higher is in the channel's buffer.
    Joining(u64),
    Live,
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
                slots.conns.push(Conn { generation: 1, open: false, form, subs: Vec::new(), waiting: 0 });
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
        lock(&self.state).join(id, name)
    }

    pub fn leave(&self, id: ConnId, name: &ChannelName) -> bool {
        self.leave_in(&mut lock(&self.state), id, name)
    }

    pub fn rejoin(&self, id: ConnId, name: &ChannelName) -> Result<Position, JoinError> {
        let mut state = lock(&self.state);
        self.leave_in(&mut state, id, name);
        state.join(id, name)
    }

    pub fn hold(&self, id: ConnId, name: &ChannelName) -> Option<Standstill> {
        let mut state = lock(&self.state);
        let n = *state.names.get(name)?;
        let sub = state.slots[id.lane()].get(id)?.subs.iter().find(|s| s.channel == n)?;
        if sub.state() != SubState::Live {
            return None;
        }
        // Of what is still to come, its snapshot may have shown some; the stream has shown none.
        let settling = state.channels[n].settling.as_ref();
        let since = settling.and_then(|s| s.who.iter().find(|(who, _)| *who == id)).map(|(_, since)| since.clone());
        self.leave_in(&mut state, id, name);
        state.join(id, name).ok()?;
        // The number that it joins with is no other's: the next is greater.
        let number = state.number;
        state.number += 1;
        Some(Standstill { since: since.unwrap_or_else(|| Position::at(Arc::new(Snapshot::nothing()))), number })
    }

    pub fn release(&self, id: ConnId, name: &ChannelName, still: &Standstill) -> Result<(), JoinError> {
        let mut state = lock(&self.state);
        let n = *state.names.get(name).ok_or(JoinError::Gone)?;
        let conn = state.slots[id.lane()].get(id).ok_or(JoinError::Gone)?;
        let sub = conn.subs.iter().find(|s| s.channel == n).ok_or(JoinError::Gone)?;
        match sub.state() {
            SubState::Joining(number) if number == still.number => {}
            SubState::Reset => return Err(JoinError::Overflow),
            // Another one by now.
            _ => return Err(JoinError::Gone),
        }
        let part = Part { channel: name, since: &still.since, lead: &[] };
        self.go_live_in(&mut state, id, &[part], Vec::new())
    }

    fn leave_in(&self, state: &mut State, id: ConnId, name: &ChannelName) -> bool {
        let Some(conn) = state.slots[id.lane()].get(id) else { return false };
        let Some(&n) = state.names.get(name) else { return false };
        let Some(at) = conn.subs.iter().position(|s| s.channel == n) else { return false };
        let sub = conn.subs.swap_remove(at);
        conn.waiting -= u32::from(sub.state() != SubState::Live);
        let form = conn.form;
        state.channels[n].settled(id);
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
    pub fn let_go(&self, id: ConnId) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let slots = &mut state.slots[id.lane()];
        let Some(conn) = slots.conns.get_mut(id.slot() as usize) else { return };
        if conn.generation != id.generation() || conn.open {
            return;
        }
        conn.generation = conn.generation.checked_add(1).unwrap_or(1);
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
            channel.live = Few::None;
            channel.buffer = None;
            channel.settling = None;
        }
        state.join_bytes = 0;
        state.agenda.clear();
        for slots in &mut state.slots {
            slots.topics = Slab::default();
            for conn in slots.conns.iter_mut() {
                conn.subs.iter_mut().for_each(|s| s.set(SubState::Reset));
                conn.waiting = conn.subs.len() as u32;
            }
        }
        for fifo in &self.fifos {
            fifo.push(Item::ResetAll);
        }
    }

    /// Connections that listen to a channel of `family` start over, with all that they listen to.
    pub fn restart(&self, family: &Pattern) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let matching = state.names.iter().filter(|(name, _)| family.matches(name.as_str()).is_some());
        let changed: HashSet<u32> = matching.map(|(_, n)| *n).collect();
        if changed.is_empty() {
            return;
        }
        for lane in 0..state.slots.len() {
            for slot in 0..state.slots[lane].conns.len() {
                let conn = &mut state.slots[lane].conns[slot];
                if !conn.open || !conn.subs.iter().any(|s| changed.contains(&s.channel)) {
                    continue;
                }
                let (id, form) = (ConnId::new(conn.generation, lane, conn.form.framing, slot as u32), conn.form);
                let subs = conn.subs.clone();
                conn.subs.iter_mut().for_each(|s| s.set(SubState::Reset));
                conn.waiting = conn.subs.len() as u32;
                for sub in subs {
                    let channel = &mut state.channels[sub.channel];
                    // First, so that the channel keeps an audience.
                    channel.reset += 1;
                    channel.settled(id);
                    state.subscriptions += 1;
                    if let Some(topic) = state.unsubscribe(sub, lane, form) {
                        self.fifos[lane].push(Item::Detach { conn: id, topic });
                    }
                }
                self.fifos[lane].push(Item::Restart(id));
            }
        }
    }

    /// Puts a heartbeat into the FIFO of `lane`, with the cursor of what is before it.
    pub fn heartbeat(&self, lane: usize, turn: u32, of: u32) {
        let guard = lock(&self.state);
        let cursor = guard
            .stream
            .as_ref()
            .map(|(incarnation, position)| Cursor { incarnation: *incarnation, position: position.clone() }.text());
        let conns = &guard.slots[lane].conns;
        let slots = (turn..conns.len() as u32).step_by(of as usize);
        // Nor to a client that has not asked for anything yet: it would resume from there without a snapshot.
        let joining = slots.filter(|&slot| {
            let conn = &conns[slot as usize];
            conn.waiting > 0 || conn.subs.is_empty()
        });
        let joining = joining.collect();
        self.fifos[lane].push(Item::Heartbeat(Box::new(Heartbeat { cursor, turn, of, joining })));
    }
}

impl State {
    pub fn new(lanes: usize, config: &Config) -> Self {
        Self {
            stream: None,
            names: HashMap::new(),
            channels: Slab::default(),
            agenda: Agenda::new(),
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

    /// The one channel that a message is for, if anybody listens there.
    pub fn find(&self, target: &Target) -> Option<u32> {
        match target {
            Target::One(name) => self.names.get(name).copied(),
            Target::Family(_) => None,
        }
    }

    fn join(&mut self, id: ConnId, name: &ChannelName) -> Result<Position, JoinError> {
        let position = self.stream.as_ref().ok_or(JoinError::NotReady)?.1.clone();
        let conn = self.slots[id.lane()].get(id).ok_or(JoinError::Gone)?;
        let joining = SubState::Joining(self.number);
        let known = self.names.get(name).copied();
        let sub = known.and_then(|n| conn.subs.iter_mut().find(|s| s.channel == n));
        let channel = match (sub, known) {
            (Some(sub), Some(n)) if sub.state() == SubState::Reset => {
                sub.set(joining);
                self.channels[n].reset -= 1;
                n
            }
            (Some(_), _) => return Err(JoinError::AlreadyJoined),
            (None, known) => {
                let n = known.unwrap_or_else(|| {
                    let n = self.channels.insert(Channel::new(name.clone()));
                    self.names.insert(name.clone(), n);
                    n
                });
                push_tight(&mut conn.subs, Sub::new(n, joining));
                conn.waiting += 1;
                self.subscriptions += 1;
                n
            }
        };
        self.channels[channel].joining += 1;
        Ok(position)
    }

    /// Takes one subscription out of its channel, and the channel away with its last. The topic, if it was live.
    fn unsubscribe(&mut self, sub: Sub, lane: usize, form: Form) -> Option<u32> {
        self.subscriptions -= 1;
        let channel = &mut self.channels[sub.channel];
        let mut topic = None;
        match sub.state() {
            SubState::Reset => channel.reset -= 1,
            SubState::Joining(_) => channel.stop_joining(&mut self.join_bytes),
            SubState::Live => {
                if let Some(at) = channel.live.iter().position(|t| t.form == form) {
                    topic = channel.live[at].leave(lane, &mut self.slots[lane].topics);
                    if channel.live[at].places.is_empty() {
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
    pub fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot() as usize).filter(|c| c.open && c.generation == id.generation())
    }
}

impl Sub {
    fn new(channel: u32, state: SubState) -> Self {
        let mut sub = Self { channel, state: [0; 2] };
        sub.set(state);
        sub
    }

    pub fn state(&self) -> SubState {
        match u64::from(self.state[0]) << 32 | u64::from(self.state[1]) {
            Self::RESET => SubState::Reset,
            Self::LIVE => SubState::Live,
            number => SubState::Joining(number),
        }
    }

    pub fn set(&mut self, state: SubState) {
        let bits = match state {
            SubState::Reset => Self::RESET,
            SubState::Live => Self::LIVE,
            SubState::Joining(number) => number,
        };
        self.state = [(bits >> 32) as u32, bits as u32];
    }

    // No message is numbered so.
    const RESET: u64 = u64::MAX;
    const LIVE: u64 = u64::MAX - 1;
}

/// The lanes that WebSockets over plain TCP, and everything else, go to.
pub fn lanes_for(framing_over_tcp: bool, lanes: usize) -> std::ops::Range<usize> {
    if framing_over_tcp { 0..lanes - 1 } else { lanes - 1..lanes }
}
