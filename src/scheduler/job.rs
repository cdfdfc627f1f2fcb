use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use crate::domain::Boxed;

/// What to run, and when. Work that talks to Postgres brings its own time limit (`statement_timeout`): a run has
/// none here, it only blocks its own next ones.
#[derive(Clone)]
pub struct Job {
    name: Arc<str>,
    cron: Arc<str>,
    work: Arc<dyn Fn() -> Boxed<'static, Result<(), String>> + Send + Sync>,
}

impl Job {
    /// `cron`: second minute hour day month weekday, UTC. The error's text is what stats and log show.
    pub fn new<F, W, E>(name: &str, cron: &str, work: F) -> Self
    where
        F: Fn() -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let work = move || -> Boxed<'static, Result<(), String>> {
            let run = work();
            Box::pin(async move { run.await.map_err(|e| e.to_string()) })
        };
        Self { name: name.into(), cron: cron.into(), work: Arc::new(work) }
    }

    /// Can this line be read, as the jobs' runner reads it? Five fields, or six with seconds first; UTC.
    pub fn check(cron: &str) -> Result<(), String> {
        super::cron::Line::parse(cron, "UTC").map(drop)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn cron(&self) -> &str {
        &self.cron
    }

    pub(super) fn run(&self) -> Boxed<'static, Result<(), String>> {
        (self.work)()
    }
}
