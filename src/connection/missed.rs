//! What a resuming client has missed, exactly.
//!
//! Given: the client's place `from` = (P, C, i), and a snapshot S that covers C and of which every event was
//! dispatched before now ("settled"). Missed and due from us are the events that S sees and `from` does not include;
//! what S does not see is in the hub's buffer, because the subscription was registered before S was taken.
//!
//! They are sent in two runs, each by id:
//!  1. those that C sees (the rest of the drain that the client was in the middle of): cursor (P, C, id);
//!  2. those that C does not see: cursor (C, S, id).
//!
//! Each cursor includes exactly what was sent up to it: in run 1 everything of P, and of C what is up to id; in run 2
//! all of C, and of S what is up to id. So a client that breaks off anywhere resumes exactly there. Events of one
//! row keep their commit order: their ids ascend with it, and no snapshot sees the later one without the earlier.

use std::sync::Arc;

use crate::domain::{ChannelName, Cursor, Message, Position, ReadError, ReplayError, Snapshot, Stamp};
use crate::protocol::Code;

use super::Shared;

pub(super) type Events = Vec<(Arc<Message>, Position)>;

/// Why there is no replay: the client starts over (`Reset`), or nothing can be said right now (`Failed`).
pub(super) enum NoReplay {
    Reset(Code),
    Failed(ReadError),
}

/// A settled snapshot that covers `from`, for a subscriber that was registered at `registered`. `None`: the client has
/// seen more than this database has (it was restored, or the cursor is not ours).
pub async fn settled(
    shared: &Shared,
    registered: &Position,
    from: &Position,
) -> Result<Option<Arc<Snapshot>>, ReadError> {
    // At the end of a drain P = C, and all that C sees was dispatched.
    if registered.prev == registered.cur && registered.cur.covers(&from.cur) {
        return Ok(Some(registered.cur.clone()));
    }
    // Else wait for one more drain: it sees all that anybody, on another instance too, has been shown until now. The
    // hub may already be in the middle of the drain after it, so only P is surely settled.
    shared.barrier().await?;
    let now = shared.stands().ok_or(ReadError::Unavailable)?;
    Ok((now.prev.covers(&from.cur) && now.prev.covers(&registered.cur)).then_some(now.prev))
}

/// From the hub's memory where it reaches back, else from the log.
pub(super) async fn missed(
    shared: &Shared,
    channel: &ChannelName,
    from: &Cursor,
    settled: &Arc<Snapshot>,
) -> Result<Events, NoReplay> {
    let found = match shared.hub.recent(channel, from) {
        Some(events) => events.into_iter().map(|(message, _)| message).collect(),
        None => from_log(shared, channel, from, settled).await?,
    };
    let events = in_order(found, &from.position, settled);
    if within_bounds(shared, events.len(), events.iter().map(|(message, _)| &**message)) {
        Ok(events)
    } else {
        Err(NoReplay::Reset(Code::TooManyEvents))
    }
}

/// May one connection be sent so much at once?
pub(super) fn within_bounds<'a>(shared: &Shared, count: usize, messages: impl Iterator<Item = &'a Message>) -> bool {
    let bytes: usize = messages.map(|message| message.data.len() + FRAME_BYTES).sum();
    count <= shared.config.replay_events_max && bytes <= shared.config.replay_bytes_max
}

/// What an event's frame has around its data, about: names, time, cursor.
const FRAME_BYTES: usize = 256;

async fn from_log(
    shared: &Shared,
    channel: &ChannelName,
    from: &Cursor,
    settled: &Arc<Snapshot>,
) -> Result<Vec<Arc<Message>>, NoReplay> {
    if *settled == from.position.cur && from.position.prev == from.position.cur {
        return Ok(Vec::new());
    }
    let upto = Position::at(settled.clone());
    match shared.replay(channel, from, &upto, shared.config.replay_events_max).await {
        Ok(Ok((events, false))) => Ok(events.into_iter().map(|(message, _)| Arc::new(message)).collect()),
        Ok(Ok((_, true)) | Err(ReplayError::TooMany(_))) => Err(NoReplay::Reset(Code::TooManyEvents)),
        Ok(Err(ReplayError::Reset)) => Err(NoReplay::Reset(Code::CursorExpired)),
        Ok(Err(ReplayError::Unavailable)) => Err(NoReplay::Failed(ReadError::Unavailable)),
        Err(timeout) => Err(NoReplay::Failed(timeout)),
    }
}

fn in_order(found: Vec<Arc<Message>>, from: &Position, settled: &Arc<Snapshot>) -> Events {
    let mut events: Vec<(bool, i64, Arc<Message>)> = found
        .into_iter()
        .filter_map(|message| match message.stamp {
            Stamp::Log { xid, id } if settled.sees(xid) && !from.includes(xid, id) => {
                Some((!from.cur.sees(xid), id, message))
            }
            _ => None,
        })
        .collect();
    // Stable: several messages of one log row keep the order of their routes.
    events.sort_by_key(|&(second_run, id, _)| (second_run, id));
    events
        .into_iter()
        .map(|(second_run, id, message)| {
            let (prev, cur) = if second_run { (&from.cur, settled) } else { (&from.prev, &from.cur) };
            (message, Position { prev: prev.clone(), cur: cur.clone(), id })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::{Target, Xid};

    fn event(xid: Xid, id: i64) -> Arc<Message> {
        Arc::new(Message {
            target: Target::One(ChannelName::new("a").expect("valid")),
            event: Arc::from("e"),
            data: Bytes::from_static(b"1"),
            at_us: 0,
            conflate: None,
            stamp: Stamp::Log { xid, id },
            replay: true,
            failure: None,
        })
    }

    fn snap(text: &str) -> Arc<Snapshot> {
        Arc::new(text.parse().expect(text))
    }

    /// Breaks off after every event and resumes from its cursor: what was sent and what is left are always all,
    /// each once, whatever the order of ids and xids.
    #[test]
    fn every_cursor_of_a_replay_resumes_exactly_after_it() {
        let log: Vec<(Xid, i64)> =
            vec![(9, 1), (12, 2), (25, 3), (14, 4), (21, 5), (13, 6), (26, 7), (14, 8), (22, 9), (40, 10)];
        let all = || log.iter().map(|&(x, i)| event(x, i)).collect::<Vec<_>>();
        let id = |m: &Message| match m.stamp {
            Stamp::Log { id, .. } => id,
            _ => unreachable!("only log events here"),
        };
        let settled = snap("30:30:");
        for (p, c, i) in [("10:10:", "10:10:", 0), ("10:15:13,14", "15:23:21", 4), ("12:24:12,13", "24:24:", 6)] {
            let from = Position { prev: snap(p), cur: snap(c), id: i };
            let mut want: Vec<i64> =
                log.iter().filter(|&&(x, i)| settled.sees(x) && !from.includes(x, i)).map(|&(_, i)| i).collect();
            let sent = in_order(all(), &from, &settled);
            for cut in 0..sent.len() {
                let rest = in_order(all(), &sent[cut].1, &settled);
                let mut got: Vec<i64> = sent[..=cut].iter().chain(&rest).map(|(m, _)| id(m)).collect();
                got.sort_unstable();
                want.sort_unstable();
                assert_eq!(got, want, "from {p} {c} {i}, cut after {cut}");
            }
        }
    }
}
