use bytes::Bytes;

use super::{Store, StoreError};
use crate::domain::{Incarnation, LogRow, Op, Snapshot, Xid};

/// A version of a route: valid for log ids from `since` up to, not including, `until`.
#[derive(Clone, Debug)]
pub struct RouteRow {
    pub id: i32,
    pub source: i32,
    pub template: String,
    pub event: Option<String>,
    pub operations: Vec<String>,
    pub columns: Option<Vec<String>>,
    pub has_when: bool,
    pub keys_sql: Option<String>,
    pub read_sql: Option<String>,
    pub since: i64,
    pub until: Option<i64>,
}

/// A channel family as `define_channel` wrote it.
#[derive(Clone, Debug)]
pub struct FamilyRow {
    pub pattern: String,
    pub kind: String,
    pub read_sql: Option<String>,
    pub conflate: Option<String>,
    pub throttle_ms: i32,
    pub event: Option<String>,
}

/// How far back the log reaches, and in which incarnation.
#[derive(Clone, Debug)]
pub struct LogReach {
    /// Greatest xid that rotation has dropped.
    pub horizon: Xid,
    pub now: Snapshot,
    pub incarnation: Incarnation,
}

impl Store {
    pub async fn routes(&self) -> Result<Vec<RouteRow>, StoreError> {
        Ok(sqlx::query_file_as!(RouteRow, "sql/store/routes.sql").fetch_all(&self.pool).await?)
    }

    pub async fn families(&self) -> Result<Vec<FamilyRow>, StoreError> {
        Ok(sqlx::query_file_as!(FamilyRow, "sql/store/families.sql").fetch_all(&self.pool).await?)
    }

    /// Rows that `upto` sees and `after` does not, with ids beyond `beyond`, in id order, at most `limit`.
    pub async fn log_page(
        &self,
        after: &Snapshot,
        beyond: i64,
        upto: &Snapshot,
        limit: i64,
    ) -> Result<Vec<LogRow>, StoreError> {
        let rows = sqlx::query_file!("sql/store/log_page.sql", after.to_string(), beyond, upto.to_string(), limit)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|r| {
                let op = r.op.bytes().next().and_then(Op::from_letter);
                Ok(LogRow {
                    id: r.id,
                    xid: r.xid as Xid,
                    at_us: r.at_us,
                    source: r.source,
                    op: op.ok_or_else(|| StoreError::Answer(format!("log row with operation '{}'", r.op)))?,
                    new: r.new.map(Bytes::from),
                    old: r.old.map(Bytes::from),
                    matched: r.matched.unwrap_or_default().into(),
                    channel: r.channel.map(Into::into),
                    event: r.event.map(Into::into),
                })
            })
            .collect()
    }

    /// Call after reading the log: only then does it tell whether rotation came between.
    pub async fn log_reach(&self) -> Result<LogReach, StoreError> {
        let r = sqlx::query_file!("sql/store/log_reach.sql").fetch_one(&self.pool).await?;
        let answer = |what: &str| StoreError::Answer(what.to_owned());
        Ok(LogReach {
            horizon: r.horizon as Xid,
            now: r.now.parse().map_err(|_| answer("not a snapshot"))?,
            incarnation: u64::from_str_radix(&r.incarnation, 16)
                .map(Incarnation)
                .map_err(|_| answer("not an incarnation"))?,
        })
    }
}
