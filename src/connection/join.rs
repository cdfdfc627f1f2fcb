//! Subscribed means live: how a subscription begins without a gap and without an echo.
//!
//! 1. **Register** with the hub. From the returned position on, everything on the channel is kept in a buffer for this
//!    subscription, so nothing that is dispatched while we read is lost.
//! 2. **Read.** Either the channel's content by a query that starts after the registration (what was dispatched
//!    before it was committed before it, so the query sees it), or the events missed since the client's cursor.
//! 3. **Go live**: the hub sends our frames, then of the buffer what they do not show yet, then the stream, in one
//!    step with respect to dispatch.
//!
//! The echo to avoid: the query may see a commit that the listener has not drained yet. The hub drops its event also
//! when it comes after step 3, but a heartbeat's cursor could meanwhile lead back before the reading, and resuming
//! from there would bring it. So where messages are rows of the log we wait, after the reading, until a drain that began
//! after it was dispatched: from then on every cursor of the stream is past the reading. A state channel with a view
//! needs no wait: it does not replay, its messages carry the snapshot they were read at, and the hub drops older ones.
//!
//! Dropping the future at any point is safe: the caller takes the subscription back with `hub.leave`.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::{ChannelName, Cursor, FamilyInfo, Incarnation, Position, ReadError, Snapshot};
use crate::hub::{ConnId, JoinError};
use crate::protocol::Code;

use super::Shared;
use super::missed::{Events, NoReplay, missed, settled};
use super::stats::count;

/// A subscription that is ready to go live, in no dialect yet.
pub(super) struct Joined {
    pub family: FamilyInfo,
    /// Where the subscription stands before anything is sent on it.
    pub cursor: Cursor,
    pub start: Start,
    /// What the buffer is filtered by.
    pub since: Position,
}

pub(super) enum Start {
    /// The client continues: these it has missed.
    Resumed(Events),
    /// The client starts with this content; `reset` if it had hoped to continue.
    Fresh { reset: Option<Code>, data: Bytes },
}

#[derive(Debug)]
pub(super) enum Failure {
    Gone,
    Read(ReadError),
    Code(Code),
}

impl Failure {
    pub fn code(&self) -> Code {
        match self {
            Failure::Gone => Code::NotReady,
            Failure::Read(error) => error.into(),
            Failure::Code(code) => *code,
        }
    }

    pub fn message(&self) -> String {
        match self {
            Failure::Read(error) => error.to_string(),
            _ => self.code().message().to_owned(),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Failure::Read(error)
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::AlreadyJoined => Failure::Code(Code::AlreadySubscribed),
            JoinError::NotReady => Failure::Code(Code::NotReady),
            JoinError::Overflow => Failure::Code(Code::Overloaded),
            JoinError::Gone => Failure::Gone,
        }
    }
}

/// Where a client wants to begin.
#[derive(Clone, Copy, Default)]
pub(super) struct Wish<'a> {
    pub cursor: Option<&'a Cursor>,
    /// It is made to start over, for this reason.
    pub reset: Option<Code>,
}

/// The whole way for one channel. On failure the subscription is taken back.
pub(super) async fn join(
    shared: &Shared,
    conn: ConnId,
    channel: &ChannelName,
    wish: Wish<'_>,
    wanted: impl Fn() -> bool,
    encode: impl Fn(&Joined) -> Vec<Bytes>,
) -> Result<(), Failure> {
    let mut tries = shared.config.join_tries_max.max(1);
    loop {
        let registered = register(shared, conn, channel)?;
        // Who ends a subscription from outside first notes it, then has the hub leave. So either that leaving comes after
        // our registration, or the note is seen here.
        if !wanted() {
            shared.hub.leave(conn, channel);
            return Err(Failure::Gone);
        }
        let result = match prepare(shared, channel, &registered, wish).await {
            Ok(joined) => match shared.hub.go_live(conn, channel, &joined.since, &encode(&joined)) {
                Ok(()) => {
                    counted(shared, &joined);
                    return Ok(());
                }
                Err(error) => Err(error.into()),
            },
            Err(failure) => Err(failure),
        };
        shared.hub.leave(conn, channel);
        tries -= 1;
        match result {
            // The buffer was given up while we read. Nothing was sent yet, so the whole can be repeated.
            Err(Failure::Code(Code::Overloaded)) if tries > 0 => count(&shared.stats.joins_repeated),
            other => return other,
        }
    }
}

/// Step 1, with what must be known afterwards.
pub(super) struct Registered {
    pub family: FamilyInfo,
    pub incarnation: Incarnation,
    pub position: Position,
}

pub(super) fn register(shared: &Shared, conn: ConnId, channel: &ChannelName) -> Result<Registered, Failure> {
    let position = shared.hub.join(conn, channel)?;
    // Should a new stream begin between these lines, the hub has us start over anyway.
    let (incarnation, _) = shared.hub.position().ok_or(Failure::Code(Code::NotReady))?;
    Ok(Registered { family: shared.source.family(channel), incarnation, position })
}

async fn prepare(
    shared: &Shared,
    channel: &ChannelName,
    registered: &Registered,
    wish: Wish<'_>,
) -> Result<Joined, Failure> {
    let Some(from) = wish.cursor else { return starting(shared, channel, registered, wish.reset).await };
    let reset = match foreign(registered, from) {
        Some(code) => Some(code),
        // A state channel continues with its present state: there is nothing to replay and nothing was lost.
        None if registered.family.state => None,
        None => match settled(shared, &registered.position, &from.position).await? {
            None => Some(Code::StreamRestarted),
            Some(upto) => match resumed(shared, channel, registered, from, &upto).await {
                Ok(joined) => return Ok(joined),
                Err(NoReplay::Reset(code)) => Some(code),
                Err(NoReplay::Failed(error)) => return Err(error.into()),
            },
        },
    };
    starting(shared, channel, registered, reset).await
}

async fn starting(
    shared: &Shared,
    channel: &ChannelName,
    registered: &Registered,
    reset: Option<Code>,
) -> Result<Joined, Failure> {
    let joined = fresh(shared, channel, registered, reset).await?;
    if joined.family.has_view && joined.family.from_log {
        shared.barrier().await?;
    }
    Ok(joined)
}

/// A cursor of another life of the stream means nothing in this one.
pub(super) fn foreign(registered: &Registered, from: &Cursor) -> Option<Code> {
    (from.incarnation != registered.incarnation).then_some(Code::StreamRestarted)
}

/// Step 2, from the channel's content; without the wait for the stream to reach it.
pub(super) async fn fresh(
    shared: &Shared,
    channel: &ChannelName,
    registered: &Registered,
    reset: Option<Code>,
) -> Result<Joined, Failure> {
    let family = registered.family.clone();
    let (since, data) = if family.has_view {
        let reading = shared.read(channel).await?;
        (Position::at(reading.snapshot), reading.data)
    } else {
        let nothing: &[u8] = if family.state { b"null" } else { b"[]" };
        (registered.position.clone(), Bytes::from_static(nothing))
    };
    let cursor = Cursor { incarnation: registered.incarnation, position: since.clone() };
    Ok(Joined { family, cursor, start: Start::Fresh { reset, data }, since })
}

/// Step 2, from the client's cursor; `upto` is settled and covers it.
pub(super) async fn resumed(
    shared: &Shared,
    channel: &ChannelName,
    registered: &Registered,
    from: &Cursor,
    upto: &Arc<Snapshot>,
) -> Result<Joined, NoReplay> {
    let events = missed(shared, channel, from, upto).await?;
    Ok(Joined {
        family: registered.family.clone(),
        cursor: from.clone(),
        start: Start::Resumed(events),
        since: Position::at(upto.clone()),
    })
}

pub(super) fn counted(shared: &Shared, joined: &Joined) {
    let stats = &shared.stats;
    match &joined.start {
        Start::Resumed(events) => {
            count(&stats.joins_resumed);
            stats.replayed_events.fetch_add(events.len() as u64, std::sync::atomic::Ordering::Relaxed);
        }
        Start::Fresh { reset, .. } => {
            count(&stats.joins_fresh);
            if reset.is_some() {
                count(&stats.resets);
            }
        }
    }
}
