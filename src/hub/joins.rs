//! What happens on a channel while somebody reads its snapshot: one buffer per channel, whoever many read.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::lane::Form;
use crate::domain::{Cursor, Message, Position, Stamp};

/// A message kept for later, with its frames as far as somebody needed them.
pub struct Held {
    /// Its place in the order of dispatch, over all channels.
    pub number: u64,
    pub message: Arc<Message>,
    /// `None`: it has no cursor.
    pub cursor: Option<Cursor>,
    pub frames: Vec<(Form, Option<Bytes>)>,
}

impl Held {
    pub fn bytes(&self) -> usize {
        self.message.data.len() + self.frames.iter().map(|(_, f)| f.as_ref().map_or(0, Bytes::len)).sum::<usize>()
    }
}

/// The messages of a channel since its oldest join, or since the buffer last overflowed.
#[derive(Default)]
pub struct Buffer {
    pub items: VecDeque<Held>,
    pub bytes: usize,
    /// Whoever joined at or before this number has lost something.
    pub lost: Option<u64>,
}

impl Buffer {
    pub fn push(&mut self, held: Held, items_max: usize, bytes_max: usize) {
        self.bytes += held.bytes();
        self.items.push_back(held);
        while self.items.len() > items_max || self.bytes > bytes_max {
            let Some(oldest) = self.items.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.lost = Some(oldest.number);
        }
    }

    pub fn has_all_since(&self, start: u64) -> bool {
        self.lost.is_none_or(|lost| lost < start)
    }
}

/// Has a reader at `since` seen what is stamped so?
pub fn included(since: &Position, stamp: &Stamp) -> bool {
    match stamp {
        Stamp::Log { xid, id } => since.includes(*xid, *id),
        Stamp::Read(at) => since.cur.covers(at),
        Stamp::Foreign => false,
    }
}

/// Does the memory of recent events keep it?
pub fn is_remembered(message: &Message) -> bool {
    message.replay && matches!(message.stamp, Stamp::Log { .. })
}
