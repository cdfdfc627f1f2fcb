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

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::hub::{ConnId, Intake, close};

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
    /// None: idle. Most are, and hold no memory for it.
    busy: Option<Box<Busy<W>>>,
    closed: bool,
}

struct Busy<W> {
    queue: VecDeque<W>,
    running: Option<AbortHandle>,
    start_over: bool,
    paused: bool,
    /// For work under way that another makes needless.
    look: Arc<Notify>,
}

impl<W> Default for Busy<W> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), running: None, start_over: false, paused: false, look: Arc::default() }
    }
}

impl<W: Send> Inbox<W> {
    pub fn new() -> Self {
        Self(Mutex::new(State { conn: None, busy: None, closed: false }))
    }

    /// Does a waiting piece of work fulfil this?
    pub fn any(&self, wanted: impl FnMut(&W) -> bool) -> bool {
        self.lock().busy.as_ref().is_some_and(|busy| busy.queue.iter().any(wanted))
    }

    /// What `look` notifies: for work under way, which looks again then whether it is still wanted.
    pub fn looks(&self) -> Arc<Notify> {
        // A closed connection's task is aborted: it waits for nothing.
        self.lock().busy.as_ref().map(|busy| busy.look.clone()).unwrap_or_default()
    }

    pub fn look(&self) {
        if let Some(busy) = &self.lock().busy {
            busy.look.notify_waiters();
        }
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
    state.busy.get_or_insert_default().queue.push_back(work);
    start(worker, &mut state);
    let Some(busy) = &mut state.busy else { return Intake::More };
    if busy.queue.len() < worker.shared().config.inbox_max.max(1) {
        return Intake::More;
    }
    if !busy.paused {
        count(&worker.shared().stats.pauses);
    }
    busy.paused = true;
    Intake::Pause
}

/// Goes before what is queued; several at once are one.
pub(super) fn start_over<T: Worker>(worker: &Arc<T>) {
    let mut state = worker.inbox().lock();
    if !state.closed {
        state.busy.get_or_insert_default().start_over = true;
        start(worker, &mut state);
    }
}

pub(super) fn close<T: Worker>(worker: &T) {
    let running = {
        let mut state = worker.inbox().lock();
        state.closed = true;
        state.busy.take().and_then(|busy| busy.running)
    };
    if let Some(task) = running {
        task.abort();
    }
}

fn start<T: Worker>(worker: &Arc<T>, state: &mut State<T::Work>) {
    let (Some(conn), Some(busy)) = (state.conn, &mut state.busy) else { return };
    if busy.running.is_none() {
        // The task cannot take the lock, and so cannot end, before `running` is set.
        busy.running = Some(worker.shared().runtime.spawn(run(worker.clone(), conn)).abort_handle());
    }
}

/// A bug in the work of one connection must not leave it open and deaf.
struct Panicked<'a>(&'a Shared, ConnId);

impl Drop for Panicked<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.hub.close(self.1, close::INTERNAL, "internal error: reconnect and resume");
        }
    }
}

async fn run<T: Worker>(worker: Arc<T>, conn: ConnId) {
    let _guard = Panicked(worker.shared(), conn);
    loop {
        enum Next<W> {
            StartOver,
            Work(W),
        }
        let (next, resume) = {
            let mut state = worker.inbox().lock();
            // Closed meanwhile.
            let Some(busy) = &mut state.busy else { return };
            let next = if std::mem::take(&mut busy.start_over) {
                Some(Next::StartOver)
            } else {
                busy.queue.pop_front().map(Next::Work)
            };
            let resume = busy.paused && busy.queue.len() <= worker.shared().config.inbox_max / 2;
            if resume {
                busy.paused = false;
            }
            if next.is_none() {
                state.busy = None;
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
