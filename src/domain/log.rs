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
    /// The log's one-letter form: `i u v d t s c`, and `I U D` for batches (`unpack`). An older rowcast knows no `v` and no
    /// batches; what it does not know it reports, so that nobody takes one thing for another.
    pub fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter {
            b'i' | b'I' => Self::Insert,
            b'u' | b'v' | b'U' => Self::Update,
            b'd' | b'D' => Self::Delete,
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

/// One change of a row, or one message: a row of `rowcast.event`, or a part of one that holds a batch. `new` and `old` are JSON
/// objects with values as Postgres wrote them (numbers keep their text).
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
    /// Of an update only where it may have belonged to other channels than `new`.
    pub old: Option<Bytes>,
    /// Ids of the routes with a `when` whose condition held. A negative id: the condition could not be
    /// evaluated (somebody changed the table since), and counts as held.
    pub matched: Box<[i32]>,
    /// Only with `Op::Send`.
    pub channel: Option<Box<str>>,
    pub event: Option<Box<str>>,
    pub share: Share,
}

/// Which of the message numbers of its row in the log are a change's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    first: u16,
    last: u16,
}

impl Share {
    /// Of a row that is no batch.
    pub const WHOLE: Self = Self { first: 0, last: PARTS - 1 };

    /// Of the `n`-th of `of` changes of a batch: `n < of <= PARTS`.
    pub(super) fn of_batch(n: usize, of: usize) -> Self {
        let each = usize::from(PARTS) / of;
        Self { first: (n * each) as u16, last: ((n + 1) * each - 1) as u16 }
    }
}

impl LogRow {
    /// The number of the row's `part`-th message: the `id` of stamps and positions. One row may lead to several
    /// messages, and a client may be cut off between them, so a place in the stream counts messages, not rows.
    /// Ids below 2^53; a row has 1,024 numbers, a change of a batch its share of them, and further parts share the last.
    /// Capture makes batches no larger than leaves each change two numbers for each of its routes.
    pub fn message_number(&self, part: u16) -> i64 {
        (self.id << PART_BITS) | i64::from(self.share.first.saturating_add(part).min(self.share.last))
    }

    /// At or beyond every message of this change, before those of the next.
    pub fn last_number(&self) -> i64 {
        (self.id << PART_BITS) | i64::from(self.share.last)
    }
}

const PART_BITS: u32 = 10;
pub(super) const PARTS: u16 = 1 << PART_BITS;

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
