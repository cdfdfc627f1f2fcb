//! A world small enough to be right by looking at it: a log in memory that plays Postgres, the listener and the router
//! against the real hub, connections and HTTP server.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use rowcast::domain::{
    Batch, Boxed, ChannelName, Cursor, Drains, FamilyInfo, Incarnation, Message, Outlet, Position, ReadError, Reading,
    ReplayError, Snapshot, Source, Stamp, Target, Xid,
};
use rowcast::http::Database;
use rowcast::hub::Hub;
use rowcast::store::StoreError;
use tokio::sync::{Notify, watch};

pub struct World {
    state: Mutex<State>,
    hub: Hub,
    /// While false, snapshots wait.
    gate: watch::Sender<bool>,
    pub snapshot_began: Notify,
    pub snapshots: AtomicUsize,
    /// Snapshots that were dropped before they ended.
    pub snapshots_dropped: AtomicUsize,
    pub replays: AtomicUsize,
    pub sent: Mutex<Vec<(String, String, String)>>,
}

struct State {
    incarnation: u64,
    next_xid: Xid,
    next_id: i64,
    /// Transactions that have begun and not ended, with what they have written.
    open: HashMap<Xid, Vec<Row>>,
    log: Vec<Row>,
    /// The last drain's.
    drained: Arc<Snapshot>,
    /// What is left of it.
    undispatched: VecDeque<Batch>,
    /// Barriers drain by themselves unless a test wants to do it.
    listening: bool,
    /// Everything below it is gone.
    horizon: Xid,
    views: HashMap<String, (bool, View)>,
    database: bool,
}

pub type View = Arc<dyn Fn(&[Row]) -> Result<String, ReadError> + Send + Sync>;

#[derive(Clone, Debug)]
pub struct Row {
    pub xid: Xid,
    pub id: i64,
    pub channel: String,
    pub data: String,
}

impl World {
    pub(super) fn new(hub: Hub) -> Arc<Self> {
        let start = Arc::new(Snapshot::new(10, 10, Vec::new()).expect("in order"));
        Arc::new(Self {
            state: Mutex::new(State {
                incarnation: 1,
                next_xid: 10,
                next_id: 1,
                open: HashMap::new(),
                log: Vec::new(),
                drained: start,
                undispatched: VecDeque::new(),
                listening: true,
                horizon: 0,
                views: HashMap::new(),
                database: true,
            }),
            hub,
            gate: watch::Sender::new(true),
            snapshot_began: Notify::new(),
            snapshots: AtomicUsize::new(0),
            snapshots_dropped: AtomicUsize::new(0),
            replays: AtomicUsize::new(0),
            sent: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics within")
    }

    /// The stream begins, or begins anew.
    pub fn begin(&self, incarnation: u64) {
        let mut state = self.state();
        state.incarnation = incarnation;
        state.undispatched.clear();
        state.drained = state.snapshot();
        self.hub.begin(Incarnation(incarnation), state.drained.clone());
    }

    pub fn event_view(
        &self,
        channel: &str,
        view: impl Fn(&[Row]) -> Result<String, ReadError> + Send + Sync + 'static,
    ) {
        self.state().views.insert(channel.into(), (false, Arc::new(view)));
    }

    pub fn state_view(
        &self,
        channel: &str,
        view: impl Fn(&[Row]) -> Result<String, ReadError> + Send + Sync + 'static,
    ) {
        self.state().views.insert(channel.into(), (true, Arc::new(view)));
    }

    /// One transaction with these rows, committed and not drained.
    pub fn commit(&self, rows: &[(&str, &str)]) {
        let xid = self.open();
        for (channel, data) in rows {
            self.write(xid, channel, data);
        }
        self.end(xid);
    }

    pub fn open(&self) -> Xid {
        let mut state = self.state();
        let xid = state.next_xid;
        state.next_xid += 1;
        state.open.insert(xid, Vec::new());
        xid
    }

    pub fn write(&self, xid: Xid, channel: &str, data: &str) {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        let row = Row { xid, id, channel: channel.into(), data: data.into() };
        state.open.get_mut(&xid).expect("open").push(row);
    }

    pub fn end(&self, xid: Xid) {
        let mut state = self.state();
        let rows = state.open.remove(&xid).expect("open");
        state.log.extend(rows);
    }

    /// What the listener and the router do: everything new, in the order of ids, in one drain of `batches` pieces. Only
    /// the first is dispatched; the next drain begins with the others.
    pub fn begin_drain(&self, batches: usize) {
        let mut state = self.state();
        self.go_on(&mut state, usize::MAX);
        let (prev, cur) = (state.drained.clone(), state.snapshot());
        let mut rows: Vec<Row> = state.log.iter().filter(|r| cur.sees(r.xid) && !prev.sees(r.xid)).cloned().collect();
        rows.sort_by_key(|r| r.id);
        let size = rows.len().div_ceil(batches).max(1);
        let mut pieces: Vec<Vec<Row>> = rows.chunks(size).map(<[Row]>::to_vec).collect();
        if pieces.is_empty() {
            pieces.push(Vec::new());
        }
        let last = pieces.len() - 1;
        for (i, piece) in pieces.into_iter().enumerate() {
            let after = match piece.last() {
                Some(row) if i < last => Position { prev: prev.clone(), cur: cur.clone(), id: row.id },
                _ => Position::at(cur.clone()),
            };
            let messages = piece.iter().map(message).collect();
            state.undispatched.push_back(Batch { prev: prev.clone(), cur: cur.clone(), messages, after });
        }
        state.drained = cur;
        self.go_on(&mut state, 1);
    }

    pub fn drain_in(&self, batches: usize) {
        self.begin_drain(batches);
        self.go_on(&mut self.state(), usize::MAX);
    }

    fn go_on(&self, state: &mut State, batches: usize) {
        let count = batches.min(state.undispatched.len());
        for batch in state.undispatched.drain(..count) {
            self.hub.dispatch(batch);
        }
    }

    pub fn drain(&self) {
        self.drain_in(1);
    }

    /// Committed and dispatched.
    pub fn say(&self, channel: &str, data: &str) {
        self.commit(&[(channel, data)]);
        self.drain();
    }

    /// A new state of a channel, read now.
    pub fn publish_state(&self, channel: &str, data: &str) {
        let stamp = Stamp::Read(self.state().snapshot());
        self.hub.publish(Message {
            target: Target::One(name(channel)),
            event: "state".into(),
            data: Bytes::copy_from_slice(data.as_bytes()),
            at_us: 1_700_000_000_000_000,
            conflate: Some(channel.into()),
            stamp,
            replay: false,
            failure: None,
        });
    }

    /// All events of a channel that committed, as the oracle of a test.
    pub fn committed(&self, channel: &str) -> Vec<String> {
        let state = self.state();
        state.log.iter().filter(|r| r.channel == channel).map(|r| r.data.clone()).collect()
    }

    pub fn cursor(&self) -> String {
        let state = self.state();
        let position = Position::at(state.drained.clone());
        Cursor { incarnation: Incarnation(state.incarnation), position }.to_string()
    }

    /// The log loses what it has.
    pub fn rotate(&self) {
        let mut state = self.state();
        state.horizon = state.next_xid;
        state.log.clear();
    }

    pub fn listen(&self, listening: bool) {
        self.state().listening = listening;
    }

    pub fn database(&self, there: bool) {
        self.state().database = there;
    }

    pub fn hold_snapshots(&self) {
        self.gate.send_replace(false);
    }

    pub fn let_snapshots_go(&self) {
        self.gate.send_replace(true);
    }
}

impl State {
    fn snapshot(&self) -> Arc<Snapshot> {
        let mut xip: Vec<Xid> = self.open.keys().copied().collect();
        xip.sort_unstable();
        let xmin = xip.first().copied().unwrap_or(self.next_xid);
        Arc::new(Snapshot::new(xmin, self.next_xid, xip).expect("sorted"))
    }
}

fn message(row: &Row) -> Message {
    Message {
        target: Target::One(name(&row.channel)),
        event: "insert".into(),
        data: Bytes::copy_from_slice(row.data.as_bytes()),
        at_us: 1_700_000_000_000_000 + row.id,
        conflate: None,
        stamp: Stamp::Log { xid: row.xid, id: row.id },
        replay: true,
        failure: None,
    }
}

pub fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel).expect("a channel's name")
}

impl Source for World {
    fn family(&self, channel: &ChannelName) -> FamilyInfo {
        let views = &self.state().views;
        let view = views.get(channel.as_str());
        FamilyInfo {
            pattern: channel.as_str().into(),
            state: view.is_some_and(|v| v.0),
            has_view: view.is_some(),
            from_log: !view.is_some_and(|v| v.0),
        }
    }

    fn families(&self) -> Vec<FamilyInfo> {
        let mut channels: Vec<String> = self.state().views.keys().cloned().collect();
        channels.sort();
        channels.iter().map(|c| self.family(&name(c))).collect()
    }

    fn snapshot<'a>(&'a self, channel: &'a ChannelName) -> Boxed<'a, Result<Reading, ReadError>> {
        struct Dropped<'a>(&'a AtomicUsize, bool);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(usize::from(!self.1), Ordering::SeqCst);
            }
        }
        Box::pin(async move {
            let mut guard = Dropped(&self.snapshots_dropped, false);
            self.snapshots.fetch_add(1, Ordering::SeqCst);
            self.snapshot_began.notify_one();
            self.gate.subscribe().wait_for(|open| *open).await.expect("the world lasts");
            guard.1 = true;
            let state = self.state();
            if !state.database {
                return Err(ReadError::Unavailable);
            }
            let snapshot = state.snapshot();
            let data = match state.views.get(channel.as_str()) {
                Some((_, view)) => view(&state.log)?,
                None => "[]".into(),
            };
            Ok(Reading { snapshot, data: data.into() })
        })
    }

    fn replay<'a>(
        &'a self,
        channel: &'a ChannelName,
        from: &'a Cursor,
        upto: &'a Position,
        limit: usize,
    ) -> Boxed<'a, Result<(Vec<(Message, Position)>, bool), ReplayError>> {
        Box::pin(async move {
            self.replays.fetch_add(1, Ordering::SeqCst);
            let state = self.state();
            if !state.database {
                return Err(ReplayError::Unavailable);
            }
            if from.position.prev.xmax() < state.horizon {
                return Err(ReplayError::Reset);
            }
            let at = |row: &Row| match from.position.cur.sees(row.xid) {
                true => (0, Position { prev: from.position.prev.clone(), cur: from.position.cur.clone(), id: row.id }),
                false => (1, Position { prev: from.position.cur.clone(), cur: upto.cur.clone(), id: row.id }),
            };
            let mut rows: Vec<&Row> = state
                .log
                .iter()
                .filter(|r| r.channel == channel.as_str())
                .filter(|r| upto.includes(r.xid, r.id) && !from.position.includes(r.xid, r.id))
                .collect();
            rows.sort_by_key(|r| (at(r).0, r.id));
            let more = rows.len() > limit;
            Ok((rows.into_iter().take(limit).map(|r| (message(r), at(r).1)).collect(), more))
        })
    }
}

impl Drains for World {
    fn barrier(&self) -> Boxed<'_, bool> {
        Box::pin(async move {
            if !self.state().listening {
                return false;
            }
            self.drain();
            true
        })
    }
}

impl Database for World {
    fn jobs(&self) -> Boxed<'_, Result<Vec<rowcast::store::JobStatus>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn job_runs<'a>(
        &'a self,
        _: &'a str,
        _: i64,
    ) -> Boxed<'a, Result<Option<Vec<rowcast::store::JobRunRow>>, StoreError>> {
        Box::pin(async { Ok(Some(Vec::new())) })
    }

    fn ask_job_run<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<Option<i64>, StoreError>> {
        Box::pin(async { Ok(Some(1)) })
    }

    fn send<'a>(&'a self, channel: &'a str, event: &'a str, payload: &'a str) -> Boxed<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if !self.state().database {
                return Err(StoreError::Unavailable("secret host".into()));
            }
            if event == "refused" {
                let (sqlstate, message) = ("22023".into(), "no such thing may be sent".into());
                return Err(StoreError::Refused { sqlstate, message, hint: None });
            }
            self.sent.lock().expect("whole").push((channel.into(), event.into(), payload.into()));
            Ok(())
        })
    }

    fn disconnect<'a>(&'a self, _user: &'a str, _reason: &'a str) -> Boxed<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn ping(&self) -> Boxed<'_, Result<(), StoreError>> {
        let there = self.state().database;
        Box::pin(async move { if there { Ok(()) } else { Err(StoreError::Unavailable("secret host".into())) } })
    }
}

/// The data of the rows of one channel, as a view that shows them all.
pub fn all_of(channel: &'static str) -> impl Fn(&[Row]) -> Result<String, ReadError> + Send + Sync {
    move |rows| {
        let data: Vec<&str> = rows.iter().filter(|r| r.channel == channel).map(|r| &*r.data).collect();
        Ok(format!("[{}]", data.join(",")))
    }
}

pub fn distinct<T: std::hash::Hash + Eq + Clone>(items: &[T]) -> usize {
    items.iter().cloned().collect::<HashSet<_>>().len()
}
