//! Recent events in memory, for clients that resume: complete back to a floor that rises as the oldest are dropped.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::domain::{ChannelName, Message, Pattern, Position, Snapshot, Stamp, Target};

/// What an event costs beside its data: its own struct, and its place here.
const OVERHEAD_BYTES: usize = 288;
/// Chains of events whose channels' names have the same hash.
const CHAINS: usize = 1 << 14;

/// Events stand in the order of their dispatch; those of one channel are found by the chain that its name hashes to, from the
/// newest back. So an event is remembered, and forgotten, without looking for its channel, which with very many channels
/// lies in cold memory.
#[derive(Default)]
pub struct Recent {
    events: VecDeque<Remembered>,
    /// The number of `events[0]`; numbers begin at 1 and only grow.
    first: u64,
    hash: RandomState,
    /// The newest of each chain; made with the first event.
    newest: Box<[u64]>,
    /// Events for a whole family.
    families: VecDeque<(u64, Arc<Pattern>)>,
    bytes: usize,
    /// Every event after this place is here. `None`: the stream has not begun.
    floor: Option<Position>,
    items_max: usize,
    bytes_max: usize,
}

struct Remembered {
    message: Arc<Message>,
    /// That of its own cursor.
    position: Position,
    /// The number of the one before it in its chain; below `first`: there is none.
    before: u64,
}

impl Remembered {
    fn bytes(&self) -> usize {
        self.message.data.len() + OVERHEAD_BYTES
    }
}

impl Recent {
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        Self { first: 1, items_max, bytes_max, ..Self::default() }
    }

    /// Forgets everything; the stream begins at `start`.
    pub fn begin(&mut self, start: Arc<Snapshot>) {
        *self = Self { first: self.first + self.events.len() as u64, ..Self::new(self.items_max, self.bytes_max) };
        self.floor = Some(Position::at(start));
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// `position` is that of the event's own cursor.
    pub fn push(&mut self, message: Arc<Message>, position: Position) {
        let number = self.first + self.events.len() as u64;
        let before = match &message.target {
            Target::One(channel) => {
                let chain = self.chain(channel);
                if self.newest.is_empty() {
                    self.newest = vec![0; CHAINS].into();
                }
                std::mem::replace(&mut self.newest[chain], number)
            }
            Target::Family(pattern) => {
                self.families.push_back((number, pattern.clone()));
                0
            }
        };
        let event = Remembered { message, position, before };
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > self.items_max || self.bytes > self.bytes_max {
            self.drop_oldest();
        }
    }

    /// The numbers of the events of `channel` after `from`, in the order of their dispatch; `None`: some may be
    /// missing here.
    pub fn after(&self, channel: &ChannelName, from: &Position) -> Option<Vec<u64>> {
        let floor = self.floor.as_ref()?;
        let same_drain = from.prev == floor.prev && from.cur == floor.cur && from.id >= floor.id;
        if !same_drain && !from.prev.covers(&floor.cur) {
            return None;
        }
        let mut numbers: Vec<u64> = Vec::new();
        let mut at = self.newest.get(self.chain(channel)).copied().unwrap_or_default();
        // Snapshots are nested: what `from` has wholly seen is older than what it has not.
        while let Some(event) = self.get(at).filter(|e| !from.prev.covers(&e.position.cur)) {
            if matches!(&event.message.target, Target::One(name) if name == channel) {
                numbers.push(at);
            }
            at = event.before;
        }
        numbers.reverse();
        let of_family = self.families.iter().filter(|(_, p)| p.matches(channel.as_str()).is_some()).map(|(n, _)| *n);
        let before = numbers.len();
        numbers.extend(of_family);
        if numbers.len() > before {
            numbers.sort_unstable();
        }
        numbers.retain(|&n| {
            self.get(n).is_some_and(|e| match e.message.stamp {
                Stamp::Log { xid, id } => !from.includes(xid, id),
                _ => false,
            })
        });
        Some(numbers)
    }

    pub fn event(&self, number: u64) -> Option<(&Arc<Message>, &Position)> {
        self.get(number).map(|e| (&e.message, &e.position))
    }

    fn get(&self, number: u64) -> Option<&Remembered> {
        self.events.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn chain(&self, channel: &ChannelName) -> usize {
        self.hash.hash_one(channel) as usize % CHAINS
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.events.pop_front() else { return };
        self.first += 1;
        self.bytes -= oldest.bytes();
        if let Target::Family(_) = oldest.message.target {
            self.families.pop_front();
        }
        self.floor = Some(oldest.position);
    }
}

#[cfg(test)]
#[path = "tests/recent.rs"]
mod tests;
