//! The pool, the migrations and every query. Sole user of sqlx.
//!
//! Plain queries go through the pool, whose URL may go through a transaction pooler. What needs a session goes past it: LISTEN
//! belongs to the listener, the jobs' lock and their SQL have connections of their own (`jobs`).

mod access;
mod admin;
mod behalf;
mod call;
mod connect;
mod demo;
mod error;
mod identity;
mod jobs;
mod log;
mod migrate;
mod rates;
pub mod reference;
mod view;

use std::time::Duration;

use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::domain::DatabaseUrl;

pub use access::{AccessAnswer, AccessRequest, AccessRow, ApiKeyFacts, ApiKeyRow};
pub use admin::{AccessFacts, FxFacts, JobFacts, ProviderFacts, RuleFacts, ServerFacts, SpineFacts, TableFacts, Watch};
pub use behalf::{Access, Behalf};
pub use call::{Called, Function};
pub use error::StoreError;
pub use identity::{RolesRow, SessionRow, UserRow};
pub use jobs::{JobEnd, JobRow, JobRunRow, JobSession, JobStatus, JobsSeen, Unrun};
pub use log::{FamilyRow, LogReach, RouteRow};
pub use migrate::{Applied, MigrationSet};
pub use rates::{
    HistoryPoint, LastQuote, MarkRow, NewQuote, NewRate, ProviderMemory, ProviderRow, PublishedRate, RateRow,
    RatesRead, RatesState, Refresh,
};
pub use view::{KeyRow, ViewRead};

const CLOSED_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Connections for queries, at most.
    pub pool_connections_max: u32,
    /// How long a query waits for a connection of the pool.
    pub pool_wait_ms: u64,
    /// `statement_timeout` of every query: a slow view is cut off, not waited for.
    pub statement_timeout_ms: u64,
    /// Capture stops recording when no rowcast has tended the log for this long; everyone then gets `reset`.
    pub log_age_max_s: i32,
    /// Capture stops recording when the log is larger than this.
    pub log_bytes_max: i64,
    /// How often the log is tended: lease renewed, old slots emptied.
    pub tend_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pool_connections_max: 8,
            pool_wait_ms: 5_000,
            statement_timeout_ms: 5_000,
            log_age_max_s: 3_600,
            log_bytes_max: 4 << 30,
            tend_interval_ms: 60_000,
        }
    }
}

/// What `rowcast.tend` found; it says more than this.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct TendReport {
    /// Changes went unrecorded, as was found now.
    pub gap: bool,
    /// The streams are not all begun anew since: tend again soon.
    pub gap_pending: bool,
    /// Nothing is recorded, because the log is too large.
    pub stopped: bool,
    pub log_bytes: i64,
}

/// The database, for everybody but the listener. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    /// Past a transaction pooler.
    direct: PgConnectOptions,
    config: Config,
}

impl Store {
    /// Makes the pool; connects when first used.
    pub fn new(url: &DatabaseUrl, config: Config) -> Self {
        let direct = connect::options(url, &config);
        let pool = PgPoolOptions::new()
            .max_connections(config.pool_connections_max)
            .acquire_timeout(Duration::from_millis(config.pool_wait_ms))
            .connect_lazy_with(direct.clone());
        Self { pool, direct, config }
    }

    /// With another way for what needs a session of its own: a transaction pooler has none.
    pub fn with_direct(self, url: &DatabaseUrl) -> Self {
        Self { direct: connect::options(url, &self.config), ..self }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// `statement_timeout` is the server's, and a server that has fallen silent keeps none. So whatever the process
    /// depends on ends on our side as well: a little later, and as `Unavailable`. The connection is given up with it.
    async fn bounded<T>(&self, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.patience(), query).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Unavailable("no answer in time".into())),
        }
    }

    /// Is the database there, and does it answer?
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query_file!("sql/store/ping.sql").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// `rowcast.send(channel, event, payload)`; `payload` is JSON text.
    pub async fn send(&self, channel: &str, event: &str, payload: &str) -> Result<(), StoreError> {
        let query = sqlx::query_file!("sql/store/send.sql", channel, event, payload);
        self.bounded(async { Ok(query.fetch_one(&self.pool).await?) }).await?;
        Ok(())
    }

    /// Renews the lease under which capture records, empties old slots, cleans up.
    pub async fn tend(&self) -> Result<TendReport, StoreError> {
        let (age, bytes) = (self.config.log_age_max_s, self.config.log_bytes_max);
        let query = sqlx::query_file_scalar!("sql/store/tend.sql", age, bytes);
        let report = self.bounded(async { Ok(query.fetch_one(&self.pool).await?) }).await?;
        serde_json::from_str(&report).map_err(|e| StoreError::Answer(e.to_string()))
    }

    /// Connections of the pool: idle, and all.
    pub fn pool_size(&self) -> (usize, usize) {
        (self.pool.num_idle(), self.pool.size() as usize)
    }

    /// Says goodbye on all connections. A database that has fallen silent is not waited for.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(CLOSED_WITHIN, self.pool.close()).await;
    }

    /// The longest that any question here may take.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.config.pool_wait_ms + self.config.statement_timeout_ms + 2_000)
    }
}
