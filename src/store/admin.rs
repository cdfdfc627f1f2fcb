//! What the command line asks: routes, the demo's objects, and what `doctor` judges by.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::{ConnectOptions, Connection};

use super::{Store, StoreError};

/// The arguments of `rowcast.watch`; what is `None` is left to its defaults.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// As SQL names it, schema and quotes included where needed.
    pub table: String,
    pub channel: String,
    pub event: Option<String>,
    pub columns: Option<Vec<String>>,
    pub when: Option<String>,
    pub keys: Option<String>,
    pub operations: Option<Vec<String>>,
    pub bulk: Option<bool>,
    pub bell: Option<bool>,
}

/// What any Postgres says about itself and about us.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerFacts {
    pub version_num: i32,
    pub version: String,
    pub database: String,
    pub user: String,
    pub superuser: bool,
    pub may_create_schema: bool,
    pub may_create_role: bool,
    pub standby: bool,
    /// By way of a unix socket.
    pub local: bool,
    pub loopback: bool,
    /// The protocol's version, such as TLSv1.3.
    pub tls: Option<String>,
    /// None: schema `rowcast` is not there.
    pub schema_owner: Option<String>,
    pub owns_schema: Option<bool>,
    /// Powers that the server does not need.
    pub too_much: Vec<String>,
    /// 0 to 1.
    pub notify_queue: f64,
}

/// How rowcast stands in a database that has its schema.
#[derive(Clone, Debug, Deserialize)]
pub struct SpineFacts {
    pub incarnation: bool,
    pub horizon: String,
    pub gap_pending: bool,
    pub gap_age_s: Option<i64>,
    /// Negative: capture stopped that long ago.
    pub lease_left_s: i64,
    pub lease_stopped: bool,
    pub log_bytes: i64,
    pub log_bytes_max: i64,
    /// Of the oldest event; None: the log is empty.
    pub log_age_s: Option<i64>,
    pub doorbell_held: bool,
    pub leader_held: bool,
    /// Who else holds our advisory locks.
    pub strangers: Vec<String>,
    /// Watched tables whose owner we may act as.
    pub owns_watched: i64,
    pub listeners: i64,
    pub last_beat_s: Option<i64>,
    /// Of the capture functions, the most powerful; None: nothing is watched.
    pub capture_owner: Option<String>,
    pub powerless_role: bool,
}

/// Who may listen: what is watched, and what opens a channel.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct AccessFacts {
    /// The channel templates of all routes.
    pub watched: Vec<String>,
    /// Those, and what was defined without one.
    pub families: Vec<String>,
    pub rules: Vec<RuleFacts>,
    /// Patterns that API keys may listen to.
    pub keys: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct RuleFacts {
    pub pattern: String,
    pub action: String,
    /// Why its condition cannot be asked.
    pub problem: Option<String>,
}

/// A watched table.
#[derive(Clone, Debug, Deserialize)]
pub struct TableFacts {
    /// Its name when it was watched.
    pub name: String,
    /// Its name now; None: it was dropped.
    pub now: Option<String>,
    pub bulk: bool,
    /// What it has become since that capture by statement is wrong for ("is partitioned: …").
    pub bulk_problem: Option<String>,
    pub bell: bool,
    /// Does its capture function exist?
    pub function: bool,
    /// Capture triggers (`name on table`) that are not there.
    pub missing: Vec<String>,
    /// Those that never fire in an ordinary session.
    pub disabled: Vec<String>,
    /// Those that are not ENABLE ALWAYS: what logical replication applies passes them by.
    pub ordinary: Vec<String>,
    /// Columns that its routes name and it does not have (`column in template`).
    pub lost: Vec<String>,
    pub channels: Vec<String>,
}

/// The jobs and who runs them, the rates and who quotes them.
#[derive(Clone, Debug, Deserialize)]
pub struct FxFacts {
    /// Does a session hold the jobs' lock?
    pub runner: bool,
    pub jobs: Vec<JobFacts>,
    pub rates: i64,
    pub cached: i64,
    pub expired: i64,
    pub by_hand: i64,
    pub refreshed_s: Option<i64>,
    pub providers: Vec<ProviderFacts>,
}

/// Counts are of the last hour.
#[derive(Clone, Debug, Deserialize)]
pub struct JobFacts {
    pub name: String,
    pub core: bool,
    pub problem: Option<String>,
    /// Of the last run that ended or was recorded.
    pub outcome: Option<String>,
    pub error: Option<String>,
    pub failed: i64,
    /// Ticks.
    pub missed: i64,
    pub skipped: i64,
    pub runs: i64,
    /// May we act as the role that scheduled it?
    pub may: bool,
    pub role: String,
}

/// A row of `provider_state`, seen now.
#[derive(Clone, Debug, Deserialize)]
pub struct ProviderFacts {
    pub name: String,
    pub outcome: String,
    pub breaker: String,
    pub why: Option<String>,
    pub detail: Option<String>,
    /// For so long still; negative: it is over.
    pub held_s: Option<i64>,
    pub answered_s: Option<i64>,
    /// Since the row changed.
    pub judged_s: Option<i64>,
}

impl Store {
    /// Connects once past the pool: the error says why it fails, where the pool would only say that it waited.
    pub async fn reach(&self) -> Result<(), StoreError> {
        let options = self.pool.connect_options();
        let within = Duration::from_millis(self.config.pool_wait_ms);
        match tokio::time::timeout(within, options.connect()).await {
            Ok(connection) => Ok(connection?.close().await?),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {} ms", within.as_millis()))),
        }
    }

    /// `rowcast.watch(…)`. `Refused` says what is wrong with it.
    pub async fn watch(&self, w: &Watch) -> Result<(), StoreError> {
        sqlx::query_file!(
            "sql/admin/watch.sql",
            w.table,
            w.channel,
            w.event,
            w.columns.as_deref(),
            w.when,
            w.keys,
            w.operations.as_deref(),
            w.bulk,
            w.bell
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(())
    }

    /// `rowcast.unwatch(table, channel)`; without a channel, all of the table's routes. Returns how many ended.
    pub async fn unwatch(&self, table: &str, channel: Option<&str>) -> Result<i32, StoreError> {
        Ok(sqlx::query_file_scalar!("sql/admin/unwatch.sql", table, channel).fetch_one(&self.pool).await?)
    }

    /// How long one question takes, by a connection and a statement that are ready.
    pub async fn round_trip(&self) -> Result<Duration, StoreError> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query_file!("sql/store/ping.sql").fetch_one(&mut *connection).await?;
        let asked = Instant::now();
        sqlx::query_file!("sql/store/ping.sql").fetch_one(&mut *connection).await?;
        Ok(asked.elapsed())
    }

    pub async fn server_facts(&self) -> Result<ServerFacts, StoreError> {
        parse(&sqlx::query_file_scalar!("sql/admin/server.sql").fetch_one(&self.pool).await?)
    }

    /// `Refused` where the schema is not there.
    pub async fn spine_facts(&self) -> Result<SpineFacts, StoreError> {
        parse(&sqlx::query_file_scalar!("sql/admin/spine.sql").fetch_one(&self.pool).await?)
    }

    pub async fn fx_facts(&self) -> Result<FxFacts, StoreError> {
        parse(&sqlx::query_file_scalar!("sql/admin/jobs.sql").fetch_one(&self.pool).await?)
    }

    /// Every watched table, by name.
    pub async fn table_facts(&self) -> Result<Vec<TableFacts>, StoreError> {
        parse(&sqlx::query_file_scalar!("sql/admin/tables.sql").fetch_one(&self.pool).await?)
    }

    /// Who may listen, as far as the database says.
    pub async fn access_facts(&self) -> Result<AccessFacts, StoreError> {
        parse(&sqlx::query_file_scalar!("sql/admin/access.sql").fetch_one(&self.pool).await?)
    }

    /// Does a rule say who may listen to the channels of this template?
    pub async fn is_opened(&self, template: &str) -> Result<bool, StoreError> {
        Ok(sqlx::query_file_scalar!("sql/admin/opened.sql", template).fetch_one(&self.pool).await?)
    }

    /// Are there exchange rates that a demo's random walk must not overwrite?
    pub async fn has_real_rates(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query_file_scalar!("sql/demo/real_rates.sql").fetch_one(&self.pool).await?)
    }

    /// Lets `rates` be name enough for `rowcast_fx.rates` in every new session of this database, which must be our own. False:
    /// there is another table of that name.
    pub async fn shorten_rates(&self) -> Result<bool, StoreError> {
        if sqlx::query_file_scalar!("sql/demo/other_rates.sql").fetch_one(&self.pool).await? {
            return Ok(false);
        }
        sqlx::raw_sql(include_str!("../../sql/demo/shorten.sql")).execute(&self.pool).await?;
        Ok(true)
    }
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|e| StoreError::Answer(e.to_string()))
}
