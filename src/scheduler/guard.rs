//! One job's runs: never two at once, each counted.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::job::Job;

#[derive(Clone, Debug, Default)]
pub struct JobStats {
    pub name: String,
    pub cron: String,
    /// Runs that ended, the failed ones included.
    pub runs: u64,
    pub failed: u64,
    /// Ticks that found the run before still going.
    pub skipped: u64,
    pub running: bool,
    pub last_duration_ms: Option<u64>,
    /// Of the last run, if it failed.
    pub last_error: Option<String>,
}

pub(super) struct Guard {
    job: Job,
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Default)]
struct State {
    closed: bool,
    running: Option<AbortHandle>,
    skipped_in_this_run: u64,
    stats: JobStats,
}

impl Guard {
    pub fn new(job: Job) -> Self {
        let stats = JobStats { name: job.name().to_owned(), cron: job.cron().to_owned(), ..Default::default() };
        Self { job, state: Mutex::new(State { stats, ..Default::default() }), ended: Notify::new() }
    }

    pub fn name(&self) -> &str {
        self.job.name()
    }

    pub fn stats(&self) -> JobStats {
        let state = self.lock();
        JobStats { running: state.running.is_some(), ..state.stats.clone() }
    }

    /// Starts a run unless one is going or the guard is closed. Does not wait for it.
    pub fn tick(self: Arc<Self>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if state.running.is_some() {
            state.stats.skipped += 1;
            state.skipped_in_this_run += 1;
            if state.skipped_in_this_run == 1 {
                tracing::warn!(job = self.name(), "the run before is still going: this one is skipped");
            }
            return;
        }
        // A task of its own: a panic ends it, not the guard.
        let run = tokio::spawn(self.job.run());
        state.running = Some(run.abort_handle());
        state.skipped_in_this_run = 0;
        drop(state);
        tokio::spawn(async move {
            let started = Instant::now();
            let outcome = match run.await {
                Ok(outcome) => outcome,
                Err(e) if e.is_cancelled() => Err("abandoned at shutdown".to_owned()),
                Err(_) => Err("panicked".to_owned()),
            };
            self.end(started.elapsed(), outcome.err());
        });
    }

    /// No run starts from now on.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Ends when no run is going.
    pub async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Registered before looking, or a run that ends in between would be waited for for ever.
            ended.as_mut().enable();
            if self.lock().running.is_none() {
                return;
            }
            ended.await;
        }
    }

    /// Cancels a run that goes on; was there one?
    pub fn abandon(&self) -> bool {
        self.lock().running.take().map(|run| run.abort()).is_some()
    }

    fn end(&self, took: Duration, error: Option<String>) {
        let took_ms = took.as_millis() as u64;
        match &error {
            None => tracing::debug!(job = self.name(), took_ms, "job done"),
            Some(error) => tracing::error!(job = self.name(), took_ms, error, "job failed"),
        }
        let mut state = self.lock();
        state.running = None;
        state.stats.runs += 1;
        state.stats.failed += u64::from(error.is_some());
        state.stats.last_duration_ms = Some(took_ms);
        state.stats.last_error = error;
        drop(state);
        self.ended.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(gate: &Arc<Notify>) -> Arc<Guard> {
        let gate = gate.clone();
        Arc::new(Guard::new(Job::new("held", "* * * * * *", move || {
            let gate = gate.clone();
            async move {
                gate.notified().await;
                Ok::<_, String>(())
            }
        })))
    }

    #[tokio::test]
    async fn a_tick_during_a_run_is_skipped_and_counted() {
        let gate = Arc::new(Notify::new());
        let guard = held(&gate);
        for _ in 0..3 {
            guard.clone().tick();
        }
        let stats = guard.stats();
        assert_eq!((stats.running, stats.runs, stats.skipped), (true, 0, 2));
        gate.notify_one();
        guard.idle().await;
        gate.notify_one();
        guard.clone().tick();
        guard.idle().await;
        let stats = guard.stats();
        assert_eq!((stats.running, stats.runs, stats.skipped, stats.failed), (false, 2, 2, 0));
    }

    #[tokio::test]
    async fn a_failed_run_and_a_panic_are_kept_and_the_next_run_goes_on() {
        let turn = std::sync::atomic::AtomicU32::new(0);
        let guard = Arc::new(Guard::new(Job::new("shaky", "* * * * * *", move || {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                match turn {
                    0 => Err("no such table"),
                    1 => panic!("a bug of the job"),
                    _ => Ok(()),
                }
            }
        })));
        for (runs, failed, error) in [(1, 1, Some("no such table")), (2, 2, Some("panicked")), (3, 2, None)] {
            guard.clone().tick();
            guard.idle().await;
            let stats = guard.stats();
            assert_eq!((stats.runs, stats.failed, stats.last_error.as_deref()), (runs, failed, error));
        }
    }

    #[tokio::test]
    async fn a_closed_guard_starts_nothing_and_a_run_can_be_abandoned() {
        let gate = Arc::new(Notify::new());
        let guard = held(&gate);
        guard.clone().tick();
        guard.close();
        guard.clone().tick();
        assert_eq!(guard.stats().skipped, 0);
        assert!(guard.abandon());
        guard.idle().await;
        assert!(!guard.abandon());
        assert!(!guard.stats().running);
    }
}
