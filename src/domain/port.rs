//! How one stage speaks to the next without knowing it: `app` wires the implementations.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::channel::ChannelName;
use super::cursor::{Cursor, Incarnation, Position};
use super::message::{Batch, Message};
use super::pattern::Pattern;
use super::snapshot::Snapshot;

pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The hub, as the router sees it. One task (the dispatcher) calls `begin`, `dispatch` and `state`'s order
/// is the caller's: for one channel, states come in the order of their snapshots.
pub trait Outlet: Send + Sync {
    /// A new stream: every subscription is told `reset` and starts over.
    fn begin(&self, incarnation: Incarnation, start: Arc<Snapshot>);
    /// The channels of a family are no longer what they were: whoever listens to one is told `reset` and starts over.
    fn restart(&self, family: &Pattern);
    /// Gives the messages their place and hands them to the shards. Does not block.
    fn dispatch(&self, batch: Batch);
    /// A state or foreign message, outside any drain.
    fn publish(&self, message: Message);
    /// An error of one channel: those who listen, and those about to, are told; the stream goes on.
    fn channel_error(&self, channel: &ChannelName, error: &ReadError);
    /// Waits while the shards' queues are above their mark: what slows the dispatcher instead of growing.
    fn room(&self) -> Boxed<'_, ()>;
    /// A snapshot of which everything has been dispatched; `None` before the stream has begun.
    fn settled(&self) -> Option<Arc<Snapshot>>;
    /// Does anybody listen (or is about to)?
    fn has_audience(&self, channel: &ChannelName) -> bool;
    /// The channels of a family that somebody listens to.
    fn audience_of(&self, family: &Pattern) -> Vec<ChannelName>;
}

/// The listener, as the router and `connection` see it.
pub trait Drains: Send + Sync {
    /// Ends when a drain that began after this call has been dispatched; false if the listener is down.
    fn barrier(&self) -> Boxed<'_, bool>;
}

/// Who may go on listening, as the router sees it. Revocation comes before content: the dispatcher waits for `recheck`
/// before it hands over anything of a drain, and a reading waits for the drains that it has seen.
pub trait Guard: Send + Sync {
    /// The configuration has changed: the rules are read again, and where they differ, everybody is checked.
    fn reload(&self) -> Boxed<'_, ()>;
    /// Does a rule read this source?
    fn reads(&self, source: i32) -> bool;
    /// Changes of these sources are about to be shown. Ends when everybody whom they concern may still listen or is cut
    /// off; within a bound, at which those are cut off of whom it is not known.
    fn recheck<'a>(&'a self, sources: &'a [i32]) -> Boxed<'a, ()>;
    /// The same for all that any rule reads.
    fn recheck_all(&self) -> Boxed<'_, ()>;
    /// Can a change of data take this channel from somebody who listens to it?
    fn is_guarded(&self, channel: &ChannelName) -> bool;
    /// The user's connections end.
    fn disconnect(&self, user: &str, reason: &str);
}

/// What a channel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyInfo {
    /// The pattern that matched, or the channel's own name where none did.
    pub pattern: Arc<str>,
    /// A state channel sends the newest state and resumes with it; an event channel replays.
    pub state: bool,
    /// Has a query that gives its content. An event channel without one starts empty, a state channel with null.
    pub has_view: bool,
    /// Its messages are rows of the log: a query may show one that is still to be dispatched. Else they are readings
    /// themselves (a state channel with a view), and say as of when.
    pub from_log: bool,
}

/// A channel's content as of a snapshot.
#[derive(Clone, Debug)]
pub struct Reading {
    pub snapshot: Arc<Snapshot>,
    /// JSON text; `null` for a state channel whose row is gone.
    pub data: Bytes,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// Postgres refused the channel's query: `detail` is its message, fit for a client.
    #[error("the view of this channel failed: {detail}")]
    View { detail: Arc<str> },
    /// No such channel: its key is no value of its type, or is written otherwise, in the channel `written`.
    #[error("no channel has this name: {}", match written {
        Some(name) => format!("it is {name}"),
        None => format!("its key cannot be one of {pattern}"),
    })]
    Key { pattern: Arc<str>, written: Option<ChannelName> },
    #[error("the view of this channel took longer than {limit_ms} ms")]
    Timeout { limit_ms: u64 },
    #[error("the message of this channel has {bytes} bytes, more than the {limit} that are allowed")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the database cannot be reached right now")]
    Unavailable,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReplayError {
    /// The log does not reach back to the cursor, or the stream started anew: `reset` and a fresh snapshot.
    #[error("the log no longer reaches back to this cursor")]
    Reset,
    /// More than this many events: cheaper to start over.
    #[error("more than {0} events have passed since this cursor")]
    TooMany(usize),
    #[error("the database cannot be reached right now")]
    Unavailable,
}

/// Events with the positions that their cursors show, and whether there are more.
pub type Replayed = (Vec<(Message, Position)>, bool);

/// The router, as `connection` and `http` see it: what a channel is, shows and has shown.
pub trait Source: Send + Sync {
    fn family(&self, channel: &ChannelName) -> FamilyInfo;
    /// All families, in the order of their patterns.
    fn families(&self) -> Vec<FamilyInfo>;
    /// The channel's content by a query that starts after this call, shared with everybody who asks meanwhile.
    /// For an event channel without a view: an empty list as of now. Register with the hub first.
    fn snapshot<'a>(&'a self, channel: &'a ChannelName) -> Boxed<'a, Result<Reading, ReadError>>;
    /// The events of an event channel after `from` and up to `upto`, from the log, each with the position that
    /// its cursor shows; at most `limit`, and whether there are more.
    fn replay<'a>(
        &'a self,
        channel: &'a ChannelName,
        from: &'a Cursor,
        upto: &'a Position,
        limit: usize,
    ) -> Boxed<'a, Result<Replayed, ReplayError>>;
}

/// A dialect of the wire, as the hub sees it: payloads only, the hub adds the framing.
pub trait Dialect: Send + Sync {
    /// Appends the payload for `message` on `channel` to `out`; false: this dialect says nothing for it.
    /// `cursor` is the text to resume from, absent where there is none.
    fn event(&self, channel: &str, message: &Message, cursor: Option<&str>, out: &mut Vec<u8>) -> bool;
    /// `event`, or `channel_error` where there is no content.
    fn message(&self, channel: &str, message: &Message, cursor: Option<&str>, out: &mut Vec<u8>) -> bool {
        match &message.failure {
            None => self.event(channel, message, cursor, out),
            Some(error) => self.channel_error(channel, error, out),
        }
    }
    /// A sign of life with an advanced cursor; false: this dialect has none.
    fn heartbeat(&self, cursor: &str, at_us: i64, out: &mut Vec<u8>) -> bool;
    /// The states of a channel (what was read of a view) are wanted at most this often, the newest wins; 0: each.
    fn interval_ms(&self) -> u64 {
        0
    }
    /// The channel's query failed, or an event is too large; false: this dialect has no words for it, and its connections are
    /// closed instead.
    fn channel_error(&self, channel: &str, error: &ReadError, out: &mut Vec<u8>) -> bool;
}
