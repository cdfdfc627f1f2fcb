//! Cron inside the process: named jobs on tokio-cron-scheduler, guarded.
//!
//! ```text
//!   the crate's clock (looks each 500 ms) ──tick──▶ Guard ── free ──▶ run ──▶ stats, log
//!                                                     └─ still running, or shutting down ──▶ skipped, counted
//! ```
//! The crate starts a job at each tick whatever the run before does, and its shutdown forgets what runs: both are
//! ours. A run that fails or panics ends that run only. Cron lines have six fields, seconds first, and are UTC.
//!
//! Jobs of this process alone are given to `Scheduler`. Those of table `rowcast.job`, run once however many instances there
//! are, are the `Runner`'s: one job of the `Scheduler` that looks each second.

mod cron;
mod guard;
mod job;
mod runner;

pub use guard::JobStats;
pub use job::Job;
pub use runner::{Config, Counts, Runner};

use std::sync::Arc;
use std::time::Duration;

use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};

use guard::Guard;

#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    #[error("job '{job}': '{cron}' is not a cron line of six fields (second minute hour day month weekday)")]
    Cron { job: String, cron: String },
    #[error("two jobs are called '{0}'")]
    Duplicate(String),
    #[error("the scheduler does not start: {0}")]
    Start(#[from] JobSchedulerError),
}

/// The running jobs. Dropping it does not stop them: call `shutdown`.
pub struct Scheduler {
    clock: JobScheduler,
    guards: Arc<[Arc<Guard>]>,
}

/// A cheap handle for telemetry.
#[derive(Clone)]
pub struct Stats(Arc<[Arc<Guard>]>);

impl Stats {
    /// One entry per job, in the order in which they were given.
    pub fn snapshot(&self) -> Vec<JobStats> {
        self.0.iter().map(|g| g.stats()).collect()
    }
}

impl Scheduler {
    /// Starts the clock. Errors if a cron line cannot be read or a name is taken; then nothing runs.
    pub async fn start(jobs: Vec<Job>) -> Result<Self, SchedulerError> {
        let mut clock = JobScheduler::new().await?;
        let mut guards: Vec<Arc<Guard>> = Vec::with_capacity(jobs.len());
        for job in jobs {
            if guards.iter().any(|g| g.name() == job.name()) {
                return Err(SchedulerError::Duplicate(job.name().to_owned()));
            }
            let cron = job.cron().to_owned();
            let guard = Arc::new(Guard::new(job));
            let tick = guard.clone();
            let cron_job = CronJob::new_async(cron.as_str(), move |_, _| {
                let tick = tick.clone();
                Box::pin(async move { tick.tick() })
            })
            .map_err(|_| SchedulerError::Cron { job: guard.name().to_owned(), cron })?;
            clock.add(cron_job).await?;
            guards.push(guard);
        }
        clock.start().await?;
        // The crate's loop ends only when told to; without jobs there is nothing to wake up for.
        if guards.is_empty() {
            clock.shutdown().await?;
        }
        Ok(Self { clock, guards: guards.into() })
    }

    pub fn stats(&self) -> Stats {
        Stats(self.guards.clone())
    }

    /// No run starts from now on; waits up to `grace` for those that go on, then abandons them. Returns the names of
    /// the abandoned.
    pub async fn shutdown(mut self, grace: Duration) -> Vec<String> {
        for guard in self.guards.iter() {
            guard.close();
        }
        if let Err(error) = self.clock.shutdown().await {
            tracing::warn!(%error, "the scheduler's clock does not stop");
        }
        let idle = async {
            for guard in self.guards.iter() {
                guard.idle().await;
            }
        };
        if tokio::time::timeout(grace, idle).await.is_ok() {
            return Vec::new();
        }
        self.guards.iter().filter(|g| g.abandon()).map(|g| g.name().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bad_cron_line_or_a_taken_name_is_refused_by_name() {
        let job = |name: &str, cron: &str| Job::new(name, cron, || async { Ok::<_, String>(()) });
        for bad in ["", "* * * * *", "61 * * * * *", "every second"] {
            match Scheduler::start(vec![job("walk", bad)]).await.map(|_| ()) {
                Err(SchedulerError::Cron { job, cron }) => assert_eq!((&*job, &*cron), ("walk", bad)),
                other => panic!("{bad:?}: {other:?}"),
            }
        }
        let twice = Scheduler::start(vec![job("walk", "* * * * * *"), job("walk", "0 * * * * *")]).await;
        assert!(matches!(twice.map(|_| ()), Err(SchedulerError::Duplicate(name)) if name == "walk"));
    }

    #[tokio::test]
    async fn a_job_of_every_second_runs_again_and_again_until_shutdown() {
        let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
        let job = Job::new("walk", "* * * * * *", move || {
            let ran = ran.clone();
            async move { ran.send(()).map_err(|e| e.to_string()) }
        });
        let scheduler = Scheduler::start(vec![job]).await.expect("a valid cron line");
        let stats = scheduler.stats();
        for _ in 0..2 {
            tokio::time::timeout(Duration::from_secs(10), runs.recv()).await.expect("runs each second");
        }
        assert!(scheduler.shutdown(Duration::from_secs(5)).await.is_empty());
        let [walk] = &stats.snapshot()[..] else { panic!("one job") };
        assert!(walk.runs >= 2 && walk.failed == 0 && !walk.running, "{walk:?}");
    }
}
