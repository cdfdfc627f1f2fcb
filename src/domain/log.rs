//! What the listener reads from the log and passes on.

use std::sync::Arc;

use bytes::Bytes;

use super::cursor::Incarnation;
use super::snapshot::{Snapshot, Xid};

/// `source` of rows that `rowcast.send()` wrote.
pub const SOURCE_SEND: i32 = 0;
/// `source` of rows that say "the router's configuration changed" (`watch`, `unwatch`, `define_channel`).
pub const SOURCE_CONFIG: i32 = -1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Insert,
    Update,
    Delete,
    Truncate,
    /// A message of `rowcast.send()`: `new` is its payload, `channel` and `event` are set.
    Send,
    /// The configuration changed: read it again before routing what follows.
    Config,
}

impl Op {
    /// The log's one-letter form: `i u d t s c`.
    pub fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter {
            b'i' => Self::Insert,
            b'u' => Self::Update,
            b'd' => Self::Delete,
            b't' => Self::Truncate,
            b's' => Self::Send,
            b'c' => Self::Config,
            _ => return None,
        })
    }

    /// The event name that a route without one of its own gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Send => "message",
            Self::Config => "config",
        }
    }
}

/// One row of `rowcast.event`. `new` and `old` are JSON objects as Postgres wrote them (numbers keep their text).
#[derive(Clone, Debug)]
pub struct LogRow {
    pub id: i64,
    pub xid: Xid,
    /// Microseconds since 1970, UTC: when the change was made (not when it was committed).
    pub at_us: i64,
    /// `rowcast.source.id` of the table, or `SOURCE_SEND`, `SOURCE_CONFIG`.
    pub source: i32,
    pub op: Op,
    pub new: Option<Bytes>,
    pub old: Option<Bytes>,
    /// Ids of the routes with a `when` whose condition held. A negative id: the condition could not be
    /// evaluated (somebody changed the table since), and counts as held.
    pub matched: Box<[i32]>,
    /// Only with `Op::Send`.
    pub channel: Option<Box<str>>,
    pub event: Option<Box<str>>,
}

impl LogRow {
    /// The number of the row's `part`-th message: the `id` of stamps and positions. One row may lead to several
    /// messages, and a client may be cut off between them, so a place in the stream counts messages, not rows.
    /// Ids below 2^53; the parts of a row beyond 1,023 share a number.
    pub fn message_number(&self, part: u16) -> i64 {
        (self.id << PART_BITS) | i64::from(part).min(LAST_PART)
    }

    /// At or beyond every message of this row, before those of the next.
    pub fn last_number(&self) -> i64 {
        (self.id << PART_BITS) | LAST_PART
    }
}

const PART_BITS: u32 = 10;
const LAST_PART: i64 = (1 << PART_BITS) - 1;

/// What travels from the listener to the router, in order.
#[derive(Debug)]
pub enum Feed {
    /// The stream begins at `start`: at first, and again whenever the incarnation changed. Everyone gets `reset`.
    Begin { incarnation: Incarnation, start: Arc<Snapshot> },
    /// Rows of one drain, in id order: those visible in `cur` and not in `prev`. A large drain comes in several
    /// pieces, only the final one with `last`. An empty drain comes too (with `last`), it advances the cursor.
    Rows { prev: Arc<Snapshot>, cur: Arc<Snapshot>, rows: Vec<LogRow>, last: bool },
    /// A payload of somebody else's NOTIFY: best effort, no cursor.
    Foreign { pg_channel: Box<str>, payload: String },
    /// Answered by the router once all that came before it was dispatched.
    Barrier(tokio::sync::oneshot::Sender<()>),
}
