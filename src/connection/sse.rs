//! A client that reads an event stream: all its channels are in the address, and one cursor, `Last-Event-ID`, counts
//! for all of them.
//!
//! That one cursor is what needs care. An `id:` says "everything up to here, on every channel of this stream, has
//! arrived". While channels are still joining, that is true for none: the event of one channel would carry the reader
//! past the snapshot of another that it never got. So:
//!
//! 1. All channels are registered, then all are read (resuming: up to one common snapshot S), then all go live.
//! 2. Meanwhile `sse_order` holds back every event that has a cursor.
//! 3. A mark with a cursor L ends it. Starting fresh, L is taken when all are read, so that it includes every snapshot;
//!    resuming, L is the cursor the reader came with. Held events are sent in stream order: those that L includes
//!    without their `id:`, then `id: L`, then the others, each with its own. From there on ids flow.
//!
//! Should the reader lose the connection anywhere on this way, its last id is either still the one it came with, and
//! none of the events after it has been sent; or it is one in stream order, before which all was sent and after which
//! nothing. So nothing is lost and nothing doubled. (Snapshots are sent at once: a fresh one replaces the other.)
//!
//! For the same reason the stream is all or nothing: where one channel cannot be joined, an `error` says which and why,
//! and the stream ends, to be tried again by the reader; where one channel cannot be resumed, all start fresh.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::domain::{ChannelName, Cursor};
use crate::hub::{Client, Closed, ConnId, Intake};
use crate::protocol::{Code, NATIVE_SSE, native as frames, sse};

use super::Shared;
use super::inbox::{self, Inbox, Worker};
use super::join::{Failure, Joined, Registered, Start, counted, foreign, fresh, register, resumed};
use super::missed::{NoReplay, settled};
use super::sse_order::{self, InOrder};
use super::stats::count;

/// Opens the stream; it is the body of the response, and dropping it ends the connection. The channels are those that
/// the caller has found admissible, each once.
pub fn open(
    shared: &Arc<Shared>,
    channels: Vec<ChannelName>,
    cursor: Option<Cursor>,
) -> impl Stream<Item = Bytes> + Send + use<> {
    let restarted = Arc::new(AtomicBool::new(false));
    let client =
        Arc::new(Reader { shared: shared.clone(), channels, inbox: Inbox::new(), restarted: restarted.clone() });
    count(&shared.stats.event_streams);
    let (conn, stream) = shared.hub.adopt_stream(NATIVE_SSE, client.clone());
    let number = shared.next_number();
    let mut hello = Vec::new();
    sse::retry(&mut hello, retry_ms(shared.config.sse_retry_ms, number));
    block(&mut hello, |out| frames::welcome(out, &format!("c{number}"), shared.facts.heartbeat_ms, &shared.limits()));
    shared.hub.send(conn, &hello);
    inbox::push(&client, cursor.map(Box::new));
    inbox::attach(&client, conn);
    InOrder::new(stream, restarted, shared.config.replay_bytes_max.saturating_mul(4))
}

struct Reader {
    shared: Arc<Shared>,
    channels: Vec<ChannelName>,
    /// Its only work is to begin.
    inbox: Inbox<Option<Box<Cursor>>>,
    /// A new stream began; a mark will come.
    restarted: Arc<AtomicBool>,
}

impl Client for Reader {
    // A reader sends nothing.
    fn text(self: Arc<Self>, _payload: &str) -> Intake {
        Intake::More
    }

    fn binary(self: Arc<Self>) -> Intake {
        Intake::More
    }

    fn reset(self: Arc<Self>) {
        self.restarted.store(true, Ordering::Release);
        inbox::start_over(&self);
    }

    fn closed(self: Arc<Self>, _why: Closed) {
        inbox::close(&*self);
    }
}

impl Worker for Reader {
    type Work = Option<Box<Cursor>>;

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn inbox(&self) -> &Inbox<Self::Work> {
        &self.inbox
    }

    async fn work(&self, conn: ConnId, cursor: Self::Work) {
        self.join(conn, cursor.as_deref(), None).await;
    }

    async fn start_over(&self, conn: ConnId) {
        let _permit = self.shared.resets.acquire().await.expect("never closed");
        self.join(conn, None, Some(Code::StreamRestarted)).await;
    }
}

/// Which channel stood in the way.
struct Stop<'a>(&'a ChannelName, Failure);

impl Reader {
    async fn join(&self, conn: ConnId, cursor: Option<&Cursor>, reset: Option<Code>) {
        let mut tries = self.shared.config.join_tries_max.max(1);
        loop {
            for channel in &self.channels {
                self.shared.hub.leave(conn, channel);
            }
            self.shared.hub.send(conn, sse_order::JOINING);
            let Err(Stop(channel, failure)) = self.join_all(conn, cursor, reset).await else { return };
            tries -= 1;
            if tries > 0 && matches!(failure, Failure::Code(Code::Overloaded)) {
                count(&self.shared.stats.joins_repeated);
                continue;
            }
            count(&self.shared.stats.joins_failed);
            let (code, message) = (failure.code(), failure.message());
            let mut out = Vec::new();
            block(&mut out, |out| frames::error(out, code, &message, Some(channel.as_str()), None));
            self.shared.hub.send(conn, &out);
            self.shared.hub.close(conn, TRY_AGAIN, code.as_str());
            return;
        }
    }

    async fn join_all(&self, conn: ConnId, cursor: Option<&Cursor>, reset: Option<Code>) -> Result<(), Stop<'_>> {
        let registered: Vec<(&ChannelName, Registered)> = self
            .channels
            .iter()
            .map(|c| register(&self.shared, conn, c).map(|r| (c, r)).map_err(|f| Stop(c, f)))
            .collect::<Result<_, _>>()?;
        let Some((last, newest)) = registered.last() else { return Ok(()) };

        let mut why = reset;
        let mut joined = None;
        if let Some(from) = cursor {
            why = foreign(newest, from);
            if why.is_none() {
                match self.resume_all(&registered, from).await {
                    Ok(all) => joined = Some((all, from.clone())),
                    Err(Stopped::Here(stop)) => return Err(stop),
                    Err(Stopped::Reset(code)) => why = Some(code),
                }
            }
        }
        let (all, mark) = match joined {
            Some(resumed) => resumed,
            None => {
                let all = self.fresh_all(&registered, why).await?;
                // Only now: it must include all that the snapshots show.
                let (incarnation, position) =
                    self.shared.hub.position().ok_or(Stop(last, Failure::Code(Code::NotReady)))?;
                (all, Cursor { incarnation, position })
            }
        };

        for (channel, joined) in &all {
            self.shared
                .hub
                .go_live(conn, channel, &joined.since, &lead(channel, joined))
                .map_err(|e| Stop(channel, e.into()))?;
            counted(&self.shared, joined);
        }
        self.shared.hub.send(conn, &sse_order::live(&mark));
        Ok(())
    }

    async fn fresh_all<'a>(
        &self,
        registered: &[(&'a ChannelName, Registered)],
        reset: Option<Code>,
    ) -> Result<Vec<(&'a ChannelName, Joined)>, Stop<'a>> {
        let mut each = Vec::with_capacity(registered.len());
        for (channel, registered) in registered {
            each.push(async move {
                let joined = fresh(&self.shared, channel, registered, reset).await;
                joined.map(|j| (*channel, j)).map_err(|f| Stop(channel, f))
            });
        }
        stream::iter(each).buffered(self.shared.config.joins_at_once_max.max(1)).try_collect().await
    }

    async fn resume_all<'a>(
        &self,
        registered: &[(&'a ChannelName, Registered)],
        from: &Cursor,
    ) -> Result<Vec<(&'a ChannelName, Joined)>, Stopped<'a>> {
        // The channel registered last has the newest position: what is settled for it is settled for all.
        let Some((last, newest)) = registered.last() else { return Ok(Vec::new()) };
        let upto = settled(&self.shared, &newest.position, &from.position)
            .await
            .map_err(|e| Stopped::Here(Stop(last, e.into())))?
            .ok_or(Stopped::Reset(Code::StreamRestarted))?;
        let upto = &upto;
        let mut each = Vec::with_capacity(registered.len());
        for (channel, registered) in registered {
            each.push(async move {
                let joined = if registered.family.state {
                    fresh(&self.shared, channel, registered, None).await.map_err(|f| Stopped::Here(Stop(channel, f)))
                } else {
                    resumed(&self.shared, channel, registered, from, upto).await.map_err(|none| match none {
                        NoReplay::Reset(code) => Stopped::Reset(code),
                        NoReplay::Failed(error) => Stopped::Here(Stop(channel, error.into())),
                    })
                };
                joined.map(|j| (*channel, j))
            });
        }
        stream::iter(each).buffered(self.shared.config.joins_at_once_max.max(1)).try_collect().await
    }
}

enum Stopped<'a> {
    Here(Stop<'a>),
    Reset(Code),
}

const TRY_AGAIN: u16 = 1013;

/// The frames before the stream, as blocks: only replayed events have an `id:`.
fn lead(channel: &ChannelName, joined: &Joined) -> Vec<Bytes> {
    let name = channel.as_str();
    let cursor = joined.cursor.to_string();
    let mut head = Vec::new();
    let mut lead = Vec::new();
    match &joined.start {
        Start::Fresh { reset, data } => {
            if let Some(code) = reset {
                block(&mut head, |out| frames::reset(out, name, *code));
            }
            block(&mut head, |out| frames::subscribed(out, name, joined.family.state, false, &cursor, None));
            block(&mut head, |out| frames::snapshot(out, name, data, &cursor));
            lead.push(head.into());
        }
        Start::Resumed(events) => {
            block(&mut head, |out| frames::subscribed(out, name, joined.family.state, true, &cursor, None));
            lead.push(head.into());
            for (message, position) in events {
                let at = Cursor { incarnation: joined.cursor.incarnation, position: position.clone() }.to_string();
                let (mut json, mut out) = (Vec::new(), Vec::new());
                frames::event(&mut json, name, message, Some(&at));
                sse::block(&mut out, Some(&at), &json);
                lead.push(out.into());
            }
        }
    }
    lead
}

fn block(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut json = Vec::new();
    write(&mut json);
    sse::block(out, None, &json);
}

/// Between once and twice the configured time, so that the readers of a server that restarts do not come all at once.
fn retry_ms(base_ms: u64, number: u64) -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(number);
    base_ms + hasher.finish() % base_ms.max(1)
}
