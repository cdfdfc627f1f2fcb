//! The router as the rest of the process sees it, and what its parts share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Config;
use super::dispatcher::{self, Stats};
use super::keys::KeyFinder;
use super::reader::Reader;
use super::replay::Replayer;
use super::routing::{Family, Route, Routing};
use crate::domain::{
    Boxed, ChannelName, Cursor, Drains, FamilyInfo, Feed, Guard, Outlet, Position, ReadError, Reading, ReplayError,
    Replayed, Snapshot, Source,
};
use crate::store::{Store, StoreError};

/// Microseconds since 1970, UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Routes log rows, live and for those who resume, and reads the views of state channels.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
    replayer: Arc<Replayer>,
}

/// What dispatcher, readers and replay have in common.
pub struct Shared {
    pub config: Config,
    pub store: Store,
    pub outlet: Arc<dyn Outlet>,
    pub clock: Clock,
    pub stats: Stats,
    /// Set before the first client comes.
    pub guard: OnceLock<Arc<dyn Guard>>,
    drains: OnceLock<Arc<dyn Drains>>,
    routing: RwLock<Arc<Routing>>,
    readers: Mutex<HashMap<Arc<str>, Arc<Reader>>>,
    key_finders: Mutex<HashMap<i32, Arc<KeyFinder>>>,
}

impl Router {
    /// Starts the dispatcher on `feed`; it ends when the feed does.
    pub fn start(
        config: Config,
        store: Store,
        outlet: Arc<dyn Outlet>,
        clock: Clock,
        feed: mpsc::Receiver<Feed>,
    ) -> (Self, JoinHandle<()>) {
        let shared = Arc::new(Shared {
            config,
            store,
            outlet,
            clock,
            stats: Stats::default(),
            guard: OnceLock::new(),
            drains: OnceLock::new(),
            routing: RwLock::default(),
            readers: Mutex::default(),
            key_finders: Mutex::default(),
        });
        let task = tokio::spawn(dispatcher::run(shared.clone(), feed));
        (Self { replayer: Replayer::new(shared.clone()), shared }, task)
    }

    /// Who is asked before content goes out, and how a reading catches up with what took it from somebody. Once, before the
    /// first client comes.
    pub fn guard_by(&self, guard: Arc<dyn Guard>, drains: Arc<dyn Drains>) {
        let _ = self.shared.drains.set(drains);
        let _ = self.shared.guard.set(guard);
    }

    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }
}

impl Source for Router {
    fn family(&self, channel: &ChannelName) -> FamilyInfo {
        self.shared.routing().info(channel)
    }

    fn families(&self) -> Vec<FamilyInfo> {
        let mut all: Vec<_> = self.shared.routing().families().iter().map(Family::info).collect();
        all.sort_by(|a, b| a.pattern.cmp(&b.pattern));
        all
    }

    fn snapshot<'a>(&'a self, channel: &'a ChannelName) -> Boxed<'a, Result<Reading, ReadError>> {
        Box::pin(async move {
            let routing = self.shared.routing();
            let family = routing.family_of(channel.as_str()).map(|(id, _)| routing.family(id));
            match family.and_then(|f| self.shared.reader(f)) {
                Some(reader) => reader.read(channel).await,
                // Nothing to read: empty, as of now.
                None => {
                    let nothing: &[u8] = if family.is_some_and(|f| f.state) { b"null" } else { b"[]" };
                    let snapshot = self.shared.outlet.settled().ok_or(ReadError::Unavailable)?;
                    Ok(Reading { snapshot, data: bytes::Bytes::from_static(nothing) })
                }
            }
        })
    }

    fn replay<'a>(
        &'a self,
        channel: &'a ChannelName,
        from: &'a Cursor,
        upto: &'a Position,
        limit: usize,
    ) -> Boxed<'a, Result<Replayed, ReplayError>> {
        Box::pin(self.replayer.replay(channel, from, upto, limit))
    }
}

impl Shared {
    pub fn routing(&self) -> Arc<Routing> {
        self.routing.read().expect("no holder of this lock panics").clone()
    }

    /// Reads the configuration anew. Tries until it succeeds: a row routed by an older one would go astray.
    pub async fn reload(self: &Arc<Self>) {
        let mut told = false;
        loop {
            match self.load().await {
                Ok(routing) => return self.take_over(routing),
                Err(error) => {
                    if !told {
                        tracing::warn!(%error, "router.reload: the configuration cannot be read; trying on");
                        told = true;
                    }
                    tokio::time::sleep(Duration::from_millis(self.config.retry_ms)).await;
                }
            }
        }
    }

    async fn load(&self) -> Result<Routing, StoreError> {
        // Families second: a route may refer to a family of the same transaction, never the other way round.
        let routes = self.store.routes().await?;
        let families = self.store.families().await?;
        Routing::new(routes, families)
            .map_err(|(text, e)| StoreError::Answer(format!("channel template '{text}' in schema rowcast: {e}")))
    }

    fn take_over(self: &Arc<Self>, routing: Routing) {
        let routing = Arc::new(routing);
        let before =
            std::mem::replace(&mut *self.routing.write().expect("no holder of this lock panics"), routing.clone());
        let mut changed = Vec::new();
        {
            let mut readers = self.readers.lock().expect("no holder of this lock panics");
            let mut old = std::mem::take(&mut *readers);
            for family in routing.families() {
                let key: Arc<str> = family.pattern.as_str().into();
                let kept = old.remove(&key).filter(|reader| {
                    let serves = reader.serves(family);
                    if !serves {
                        reader.retire();
                    }
                    serves
                });
                let reader = kept.or_else(|| {
                    let made = Reader::new(self.clone(), family)?;
                    changed.push(made.clone());
                    Some(made)
                });
                readers.extend(reader.map(|r| (key, r)));
            }
            old.values().for_each(|reader| reader.retire());
        }
        self.key_finders.lock().expect("no holder of this lock panics").clear();
        routing.turned(&before).for_each(|family| self.outlet.restart(family));
        // A changed view may show something else.
        changed.iter().for_each(Reader::mark_all);
        self.stats.reloads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// May what was read of these channels be shown? Where data can take one of them from somebody, what the reading has
    /// seen must have been drained first, so that whoever lost it is cut off. False: that cannot be said now.
    pub async fn may_show(&self, channels: &[ChannelName], seen: &Snapshot) -> bool {
        let (Some(guard), Some(drains)) = (self.guard.get(), self.drains.get()) else { return true };
        if !channels.iter().any(|channel| guard.is_guarded(channel)) {
            return true;
        }
        self.outlet.settled().is_some_and(|settled| settled.covers(seen)) || drains.barrier().await
    }

    pub fn reader(&self, family: &Family) -> Option<Arc<Reader>> {
        self.readers.lock().expect("no holder of this lock panics").get(family.pattern.as_str()).cloned()
    }

    pub fn key_finder(self: &Arc<Self>, route: &Route) -> Option<Arc<KeyFinder>> {
        let mut finders = self.key_finders.lock().expect("no holder of this lock panics");
        if let Some(finder) = finders.get(&route.id) {
            return Some(finder.clone());
        }
        let finder = KeyFinder::new(self.clone(), route)?;
        finders.insert(route.id, finder.clone());
        Some(finder)
    }

    /// A new stream began: everybody starts over.
    pub fn forget_sent(&self) {
        let readers = self.readers.lock().expect("no holder of this lock panics");
        readers.values().for_each(|reader| reader.forget());
    }
}
