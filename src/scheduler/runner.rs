//! The one who runs the jobs of table `rowcast.job`, however many instances there are.
//!
//! ```text
//!  each second ─▶ session? ─▶ leads? ── no ──▶ try the lock (1381257, 6)
//!                              yes ─▶ look: clock, jobs, asked runs ─▶ due? ─▶ settle the tick ─▶ run (a task) ─▶ finish
//!                                                                        └─ too late, or still running ─▶ recorded
//! ```
//! A tick is taken by an update of `job.settled_at`: even two who both believe to lead (a half-open connection) run it once. A
//! session that fails gives the lead up; whoever gets the lock next records what was missed meanwhile. What runs goes on, and
//! the database keeps another run of the same job from beginning (`sql/jobs/hold.sql`).
//!
//! Polled each second and not rung for: the leader must ask anyway whether its session, and so its lock, still lives.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::cron::Line;
use super::job::Job;
use crate::store::{JobEnd, JobRow, JobSession, JobsSeen, Store, StoreError, Unrun};

const BEAT: &str = "* * * * * *";
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// The end of a run is written, even if the database is away for a moment.
const FINISH_TRIES: u32 = 5;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether this instance runs jobs; of those that do, one at a time does.
    pub enabled: bool,
    /// A tick that is later than this is recorded as missed, not run.
    pub late_ms_max: u64,
    /// Runs of all jobs at the same time; each has a connection of its own. Others wait their turn.
    pub runs_at_once_max: usize,
    /// Runs that are kept of each job.
    pub runs_kept_max: i64,
    /// A leader that has asked the database nothing for so long (it does each second) is ended and succeeded.
    pub leader_stale_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, late_ms_max: 60_000, runs_at_once_max: 4, runs_kept_max: 1_000, leader_stale_ms: 15_000 }
    }
}

/// How runs ended since the process began.
#[derive(Debug, Default)]
pub struct Counts {
    pub leads: AtomicBool,
    pub ok: AtomicU64,
    pub failed: AtomicU64,
    pub timed_out: AtomicU64,
    pub skipped: AtomicU64,
    /// Ticks, not runs.
    pub missed: AtomicU64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Runner(Arc<Inner>);

struct Inner {
    store: Store,
    config: Config,
    /// rowcast's own.
    core: Vec<Job>,
    counts: Arc<Counts>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<JobSession>,
    leads: bool,
    stopped: bool,
    /// What was said of the database last, so that it is not said each second.
    trouble: Option<String>,
    lines: HashMap<i32, Read>,
    running: HashMap<i32, Run>,
    trimmed: Option<Instant>,
}

struct Run {
    id: i64,
    task: JoinHandle<()>,
}

/// A job's line as it was read last.
struct Read {
    cron: String,
    timezone: String,
    line: Result<Line, String>,
}

impl Runner {
    pub fn new(store: Store, config: Config, core: Vec<Job>) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner { store, config, core, counts: Arc::default(), state }))
    }

    pub fn counts(&self) -> Arc<Counts> {
        self.0.counts.clone()
    }

    /// To be given to the clock.
    pub fn beat(&self) -> Job {
        let inner = self.0.clone();
        Job::new("jobs", BEAT, move || {
            let inner = inner.clone();
            async move {
                inner.beat().await;
                Ok::<(), String>(())
            }
        })
    }

    /// Begins nothing more, waits up to `grace` for what runs, gives the lead away. Runs that go on then are abandoned, and
    /// recorded so.
    pub async fn stop(&self, grace: Duration) {
        let inner = &self.0;
        let (session, running) = {
            let mut state = inner.state.lock().await;
            state.stopped = true;
            (state.session.take(), std::mem::take(&mut state.running))
        };
        let until = tokio::time::Instant::now() + grace;
        for (job, Run { id, mut task }) in running {
            if tokio::time::timeout_at(until, &mut task).await.is_err() {
                task.abort();
                tracing::warn!(job, run = id, "job abandoned at shutdown");
                inner.finish(id, "failed", Some("abandoned: the server was stopped")).await;
            }
        }
        inner.counts.leads.store(false, Relaxed);
        if let Some(session) = session {
            session.close().await;
        }
    }
}

impl Inner {
    async fn beat(self: &Arc<Self>) {
        let mut state = self.state.lock().await;
        if state.stopped {
            return;
        }
        match self.step(&mut state).await {
            Ok(()) if state.trouble.take().is_some() => tracing::info!("jobs: the database is there again"),
            Ok(()) => {}
            Err(error) => {
                // The lock went with the session, or goes when the server notices.
                state.session = None;
                state.leads = false;
                let error = error.to_string();
                if state.trouble.as_ref() != Some(&error) {
                    tracing::warn!(error, "jobs cannot be run now");
                    state.trouble = Some(error);
                }
            }
        }
        self.counts.leads.store(state.leads, Relaxed);
    }

    async fn step(self: &Arc<Self>, state: &mut State) -> Result<(), StoreError> {
        if state.session.is_none() {
            state.session = Some(self.store.job_session().await?);
        }
        let State { session, leads, lines, running, trimmed, .. } = state;
        let session = session.as_mut().expect("made above");
        if !*leads {
            if !session.lead(self.config.leader_stale_ms).await? {
                return Ok(());
            }
            *leads = true;
            tracing::info!(instance = session.instance(), "this instance runs the jobs now");
        }
        let seen = session.look().await?;
        running.retain(|_, run| !run.task.is_finished());
        lines.retain(|id, _| seen.jobs.iter().any(|job| job.id == *id));
        for job in &seen.jobs {
            self.tend_job(session, lines, running, job, &seen).await?;
        }
        if trimmed.is_none_or(|at| at.elapsed() >= TRIM_EVERY) {
            session.trim(self.config.runs_kept_max).await?;
            *trimmed = Some(Instant::now());
        }
        Ok(())
    }

    async fn tend_job(
        self: &Arc<Self>,
        session: &mut JobSession,
        lines: &mut HashMap<i32, Read>,
        running: &mut HashMap<i32, Run>,
        job: &JobRow,
        seen: &JobsSeen,
    ) -> Result<(), StoreError> {
        if let Some((run, _)) = seen.waiting.iter().find(|(_, of)| *of == job.id)
            && !running.contains_key(&job.id)
            && running.len() < self.config.runs_at_once_max
            && session.start_waiting(*run).await?
        {
            running.insert(job.id, self.start(job, *run));
        }
        let same = |read: &&Read| read.cron == job.cron && read.timezone == job.timezone;
        if lines.get(&job.id).filter(same).is_none() {
            let line = Line::parse(&job.cron, &job.timezone);
            lines.insert(job.id, Read { cron: job.cron.clone(), timezone: job.timezone.clone(), line });
        }
        let line = match &lines[&job.id].line {
            Ok(line) => line,
            Err(why) => {
                if job.problem.as_ref() != Some(why) {
                    tracing::warn!(job = job.name, why, "a job that cannot be read never runs");
                    session.set_problem(job.id, Some(why)).await?;
                }
                return Ok(());
            }
        };
        if job.problem.is_some() {
            session.set_problem(job.id, None).await?;
        }
        let Some(due) = line.due(time(job.settled_at_us), time(seen.now_us)) else { return Ok(()) };
        let late = time(seen.now_us) - due.tick > TimeDelta::milliseconds(self.config.late_ms_max as i64);
        let missed = if late { Some((due.tick, due.earlier + 1)) } else { due.before.map(|at| (at, due.earlier)) };
        if let Some((upto, ticks)) = missed {
            let unrun = Unrun { outcome: "missed", ticks, why: "no instance ran jobs at that time" };
            if session.settle(job.id, upto.timestamp_micros(), Some(unrun)).await?.is_some() {
                tracing::warn!(job = job.name, ticks, upto = %upto, "job runs were missed");
                self.counts.missed.fetch_add(ticks as u64, Relaxed);
            }
        }
        if late {
            return Ok(());
        }
        let tick_us = due.tick.timestamp_micros();
        if running.contains_key(&job.id) {
            let unrun = Unrun { outcome: "skipped_overlap", ticks: 1, why: "the run before was still going" };
            if session.settle(job.id, tick_us, Some(unrun)).await?.is_some() {
                self.counts.skipped.fetch_add(1, Relaxed);
            }
        } else if running.len() < self.config.runs_at_once_max
            && let Some(run) = session.settle(job.id, tick_us, None).await?
        {
            running.insert(job.id, self.start(job, run));
        }
        Ok(())
    }

    /// A task of its own, watched by another: a panic ends the run, not the runner.
    fn start(self: &Arc<Self>, job: &JobRow, run: i64) -> Run {
        let (inner, job) = (self.clone(), job.clone());
        let task = tokio::spawn(async move {
            let (outcome, error) = match AbortOnDrop(tokio::spawn(inner.clone().work(job.clone()))).join().await {
                Ok(JobEnd::Ok) => ("ok", None),
                Ok(JobEnd::TimedOut) => ("timed_out", Some(format!("ended after {} ms", job.timeout_ms))),
                Ok(JobEnd::Overlap) => ("skipped_overlap", Some("a run of another instance was still going".into())),
                Ok(JobEnd::Failed(why)) => ("failed", Some(why)),
                Err(_) => ("failed", Some("panicked: the log says where".into())),
            };
            inner.count(outcome);
            if let Some(error) = &error {
                tracing::warn!(job = job.name, outcome, error, "job did not succeed");
            }
            inner.finish(run, outcome, error.as_deref()).await;
        });
        Run { id: run, task }
    }

    async fn work(self: Arc<Self>, job: JobRow) -> JobEnd {
        if !job.core {
            return self.store.run_job_sql(job.id, job.timeout_ms).await;
        }
        let Some(own) = self.core.iter().find(|own| own.name() == job.name) else {
            return JobEnd::Failed("this instance does not have it: are all instances configured the same?".into());
        };
        let within = Duration::from_millis(job.timeout_ms as u64);
        match tokio::time::timeout(within, own.run()).await {
            Ok(Ok(())) => JobEnd::Ok,
            Ok(Err(why)) => JobEnd::Failed(why),
            Err(_) => JobEnd::TimedOut,
        }
    }

    async fn finish(&self, run: i64, outcome: &str, error: Option<&str>) {
        for again in 1..=FINISH_TRIES {
            match self.store.finish_job_run(run, outcome, error).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, run, again, "the end of a job's run cannot be recorded"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn count(&self, outcome: &str) {
        let counter = match outcome {
            "ok" => &self.counts.ok,
            "timed_out" => &self.counts.timed_out,
            "skipped_overlap" => &self.counts.skipped,
            _ => &self.counts.failed,
        };
        counter.fetch_add(1, Relaxed);
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn time(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).unwrap_or_default()
}
