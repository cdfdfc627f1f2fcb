//! Conditions of rules, asked of the database together.
//!
//! ```text
//!  ask ─▶ its rule's queue ─▶ fewer than `AT_ONCE` queries of this rule run: asked now
//!                         └─▶ they do: gathered, and asked together when one of them has ended
//! ```
//! An answer is never older than its question: what comes while a query runs waits for a later one. What several ask while
//! they wait is asked once. A rule has queues of its own, so that a slow one holds up nobody else's; and a query ends after a part
//! of what a statement may take, so that a slow question spoils no other: who had no time is asked about first in the next.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::Stats;
use crate::store::{AccessAnswer, AccessRequest, Store, StoreError};

/// Queries of one rule that run side by side: the second is there for those who come while the first is slow.
const AT_ONCE: usize = 2;
/// Questions of one query.
const BATCH: usize = 250;
/// The part of a statement's time after which a query begins no other question; the rest is the last one's.
const PART: u64 = 5;

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
    since: Instant,
}

impl Asking {
    pub fn new(store: Store, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self { store, stats, queues: Mutex::default() })
    }

    /// Does the rule's condition hold? None: the database could not be asked, or not in time.
    pub async fn ask(self: &Arc<Self>, request: AccessRequest) -> Option<bool> {
        let (answer, answered) = oneshot::channel();
        let rule = request.rule;
        let begins = {
            let mut queues = self.queues();
            let queue = queues.entry(rule).or_default();
            queue.waiting.push_back(Question { request, answer, since: Instant::now() });
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
        let _guard = Panicked(&self, rule);
        while let Some(batch) = self.next(rule) {
            self.answer(rule, batch).await;
        }
    }

    /// None: nobody waits, and this runner has ended.
    fn next(&self, rule: i32) -> Option<Vec<Question>> {
        let mut queues = self.queues();
        let queue = queues.get_mut(&rule)?;
        // Nobody waits for ever behind others who are slow.
        let patience = self.store.patience();
        queue.waiting.retain(|question| !question.answer.is_closed() && question.since.elapsed() < patience);
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
        let mut places: HashMap<&AccessRequest, usize> = HashMap::new();
        let mut requests = Vec::new();
        let mut of = Vec::with_capacity(batch.len());
        for Question { request, .. } in &batch {
            of.push(*places.entry(request).or_insert_with(|| {
                requests.push(request.clone());
                requests.len() - 1
            }));
        }
        let within_ms = (self.store.config().statement_timeout_ms / PART).clamp(1, i32::MAX as u64) as i32;
        let answers = self.store.check_access(rule, &requests, within_ms).await;
        // Who is not answered is told so by the end of the channel.
        let answers = answers.inspect_err(|error| not_asked(&self.stats, rule, error)).unwrap_or_default();
        let mut again = Vec::new();
        for (question, place) in batch.into_iter().zip(of) {
            let said = match answers.get(place) {
                Some(AccessAnswer::Allowed) => true,
                Some(AccessAnswer::Denied) => false,
                Some(AccessAnswer::Unasked) => {
                    again.push(question);
                    continue;
                }
                Some(AccessAnswer::Failed) => {
                    not_asked(&self.stats, rule, &StoreError::Timeout);
                    continue;
                }
                None => continue,
            };
            let _ = question.answer.send(Some(said)); // who asked may have left
        }
        if let Some(queue) = self.queues().get_mut(&rule) {
            again.into_iter().rev().for_each(|question| queue.waiting.push_front(question));
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<i32, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn not_asked(stats: &Stats, rule: i32, error: &StoreError) {
    stats.rules_failed.fetch_add(1, Relaxed);
    tracing::warn!(%error, rule, "auth.access: a rule could not be asked");
}

/// After a bug nobody waits for a runner that is gone.
struct Panicked<'a>(&'a Asking, i32);

impl Drop for Panicked<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queues().remove(&self.1);
        }
    }
}
