//! From joining to live: what was missed, then what comes, as one piece of the FIFO.

use bytes::Bytes;

use super::backlog::Frame;
use super::config::add;
use super::core::{Core, State, SubState, Topic};
use super::joins::{included, is_remembered};
use super::lane::{ConnId, Form, GoingLive, Item, Lane, lock};
use super::{JoinError, Part, Resumed};
use crate::domain::{ChannelName, Cursor, Position};

impl Core {
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
}
