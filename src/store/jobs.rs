//! Jobs: the session of the one that runs them, and their runs. What the SQL of others does, it does on a connection of
//! its own, never on one of the pool: nothing that it leaves behind meets our queries.

use std::time::Duration;

use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::{Store, StoreError};

/// How long the server may take to answer the leader before it counts as gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A run's own limit is the server's (`statement_timeout`); this belt is for a server that went away.
const BELT: Duration = Duration::from_secs(5);

/// A session past the pooler that leads, or tries to.
pub struct JobSession {
    connection: PgConnection,
    instance: String,
}

/// What the leader sees.
#[derive(Clone, Debug)]
pub struct JobsSeen {
    /// The database's clock.
    pub now_us: i64,
    pub jobs: Vec<JobRow>,
    /// Runs that somebody asked for: run, job.
    pub waiting: Vec<(i64, i32)>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct JobRow {
    pub id: i32,
    pub name: String,
    pub cron: String,
    pub timezone: String,
    /// rowcast's own: there is no SQL.
    pub core: bool,
    pub timeout_ms: i32,
    pub settled_at_us: i64,
    pub problem: Option<String>,
}

/// Why a tick leads to no run.
#[derive(Clone, Copy, Debug)]
pub struct Unrun<'a> {
    pub outcome: &'static str,
    pub ticks: i32,
    pub why: &'a str,
}

/// How the SQL of a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    Ok,
    TimedOut,
    /// Another instance's run of it goes on.
    Overlap,
    Failed(String),
}

/// A job as people see it.
#[derive(Clone, Debug)]
pub struct JobStatus {
    pub name: String,
    pub cron: String,
    pub timezone: String,
    pub core: bool,
    pub role: String,
    pub timeout_ms: i32,
    pub problem: Option<String>,
    pub settled_at_us: i64,
    pub running: bool,
    pub last_outcome: Option<String>,
    pub last_at_us: Option<i64>,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug)]
pub struct JobRunRow {
    pub id: i64,
    pub scheduled_at_us: Option<i64>,
    pub started_at_us: Option<i64>,
    pub ended_at_us: Option<i64>,
    pub outcome: Option<String>,
    pub ticks: i32,
    pub error: Option<String>,
    pub instance: Option<String>,
}

impl JobSession {
    /// Address and pid, as `pg_stat_activity` has them.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Becomes the one that runs jobs, unless another is. From then on as long as the session lasts. A leader of whom nothing was heard
    /// for `stale_ms` is ended; the next try succeeds.
    pub async fn lead(&mut self, stale_ms: u64) -> Result<bool, StoreError> {
        let led = answer(sqlx::query_file_scalar!("sql/jobs/lead.sql").fetch_one(&mut self.connection)).await?;
        if led {
            answer(sqlx::query_file!("sql/jobs/orphans.sql", self.instance).execute(&mut self.connection)).await?;
        } else {
            let stale_ms = i64::try_from(stale_ms).unwrap_or(i64::MAX);
            let query = sqlx::query_file_scalar!("sql/jobs/end_stale_leader.sql", stale_ms);
            if answer(query.fetch_one(&mut self.connection)).await? > 0 {
                tracing::warn!("ended the session of a leader of whom nothing was heard for {stale_ms} ms");
            }
        }
        Ok(led)
    }

    pub async fn look(&mut self) -> Result<JobsSeen, StoreError> {
        let seen = answer(sqlx::query_file!("sql/jobs/look.sql").fetch_one(&mut self.connection)).await?;
        let unreadable = |e: serde_json::Error| StoreError::Answer(e.to_string());
        Ok(JobsSeen {
            now_us: seen.now_us,
            jobs: serde_json::from_str(&seen.jobs).map_err(unreadable)?,
            waiting: serde_json::from_str(&seen.waiting).map_err(unreadable)?,
        })
    }

    /// Takes the ticks of a job up to `upto_us`: the number of a run that begins now or of the record of one that does not.
    /// None: another took them, or the job is gone.
    pub async fn settle(
        &mut self,
        job: i32,
        upto_us: i64,
        unrun: Option<Unrun<'_>>,
    ) -> Result<Option<i64>, StoreError> {
        let (outcome, ticks, why) = unrun.map_or((None, 1, None), |u| (Some(u.outcome), u.ticks, Some(u.why)));
        let query = sqlx::query_file_scalar!("sql/jobs/settle.sql", job, upto_us, outcome, ticks, why, self.instance);
        answer(query.fetch_optional(&mut self.connection)).await
    }

    /// Begins a run that was asked for. False: it is gone.
    pub async fn start_waiting(&mut self, run: i64) -> Result<bool, StoreError> {
        let query = sqlx::query_file_scalar!("sql/jobs/start_waiting.sql", run, self.instance);
        Ok(answer(query.fetch_optional(&mut self.connection)).await?.is_some())
    }

    /// Notes why a job cannot run, or that it can.
    pub async fn set_problem(&mut self, job: i32, problem: Option<&str>) -> Result<(), StoreError> {
        answer(sqlx::query_file!("sql/jobs/problem.sql", job, problem).execute(&mut self.connection)).await?;
        Ok(())
    }

    pub async fn trim(&mut self, runs_kept_max: i64) -> Result<(), StoreError> {
        answer(sqlx::query_file!("sql/jobs/trim.sql", runs_kept_max).execute(&mut self.connection)).await?;
        Ok(())
    }

    /// Gives the lead away at once.
    pub async fn close(self) {
        // A broken session has given it away already.
        let _ = tokio::time::timeout(ANSWER_WITHIN, self.connection.close()).await;
    }
}

impl Store {
    pub async fn job_session(&self) -> Result<JobSession, StoreError> {
        // The server must notice, too, when we are gone without a word: only then it gives the lock to another.
        let options = self.direct.clone().options([
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "10000"),
        ]);
        let mut connection = self.own_connection(&options).await?;
        let instance = answer(sqlx::query_file_scalar!("sql/jobs/instance.sql").fetch_one(&mut connection)).await?;
        Ok(JobSession { connection, instance })
    }

    /// rowcast's own job of that name: by this cron line, or not at all.
    pub async fn own_job(&self, name: &str, cron: Option<&str>) -> Result<(), StoreError> {
        match cron {
            Some(cron) => sqlx::query_file!("sql/jobs/own.sql", name, cron).execute(&self.pool).await?,
            None => sqlx::query_file!("sql/jobs/disown.sql", name).execute(&self.pool).await?,
        };
        Ok(())
    }

    pub async fn finish_job_run(&self, run: i64, outcome: &str, error: Option<&str>) -> Result<(), StoreError> {
        sqlx::query_file!("sql/jobs/finish.sql", run, outcome, error).execute(&self.pool).await?;
        Ok(())
    }

    /// Runs a job's SQL in one transaction, as the role that scheduled it. Dropped, nothing of it stays.
    pub async fn run_job_sql(&self, job: i32, timeout_ms: i32) -> JobEnd {
        let within = Duration::from_millis(timeout_ms.max(0) as u64) + BELT;
        match tokio::time::timeout(within, self.job_sql(job, timeout_ms)).await {
            Ok(Ok(end)) => end,
            Ok(Err(StoreError::Timeout)) | Err(_) => JobEnd::TimedOut,
            Ok(Err(error)) => JobEnd::Failed(error.to_string()),
        }
    }

    async fn job_sql(&self, job: i32, timeout_ms: i32) -> Result<JobEnd, StoreError> {
        let mut connection = self.own_connection(&self.direct).await?;
        let mut transaction = connection.begin().await?;
        let held =
            sqlx::query_file!("sql/jobs/hold.sql", job, timeout_ms.to_string()).fetch_one(&mut *transaction).await?;
        if !held.held {
            return Ok(JobEnd::Overlap);
        }
        let text = sqlx::query_file!("sql/jobs/text.sql", job).fetch_optional(&mut *transaction).await?;
        let Some((text, sql)) = text.and_then(|t| t.sql.clone().map(|sql| (t, sql))) else {
            return Ok(JobEnd::Failed("the job was unscheduled".into()));
        };
        if let Err(error) = sqlx::query_file!("sql/jobs/become.sql", text.role).fetch_one(&mut *transaction).await {
            return Ok(JobEnd::Failed(match StoreError::from(error) {
                StoreError::Refused { message, .. } => format!(
                    "the server's role \"{}\" cannot run it as \"{}\", who scheduled it: {message}",
                    text.server, text.role
                ),
                other => return Err(other),
            }));
        }
        sqlx::raw_sql(include_str!("../../sql/jobs/function.sql")).execute(&mut *transaction).await?;
        let run = sqlx::query(include_str!("../../sql/jobs/run.sql")).bind(sql).bind(text.search_path);
        run.execute(&mut *transaction).await?;
        transaction.commit().await?;
        // Done is done: how the session ends says nothing about the run.
        let _ = connection.close().await;
        Ok(JobEnd::Ok)
    }

    async fn own_connection(&self, options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
        answer(options.connect()).await
    }

    pub async fn jobs(&self) -> Result<Vec<JobStatus>, StoreError> {
        Ok(sqlx::query_file_as!(JobStatus, "sql/jobs/list.sql").fetch_all(&self.pool).await?)
    }

    /// The newest runs of a job, newest first. None: there is no such job.
    pub async fn job_runs(&self, name: &str, limit: i64) -> Result<Option<Vec<JobRunRow>>, StoreError> {
        let rows = sqlx::query_file!("sql/jobs/runs.sql", name, limit).fetch_all(&self.pool).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let runs = rows.into_iter().filter_map(|r| {
            Some(JobRunRow {
                id: r.id?,
                scheduled_at_us: r.scheduled_at_us,
                started_at_us: r.started_at_us,
                ended_at_us: r.ended_at_us,
                outcome: r.outcome,
                ticks: r.ticks?,
                error: r.error,
                instance: r.instance,
            })
        });
        Ok(Some(runs.collect()))
    }

    /// Asks for a run now: its number. None: there is no such job.
    pub async fn ask_job_run(&self, name: &str) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_file_scalar!("sql/jobs/ask.sql", name).fetch_one(&self.pool).await?)
    }
}

async fn answer<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(ANSWER_WITHIN, query).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(StoreError::Unavailable(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
    }
}
