//! Reads the view of one channel family: for whoever subscribes, and when something made a key dirty.
//!
//! ```text
//! mark(key) ──▶ dirty ──┐                     ┌─▶ differs from what was sent? ──▶ Outlet::publish
//!                       ├─▶ ONE query, then ──┤
//! read(key) ──▶ waiters ┘   the next batch    └─▶ waiters of the key
//! ```
//!
//! At most one query of a family runs. So reads of one key never overtake each other, a subscriber joins only a read
//! that starts after it asked, and what becomes dirty during a read is read again after it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::source::Shared;
use crate::domain::{ChannelName, Message, ReadError, Reading, Snapshot, Stamp, Target};
use crate::router::routing::Family;
use crate::router::spelling::as_written;
use crate::store::StoreError;

type Answer = Result<Reading, ReadError>;

pub struct Reader {
    shared: Arc<Shared>,
    family: ReaderFamily,
    state: Mutex<State>,
    /// Somebody waits: a reader that sits out a throttle looks again.
    asked: Notify,
    retired: AtomicBool,
}

/// What a reader needs to know of its family; another reader takes over when one of it changes.
#[derive(Clone, PartialEq)]
struct ReaderFamily {
    pattern: Arc<crate::domain::Pattern>,
    read_sql: Arc<str>,
    key_types: Option<Arc<[String]>>,
    throttle: Duration,
    event: Arc<str>,
    /// A state family with a view: what was read is sent to the subscribers. Else reads only answer subscribers.
    publishes: bool,
}

#[derive(Default)]
struct State {
    running: bool,
    dirty: HashSet<ChannelName>,
    waiters: HashMap<ChannelName, Vec<oneshot::Sender<Answer>>>,
    /// What the live subscribers of a channel have: hash of the data, `None` after an error; and when it was read.
    sent: HashMap<ChannelName, (Option<u64>, Instant)>,
}

struct Batch {
    keys: Vec<ChannelName>,
    dirty: HashSet<ChannelName>,
    waiters: HashMap<ChannelName, Vec<oneshot::Sender<Answer>>>,
}

impl Reader {
    /// The reader of a family that has something to read.
    pub fn new(shared: Arc<Shared>, family: &Family) -> Option<Arc<Self>> {
        let family = ReaderFamily::of(family)?;
        Some(Arc::new(Self {
            shared,
            family,
            state: Mutex::default(),
            asked: Notify::new(),
            retired: AtomicBool::new(false),
        }))
    }

    /// Does this reader still do what the family wants?
    pub fn serves(&self, family: &Family) -> bool {
        ReaderFamily::of(family).is_some_and(|f| f == self.family)
    }

    /// Nothing of this reader is sent any more: another one has taken over.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// These channels may show something else now.
    pub fn mark(self: &Arc<Self>, channels: impl IntoIterator<Item = ChannelName>) {
        if self.family.publishes {
            let mut state = self.lock();
            state.dirty.extend(channels);
            self.drive(&mut state);
            drop(state);
            // It may be sitting out another key's throttle.
            self.asked.notify_one();
        }
    }

    /// Every subscribed channel of the family may show something else now.
    pub fn mark_all(self: &Arc<Self>) {
        self.mark(self.shared.outlet.audience_of(&self.family.pattern));
    }

    /// A new stream began: what was sent before says nothing any more.
    pub fn forget(&self) {
        self.lock().sent.clear();
    }

    /// The channel's content by a query that starts after this call.
    pub async fn read(self: &Arc<Self>, channel: &ChannelName) -> Answer {
        let (answer, waiting) = oneshot::channel();
        {
            let mut state = self.lock();
            state.waiters.entry(channel.clone()).or_default().push(answer);
            self.drive(&mut state);
        }
        self.asked.notify_one();
        waiting.await.unwrap_or(Err(ReadError::Unavailable))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn drive(self: &Arc<Self>, state: &mut State) {
        let idle = state.dirty.is_empty() && state.waiters.is_empty();
        if !state.running && !idle {
            state.running = true;
            tokio::spawn(self.clone().run());
        }
    }

    async fn run(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let next = {
                let mut state = self.lock();
                let batch = self.take(&mut state, now);
                if batch.keys.is_empty() && state.dirty.is_empty() {
                    state.running = false;
                    return;
                }
                if batch.keys.is_empty() { Err(self.throttled_until(&state, now)) } else { Ok(batch) }
            };
            match next {
                Ok(batch) => self.serve(batch).await,
                Err(until) => {
                    let _ = tokio::time::timeout_at(until, self.asked.notified()).await;
                }
            }
        }
    }

    /// The keys of the next query: those somebody waits for, then dirty ones whose throttle is over.
    fn take(&self, state: &mut State, now: Instant) -> Batch {
        let max = self.shared.config.read_keys_max;
        let mut keys: Vec<ChannelName> = state.waiters.keys().take(max).cloned().collect();
        let rested = |key: &ChannelName| state.sent.get(key).is_none_or(|(_, at)| *at + self.family.throttle <= now);
        let room = max - keys.len();
        keys.extend(state.dirty.iter().filter(|k| !state.waiters.contains_key(*k) && rested(k)).take(room).cloned());
        let dirty = keys.iter().filter_map(|k| state.dirty.take(k)).collect();
        let waiters = keys.iter().filter_map(|k| state.waiters.remove_entry(k)).collect();
        Batch { keys, dirty, waiters }
    }

    fn throttled_until(&self, state: &State, now: Instant) -> Instant {
        let times = state.dirty.iter().filter_map(|k| state.sent.get(k)).map(|(_, at)| *at + self.family.throttle);
        times.min().unwrap_or(now)
    }

    /// Reads a batch; what Postgres refuses is halved until the keys at fault stand alone.
    async fn serve(self: &Arc<Self>, mut batch: Batch) {
        let timeout = Duration::from_millis(self.shared.store.config().statement_timeout_ms);
        let give_up_at = Instant::now() + 12 * timeout;
        self.turn_away(&mut batch).await;
        if batch.keys.is_empty() {
            return;
        }
        let mut parts = vec![std::mem::take(&mut batch.keys)];
        while let Some(keys) = parts.pop() {
            let values: Vec<Vec<String>> = keys.iter().map(|k| self.values(k)).collect();
            self.shared.stats.view_reads.fetch_add(1, Ordering::Relaxed);
            match self.shared.store.read_view(&self.family.read_sql, &values).await {
                Ok(read) if !self.shared.may_show(&keys, &read.snapshot).await => {
                    self.put_back(&mut batch, keys.into_iter().chain(parts.drain(..).flatten()));
                    tokio::time::sleep(Duration::from_millis(self.shared.config.retry_ms)).await;
                }
                Ok(read) => {
                    let snapshot = Arc::new(read.snapshot);
                    for (key, data) in keys.iter().zip(read.data) {
                        self.deliver(&mut batch, key, self.checked(&snapshot, data));
                    }
                }
                Err(StoreError::Unavailable(_)) => {
                    self.put_back(&mut batch, keys.into_iter().chain(parts.drain(..).flatten()));
                    tokio::time::sleep(Duration::from_millis(self.shared.config.retry_ms)).await;
                }
                Err(_) if keys.len() > 1 && Instant::now() < give_up_at => {
                    let (left, right) = keys.split_at(keys.len() / 2);
                    parts.extend([right.to_vec(), left.to_vec()]);
                }
                Err(error) => {
                    tracing::warn!(family = %self.family.pattern, keys = keys.len(), %error, "router.read: the view failed");
                    // Who is not at fault by itself is tried again.
                    let again =
                        keys.iter().filter(|k| keys.len() > 1 && batch.dirty.contains(*k)).cloned().collect::<Vec<_>>();
                    self.lock().dirty.extend(again);
                    let error = read_error(error, timeout, self.shared.config.tell_view_errors);
                    self.shared.stats.view_errors.fetch_add(keys.len() as u64, Ordering::Relaxed);
                    keys.iter().for_each(|key| self.deliver(&mut batch, key, Err(error.clone())));
                }
            }
        }
    }

    /// Answers those who ask for a key that is not written as its changes would be.
    async fn turn_away(&self, batch: &mut Batch) {
        let Some(types) = &self.family.key_types else { return };
        let sure = |key: &ChannelName| types.iter().zip(self.values(key)).all(|(t, v)| as_written(t, &v));
        let doubtful: Vec<_> =
            batch.keys.iter().filter(|k| batch.waiters.contains_key(*k) && !sure(k)).cloned().collect();
        if doubtful.is_empty() {
            return;
        }
        let asked: Vec<_> = doubtful.iter().map(|k| self.values(k)).collect();
        // Without an answer the view itself will say what is wrong.
        let Ok(written) = self.shared.store.written_keys(types, &asked).await else { return };
        for (key, written) in doubtful.iter().zip(written) {
            let written = written.and_then(|w| self.family.pattern.fill(|n, _| w.get(n).map(String::as_str)));
            if written.as_ref() == Some(key) {
                continue;
            }
            batch.keys.retain(|k| k != key);
            let error = ReadError::Key { pattern: self.family.pattern.as_str().into(), written };
            for waiter in batch.waiters.remove(key).unwrap_or_default() {
                // One that has gone away needs no answer.
                let _ = waiter.send(Err(error.clone()));
            }
        }
    }

    fn values(&self, channel: &ChannelName) -> Vec<String> {
        let values = self.family.pattern.matches(channel.as_str()).unwrap_or_default();
        values.into_iter().map(str::to_owned).collect()
    }

    fn checked(&self, snapshot: &Arc<Snapshot>, data: Option<Bytes>) -> Answer {
        let data = data.unwrap_or_else(|| Bytes::from_static(b"null"));
        let limit = self.shared.config.message_bytes_max;
        if data.len() > limit {
            return Err(ReadError::TooLarge { bytes: data.len(), limit });
        }
        Ok(Reading { snapshot: snapshot.clone(), data })
    }

    /// Sends a key's state to its subscribers if it is news to them, and answers those who wait for it.
    fn deliver(&self, batch: &mut Batch, key: &ChannelName, answer: Answer) {
        let dirty = batch.dirty.contains(key);
        if self.family.publishes && !self.retired.load(Ordering::Relaxed) {
            let news = self.note(key, dirty, &answer);
            match &answer {
                Ok(reading) if news => self.shared.outlet.publish(self.message(key, reading)),
                Err(error) if dirty => self.shared.outlet.channel_error(key, error),
                _ => {}
            }
        }
        for waiter in batch.waiters.remove(key).unwrap_or_default() {
            // One that has gone away needs no answer.
            let _ = waiter.send(answer.clone());
        }
    }

    /// Remembers what the live subscribers get, and says whether they lack it.
    fn note(&self, key: &ChannelName, dirty: bool, answer: &Answer) -> bool {
        let mut state = self.lock();
        if !self.shared.outlet.has_audience(key) {
            state.sent.remove(key);
            return false;
        }
        let now = Instant::now();
        let hash = answer.as_ref().ok().map(|r| hash_of(&r.data));
        let before = state.sent.get(key).copied();
        let rested = now.checked_sub(self.family.throttle).unwrap_or(now);
        let read_at = if dirty { now } else { before.map_or(rested, |(_, at)| at) };
        state.sent.insert(key.clone(), (hash, read_at));
        if before.is_none() && state.sent.len().is_power_of_two() {
            // Channels that lost their last subscriber and were never dirty again.
            state.sent.retain(|k, _| self.shared.outlet.has_audience(k));
        }
        match before {
            Some((sent, _)) => sent != hash,
            // Nobody has anything yet but those who wait.
            None => dirty,
        }
    }

    fn put_back(&self, batch: &mut Batch, keys: impl Iterator<Item = ChannelName>) {
        let mut state = self.lock();
        for key in keys {
            for waiter in batch.waiters.remove(&key).unwrap_or_default() {
                let _ = waiter.send(Err(ReadError::Unavailable));
            }
            if batch.dirty.remove(&key) {
                state.dirty.insert(key);
            }
        }
    }

    fn message(&self, key: &ChannelName, reading: &Reading) -> Message {
        Message {
            target: Target::One(key.clone()),
            event: self.family.event.clone(),
            data: reading.data.clone(),
            at_us: (self.shared.clock)(),
            conflate: Some("".into()),
            stamp: Stamp::Read(reading.snapshot.clone()),
            replay: false,
            failure: None,
        }
    }
}

impl ReaderFamily {
    fn of(family: &Family) -> Option<Self> {
        Some(Self {
            pattern: family.pattern.clone(),
            read_sql: family.read_sql.clone()?,
            key_types: family.key_types.clone(),
            throttle: Duration::from_millis(family.throttle_ms),
            event: family.event.clone(),
            publishes: family.state && !family.row_is_message,
        })
    }
}

fn hash_of(data: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

fn read_error(error: StoreError, timeout: Duration, tell: bool) -> ReadError {
    match error {
        StoreError::Timeout => ReadError::Timeout { limit_ms: timeout.as_millis() as u64 },
        _ if !tell => ReadError::View { detail: "the server's log says why".into() },
        StoreError::Refused { message, .. } => ReadError::View { detail: message.into() },
        other => ReadError::View { detail: other.to_string().into() },
    }
}
