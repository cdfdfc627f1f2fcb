//! What travels from the router to the hub.

use std::sync::Arc;

use bytes::Bytes;

use super::channel::ChannelName;
use super::cursor::Position;
use super::pattern::Pattern;
use super::port::ReadError;
use super::snapshot::{Snapshot, Xid};

/// Whom a message is for.
#[derive(Clone, Debug)]
pub enum Target {
    One(ChannelName),
    /// Every channel of a family (TRUNCATE): those with subscribers now.
    Family(Arc<Pattern>),
}

/// Where in the stream a message belongs; decides who has seen it already.
#[derive(Clone, Debug)]
pub enum Stamp {
    /// An event of the log: replayable, has a cursor. `id` is `LogRow::message_number`.
    Log { xid: Xid, id: i64 },
    /// A state, read at this snapshot: not replayed, dropped where a newer one was sent.
    Read(Arc<Snapshot>),
    /// A payload of somebody else's NOTIFY: no cursor, never replayed.
    Foreign,
}

/// One message of a channel, before any dialect encodes it.
#[derive(Clone, Debug)]
pub struct Message {
    pub target: Target,
    pub event: Arc<str>,
    /// JSON text, exactly as Postgres wrote it.
    pub data: Bytes,
    /// Microseconds since 1970, UTC.
    pub at_us: i64,
    /// Two messages of one channel with the same key: the newer may replace the older for a slow client.
    /// `None`: it must be delivered, or the client cut off with a cursor.
    pub conflate: Option<Arc<str>>,
    pub stamp: Stamp,
    /// Kept in memory for clients that resume: events of event channels.
    pub replay: bool,
    /// What subscribers are told in place of the content, where there is none to be had.
    pub failure: Option<Box<ReadError>>,
}

impl Message {
    /// As it may travel: what is larger than `limit` bytes keeps its place in the stream, and an error stands there.
    pub fn within(self, limit: usize) -> Self {
        let bytes = self.data.len();
        if bytes <= limit {
            return self;
        }
        let failure = Some(Box::new(ReadError::TooLarge { bytes, limit }));
        Self { data: Bytes::new(), conflate: None, failure, ..self }
    }
}

/// The messages of one piece of a drain, in order, and the place in the stream after them.
#[derive(Debug)]
pub struct Batch {
    /// The drain that the messages came in: `prev` and `cur` give each message's cursor (P, C, id).
    pub prev: Arc<Snapshot>,
    pub cur: Arc<Snapshot>,
    pub messages: Vec<Message>,
    /// The place after this batch: `(P, C, last id)` within a drain, `Position::at(C)` at its end.
    pub after: Position,
}
