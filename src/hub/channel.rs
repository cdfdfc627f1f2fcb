//! A channel as the core keeps it: its name, and who listens in which form, how many on which lane.

use std::sync::Arc;

use bytes::Bytes;

use super::few::Few;
use super::joins::Buffer;
use super::lane::{ClosingTopic, ConnId, Form, Item};
use super::pace::Pace;
use super::slab::Slab;
use crate::domain::{ChannelName, Position, ReadError, Snapshot};

/// Of the 100,000 that there may be, most have one subscriber: that one is within, and what is rare is elsewhere.
pub struct Channel {
    pub name: ChannelName,
    pub live: Few<Topic>,
    pub joining: u32,
    pub reset: u32,
    pub buffer: Option<Box<Buffer>>,
    pub settling: Option<Box<Settling>>,
    /// A state has been published here: not only the log speaks on this channel.
    pub reads: bool,
}

/// Live subscriptions that may have seen, in their snapshot, what is only now about to be dispatched.
pub struct Settling {
    pub who: Vec<(ConnId, Position)>,
    /// The newest snapshot among them.
    pub newest: Arc<Snapshot>,
}

/// The live subscribers of a channel that share a form.
pub struct Topic {
    pub form: Form,
    /// The lanes that have some.
    pub places: Few<Place>,
    /// Where the dialect has an interval.
    pub pace: Option<Box<Pace>>,
}

pub struct Place {
    lane: u8,
    /// What the lane calls the topic.
    id: u32,
    count: u32,
}

impl Channel {
    pub fn new(name: ChannelName) -> Self {
        Self { name, live: Few::None, joining: 0, reset: 0, buffer: None, settling: None, reads: false }
    }

    /// Has the cache lines that a message needs fetched.
    pub fn touch(&self) {
        std::hint::black_box((self.live.len(), self.joining, self.settling.is_some(), self.reads));
    }

    pub fn live_count(&self) -> usize {
        self.live.iter().flat_map(|topic| &*topic.places).map(|place| place.count as usize).sum()
    }

    /// This one is not to be watched over any more.
    pub fn settled(&mut self, id: ConnId) {
        if let Some(settling) = &mut self.settling {
            settling.who.retain(|(other, _)| *other != id);
        }
    }

    /// Everybody who listens, is about to, or has to start over.
    pub fn audience(&self) -> usize {
        self.live_count() + (self.joining + self.reset) as usize
    }

    /// One joining subscription fewer; the buffer goes with the last.
    pub fn stop_joining(&mut self, join_bytes: &mut usize) {
        self.joining -= 1;
        if self.joining == 0
            && let Some(buffer) = self.buffer.take()
        {
            *join_bytes -= buffer.bytes;
        }
    }
}

impl Topic {
    pub fn new(form: Form, pace: Option<Box<Pace>>) -> Self {
        Self { form, places: Few::default(), pace }
    }

    /// One more subscriber, of a lane with these numbers of topics; what that calls this one.
    pub fn enter(&mut self, lane: usize, topics: &mut Slab<()>) -> u32 {
        match self.places.iter_mut().find(|place| usize::from(place.lane) == lane) {
            Some(place) => {
                place.count += 1;
                place.id
            }
            None => {
                let id = topics.insert(());
                self.places.push(Place { lane: lane as u8, id, count: 1 }); // LANES_MAX
                id
            }
        }
    }

    /// One fewer of this lane.
    pub fn leave(&mut self, lane: usize, topics: &mut Slab<()>) -> Option<u32> {
        let at = self.places.iter().position(|place| usize::from(place.lane) == lane)?;
        let place = &mut self.places[at];
        let id = place.id;
        place.count -= 1;
        if place.count == 0 {
            topics.remove(id);
            self.places.swap_remove(at);
        }
        Some(id)
    }

    /// For those whose dialect has no words for it: better gone than silent.
    pub fn close(&self, error: &ReadError, skip: &[ConnId], outgoing: &mut [Vec<Item>]) {
        for place in self.places.iter() {
            let (topic, code) = (place.id, super::close::TRY_LATER);
            let mut skip = skip.to_vec();
            skip.sort_unstable();
            let (reason, skip) = (error.to_string().into(), skip.into());
            outgoing[usize::from(place.lane)].push(Item::CloseTopic(Box::new(ClosingTopic {
                topic,
                code,
                reason,
                skip,
            })));
        }
    }

    /// The frame, once to each lane that has subscribers.
    pub fn publish(&self, mut frame: Bytes, key: Option<&Arc<str>>, skip: &[ConnId], outgoing: &mut [Vec<Item>]) {
        let mut places = self.places.iter().peekable();
        while let Some(place) = places.next() {
            let lane = usize::from(place.lane);
            let mut skip: Vec<ConnId> = skip.iter().filter(|id| id.lane() == lane).copied().collect();
            skip.sort_unstable();
            outgoing[lane].push(Item::Publish {
                topic: place.id,
                // The first clone makes the bytes shared; where there is one lane, they need not be.
                frame: if places.peek().is_some() { frame.clone() } else { std::mem::take(&mut frame) },
                key: key.cloned(),
                skip: (!skip.is_empty()).then(|| skip.into()),
            });
        }
    }
}
