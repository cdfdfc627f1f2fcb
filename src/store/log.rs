use std::ops::ControlFlow;

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::{Store, StoreError};
use crate::domain::{Incarnation, LogRow, Op, Share, Snapshot, Xid, unpack};

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
    /// Of the template's parameters, where the table's row can be read by them.
    pub key_types: Option<Vec<String>>,
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
    /// Of the pattern's parameters, where there is a view.
    pub key_types: Option<Vec<String>>,
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
        self.bounded(async { Ok(sqlx::query_file_as!(RouteRow, "sql/store/routes.sql").fetch_all(&self.pool).await?) })
            .await
    }

    pub async fn families(&self) -> Result<Vec<FamilyRow>, StoreError> {
        self.bounded(async {
            Ok(sqlx::query_file_as!(FamilyRow, "sql/store/families.sql").fetch_all(&self.pool).await?)
        })
        .await
    }

    /// Calls `each` with the changes that `upto` sees and `after` does not, in id order, as they come from ONE statement,
    /// until it answers `Break` or `limit` have come. Returns how many were read; that may be more, as a batch is read whole.
    pub async fn log_after(
        &self,
        after: &Snapshot,
        upto: &Snapshot,
        limit: i64,
        mut each: impl FnMut(LogRow) -> ControlFlow<()>,
    ) -> Result<usize, StoreError> {
        let read = async {
            let query = sqlx::query_file!("sql/store/log_after.sql", after.to_string(), upto.to_string(), limit);
            let mut rows = query.fetch(&self.pool);
            let (mut count, mut changes) = (0, Vec::new());
            while let Some(r) = rows.try_next().await? {
                let letter = r.op.bytes().next().unwrap_or_default();
                let op = Op::from_letter(letter);
                let row = LogRow {
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
                    share: Share::WHOLE,
                };
                unpack(letter, row, &mut changes)
                    .map_err(|cause| StoreError::Answer(format!("log row {} that is {cause}", r.id)))?;
                count += changes.len();
                if changes.drain(..).any(|change| each(change).is_break()) || count as i64 >= limit {
                    break;
                }
            }
            Ok(count)
        };
        self.bounded(read).await
    }

    /// Call after reading the log: only then does it tell whether rotation came between.
    pub async fn log_reach(&self) -> Result<LogReach, StoreError> {
        let read = async { Ok(sqlx::query_file!("sql/store/log_reach.sql").fetch_one(&self.pool).await?) };
        let r = self.bounded(read).await?;
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
