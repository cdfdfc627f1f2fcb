//! Events that left the hub's memory, read from the log for those who resume: one scan for all who wait,
//! never one per client.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::route::{Routed, route};
use super::routing::Routing;
use super::source::Shared;
use crate::domain::{ChannelName, Cursor, LogRow, Message, Op, Position, ReplayError, Replayed, Snapshot, Target};
use crate::store::StoreError;

type Answer = Result<Replayed, ReplayError>;

pub struct Replayer {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: bool,
    waiting: Vec<Request>,
}

struct Request {
    channel: ChannelName,
    from: Cursor,
    upto: Position,
    limit: usize,
    /// What was found, by the drain that it came in: the client's own unfinished one, those up to
    /// our `upto.prev`, and our unfinished one. Each is cut at `limit` by itself, for none may be sent before
    /// the one ahead of it is complete.
    drains: [Vec<(Message, Position)>; 3],
    more: bool,
    answer: oneshot::Sender<Answer>,
}

impl Replayer {
    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared, state: Mutex::default() })
    }

    /// The channel's events after `from` and up to `upto`, at most `limit`, and whether there are more.
    pub async fn replay(
        self: &Arc<Self>,
        channel: &ChannelName,
        from: &Cursor,
        upto: &Position,
        limit: usize,
    ) -> Answer {
        let (answer, waiting) = oneshot::channel();
        {
            let mut state = self.state.lock().expect("no holder of this lock panics");
            state.waiting.push(Request {
                channel: channel.clone(),
                from: from.clone(),
                upto: upto.clone(),
                limit,
                drains: Default::default(),
                more: false,
                answer,
            });
            if !state.running {
                state.running = true;
                tokio::spawn(self.clone().run());
            }
        }
        waiting.await.unwrap_or(Err(ReplayError::Unavailable))
    }

    async fn run(self: Arc<Self>) {
        loop {
            let requests = {
                let mut state = self.state.lock().expect("no holder of this lock panics");
                state.running = !state.waiting.is_empty();
                std::mem::take(&mut state.waiting)
            };
            if requests.is_empty() {
                return;
            }
            self.shared.stats.log_scans.fetch_add(1, Relaxed);
            Scan::new(requests).run(&self.shared).await;
        }
    }
}

/// One pass over the log for a set of requests.
struct Scan {
    requests: HashMap<ChannelName, Vec<Request>>,
    /// The oldest P and the newest C of all: snapshots of one primary are nested.
    after: Arc<Snapshot>,
    upto: Arc<Snapshot>,
}

impl Scan {
    fn new(all: Vec<Request>) -> Self {
        // The caller passes at least one.
        let first = &all[0];
        let (mut after, mut upto) = (first.from.position.prev.clone(), first.upto.cur.clone());
        for r in &all {
            if after.covers(&r.from.position.prev) {
                after = r.from.position.prev.clone();
            }
            if r.upto.cur.covers(&upto) {
                upto = r.upto.cur.clone();
            }
        }
        let mut requests: HashMap<_, Vec<_>> = HashMap::new();
        for r in all {
            requests.entry(r.channel.clone()).or_default().push(r);
        }
        Self { requests, after, upto }
    }

    async fn run(mut self, shared: &Arc<Shared>) {
        let outcome = self.read(shared).await;
        let reach = match outcome {
            Ok(()) => shared.store.log_reach().await.map_err(|_| ReplayError::Unavailable),
            Err(error) => Err(error),
        };
        for mut r in self.requests.into_values().flatten() {
            let overrun = |reach: &crate::store::LogReach| {
                reach.incarnation != r.from.incarnation || r.from.position.prev.overrun_by(reach.horizon, &reach.now)
            };
            let replayed = match &reach {
                Err(error) => Err(error.clone()),
                Ok(reach) if overrun(reach) => Err(ReplayError::Reset),
                Ok(_) => Ok(r.found()),
            };
            // A client that has gone away needs no answer.
            let _ = r.answer.send(replayed);
        }
    }

    async fn read(&mut self, shared: &Arc<Shared>) -> Result<(), ReplayError> {
        let routing = shared.routing();
        let page_rows = shared.config.replay_page_rows;
        let (mut beyond, mut scanned) = (0, 0);
        loop {
            let page = shared.store.log_page(&self.after, beyond, &self.upto, page_rows as i64).await;
            let page = page.map_err(|error| {
                if !matches!(error, StoreError::Unavailable(_)) {
                    tracing::error!(%error, "router.replay: the log cannot be read");
                }
                ReplayError::Unavailable
            })?;
            scanned += page.len();
            if scanned > shared.config.replay_rows_max {
                return Err(ReplayError::TooMany(shared.config.replay_rows_max));
            }
            for row in &page {
                self.offer(&routing, row);
            }
            match page.last() {
                Some(row) if page.len() == page_rows && self.wanting() => beyond = row.id,
                _ => return Ok(()),
            }
        }
    }

    fn wanting(&self) -> bool {
        self.requests.values().flatten().any(|r| r.drains[0].len() < r.limit)
    }

    fn offer(&mut self, routing: &Routing, row: &LogRow) {
        if row.op == Op::Config {
            return;
        }
        route(routing, row, |routed| {
            let Routed::Message(message) = routed else { return };
            match message.target.clone() {
                Target::One(channel) => {
                    for r in self.requests.get_mut(&channel).into_iter().flatten() {
                        r.take(row, &message);
                    }
                }
                Target::Family(pattern) => {
                    for r in self.requests.values_mut().flatten() {
                        if pattern.matches(r.channel.as_str()).is_some() {
                            r.take(row, &message);
                        }
                    }
                }
            }
        });
    }
}

impl Request {
    /// Takes a message that the client lacks and that was dispatched before it registered.
    fn take(&mut self, row: &LogRow, message: &Message) {
        if !message.replay || self.from.position.includes(row.xid, row.id) || !self.upto.includes(row.xid, row.id) {
            return;
        }
        // The place in our stream: of the drains that `upto` knows, the one this row came in.
        let (from, upto) = (&self.from.position, &self.upto);
        let (drain, prev, cur) = if from.cur.sees(row.xid) {
            (0, &from.prev, &from.cur)
        } else if upto.prev.sees(row.xid) {
            (1, &from.cur, &upto.prev)
        } else {
            (2, &upto.prev, &upto.cur)
        };
        if self.drains[drain].len() == self.limit {
            self.more = true;
            return;
        }
        let position = Position { prev: prev.clone(), cur: cur.clone(), id: row.id };
        self.drains[drain].push((message.clone(), position));
    }

    fn found(&mut self) -> Replayed {
        let mut found: Vec<_> = std::mem::take(&mut self.drains).into_iter().flatten().collect();
        let more = self.more || found.len() > self.limit;
        found.truncate(self.limit);
        (found, more)
    }
}
