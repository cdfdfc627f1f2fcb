//! Recent events in memory, for clients that resume: complete back to a floor that rises as the oldest are dropped.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::domain::{ChannelName, Message, Pattern, Position, Snapshot, Stamp, Target};

/// What an event costs beside its data: its own struct, its place in two queues, its share of the index.
const OVERHEAD_BYTES: usize = 320;

#[derive(Default)]
pub struct Recent {
    events: VecDeque<Remembered>,
    /// The number of `events[0]`; numbers only grow.
    first: u64,
    by_channel: HashMap<ChannelName, VecDeque<u64>>,
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
}

impl Remembered {
    fn bytes(&self) -> usize {
        self.message.data.len() + OVERHEAD_BYTES
    }
}

impl Recent {
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        Self { items_max, bytes_max, ..Self::default() }
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
        match &message.target {
            // Most have one event at a time.
            Target::One(channel) => match self.by_channel.entry(channel.clone()) {
                Entry::Occupied(mut own) => own.get_mut().push_back(number),
                Entry::Vacant(none) => none.insert(VecDeque::with_capacity(1)).push_back(number),
            },
            Target::Family(pattern) => self.families.push_back((number, pattern.clone())),
        }
        let event = Remembered { message, position };
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
        let own = self.by_channel.get(channel);
        let mut numbers: Vec<u64> = Vec::new();
        if let Some(own) = own {
            // Snapshots are nested: the drains that `from` has wholly seen come first.
            let seen = own.partition_point(|&n| self.get(n).is_some_and(|e| from.prev.covers(&e.position.cur)));
            numbers.extend(own.range(seen..));
        }
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

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.events.pop_front() else { return };
        self.first += 1;
        self.bytes -= oldest.bytes();
        match &oldest.message.target {
            Target::One(channel) => {
                if let Entry::Occupied(mut own) = self.by_channel.entry(channel.clone()) {
                    own.get_mut().pop_front();
                    if own.get().is_empty() {
                        own.remove();
                    }
                }
            }
            Target::Family(_) => drop(self.families.pop_front()),
        }
        self.floor = Some(oldest.position);
    }
}

#[cfg(test)]
#[path = "tests/recent.rs"]
mod tests;
