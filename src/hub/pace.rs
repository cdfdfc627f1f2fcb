//! A dialect may want the states of a channel at most once in an interval: the newest waits here for its turn.
//!
//! ```text
//!  state ─▶ due? ── yes ─▶ encoded once, to all lanes ─▶ due again an interval later
//!             └── no ──▶ held (in place of an older one) ─▶ when due, the first lane's clock releases it
//! ```
//! The interval begins when the first subscriber goes live, who has just been shown the state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::channel::{Channel, Topic};
use super::core::{Core, State};
use super::dispatch::skipped;
use super::lane::{Form, Item, Lane, lock};
use crate::domain::{Cursor, Message, Stamp};

/// Of the live subscribers of a channel in one form.
pub struct Pace {
    due_ms: u64,
    held: Option<Waiting>,
}

pub struct Waiting {
    pub message: Arc<Message>,
    pub cursor: Option<Cursor>,
}

/// What waits: when it is due, on which channel, in which form. Some of it may have left meanwhile.
pub type Agenda = BTreeSet<(u64, u32, Form)>;

impl Core {
    /// How this form is paced from now on, if it is.
    pub fn pace(&self, form: Form) -> Option<Box<Pace>> {
        let interval_ms = self.interval_ms(form);
        (interval_ms > 0).then(|| Box::new(Pace { due_ms: self.now_ms().saturating_add(interval_ms), held: None }))
    }

    pub fn is_paced(&self, form: Form) -> bool {
        self.interval_ms(form) > 0
    }

    fn interval_ms(&self, form: Form) -> u64 {
        self.dialects.get(usize::from(form.dialect)).map_or(0, |dialect| dialect.interval_ms())
    }

    /// Must it wait? Then it is kept. Else the next one must. `n` is the number of the topic's channel.
    pub fn holds(&self, n: u32, topic: &mut Topic, agenda: &mut Agenda, waiting: impl FnOnce() -> Waiting) -> bool {
        let Some(pace) = &mut topic.pace else { return false };
        let now_ms = self.now_ms();
        if now_ms >= pace.due_ms {
            pace.due_ms = now_ms.saturating_add(self.interval_ms(topic.form));
            pace.held = None;
            return false;
        }
        self.keep(n, topic, agenda, waiting());
        true
    }

    /// Until it is due.
    pub fn keep(&self, n: u32, topic: &mut Topic, agenda: &mut Agenda, waiting: Waiting) {
        let Some(pace) = &mut topic.pace else { return };
        pace.held = Some(waiting);
        agenda.insert((pace.due_ms, n, topic.form));
        if self.next_release_ms.fetch_min(pace.due_ms, Relaxed) > pace.due_ms {
            // Its clock has to look again.
            self.fifos[0].push(Item::LookAtClock);
        }
    }

    /// Sends what is due; how long until the next is.
    pub fn release_held(&self) -> u64 {
        let now_ms = self.now_ms();
        let next_ms = self.next_release_ms.load(Relaxed);
        if next_ms > now_ms {
            return next_ms - now_ms;
        }
        let mut guard = lock(&self.state);
        let State { channels, outgoing, scratch, agenda, .. } = &mut *guard;
        while let Some(&(due_ms, n, form)) = agenda.first().filter(|(due_ms, ..)| *due_ms <= now_ms) {
            agenda.remove(&(due_ms, n, form));
            // The number may be another's by now, to whom nothing is due, or nobody's.
            let Some(channel) = channels.get_mut(n) else { continue };
            let Some(at) = channel.live.iter().position(|t| t.form == form) else { continue };
            let Some(pace) = channel.live[at].pace.as_mut().filter(|pace| pace.due_ms <= now_ms) else { continue };
            let Some(waiting) = pace.held.take() else { continue };
            pace.due_ms = now_ms.saturating_add(self.interval_ms(form));
            self.send_held(channel, at, &waiting, outgoing, scratch);
        }
        let next_ms = agenda.first().map_or(u64::MAX, |(due_ms, ..)| *due_ms);
        self.next_release_ms.store(next_ms, Relaxed);
        for (fifo, items) in self.fifos.iter().zip(outgoing) {
            fifo.push_all(items);
        }
        next_ms.saturating_sub(now_ms)
    }

    fn send_held(
        &self,
        channel: &mut Channel,
        at: usize,
        waiting: &Waiting,
        outgoing: &mut [Vec<Item>],
        scratch: &mut Vec<u8>,
    ) {
        let Waiting { message, cursor } = waiting;
        // Who has been shown it, or a later state, since it was held.
        let skip = skipped(channel, &message.stamp, cursor.as_ref().map(|c| &c.position));
        let text = cursor.as_ref().map(Cursor::text);
        let topic = &channel.live[at];
        let frame = self.encode(topic.form, scratch, |dialect, out| {
            dialect.message(channel.name.as_str(), message, text.as_deref(), out)
        });
        if let Some(frame) = frame {
            topic.publish(frame, message.conflate.as_ref(), &skip, outgoing);
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}

impl Pace {
    /// Was its newest state not sent yet?
    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }
}

/// Only states are: of events, each counts.
pub fn may_wait(message: &Message) -> bool {
    matches!(message.stamp, Stamp::Read(_)) && message.conflate.is_some()
}
