//! The one task that gives everything its place: takes the feed in order, routes, hands over to the hub.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::keys::KeyFinder;
use super::occupants::Occupants;
use super::reader::Reader;
use super::route::{Routed, route};
use super::routing::FamilyId;
use super::source::Shared;
use crate::domain::{Batch, ChannelName, Feed, LogRow, Message, Op, Position, Snapshot, Stamp, Target};

/// Plain counters since the start.
#[derive(Debug, Default)]
pub struct Stats {
    pub rows: AtomicU64,
    pub messages: AtomicU64,
    pub drains: AtomicU64,
    pub dirty_keys: AtomicU64,
    pub view_reads: AtomicU64,
    pub key_queries: AtomicU64,
    pub view_errors: AtomicU64,
    pub rows_without_channel: AtomicU64,
    pub when_errors: AtomicU64,
    pub too_large: AtomicU64,
    pub reloads: AtomicU64,
    pub log_scans: AtomicU64,
    /// From the change (not its commit) to the hand-over to the hub, microseconds, summed over `messages_timed`.
    pub latency_us: AtomicU64,
    pub messages_timed: AtomicU64,
}

/// Row images that a key query is to be asked for.
type Search = (Arc<KeyFinder>, Arc<Reader>, Vec<Bytes>);

/// What the pieces of one drain have led to so far, beside messages.
#[derive(Default)]
struct Pending {
    occupants: Occupants,
    dirty: Dirty,
}

/// What must be read again.
#[derive(Default)]
struct Dirty {
    channels: HashMap<Arc<str>, (Arc<Reader>, HashSet<ChannelName>)>,
    families: HashMap<Arc<str>, Arc<Reader>>,
    /// By route.
    keys: HashMap<i32, Search>,
}

/// Runs until the feed ends.
pub async fn run(shared: Arc<Shared>, mut feed: mpsc::Receiver<Feed>) {
    let mut pending = Pending::default();
    // Of the drain whose first pieces have been handed over.
    let mut halfway = false;
    while let Some(item) = feed.recv().await {
        match item {
            Feed::Begin { incarnation, start } => {
                shared.reload().await;
                // What took a channel from somebody while the stream was away is in no drain.
                guard_ahead(&shared).await;
                pending = Pending::default();
                halfway = false;
                shared.outlet.begin(incarnation, start);
                shared.forget_sent();
            }
            Feed::Rows { prev, cur, rows, last } => {
                if rows.iter().any(|r| r.op == Op::Config && r.channel.is_none()) {
                    shared.reload().await;
                    if let Some(guard) = shared.guard.get() {
                        guard.reload().await;
                    }
                }
                if !last && !halfway {
                    guard_ahead(&shared).await;
                }
                halfway = !last;
                guard(&shared, &rows).await;
                dispatch(&shared, &mut pending, &prev, &cur, &rows, last).await;
                if last {
                    std::mem::take(&mut pending).dirty.flush(&shared.stats);
                }
            }
            Feed::Foreign { pg_channel, payload } => {
                if let Some(message) = foreign(&pg_channel, payload, (shared.clock)()) {
                    shared.outlet.publish(message);
                }
            }
            // Nobody waits any more: nothing to tell.
            Feed::Barrier(done) => drop(done.send(())),
        }
    }
}

/// Revocation before content: nothing of these rows goes out before those are cut off whom they take it from.
async fn guard(shared: &Shared, rows: &[LogRow]) {
    let Some(guard) = shared.guard.get() else { return };
    let mut sources: Vec<i32> = rows.iter().map(|r| r.source).filter(|source| guard.reads(*source)).collect();
    if !sources.is_empty() {
        sources.sort_unstable();
        sources.dedup();
        guard.recheck(&sources).await;
    }
    for row in rows.iter().filter(|r| r.op == Op::Config && r.channel.as_deref() == Some("disconnect")) {
        let said = row.new.as_deref().and_then(|json| serde_json::from_slice::<Disconnect>(json).ok());
        if let Some(Disconnect { user, reason }) = said {
            guard.disconnect(&user, &reason);
        }
    }
}

/// Before a new stream, and before the first piece of a drain of several: what is taken from somebody by rows that come
/// late, or never, is known to the database, and so asked for now.
async fn guard_ahead(shared: &Shared) {
    if let Some(guard) = shared.guard.get() {
        guard.reload().await;
        guard.recheck_all().await;
    }
}

/// Of `rowcast.disconnect()`.
#[derive(serde::Deserialize)]
struct Disconnect {
    user: String,
    reason: String,
}

async fn dispatch(
    shared: &Arc<Shared>,
    pending: &mut Pending,
    prev: &Arc<Snapshot>,
    cur: &Arc<Snapshot>,
    rows: &[LogRow],
    last: bool,
) {
    let messages = route_rows(shared, pending, rows);
    let after = match rows.last() {
        Some(row) if !last => Position { prev: prev.clone(), cur: cur.clone(), id: row.last_number() },
        _ => Position::at(cur.clone()),
    };
    let stats = &shared.stats;
    stats.rows.fetch_add(rows.len() as u64, Relaxed);
    stats.messages.fetch_add(messages.len() as u64, Relaxed);
    stats.drains.fetch_add(u64::from(last), Relaxed);
    if let Some(newest) = messages.last() {
        let age = (shared.clock)().saturating_sub(newest.at_us).max(0);
        stats.latency_us.fetch_add(age as u64, Relaxed);
        stats.messages_timed.fetch_add(1, Relaxed);
    }
    shared.outlet.room().await;
    shared.outlet.dispatch(Batch { prev: prev.clone(), cur: cur.clone(), messages, after });
}

fn route_rows(shared: &Arc<Shared>, pending: &mut Pending, rows: &[LogRow]) -> Vec<Message> {
    let Pending { occupants, dirty } = pending;
    let routing = shared.routing();
    let limit = shared.config.message_bytes_max;
    let mut messages = Vec::with_capacity(rows.len());
    let mut marked: HashMap<FamilyId, HashSet<ChannelName>> = HashMap::new();
    for row in rows {
        let errors = row.matched.iter().filter(|m| **m < 0).count() as u64;
        shared.stats.when_errors.fetch_add(errors, Relaxed);
        route(&routing, row, |routed| match routed {
            Routed::Message(message) => messages.push(message.within(limit)),
            Routed::Row { message, image, leaves } => {
                let told = match &message.target {
                    Target::One(channel) if shared.outlet.has_audience(channel) => {
                        occupants.tell(row, channel, image, leaves)
                    }
                    _ => true,
                };
                messages.extend(told.then(|| message.within(limit)));
            }
            Routed::Dirty(family, channel) => drop(marked.entry(family).or_default().insert(channel)),
            Routed::DirtyFamily(family) => {
                if let Some(reader) = shared.reader(routing.family(family)) {
                    dirty.families.insert(routing.family(family).pattern.as_str().into(), reader);
                }
            }
            Routed::Keys(route, image) => {
                if let (Some(finder), Some(reader)) =
                    (shared.key_finder(route), shared.reader(routing.family(route.family)))
                {
                    let entry = dirty.keys.entry(route.id).or_insert_with(|| (finder, reader, Vec::new()));
                    // One more than the finder takes: it then gives up asking for single rows.
                    if entry.2.len() <= shared.config.pending_rows_max {
                        entry.2.push(image);
                    }
                }
            }
            Routed::NoChannel => drop(shared.stats.rows_without_channel.fetch_add(1, Relaxed)),
        });
    }
    let too_large = messages.iter().filter(|m| m.failure.is_some()).count() as u64;
    shared.stats.too_large.fetch_add(too_large, Relaxed);
    for (family, mut channels) in marked {
        // Only what somebody listens to is kept until the drain's end. Whoever subscribes later reads later.
        channels.retain(|c| shared.outlet.has_audience(c));
        let family = routing.family(family);
        if let Some(reader) = shared.reader(family).filter(|_| !channels.is_empty()) {
            let kept = dirty.channels.entry(family.pattern.as_str().into());
            kept.or_insert_with(|| (reader, HashSet::new())).1.extend(channels);
        }
    }
    messages
}

impl Dirty {
    /// All dirty keys of a drain go to their readers together: one query per view.
    fn flush(self, stats: &Stats) {
        for (reader, channels) in self.channels.into_values() {
            if !channels.is_empty() {
                stats.dirty_keys.fetch_add(channels.len() as u64, Relaxed);
                reader.mark(channels);
            }
        }
        self.families.into_values().for_each(|reader| reader.mark_all());
        for (finder, reader, rows) in self.keys.into_values() {
            finder.find(&reader, rows);
        }
    }
}

/// Somebody else's NOTIFY as an event of the channel of the same name.
fn foreign(pg_channel: &str, payload: String, at_us: i64) -> Option<Message> {
    let json = serde_json::from_str::<&serde_json::value::RawValue>(&payload).is_ok();
    let data = if json { payload } else { serde_json::to_string(&payload).expect("a string serialises") };
    Some(Message {
        target: Target::One(ChannelName::new(pg_channel).ok()?),
        event: "notify".into(),
        data: data.into(),
        at_us,
        conflate: None,
        stamp: Stamp::Foreign,
        replay: false,
        failure: None,
    })
}
