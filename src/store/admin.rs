//! What the command line asks: routes, the demo's objects, and what `doctor` judges by.

use std::time::Duration;

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

/// A watched table.
#[derive(Clone, Debug, Deserialize)]
pub struct TableFacts {
    /// Its name when it was watched.
    pub name: String,
    /// Its name now; None: it was dropped.
    pub now: Option<String>,
    pub bulk: bool,
    pub bell: bool,
    /// Does its capture function exist?
    pub function: bool,
    /// Capture triggers (`name on table`) that are not there.
    pub missing: Vec<String>,
    /// Those that never fire in an ordinary session.
    pub disabled: Vec<String>,
    /// Those that are not ENABLE ALWAYS: what logical replication applies passes them by.
    pub ordinary: Vec<String>,
    pub channels: Vec<String>,
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

    pub async fn server_facts(&self) -> Result<ServerFacts, StoreError> {
        parse(&sqlx::query_file_scalar!("sql/admin/server.sql").fetch_one(&self.pool).await?)
    }

    /// `Refused` where the schema is not there.
    pub async fn spine_facts(&self) -> Result<SpineFacts, StoreError> {
        parse(&sqlx::query_file_scalar!("sql/admin/spine.sql").fetch_one(&self.pool).await?)
    }

    /// Every watched table, by name.
    pub async fn table_facts(&self) -> Result<Vec<TableFacts>, StoreError> {
        parse(&sqlx::query_file_scalar!("sql/admin/tables.sql").fetch_one(&self.pool).await?)
    }

    /// The demo's table, its routes and its 60 pairs, in one transaction. Repeatable.
    pub async fn install_demo(&self) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        // Two instances that start together would race for the same `create`.
        sqlx::query_file!("sql/demo/lock.sql").execute(&mut *transaction).await?;
        sqlx::raw_sql(include_str!("../../sql/demo/install.sql")).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Moves some of the demo's rates a little.
    pub async fn move_demo_rates(&self) -> Result<(), StoreError> {
        // Not prepared: the table may be dropped and made again while the demo runs.
        sqlx::raw_sql(include_str!("../../sql/demo/move_rates.sql")).execute(&self.pool).await?;
        Ok(())
    }
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|e| StoreError::Answer(e.to_string()))
}
