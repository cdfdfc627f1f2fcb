//! The work of one connection, one piece after another.
//!
//! ```text
//!            push / reset                    queue empty
//!  idle ───────────────────────▶ running ───────────────────▶ idle        an idle connection has no task
//!                                   │ queue full: Pause; half empty again: resume_reading
//!                                   └── close: the task is aborted wherever it waits
//! ```
//!
//! Order: a client that subscribes and then unsubscribes ends unsubscribed. Bound: past `max` queued pieces the shard
//! stops reading, so a flood stays in the client's own socket.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::hub::{ConnId, Intake};

use super::Shared;
use super::stats::count;

/// What a dialect does with its pieces of work. The futures are dropped where they wait when the connection ends.
pub(super) trait Worker: Send + Sync + 'static {
    type Work: Send;

    fn shared(&self) -> &Shared;
    fn inbox(&self) -> &Inbox<Self::Work>;
    fn work(&self, conn: ConnId, work: Self::Work) -> impl Future<Output = ()> + Send;
    /// The stream began anew: every subscription starts over.
    fn start_over(&self, conn: ConnId) -> impl Future<Output = ()> + Send;
}

pub(super) struct Inbox<W>(Mutex<State<W>>);

struct State<W> {
    /// Known once the hub has adopted the connection; what comes earlier waits in the queue.
    conn: Option<ConnId>,
    queue: VecDeque<W>,
    running: Option<AbortHandle>,
    start_over: bool,
    paused: bool,
    closed: bool,
}

impl<W: Send> Inbox<W> {
    pub fn new() -> Self {
        Self(Mutex::new(State {
            conn: None,
            queue: VecDeque::new(),
            running: None,
            start_over: false,
            paused: false,
            closed: false,
        }))
    }

    /// Does a waiting piece of work fulfil this?
    pub fn any(&self, wanted: impl FnMut(&W) -> bool) -> bool {
        self.lock().queue.iter().any(wanted)
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // The state is whole between any two statements: a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection has its id: work may begin.
pub(super) fn attach<T: Worker>(worker: &Arc<T>, conn: ConnId) {
    let mut state = worker.inbox().lock();
    state.conn = Some(conn);
    start(worker, &mut state);
}

pub(super) fn push<T: Worker>(worker: &Arc<T>, work: T::Work) -> Intake {
    let mut state = worker.inbox().lock();
    if state.closed {
        return Intake::More;
    }
    state.queue.push_back(work);
    start(worker, &mut state);
    if state.queue.len() < worker.shared().config.inbox_max.max(1) {
        return Intake::More;
    }
    if !state.paused {
        count(&worker.shared().stats.pauses);
    }
    state.paused = true;
    Intake::Pause
}

/// Goes before what is queued; several at once are one.
pub(super) fn start_over<T: Worker>(worker: &Arc<T>) {
    let mut state = worker.inbox().lock();
    state.start_over = true;
    start(worker, &mut state);
}

pub(super) fn close<T: Worker>(worker: &T) {
    let running = {
        let mut state = worker.inbox().lock();
        state.closed = true;
        state.queue = VecDeque::new();
        state.running.take()
    };
    if let Some(task) = running {
        task.abort();
    }
}

fn start<T: Worker>(worker: &Arc<T>, state: &mut State<T::Work>) {
    let Some(conn) = state.conn else { return };
    if state.closed || state.running.is_some() || (state.queue.is_empty() && !state.start_over) {
        return;
    }
    // The task cannot take the lock, and so cannot end, before `running` is set.
    state.running = Some(worker.shared().runtime.spawn(run(worker.clone(), conn)).abort_handle());
}

async fn run<T: Worker>(worker: Arc<T>, conn: ConnId) {
    loop {
        enum Next<W> {
            StartOver,
            Work(W),
        }
        let (next, resume) = {
            let mut state = worker.inbox().lock();
            let next = if std::mem::take(&mut state.start_over) {
                Some(Next::StartOver)
            } else {
                state.queue.pop_front().map(Next::Work)
            };
            let resume = state.paused && state.queue.len() <= worker.shared().config.inbox_max / 2;
            if resume {
                state.paused = false;
            }
            if next.is_none() {
                // An idle connection holds no queue memory.
                state.queue = VecDeque::new();
                state.running = None;
            }
            (next, resume)
        };
        if resume {
            worker.shared().hub.resume_reading(conn);
        }
        match next {
            Some(Next::StartOver) => worker.start_over(conn).await,
            Some(Next::Work(work)) => worker.work(conn, work).await,
            None => return,
        }
    }
}
