//! From joining to live: what was missed, then what comes, as one piece of the FIFO.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::backlog::Frame;
use super::channel::{Settling, Topic};
use super::config::add;
use super::core::{Core, State, SubState};
use super::joins::included;
use super::lane::{Closing, ConnId, Form, GoingLive, Item, Lane, lock};
use super::pace::{Waiting, may_wait};
use super::slab::push_tight;
use super::{JoinError, Part, close};
use crate::domain::{ChannelName, Cursor, Position};

impl Core {
    /// See `Hub::go_live_all`. `frames` are the lead payloads, framed outside of the lock.
    pub fn go_live(&self, id: ConnId, parts: &[Part<'_>], frames: Vec<Frame>) -> Result<(), JoinError> {
        self.go_live_in(&mut lock(&self.state), id, parts, frames)
    }

    pub fn go_live_in(
        &self,
        state: &mut State,
        id: ConnId,
        parts: &[Part<'_>],
        frames: Vec<Frame>,
    ) -> Result<(), JoinError> {
        let starts = self.joining(state, id, parts.iter().map(|p| p.channel))?;
        let form = state.slots[id.lane()].get(id).ok_or(JoinError::Gone)?.form;
        let mut missed: Vec<(u64, Bytes)> = Vec::new();
        let mut waiting: BTreeMap<u32, Waiting> = BTreeMap::new();
        // An error for which this dialect has no words.
        let mut unsaid = None;
        for (part, &(n, start)) in parts.iter().zip(&starts) {
            let channel = &mut state.channels[n];
            let Some(buffer) = &mut channel.buffer else { continue };
            let from = buffer.items.partition_point(|held| held.number < start);
            let before = buffer.bytes;
            let topic = channel.live.iter().find(|t| t.form == form);
            // Of states that have to wait the newest will come, by itself or (to the first subscriber) from `waiting`.
            let paced = match topic {
                Some(topic) => topic.pace.as_ref().is_some_and(|pace| pace.is_holding()),
                None => self.is_paced(form),
            };
            for held in buffer.items.range_mut(from..) {
                if included(part.since, &held.message.stamp) {
                    continue;
                }
                if paced && may_wait(&held.message) {
                    if topic.is_none() {
                        waiting.insert(n, Waiting { message: held.message.clone(), cursor: held.cursor.clone() });
                    }
                    continue;
                }
                let bytes = held.bytes();
                let scratch = &mut state.scratch;
                let frame = match rebased(part.since, held.cursor.as_ref()) {
                    Some(cursor) => self.encode_for_one(held, form, &channel.name, &cursor, scratch),
                    None => self.encode_held(held, form, &channel.name, scratch),
                };
                if let (None, Some(error)) = (&frame, &held.message.failure) {
                    unsaid = Some(error.clone());
                }
                missed.extend(frame.map(|frame| (held.number, frame)));
                buffer.bytes += held.bytes() - bytes;
            }
            state.join_bytes += buffer.bytes - before;
        }
        let sinces = starts.iter().zip(parts).map(|(&(n, _), p)| (n, p.since.clone())).collect();
        self.attach(state, id, form, sinces, frames, missed);
        for (n, waiting) in waiting {
            let topic = state.channels[n].live.iter_mut().find(|topic| topic.form == form);
            if let Some(topic) = topic {
                self.keep(n, topic, &mut state.agenda, waiting);
            }
        }
        if let Some(error) = unsaid {
            let closing = Closing { conn: id, code: close::TRY_LATER, reason: error.to_string().into() };
            self.fifos[id.lane()].push(Item::Close(Box::new(closing)));
        }
        Ok(())
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
            match sub.state() {
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
                    sub.set(SubState::Reset);
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
        let mut topics = Vec::with_capacity(sinces.len());
        for (n, since) in sinces {
            let Some(conn) = state.slots[id.lane()].get(id) else { return };
            let Some(sub) = conn.subs.iter_mut().find(|s| s.channel == n) else { continue };
            sub.set(SubState::Live);
            conn.waiting -= 1;
            let channel = &mut state.channels[n];
            channel.stop_joining(&mut state.join_bytes);
            let at = channel.live.iter().position(|t| t.form == form).unwrap_or_else(|| {
                channel.live.push(Topic::new(form, self.pace(form)));
                channel.live.len() - 1
            });
            topics.push(channel.live[at].enter(id.lane(), &mut state.slots[id.lane()].topics));
            // A place that is the stream's own: it has seen nothing that is still to come.
            let stands = |at: &Position| {
                Arc::ptr_eq(&at.prev, &since.prev) && Arc::ptr_eq(&at.cur, &since.cur) && since.id <= at.id
            };
            if state.stream.as_ref().is_some_and(|(_, at)| stands(at)) {
                continue;
            }
            let live_count = channel.live_count();
            let settling = channel
                .settling
                .get_or_insert_with(|| Box::new(Settling { who: Vec::new(), newest: since.cur.clone() }));
            if since.cur.covers(&settling.newest) {
                settling.newest = since.cur.clone();
            }
            if settling.who.len() > 64 && settling.who.len() > 2 * live_count {
                let slots = &mut state.slots;
                settling.who.retain(|(id, _)| slots[id.lane()].get(*id).is_some());
            }
            push_tight(&mut settling.who, (id, since));
        }
        self.fifos[id.lane()].push(Item::Live(Box::new(GoingLive { conn: id, topics, frames })));
    }
}

/// The cursor of an event for somebody whose snapshot was taken in the middle of the event's drain. (P, C, id) would
/// not include what the snapshot S showed of C beyond id, and resuming would bring it again; (S, C, id) does.
/// `None`: the event's own cursor is right.
fn rebased(since: &Position, cursor: Option<&Cursor>) -> Option<Cursor> {
    let cursor = cursor?;
    let within =
        since.prev == since.cur && since.cur != cursor.position.prev && since.cur.covers(&cursor.position.prev);
    within.then(|| Cursor {
        incarnation: cursor.incarnation,
        position: Position { prev: since.cur.clone(), ..cursor.position.clone() },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Incarnation, Snapshot};

    fn place(prev: &str, cur: &str, id: i64) -> Position {
        let snapshot = |text: &str| Arc::new(text.parse::<Snapshot>().expect(text));
        Position { prev: snapshot(prev), cur: snapshot(cur), id }
    }

    /// The drain brings 504 (of transaction 14) and 536 (of 12). The snapshot showed 536 already, and 504 comes as an
    /// event: whoever resumes from its cursor must not get 536 again, and nothing else may be lost.
    #[test]
    fn a_cursor_within_a_drain_includes_what_the_snapshot_showed() {
        let event = Cursor { incarnation: Incarnation(1), position: place("11:13:11,12", "16:16:", 504) };
        let snapshot = place("14:15:14", "14:15:14", 0);
        let rebased = rebased(&snapshot, Some(&event)).expect("the snapshot is within the drain").position;
        for (xid, id, included) in
            [(12, 536, true), (14, 504, true), (14, 505, false), (15, 503, true), (15, 600, false)]
        {
            assert_eq!(rebased.includes(xid, id), included, "{xid} {id}");
        }
        assert!(!event.position.includes(12, 536), "what would have come twice");
    }

    #[test]
    fn other_cursors_stay_as_they_are() {
        let cursor = |position| Cursor { incarnation: Incarnation(1), position };
        let event = cursor(place("20:20:", "25:25:", 7));
        for since in [place("15:15:", "15:15:", 0), place("20:20:", "20:20:", 0), place("20:20:", "25:25:", 3)] {
            assert_eq!(rebased(&since, Some(&event)), None, "{since:?}");
        }
        assert_eq!(rebased(&place("30:30:", "30:30:", 0), None), None);
    }
}
