//! A client that reads an event stream: all its channels are in the address, and one cursor, `Last-Event-ID`, counts
//! for all of them.
//!
//! That one cursor is what needs care. An `id:` says "everything up to here, on every channel of this stream, has
//! arrived". While channels are still joining that is true for none: the event of one channel would carry the reader
//! past the snapshot of another that it never got. So all channels begin together:
//!
//! 1. All are registered with the hub, which keeps what happens on them from then on.
//! 2. All are read. Resuming: the events missed since the cursor, up to one place U for all. Fresh: their snapshots; a
//!    view that was read before U is followed by the events between, so that each stands at U, too. States come last.
//! 3. `go_live_all`, in one step: the frames of 2, a block `id: U`, then what the hub has kept and U does not include, of
//!    all channels in the order of dispatch, then the stream.
//!
//! In step 3 fresh frames have no `id:`; the events of a resume have theirs, over all channels in the order in which
//! `missed` arranges them. Should the reader lose the connection anywhere on this way, its last id is either still the
//! one it came with (or none), and no event after it was sent; or it is one before which all was sent and after which
//! nothing. So nothing is lost and nothing doubled. (A snapshot that comes again replaces the one before.)
//!
//! For the same reason the stream is all or nothing: where one channel cannot be joined, an `error` says which and why,
//! and the stream ends, to be tried again by the reader; where one channel cannot be resumed, all start fresh.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::domain::{Caller, ChannelName, Cursor, Identity, Incarnation, Message, Position};
use crate::hub::{Client, Closed, ConnId, Intake, Part, close};
use crate::protocol::{Code, NATIVE_SSE, native as frames, sse};

use super::inbox::{self, Inbox, Worker};
use super::join::{Failure, Joined, Registered, Start, Wish, counted, foreign, fresh, register, resumed};
use super::missed::{NoReplay, missed, settled, within_bounds};
use super::roster::Member;
use super::seat::Seat;
use super::stats::count;
use super::{Shared, Visit};

/// Opens the stream; it is the body of the response, and dropping it ends the connection. The channels are those that
/// the caller has found admissible, each once.
pub fn open(
    shared: &Arc<Shared>,
    channels: Vec<ChannelName>,
    cursor: Option<Cursor>,
    visit: &Visit,
) -> impl Stream<Item = Bytes> + Send + use<> {
    let client = Arc::new(Reader {
        shared: shared.clone(),
        seat: Seat::new(&shared.roster, visit),
        channels,
        begun: AtomicBool::new(false),
        inbox: Inbox::new(),
    });
    count(&shared.stats.event_streams);
    let (conn, stream) = shared.hub.adopt_stream(NATIVE_SSE, client.clone());
    let number = shared.next_number();
    let mut hello = Vec::new();
    sse::retry(&mut hello, retry_ms(shared.config.sse_retry_ms, number));
    block(&mut hello, |out| {
        frames::welcome(out, &format!("c{number}"), shared.hub_config.heartbeat_ms, &shared.limits())
    });
    shared.hub.send(conn, &hello);
    client.seat.take(conn, &client);
    inbox::push(&client, cursor.map(Box::new));
    inbox::attach(&client, conn);
    stream
}

struct Reader {
    shared: Arc<Shared>,
    seat: Seat,
    channels: Vec<ChannelName>,
    /// Before that there is nothing to start over.
    begun: AtomicBool,
    /// Its only work is to begin.
    inbox: Inbox<Option<Box<Cursor>>>,
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
        inbox::start_over(&self);
    }

    fn closed(self: Arc<Self>, _why: Closed) {
        inbox::close(&*self);
        self.seat.leave();
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
        self.begun.store(true, Relaxed);
        for channel in &self.channels {
            self.seat.guard(channel);
        }
        // Found admissible when it was asked for; what has changed since, rules included, is only noticed from here on.
        if !self.shared.roster.check_self(&self.channels, self).await {
            return;
        }
        self.join(conn, Wish { cursor: cursor.as_deref(), reset: None }).await;
    }

    async fn start_over(&self, conn: ConnId) {
        if !self.begun.load(Relaxed) {
            return;
        }
        let _permit = self.shared.resets.acquire().await.expect("never closed");
        self.join(conn, Wish { cursor: None, reset: Some(Code::StreamRestarted) }).await;
    }
}

impl Member for Reader {
    fn caller(&self) -> Arc<Caller> {
        self.seat.caller()
    }

    fn channels(&self) -> Vec<ChannelName> {
        self.channels.clone()
    }

    /// The stream is all or nothing.
    fn expel(&self, channel: &ChannelName, code: Code) {
        // Where it is not known, it comes again and continues.
        let close_code = if code == Code::AccessUnknown { close::TRY_LATER } else { close::FORBIDDEN };
        self.say(Some(channel), close_code, code, code.as_str());
    }

    fn end(&self, close_code: u16, code: Code, reason: &str) {
        self.say(None, close_code, code, reason);
    }

    fn expiring(&self, at_us: i64) {
        let Some(conn) = self.seat.conn() else { return };
        let mut out = Vec::new();
        block(&mut out, |out| frames::token_expiring(out, at_us));
        self.shared.hub.send(conn, &out);
    }

    fn renew(&self, was: &Arc<Caller>, identity: Arc<Identity>) -> bool {
        self.seat.renew(was, identity)
    }
}

/// Which channel stood in the way.
struct Stop<'a>(&'a ChannelName, Failure);

type All<'a> = Vec<(&'a ChannelName, Registered)>;

/// Everything that is sent in the one step, and by what each channel's kept events are filtered.
struct Beginning {
    joined: Vec<Joined>,
    /// The events that are sent after the heads, with the index of their channel.
    events: Vec<(usize, Arc<Message>, Position)>,
    /// Do those have an `id:`?
    resumed: bool,
    upto: Position,
}

impl Reader {
    /// The last block.
    fn say(&self, channel: Option<&ChannelName>, close_code: u16, code: Code, reason: &str) {
        let Some(conn) = self.seat.conn() else { return };
        let mut out = Vec::new();
        block(&mut out, |out| frames::error(out, code, code.message(), channel.map(ChannelName::as_str), None));
        self.shared.hub.send(conn, &out);
        self.shared.hub.close(conn, close_code, reason);
    }

    async fn join(&self, conn: ConnId, wish: Wish<'_>) {
        let mut tries = self.shared.config.join_tries_max.max(1);
        loop {
            let Err(Stop(channel, failure)) = self.join_all(conn, wish).await else { return };
            if wish.reset.is_some() && matches!(failure, Failure::Code(Code::AlreadySubscribed)) {
                // Joined after the new stream had begun: there is nothing to start over.
                return;
            }
            tries -= 1;
            if tries > 0 && matches!(failure, Failure::Code(Code::Overloaded)) {
                count(&self.shared.stats.joins_repeated);
                for channel in &self.channels {
                    self.shared.hub.leave(conn, channel);
                }
                continue;
            }
            count(&self.shared.stats.joins_failed);
            let (code, message) = (failure.code(), failure.message());
            let mut out = Vec::new();
            block(&mut out, |out| frames::error(out, code, &message, Some(channel.as_str()), None));
            self.shared.hub.send(conn, &out);
            self.shared.hub.close(conn, close::TRY_LATER, code.as_str());
            return;
        }
    }

    async fn join_all(&self, conn: ConnId, wish: Wish<'_>) -> Result<(), Stop<'_>> {
        let all: All<'_> = self
            .channels
            .iter()
            .map(|c| register(&self.shared, conn, c).map(|r| (c, r)).map_err(|f| Stop(c, f)))
            .collect::<Result<_, _>>()?;
        // Registered last, and so with the newest position.
        let Some((last, newest)) = all.last() else { return Ok(()) };
        let beginning = match wish.cursor {
            None => self.fresh_all(&all, wish.reset).await?,
            Some(from) => match self.resume_all(&all, from).await? {
                Ok(beginning) => beginning,
                Err(code) => self.fresh_all(&all, Some(code)).await?,
            },
        };
        let lead = beginning.blocks(&all, newest.incarnation);
        let parts: Vec<Part<'_>> = all
            .iter()
            .zip(&beginning.joined)
            .enumerate()
            .map(|(i, ((channel, _), joined))| Part {
                channel,
                since: &joined.since,
                lead: if i == 0 { &lead } else { &[] },
            })
            .collect();
        self.shared.hub.go_live_all(conn, &parts).map_err(|e| Stop(last, e.into()))?;
        for joined in &beginning.joined {
            counted(&self.shared, joined);
        }
        Ok(())
    }

    async fn fresh_all<'a>(&self, all: &All<'a>, reset: Option<Code>) -> Result<Beginning, Stop<'a>> {
        let Some((last, newest)) = all.last() else { unreachable!("the caller has at least one channel") };
        let mut joined: Vec<Option<Joined>> = all.iter().map(|_| None).collect();
        self.read(all, reset, &mut joined, |registered| !registered.family.state).await?;

        // The newest of the views' readings decides U: a place that includes it, and them all.
        let readings = joined.iter().flatten().filter(|j| j.family.has_view).map(|j| &j.since);
        let newest_reading = readings.fold(None, |newest: Option<&Position>, r| match newest {
            Some(n) if n.cur.covers(&r.cur) => Some(n),
            _ => Some(r),
        });
        let upto = match newest_reading {
            None => newest.position.clone(),
            Some(reading) => match settled(&self.shared, &newest.position, reading).await {
                Ok(Some(snapshot)) => Position::at(snapshot),
                Ok(None) => return Err(Stop(last, Failure::Code(Code::Overloaded))),
                Err(error) => return Err(Stop(last, error.into())),
            },
        };
        // States only now: those that are published while they are read then have a cursor past U, and not one that
        // would lead back before it.
        self.read(all, reset, &mut joined, |registered| registered.family.state).await?;
        let mut joined: Vec<Joined> = joined.into_iter().flatten().collect();

        let mut events = Vec::new();
        for (i, ((channel, registered), joined)) in all.iter().zip(&mut joined).enumerate() {
            if joined.family.state {
                continue;
            }
            if joined.family.has_view {
                let from = Cursor { incarnation: registered.incarnation, position: joined.since.clone() };
                let between = missed(&self.shared, channel, &from, &upto.cur).await.map_err(|none| match none {
                    NoReplay::Reset(_) => Stop(channel, Failure::Code(Code::Overloaded)),
                    NoReplay::Failed(error) => Stop(channel, error.into()),
                })?;
                events.extend(between.into_iter().map(|(message, at)| (i, message, at)));
            } else {
                // Empty, as of U.
                joined.cursor.position = upto.clone();
            }
            joined.since = upto.clone();
        }
        Ok(Beginning { joined, events, resumed: false, upto })
    }

    /// Reads the channels that are `wanted`, several at once.
    async fn read<'a>(
        &self,
        all: &All<'a>,
        reset: Option<Code>,
        joined: &mut [Option<Joined>],
        wanted: impl Fn(&Registered) -> bool,
    ) -> Result<(), Stop<'a>> {
        let mut each = Vec::new();
        for (i, (channel, registered)) in all.iter().enumerate().filter(|(_, (_, r))| wanted(r)) {
            each.push(async move {
                let read = fresh(&self.shared, channel, registered, reset).await;
                read.map(|j| (i, j)).map_err(|f| Stop(channel, f))
            });
        }
        for (i, one) in self.at_once(each).await? {
            joined[i] = Some(one);
        }
        Ok(())
    }

    /// `Ok(Err(code))`: they must start fresh, for this reason.
    async fn resume_all<'a>(&self, all: &All<'a>, from: &Cursor) -> Result<Result<Beginning, Code>, Stop<'a>> {
        let Some((last, newest)) = all.last() else { unreachable!("the caller has at least one channel") };
        if let Some(code) = foreign(newest, from) {
            return Ok(Err(code));
        }
        let upto = match settled(&self.shared, &newest.position, &from.position).await {
            Ok(Some(upto)) => upto,
            Ok(None) => return Ok(Err(Code::StreamRestarted)),
            Err(error) => return Err(Stop(last, error.into())),
        };
        let settled = &upto;
        let mut each = Vec::with_capacity(all.len());
        for (channel, registered) in all {
            each.push(async move {
                if registered.family.state {
                    let joined = fresh(&self.shared, channel, registered, None).await;
                    return joined.map_err(|f| Halt::Stop(Stop(channel, f)));
                }
                resumed(&self.shared, channel, registered, from, settled).await.map_err(|none| match none {
                    NoReplay::Reset(code) => Halt::Reset(code),
                    NoReplay::Failed(error) => Halt::Stop(Stop(channel, error.into())),
                })
            });
        }
        let mut joined: Vec<Joined> = match self.at_once(each).await {
            Ok(joined) => joined,
            Err(Halt::Reset(code)) => return Ok(Err(code)),
            Err(Halt::Stop(stop)) => return Err(stop),
        };
        let mut events = Vec::new();
        for (i, joined) in joined.iter_mut().enumerate() {
            if let Start::Resumed(missed) = &joined.start {
                events.extend(missed.iter().map(|(message, at)| (i, message.clone(), at.clone())));
            }
        }
        if !within_bounds(&self.shared, events.len(), events.iter().map(|(_, message, _)| &**message)) {
            return Ok(Err(Code::TooManyEvents));
        }
        // One order over all channels: the client's own drain first, then the rest, each by id.
        events.sort_by_key(|(_, _, at)| (at.cur != from.position.cur, at.id));
        Ok(Ok(Beginning { joined, events, resumed: true, upto: Position::at(upto) }))
    }

    async fn at_once<T, E>(&self, each: Vec<impl Future<Output = Result<T, E>>>) -> Result<Vec<T>, E> {
        stream::iter(each).buffered(self.shared.config.joins_at_once_max.max(1)).try_collect().await
    }
}

enum Halt<'a> {
    Stop(Stop<'a>),
    Reset(Code),
}

impl Beginning {
    fn blocks(&self, all: &All<'_>, incarnation: Incarnation) -> Vec<Bytes> {
        let text = |position: &Position| Cursor { incarnation, position: position.clone() }.to_string();
        let mut blocks = Vec::with_capacity(all.len() + self.events.len() + 1);
        for ((channel, _), joined) in all.iter().zip(&self.joined) {
            blocks.push(head(channel, joined));
        }
        for (channel, message, at) in &self.events {
            let cursor = text(at);
            let (mut json, mut out) = (Vec::new(), Vec::new());
            frames::message(&mut json, all[*channel].0.as_str(), message, Some(&cursor));
            sse::block(&mut out, self.resumed.then_some(&*cursor), &json);
            blocks.push(out.into());
        }
        let mut out = Vec::new();
        sse::id_only(&mut out, &text(&self.upto));
        blocks.push(out.into());
        blocks
    }
}

fn head(channel: &ChannelName, joined: &Joined) -> Bytes {
    let name = channel.as_str();
    let cursor = joined.cursor.to_string();
    let mut out = Vec::new();
    match &joined.start {
        Start::Fresh { reset, data } => {
            if let Some(code) = reset {
                block(&mut out, |out| frames::reset(out, name, *code));
            }
            block(&mut out, |out| frames::subscribed(out, name, joined.family.state, false, &cursor, None));
            block(&mut out, |out| frames::snapshot(out, name, data, &cursor));
        }
        Start::Resumed(_) => {
            block(&mut out, |out| frames::subscribed(out, name, joined.family.state, true, &cursor, None));
        }
    }
    out.into()
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
