//! Jobs over REST: what runs when, how it went, run now.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use super::health::Database;
use super::identify::staff;
use super::problem::{ApiError, ProblemCode};
use super::rest::{Tag, not_ready};
use crate::domain::Caller;
use crate::store::{JobRunRow, JobStatus};

/// None: to be described only.
pub(super) struct JobsApi(pub Option<Arc<dyn Database>>);

#[derive(Object)]
struct Jobs {
    /// In the order of their names
    jobs: Vec<Job>,
}

#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct Job {
    name: String,
    /// Five fields, or six with seconds first
    cron: String,
    /// In which the cron line is meant
    timezone: String,
    /// rowcast's own, set by its configuration
    core: bool,
    /// As whom it runs
    role: String,
    timeout_ms: i32,
    /// Why it never runs: the cron line or time zone cannot be read
    problem: Option<String>,
    running: bool,
    /// Each tick up to here has been run or recorded; RFC 3339, UTC
    settled_at: String,
    /// The newest that ended or was recorded
    last: Option<Last>,
}

#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct Last {
    outcome: Outcome,
    at: String,
    error: Option<String>,
}

/// `missed`: no instance ran jobs then. `skipped_overlap`: the run before was still going.
#[derive(Enum, Clone, Copy)]
#[oai(rename_all = "snake_case")]
enum Outcome {
    Ok,
    Failed,
    Missed,
    SkippedOverlap,
    TimedOut,
    Running,
    Waiting,
}

#[derive(Object)]
struct Runs {
    /// Newest first
    runs: Vec<Run>,
}

#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct Run {
    id: i64,
    outcome: Outcome,
    /// The tick; absent: somebody asked for it
    scheduled_at: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    /// Of `missed`: how many in a row
    ticks: i32,
    error: Option<String>,
    /// Who ran it: address and pid of its session in Postgres
    instance: Option<String>,
}

#[derive(Object)]
struct Asked {
    job: String,
    /// Of the run, as the list of runs has it
    run: i64,
}

#[derive(ApiResponse)]
enum AskedResponse {
    /// It runs within a second or two, or when the run that goes on has ended
    #[oai(status = 202)]
    Accepted(Json<Asked>),
}

const LIMIT_MAX: u64 = 1000;

#[OpenApi(tag = "Tag::Jobs")]
impl JobsApi {
    /// List jobs
    ///
    /// Jobs are for staff, and for API keys made with `admin`.
    #[oai(path = "/jobs", method = "get")]
    async fn list(&self, caller: Data<&Caller>) -> Result<Json<Jobs>, ApiError> {
        staff(&caller.identity)?;
        let jobs = self.database()?.jobs().await?;
        Ok(Json(Jobs { jobs: jobs.into_iter().map(Job::of).collect() }))
    }

    /// Run a job now
    ///
    /// The same as `select rowcast.run_job(name)`. It runs on the instance that runs the jobs, as the role that scheduled it. While
    /// one waits to begin, asking again gives the same.
    #[oai(path = "/jobs/:name/runs", method = "post")]
    async fn run(&self, caller: Data<&Caller>, name: Path<String>) -> Result<AskedResponse, ApiError> {
        staff(&caller.identity)?;
        match self.database()?.ask_job_run(&name.0).await? {
            Some(run) => Ok(AskedResponse::Accepted(Json(Asked { job: name.0, run }))),
            None => Err(no_job(&name.0)),
        }
    }

    /// How a job's runs went
    #[oai(path = "/jobs/:name/runs", method = "get")]
    async fn runs(
        &self,
        caller: Data<&Caller>,
        name: Path<String>,
        /// How many runs, 1 to 1000
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
    ) -> Result<Json<Runs>, ApiError> {
        staff(&caller.identity)?;
        let runs = self.database()?.job_runs(&name.0, limit.0.min(LIMIT_MAX) as i64).await?;
        let runs = runs.ok_or_else(|| no_job(&name.0))?;
        Ok(Json(Runs { runs: runs.into_iter().map(Run::of).collect() }))
    }
}

impl JobsApi {
    fn database(&self) -> Result<&Arc<dyn Database>, ApiError> {
        self.0.as_ref().ok_or_else(not_ready)
    }
}

impl Job {
    fn of(job: JobStatus) -> Self {
        let last = job.last_outcome.as_deref().zip(job.last_at_us).map(|(outcome, at_us)| Last {
            outcome: Outcome::of(Some(outcome), true),
            at: time(at_us),
            error: job.last_error.clone(),
        });
        Self {
            name: job.name,
            cron: job.cron,
            timezone: job.timezone,
            core: job.core,
            role: job.role,
            timeout_ms: job.timeout_ms,
            problem: job.problem,
            running: job.running,
            settled_at: time(job.settled_at_us),
            last,
        }
    }
}

impl Run {
    fn of(run: JobRunRow) -> Self {
        Self {
            id: run.id,
            outcome: Outcome::of(run.outcome.as_deref(), run.started_at_us.is_some()),
            scheduled_at: run.scheduled_at_us.map(time),
            started_at: run.started_at_us.map(time),
            ended_at: run.ended_at_us.map(time),
            ticks: run.ticks,
            error: run.error,
            instance: run.instance,
        }
    }
}

impl Outcome {
    fn of(text: Option<&str>, started: bool) -> Self {
        match text {
            Some("ok") => Self::Ok,
            Some("missed") => Self::Missed,
            Some("skipped_overlap") => Self::SkippedOverlap,
            Some("timed_out") => Self::TimedOut,
            Some(_) => Self::Failed,
            None if started => Self::Running,
            None => Self::Waiting,
        }
    }
}

fn limit_default() -> u64 {
    100
}

fn no_job(name: &str) -> ApiError {
    ApiError::new(ProblemCode::NotFound, format!("There is no job '{name}': GET /api/jobs lists them."))
}

fn time(us: i64) -> String {
    crate::protocol::native::time(us)
}
