//! Conditions of rules, asked of the database together.
//!
//! ```text
//!  ask ─▶ its rule's queue ─▶ fewer than `AT_ONCE` queries of this rule run: asked now
//!                         └─▶ they do: gathered, and asked together when one of them has ended
//! ```
//! An answer is never older than its question: what comes while a query runs waits for a later one. What several ask while
//! they wait is asked once. A rule has queues of its own, so that a slow one holds up nobody else's.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Stats;
use crate::store::{AccessRequest, Store};

/// Queries of one rule that run side by side: the second is there for those who come while the first is slow.
const AT_ONCE: usize = 2;
/// Questions of one query. All of them share its time-out.
const BATCH: usize = 250;

pub struct Asking {
    store: Store,
    stats: Arc<Stats>,
    queues: Mutex<HashMap<i32, Queue>>,
}

/// Of one rule; gone when nobody waits. Not longer than there are connections that subscribe.
#[derive(Default)]
struct Queue {
    running: usize,
    waiting: VecDeque<Question>,
}

struct Question {
    request: AccessRequest,
    answer: oneshot::Sender<Option<bool>>,
}

impl Asking {
    pub fn new(store: Store, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self { store, stats, queues: Mutex::default() })
    }

    /// Does the rule's condition hold? None: the database could not be asked.
    pub async fn ask(self: &Arc<Self>, request: AccessRequest) -> Option<bool> {
        let (answer, answered) = oneshot::channel();
        let rule = request.rule;
        let begins = {
            let mut queues = self.queues();
            let queue = queues.entry(rule).or_default();
            queue.waiting.push_back(Question { request, answer });
            let begins = queue.running < AT_ONCE;
            queue.running += usize::from(begins);
            begins
        };
        if begins {
            // Not the asker's own future: it may leave, and others wait for the same query.
            tokio::spawn(self.clone().run(rule));
        }
        answered.await.ok().flatten()
    }

    async fn run(self: Arc<Self>, rule: i32) {
        while let Some(batch) = self.next(rule) {
            self.answer(rule, batch).await;
        }
    }

    /// None: nobody waits, and this runner has ended.
    fn next(&self, rule: i32) -> Option<Vec<Question>> {
        let mut queues = self.queues();
        let queue = queues.get_mut(&rule)?;
        queue.waiting.retain(|question| !question.answer.is_closed());
        let n = queue.waiting.len().min(BATCH);
        if n > 0 {
            return Some(queue.waiting.drain(..n).collect());
        }
        queue.running -= 1;
        if queue.running == 0 {
            queues.remove(&rule);
        }
        None
    }

    async fn answer(&self, rule: i32, batch: Vec<Question>) {
        let mut places: HashMap<AccessRequest, usize> = HashMap::new();
        let mut requests = Vec::new();
        let mut of = Vec::with_capacity(batch.len());
        for Question { request, answer } in batch {
            let place = *places.entry(request).or_insert_with_key(|request| {
                requests.push(request.clone());
                requests.len() - 1
            });
            of.push((place, answer));
        }
        let allowed = self.store.check_access(&requests).await;
        if let Err(error) = &allowed {
            self.stats.rules_failed.fetch_add(1, Relaxed);
            tracing::warn!(%error, rule, "auth.access: a rule could not be asked");
        }
        for (place, answer) in of {
            let _ = answer.send(allowed.as_ref().ok().map(|allowed| allowed[place])); // who asked may have left
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<i32, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
