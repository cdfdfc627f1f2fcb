//! The dispatcher's side of the core: a message becomes one frame per form, and one item per lane.

use std::sync::Arc;

use bytes::Bytes;

use super::Framing;
use super::channel::{Channel, Settling};
use super::codec;
use super::core::{Core, State};
use super::joins::{Buffer, Held, included, is_remembered};
use super::lane::{ConnId, Form, Lane, lock};
use super::pace::{Waiting, may_wait};
use crate::domain::{Batch, ChannelName, Cursor, Dialect, Incarnation, Message, Position, ReadError, Stamp, Target};

impl Core {
    pub fn dispatch(&self, batch: Batch) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let Some((incarnation, position)) = state.stream.clone() else { return };
        let mut place = position;
        let mut within = false;
        // With very many channels each lies in cold memory: fetched before the first is needed, they are waited for together.
        let found: Vec<_> = batch.messages.iter().map(|message| state.find(&message.target)).collect();
        found.iter().flatten().for_each(|&n| state.channels[n].touch());
        for (message, found) in batch.messages.into_iter().zip(found) {
            if let Stamp::Log { id, .. } = message.stamp {
                if !std::mem::replace(&mut within, true) {
                    place = Position { prev: batch.prev.clone(), cur: batch.cur.clone(), id };
                }
                place.id = id;
            }
            self.deliver(state, incarnation, message, found, &place);
        }
        state.stream = Some((incarnation, batch.after));
        self.push_out(state);
    }

    pub fn publish(&self, message: Message) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let Some((incarnation, place)) = state.stream.clone() else { return };
        let found = state.find(&message.target);
        self.deliver(state, incarnation, message, found, &place);
        self.push_out(state);
    }

    pub fn channel_error(&self, name: &ChannelName, error: &ReadError) {
        self.publish(Message {
            target: Target::One(name.clone()),
            event: "".into(),
            data: Bytes::new(),
            at_us: 0,
            conflate: None,
            stamp: Stamp::Foreign,
            replay: false,
            failure: Some(Box::new(error.clone())),
        });
    }

    /// The payload of a heartbeat, framed.
    pub fn encode_heartbeat(&self, form: Form, cursor: &str, at_us: i64) -> Option<Bytes> {
        let mut scratch = Vec::with_capacity(256);
        self.encode(form, &mut scratch, |dialect, out| dialect.heartbeat(cursor, at_us, out))
    }

    /// The frame of `held` in `form`, made once.
    pub fn encode_held(&self, held: &mut Held, form: Form, name: &ChannelName, scratch: &mut Vec<u8>) -> Option<Bytes> {
        if let Some((_, frame)) = held.frames.iter().find(|(f, _)| *f == form) {
            return frame.clone();
        }
        let cursor = held.cursor.as_ref().map(Cursor::text);
        let frame = self.encode(form, scratch, |dialect, out| {
            dialect.message(name.as_str(), &held.message, cursor.as_deref(), out)
        });
        held.frames.push((form, frame.clone()));
        frame
    }

    /// The frame with a cursor that only this reader gets.
    pub fn encode_for_one(
        &self,
        held: &Held,
        form: Form,
        name: &ChannelName,
        cursor: &Cursor,
        scratch: &mut Vec<u8>,
    ) -> Option<Bytes> {
        let cursor = cursor.text();
        self.encode(form, scratch, |dialect, out| dialect.message(name.as_str(), &held.message, Some(&cursor), out))
    }

    /// Gives one message its number, and to everybody whom it is for. `found`: its channel, if it is for one. `place`:
    /// where the stream is with it.
    fn deliver(
        &self,
        state: &mut State,
        incarnation: Incarnation,
        message: Message,
        found: Option<u32>,
        place: &Position,
    ) {
        let number = state.number;
        state.number += 1;
        let many;
        let channels: &[u32] = match &message.target {
            Target::One(_) => found.as_slice(),
            Target::Family(pattern) => {
                let matching = state.names.iter().filter(|(name, _)| pattern.matches(name.as_str()).is_some());
                many = matching.map(|(_, n)| *n).collect::<Vec<_>>();
                &many
            }
        };
        let remember = is_remembered(&message);
        if channels.is_empty() && !remember {
            return;
        }
        let message = Arc::new(message);
        let cursor = match message.stamp {
            Stamp::Foreign => None,
            _ => Some(Cursor { incarnation, position: place.clone() }),
        };
        let mut text = None;
        for &n in channels {
            self.deliver_to(state, n, number, &message, &cursor, &mut text);
        }
        if let (true, Some(cursor)) = (remember, cursor) {
            state.recent.push(message, cursor.position);
        }
    }

    fn deliver_to(
        &self,
        state: &mut State,
        n: u32,
        number: u64,
        message: &Arc<Message>,
        cursor: &Option<Cursor>,
        text: &mut Option<String>,
    ) {
        let State { channels, outgoing, scratch, join_bytes, agenda, .. } = state;
        let channel = &mut channels[n];
        let skip = skipped(channel, &message.stamp, cursor.as_ref().map(|c| &c.position));
        let mut frames = Vec::new();
        for topic in &mut *channel.live {
            let waiting = || Waiting { message: message.clone(), cursor: cursor.clone() };
            if may_wait(message) && self.holds(n, topic, agenda, waiting) {
                continue;
            }
            if let (None, Some(cursor)) = (&text, cursor) {
                *text = Some(cursor.text());
            }
            let frame = self.encode(topic.form, scratch, |dialect, out| {
                dialect.message(channel.name.as_str(), message, text.as_deref(), out)
            });
            if channel.joining > 0 {
                frames.push((topic.form, frame.clone()));
            }
            match (frame, &message.failure) {
                (Some(frame), _) => topic.publish(frame, message.conflate.as_ref(), &skip, outgoing),
                (None, Some(error)) => topic.close(error, &skip, outgoing),
                (None, None) => {}
            }
        }
        if channel.joining > 0 {
            let held = Held { number, message: message.clone(), cursor: cursor.clone(), frames };
            let buffer = channel.buffer.get_or_insert_default();
            let before = buffer.bytes;
            buffer.push(held, self.config.join_buffer_items_max, self.config.join_buffer_bytes_max);
            *join_bytes = *join_bytes - before + buffer.bytes;
            if *join_bytes > self.config.join_buffers_bytes_max {
                *join_bytes -= buffer.bytes;
                **buffer = Buffer { lost: Some(number), ..Default::default() };
            }
        }
    }

    /// Frames what `write` appends; `None`: it had nothing to say.
    pub(super) fn encode(
        &self,
        form: Form,
        scratch: &mut Vec<u8>,
        write: impl FnOnce(&dyn Dialect, &mut Vec<u8>) -> bool,
    ) -> Option<Bytes> {
        let dialect = self.dialects.get(usize::from(form.dialect))?;
        scratch.clear();
        scratch.resize(codec::HEAD_BYTES_MAX, 0);
        if !write(&**dialect, scratch) {
            return None;
        }
        let payload = scratch.len() - codec::HEAD_BYTES_MAX;
        let start = match form.framing {
            Framing::EventStream => codec::HEAD_BYTES_MAX,
            Framing::WebSocket => {
                let (head, start) = codec::head(codec::TEXT, payload);
                scratch[start..codec::HEAD_BYTES_MAX].copy_from_slice(&head[start..]);
                start
            }
        };
        let frame = Bytes::copy_from_slice(&scratch[start..]);
        if scratch.capacity() > 1 << 20 {
            *scratch = Vec::new();
        }
        Some(frame)
    }

    fn push_out(&self, state: &mut State) {
        for (fifo, items) in self.fifos.iter().zip(&mut state.outgoing) {
            fifo.push_all(items);
        }
    }
}

/// The live subscribers whose snapshot has shown this already: dispatched late, to them it is the past.
pub(super) fn skipped(channel: &mut Channel, stamp: &Stamp, place: Option<&Position>) -> Vec<ConnId> {
    channel.reads |= matches!(stamp, Stamp::Read(_));
    let Some(settling) = &mut channel.settling else { return Vec::new() };
    let Settling { who, newest } = &mut **settling;
    let nobody = match stamp {
        Stamp::Log { xid, .. } => !newest.sees(*xid),
        Stamp::Read(at) => !newest.covers(at),
        Stamp::Foreign => true,
    };
    if !nobody {
        let skipped = who.iter().filter(|(_, since)| included(since, stamp)).map(|(id, _)| *id).collect();
        if let (false, Some(place)) = (channel.reads, place) {
            // A drain brings only what its `prev` did not see.
            who.retain(|(_, since)| !place.prev.covers(&since.cur));
        }
        return skipped;
    }
    // The log has passed everybody's snapshot. Where only it speaks (a drain brings what its `prev` did not see), or where
    // this is a read (those of one channel come in the order of their snapshots), nothing older can come.
    let passed = match stamp {
        Stamp::Log { .. } => !channel.reads && place.is_some_and(|p| p.prev.covers(newest)),
        Stamp::Read(_) => place.is_some_and(|p| p.cur.covers(newest)),
        Stamp::Foreign => false,
    };
    if passed {
        channel.settling = None;
    }
    Vec::new()
}
