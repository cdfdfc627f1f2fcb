//! What a connection's socket has not taken yet. Empty (and a null pointer) for a client that keeps up.
//!
//! ```text
//! push ──▶ [ begun | frame | frame | … ] ──gather/advance──▶ socket
//!              │        └ replaced by a newer one of the same topic and key
//!              └ bytes of it are on the wire: never dropped, never replaced
//! ```

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::config::{Config, Stats, add, sub};

/// Topic of what belongs to one connection only: answers, snapshots, control frames.
pub const TOPIC_NONE: u32 = u32::MAX;
/// Topic of heartbeats.
pub const TOPIC_HEARTBEAT: u32 = u32::MAX - 1;

/// A frame on its way to sockets, or a piece of one.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Bytes,
    pub topic: u32,
    pub key: Option<Arc<str>>,
    /// Goes with the piece before it: both or neither.
    pub glued: bool,
    /// What the client asked for: counted against `lead_bytes_max` instead of the backlog's bounds.
    pub lead: bool,
    /// Nothing comes after it.
    pub last: bool,
}

impl Frame {
    pub fn plain(bytes: Bytes) -> Self {
        Self { bytes, topic: TOPIC_NONE, key: None, glued: false, lead: false, last: false }
    }

    pub fn last(bytes: Bytes) -> Self {
        Self { last: true, ..Self::plain(bytes) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Queued,
    Full,
}

/// What was handed to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub frames: u64,
    pub bytes: u64,
}

/// The way out of one connection.
#[derive(Debug, Default)]
pub struct Output {
    queue: Option<Box<Queue>>,
    closing: bool,
    /// A cursor of this connection speaks for one channel only, so that a frame may be replaced where it stands.
    cursor_per_channel: bool,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// The number of `frames[0]`; numbers only grow.
    first: u64,
    begun: bool,
    bytes: usize,
    lead_bytes: usize,
    /// Frames replaced by a newer one further back: their bytes are empty.
    dead: usize,
    newest_of_key: HashMap<(u32, Arc<str>), u64>,
    newest_of_topic: HashMap<u32, u64>,
    /// The last frame that speaks for more than its own channel, plus one.
    barrier: u64,
}

impl Output {
    pub fn new(cursor_per_channel: bool) -> Self {
        Self { queue: None, closing: false, cursor_per_channel }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// The last frame has been queued or written: what comes now is dropped.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    pub fn set_closing(&mut self) {
        self.closing = true;
    }

    /// Queues `frame`, of which `sent` bytes are on the wire already.
    pub fn push(&mut self, mut frame: Frame, sent: usize, config: &Config, stats: &Stats) -> Verdict {
        if self.closing {
            return Verdict::Queued;
        }
        self.closing = frame.last;
        frame.bytes.advance(sent);
        let queue = self.queue.get_or_insert_default();
        add(&stats.backlog_bytes, frame.bytes.len() as u64);
        if sent > 0 {
            queue.begun = true;
        }
        queue.bytes += frame.bytes.len();
        if frame.lead {
            queue.lead_bytes += frame.bytes.len();
        }
        if queue.replace(&mut frame, self.cursor_per_channel, stats) {
            return Verdict::Queued;
        }
        queue.frames.push_back(frame);
        let waiting = queue.frames.len() - queue.dead;
        let over = queue.bytes - queue.lead_bytes > config.backlog_bytes_max
            || waiting > config.backlog_frames_max
            || queue.lead_bytes > config.lead_bytes_max;
        // One frame alone, however large, can only be waited for.
        if over && waiting > 1 && !self.closing { Verdict::Full } else { Verdict::Queued }
    }

    /// Fills `slices` from the front; how many.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(queue) = &self.queue else { return 0 };
        let waiting = queue.frames.iter().filter(|f| !f.bytes.is_empty());
        slices.iter_mut().zip(waiting).map(|(slice, f)| *slice = IoSlice::new(&f.bytes)).count()
    }

    /// `sent` more bytes from the front are on the wire.
    pub fn advance(&mut self, mut sent: usize, stats: &Stats) -> Tally {
        let mut tally = Tally { frames: 0, bytes: sent as u64 };
        let Some(queue) = &mut self.queue else { return tally };
        sub(&stats.backlog_bytes, sent as u64);
        while let Some(front) = queue.frames.front_mut() {
            let n = front.bytes.len();
            if sent < n {
                front.bytes.advance(sent);
                queue.took(sent, front_is_lead(&queue.frames));
                queue.begun |= sent > 0;
                break;
            }
            sent -= n;
            tally.frames += u64::from(n > 0 && !front.glued);
            queue.took(n, front_is_lead(&queue.frames));
            queue.pop();
        }
        if queue.frames.is_empty() {
            self.queue = None;
        }
        tally
    }

    /// Takes up to `bytes_max` from the front, or one frame whole, for a writer that has its own place for it.
    pub fn take(&mut self, bytes_max: usize, stats: &Stats) -> Option<(Bytes, Tally)> {
        let queue = self.queue.as_ref()?;
        let mut waiting = queue.frames.iter().filter(|f| !f.bytes.is_empty()).peekable();
        let Some(front) = waiting.next() else {
            self.advance(0, stats);
            return None;
        };
        let bytes = match waiting.peek() {
            Some(second) if front.bytes.len() + second.bytes.len() <= bytes_max => {
                let mut all = Vec::with_capacity(bytes_max.min(queue.bytes));
                all.extend_from_slice(&front.bytes);
                while let Some(f) = waiting.next_if(|f| all.len() + f.bytes.len() <= bytes_max) {
                    all.extend_from_slice(&f.bytes);
                }
                Bytes::from(all)
            }
            _ => front.bytes.clone(),
        };
        let tally = self.advance(bytes.len(), stats);
        Some((bytes, tally))
    }

    /// Drops every frame of which nothing was sent and ends with `close`.
    pub fn cut(&mut self, close: Bytes, stats: &Stats) {
        self.closing = true;
        let Some(mut queue) = self.queue.take() else { return };
        let begun = queue.begun || queue.frames.front().is_some_and(|f| f.glued);
        let mut kept = VecDeque::new();
        while let Some(front) = queue.frames.pop_front() {
            let keep = if kept.is_empty() { begun } else { front.glued };
            if !keep {
                break;
            }
            kept.push_back(front);
        }
        kept.push_back(Frame::last(close));
        let bytes = kept.iter().map(|f| f.bytes.len()).sum();
        sub(&stats.backlog_bytes, queue.bytes as u64);
        add(&stats.backlog_bytes, bytes as u64);
        self.queue = Some(Box::new(Queue { frames: kept, begun, bytes, ..Queue::default() }));
    }

    /// The connection is gone, and what it did not take with it.
    pub fn clear(&mut self, stats: &Stats) {
        self.closing = true;
        if let Some(queue) = self.queue.take() {
            sub(&stats.backlog_bytes, queue.bytes as u64);
        }
    }
}

fn front_is_lead(frames: &VecDeque<Frame>) -> bool {
    frames.front().is_some_and(|f| f.lead)
}

impl Queue {
    /// Deals with what `frame` makes out of date; true: it stands where that stood.
    ///
    /// A frame moves to the place of the one it replaces only where no frame between speaks for its channel: else its
    /// cursor would be ahead of an undelivered frame. Where it may not, it goes to the back.
    fn replace(&mut self, frame: &mut Frame, cursor_per_channel: bool, stats: &Stats) -> bool {
        let number = self.first + self.frames.len() as u64;
        if frame.topic >= TOPIC_HEARTBEAT {
            self.barrier = number + 1;
        }
        let Some(key) = frame.key.clone() else {
            if frame.topic < TOPIC_HEARTBEAT {
                self.newest_of_topic.insert(frame.topic, number);
            }
            return false;
        };
        let older = self.newest_of_key.get(&(frame.topic, key.clone())).copied();
        let older = older.filter(|&n| n > self.first || (n == self.first && !self.begun));
        if let Some(n) = older {
            add(&stats.conflated, u64::from(frame.topic < TOPIC_HEARTBEAT));
            let in_place =
                cursor_per_channel && n >= self.barrier && self.newest_of_topic.get(&frame.topic).copied() == Some(n);
            let old = &mut self.frames[(n - self.first) as usize];
            self.bytes -= old.bytes.len();
            sub(&stats.backlog_bytes, old.bytes.len() as u64);
            if in_place {
                std::mem::swap(old, frame);
                return true;
            }
            old.bytes = Bytes::new();
            self.dead += 1;
        }
        self.newest_of_key.insert((frame.topic, key), number);
        self.newest_of_topic.insert(frame.topic, number);
        if self.dead > 64 && self.dead > self.frames.len() / 2 {
            self.compact(frame.topic, number);
        }
        false
    }

    /// Leaves out the dead. `number` of `topic` is about to be pushed.
    fn compact(&mut self, topic: u32, number: u64) {
        let (first, barrier) = (self.first, self.barrier);
        let mut moved = HashMap::with_capacity(self.frames.len());
        let mut kept = VecDeque::with_capacity(self.frames.len() - self.dead + 1);
        let mut new_barrier = first;
        for (n, f) in (first..).zip(std::mem::take(&mut self.frames)) {
            if f.bytes.is_empty() {
                continue;
            }
            let to = first + kept.len() as u64;
            moved.insert(n, to);
            if n < barrier {
                new_barrier = to + 1;
            }
            kept.push_back(f);
        }
        moved.insert(number, first + kept.len() as u64);
        if topic == TOPIC_HEARTBEAT {
            new_barrier = first + kept.len() as u64 + 1;
        }
        self.frames = kept;
        self.dead = 0;
        self.barrier = new_barrier;
        self.newest_of_key.retain(|_, n| moved.get(n).map(|to| *n = *to).is_some());
        self.newest_of_topic.retain(|_, n| moved.get(n).map(|to| *n = *to).is_some());
    }

    fn took(&mut self, bytes: usize, lead: bool) {
        self.bytes -= bytes;
        if lead {
            self.lead_bytes -= bytes;
        }
    }

    fn pop(&mut self) {
        let Some(front) = self.frames.pop_front() else { return };
        let number = self.first;
        self.first += 1;
        self.begun = false;
        if self.newest_of_topic.get(&front.topic) == Some(&number) {
            self.newest_of_topic.remove(&front.topic);
        }
        if let Some(key) = front.key {
            let of_key = (front.topic, key);
            if self.newest_of_key.get(&of_key) == Some(&number) {
                self.newest_of_key.remove(&of_key);
            }
            // Only a replaced frame has a key and no bytes.
            self.dead -= usize::from(front.bytes.is_empty());
        }
    }
}

#[cfg(test)]
#[path = "tests/backlog.rs"]
mod tests;
