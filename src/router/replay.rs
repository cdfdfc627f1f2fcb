//! Events that left the hub's memory, read from the log for those who resume: one scan for all who wait,
//! never one per client.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::route::{Routed, route};
use super::routing::Routing;
use super::source::Shared;
use crate::domain::{
    ChannelName, Cursor, LogRow, Message, Op, Position, ReplayError, Replayed, Snapshot, Stamp, Target,
};
use crate::store::{LogReach, StoreError};

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
                state.waiting.retain(|r| !r.answer.is_closed());
                state.running = !state.waiting.is_empty();
                std::mem::take(&mut state.waiting)
            };
            if requests.is_empty() {
                return;
            }
            self.shared.stats.log_scans.fetch_add(1, Relaxed);
            let again = Scan::new(requests).run(&self.shared).await;
            self.state.lock().expect("no holder of this lock panics").waiting.extend(again);
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

    /// The clients that are too far behind are told so; those that only shared the scan with them are returned.
    async fn run(mut self, shared: &Arc<Shared>) -> Vec<Request> {
        // First whether it is worth while: whoever is behind the horizon would only find that out at the end.
        match shared.store.log_reach().await {
            Ok(reach) => self.refuse(&reach),
            Err(_) => return self.answer_all(Err(ReplayError::Unavailable)),
        }
        if self.requests.is_empty() {
            return Vec::new();
        }
        match self.read(shared).await {
            // And again: TRUNCATE is not MVCC-safe.
            Ok(()) => match shared.store.log_reach().await {
                Ok(reach) => {
                    self.refuse(&reach);
                    self.answer_all(Ok(()))
                }
                Err(_) => self.answer_all(Err(ReplayError::Unavailable)),
            },
            Err(ReplayError::TooMany(limit)) => {
                let all = self.requests.into_values().flatten();
                let (furthest, rest): (Vec<_>, Vec<_>) = all.partition(|r| r.from.position.prev == self.after);
                furthest.into_iter().for_each(|r| r.answer(Err(ReplayError::TooMany(limit))));
                rest.into_iter().map(Request::anew).collect()
            }
            Err(error) => self.answer_all(Err(error)),
        }
    }

    fn answer_all(self, outcome: Result<(), ReplayError>) -> Vec<Request> {
        for mut r in self.requests.into_values().flatten() {
            let found = outcome.clone().map(|()| r.found());
            r.answer(found);
        }
        Vec::new()
    }

    /// Answers those to whom the log does not reach back.
    fn refuse(&mut self, reach: &LogReach) {
        let gone = |r: &mut Request| {
            reach.incarnation != r.from.incarnation || r.from.position.prev.overrun_by(reach.horizon, &reach.now)
        };
        for requests in self.requests.values_mut() {
            requests.extract_if(.., gone).for_each(|r| r.answer(Err(ReplayError::Reset)));
        }
        self.requests.retain(|_, requests| !requests.is_empty());
    }

    async fn read(&mut self, shared: &Arc<Shared>) -> Result<(), ReplayError> {
        let routing = shared.routing();
        let max = shared.config.replay_rows_max;
        let (after, upto) = (self.after.clone(), self.upto.clone());
        let mut broken_off = false;
        let read = shared.store.log_after(&after, &upto, max as i64 + 1, |row| {
            self.offer(&routing, &row, shared.config.message_bytes_max);
            if self.wanting() {
                return ControlFlow::Continue(());
            }
            broken_off = true;
            ControlFlow::Break(())
        });
        match read.await {
            Ok(rows) if rows > max && !broken_off => Err(ReplayError::TooMany(max)),
            Ok(_) => Ok(()),
            Err(StoreError::Timeout) => Err(ReplayError::TooMany(max)),
            Err(error) => {
                if !matches!(error, StoreError::Unavailable(_)) {
                    tracing::error!(%error, "router.replay: the log cannot be read");
                }
                Err(ReplayError::Unavailable)
            }
        }
    }

    fn wanting(&self) -> bool {
        self.requests.values().flatten().any(Request::wants_more)
    }

    fn offer(&mut self, routing: &Routing, row: &LogRow, bytes_max: usize) {
        if row.op == Op::Config {
            return;
        }
        route(routing, row, |routed| {
            let Routed::Message(message) = routed else { return };
            let message = message.within(bytes_max);
            match message.target.clone() {
                Target::One(channel) => {
                    for r in self.requests.get_mut(&channel).into_iter().flatten() {
                        r.take(&message);
                    }
                }
                Target::Family(pattern) => {
                    for r in self.requests.values_mut().flatten() {
                        if pattern.matches(r.channel.as_str()).is_some() {
                            r.take(&message);
                        }
                    }
                }
            }
        });
    }
}

impl Request {
    /// Takes a message that the client lacks and that was dispatched before it registered.
    fn take(&mut self, message: &Message) {
        let Stamp::Log { xid, id } = message.stamp else { return };
        if !message.replay || self.from.position.includes(xid, id) || !self.upto.includes(xid, id) {
            return;
        }
        // The place in our stream: of the drains that `upto` knows, the one this row came in.
        let (from, upto) = (&self.from.position, &self.upto);
        let (drain, prev, cur) = if from.cur.sees(xid) {
            (0, &from.prev, &from.cur)
        } else if upto.prev.sees(xid) {
            (1, &from.cur, &upto.prev)
        } else {
            (2, &upto.prev, &upto.cur)
        };
        if self.drains[drain].len() == self.limit {
            self.more = true;
            return;
        }
        let position = Position { prev: prev.clone(), cur: cur.clone(), id };
        self.drains[drain].push((message.clone(), position));
    }

    /// Rows come in id order, whatever drain they belong to: only a full list with nothing ahead of it is an end.
    fn wants_more(&self) -> bool {
        let full = |drain: usize| self.drains[drain].len() == self.limit;
        let first_is_empty = self.from.position.prev == self.from.position.cur;
        !(self.more && (full(0) || (first_is_empty && full(1))))
    }

    fn answer(self, answer: Answer) {
        // A client that has gone away needs none.
        let _ = self.answer.send(answer);
    }

    /// For another scan.
    fn anew(self) -> Self {
        Self { drains: Default::default(), more: false, ..self }
    }

    fn found(&mut self) -> Replayed {
        let mut found: Vec<_> = std::mem::take(&mut self.drains).into_iter().flatten().collect();
        let more = self.more || found.len() > self.limit;
        found.truncate(self.limit);
        (found, more)
    }
}
