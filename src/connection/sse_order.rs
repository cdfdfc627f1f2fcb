//! Holds back the events of an event stream while its channels are joining; `sse` says why.
//!
//! ```text
//!            LIVE mark: held events in stream order
//!  joining ─────────────────────────────────────────▶ live (passes on, untouched)
//!     ▲                 JOINING mark                    │
//!     └──────────────────────────────────────────────────┘
//! ```
//!
//! The marks travel in the stream itself, as comments, so that they have their place in the order of frames.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use crate::domain::{Cursor, Position};

/// From here on, hold back.
pub(super) const JOINING: &[u8] = b": joining\n\n";
const LIVE: &[u8] = b": live\n";

/// Send what was held; `mark` includes every snapshot sent so far, or is where the reader resumes.
pub(super) fn live(mark: &Cursor) -> Vec<u8> {
    format!(": live\nid: {mark}\n\n").into_bytes()
}

pub(super) struct InOrder<S> {
    inner: Pin<Box<S>>,
    /// Set before a JOINING mark is queued, so that a live stream need not look for one.
    restarted: Arc<AtomicBool>,
    state: State,
    held_bytes_max: usize,
}

struct State {
    joining: bool,
    partial: BytesMut,
    held: Vec<Held>,
    held_bytes: usize,
}

struct Held {
    position: Position,
    block: Bytes,
    /// Length of the `id:` line at its beginning.
    id_line: usize,
}

impl<S: Stream<Item = Bytes>> InOrder<S> {
    pub fn new(inner: S, restarted: Arc<AtomicBool>, held_bytes_max: usize) -> Self {
        let state = State { joining: true, partial: BytesMut::new(), held: Vec::new(), held_bytes: 0 };
        Self { inner: Box::pin(inner), restarted, state, held_bytes_max }
    }
}

impl<S: Stream<Item = Bytes>> Stream for InOrder<S> {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let Some(chunk) = ready!(self.inner.as_mut().poll_next(cx)) else { return Poll::Ready(None) };
            let this = &mut *self;
            if !this.state.joining && !this.restarted.load(Ordering::Acquire) {
                return Poll::Ready(Some(chunk));
            }
            let out = this.state.take(&chunk, &this.restarted);
            if this.state.held_bytes > this.held_bytes_max {
                // More was missed than can be put in order: the reader comes again with the cursor it had.
                return Poll::Ready(None);
            }
            if !out.is_empty() {
                return Poll::Ready(Some(out));
            }
        }
    }
}

impl State {
    fn take(&mut self, chunk: &[u8], restarted: &AtomicBool) -> Bytes {
        self.partial.extend_from_slice(chunk);
        let mut out = BytesMut::new();
        while let Some(end) = self.partial.windows(2).position(|w| w == b"\n\n") {
            let block = self.partial.split_to(end + 2).freeze();
            if block == JOINING {
                // Events held from before belong to a stream that is gone.
                *self = State {
                    joining: true,
                    partial: std::mem::take(&mut self.partial),
                    held: Vec::new(),
                    held_bytes: 0,
                };
                restarted.store(false, Ordering::Release);
            } else if !self.joining {
                out.extend_from_slice(&block);
            } else if let Some(rest) = block.strip_prefix(LIVE) {
                self.release(rest, &mut out);
            } else {
                self.hold(block, &mut out);
            }
        }
        if !self.joining && !restarted.load(Ordering::Acquire) {
            // Nobody will look at the rest of a block that is cut.
            out.unsplit(std::mem::take(&mut self.partial));
        }
        out.freeze()
    }

    fn hold(&mut self, block: Bytes, out: &mut BytesMut) {
        let Some((id_line, cursor)) = id_of(&block) else {
            out.extend_from_slice(&block);
            return;
        };
        if block.len() == id_line + 1 {
            // A heartbeat: its cursor is past what is held.
            return;
        }
        self.held_bytes += block.len();
        self.held.push(Held { position: cursor.position, block, id_line });
    }

    fn release(&mut self, mark: &[u8], out: &mut BytesMut) {
        self.joining = false;
        self.held_bytes = 0;
        let mut held = std::mem::take(&mut self.held);
        // Stable, and positions of one stream are ordered: drains nest, within one the id counts.
        held.sort_by(|a, b| order(&a.position, &b.position));
        let after = match id_of(mark) {
            Some((_, cursor)) => held.partition_point(|h| within(&h.position, &cursor.position)),
            None => 0,
        };
        for h in &held[..after] {
            out.extend_from_slice(&h.block[h.id_line..]);
        }
        out.extend_from_slice(mark);
        for h in &held[after..] {
            out.extend_from_slice(&h.block);
        }
    }
}

/// The cursor of a block that begins with one, and the length of its line.
fn id_of(block: &[u8]) -> Option<(usize, Cursor)> {
    let text = block.strip_prefix(b"id: ")?;
    let end = text.iter().position(|&b| b == b'\n')?;
    let cursor = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((b"id: ".len() + end + 1, cursor))
}

fn order(a: &Position, b: &Position) -> std::cmp::Ordering {
    if a.cur == b.cur {
        a.id.cmp(&b.id)
    } else if b.cur.covers(&a.cur) {
        std::cmp::Ordering::Less
    } else {
        std::cmp::Ordering::Greater
    }
}

/// Does `mark` include the event whose cursor is `p`?
fn within(p: &Position, mark: &Position) -> bool {
    mark.prev.covers(&p.cur) || (p.cur == mark.cur && p.id <= mark.id)
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;
    use crate::domain::Incarnation;
    use crate::protocol::sse;

    fn cursor(prev: &str, cur: &str, id: i64) -> Cursor {
        let snap = |s: &str| Arc::new(s.parse().expect(s));
        Cursor { incarnation: Incarnation(1), position: Position { prev: snap(prev), cur: snap(cur), id } }
    }

    fn block(id: Option<&Cursor>, text: &str) -> Bytes {
        let mut out = Vec::new();
        sse::block(&mut out, id.map(|c| c.to_string()).as_deref(), text.as_bytes());
        out.into()
    }

    fn id_only(c: &Cursor) -> Bytes {
        let mut out = Vec::new();
        sse::id_only(&mut out, &c.to_string());
        out.into()
    }

    async fn through(chunks: Vec<Bytes>, restarted: bool) -> String {
        let flag = Arc::new(AtomicBool::new(restarted));
        let out: Vec<Bytes> = InOrder::new(stream::iter(chunks), flag, 10_000).collect().await;
        String::from_utf8(out.concat()).expect("UTF-8")
    }

    #[tokio::test]
    async fn events_are_held_until_the_mark_and_come_in_stream_order() {
        let (a5, b6, a7) =
            (cursor("10:10:", "20:20:", 5), cursor("10:10:", "20:20:", 6), cursor("20:20:", "30:30:", 7));
        let mark = cursor("10:10:", "20:20:", 5);
        let chunks = vec![
            JOINING.to_vec().into(),
            block(None, "snapshot A"),
            block(Some(&a5), "A 5"),
            block(Some(&a7), "A 7"),
            id_only(&a7),
            block(None, "snapshot B"),
            block(Some(&b6), "B 6"),
            live(&mark).into(),
            block(Some(&a7), "later"),
        ];
        let want = [
            "data: snapshot A\n\n".into(),
            "data: snapshot B\n\n".into(),
            "data: A 5\n\n".into(),
            format!("id: {mark}\n\n"),
            format!("id: {b6}\ndata: B 6\n\n"),
            format!("id: {a7}\ndata: A 7\n\n"),
            format!("id: {a7}\ndata: later\n\n"),
        ];
        assert_eq!(through(chunks.clone(), false).await, want.concat());
        // However the bytes are cut.
        let all = chunks.concat();
        for size in [1, 3, 7, 50] {
            let cut = all.chunks(size).map(Bytes::copy_from_slice).collect();
            assert_eq!(through(cut, false).await, want.concat(), "chunks of {size}");
        }
    }

    #[tokio::test]
    async fn a_restart_drops_what_was_held_and_holds_again() {
        let (old, new) = (cursor("10:10:", "20:20:", 5), cursor("20:20:", "30:30:", 7));
        let chunks = vec![
            block(Some(&old), "dropped"),
            JOINING.to_vec().into(),
            block(Some(&new), "kept"),
            block(None, "snapshot"),
            live(&old).into(),
        ];
        let want = format!("data: snapshot\n\nid: {old}\n\nid: {new}\ndata: kept\n\n");
        assert_eq!(through(chunks, true).await, want);
    }

    #[tokio::test]
    async fn too_much_held_ends_the_stream() {
        let c = cursor("10:10:", "20:20:", 5);
        let chunks = vec![block(Some(&c), &"x".repeat(20_000)), live(&c).into()];
        assert_eq!(through(chunks, false).await, "");
    }
}
