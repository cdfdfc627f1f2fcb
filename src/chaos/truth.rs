//! What Postgres says in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ChaosError;
use super::stage::Stage;

/// By channel, the rows by id and version; of a state one row with id 0.
pub type Truth = Arc<BTreeMap<String, Vec<(i64, i64)>>>;

pub async fn read(stage: &Stage) -> Result<Truth, ChaosError> {
    let mut truth: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for row in stage.connect().await?.query(include_str!("../../sql/chaos/truth.sql"), &[]).await? {
        truth.entry(row.get("channel")).or_default().push((row.get::<_, i32>("id").into(), row.get("v")));
    }
    truth.values_mut().for_each(|rows| rows.sort_unstable());
    Ok(Arc::new(truth))
}

/// How many events there should be on event channels.
pub async fn committed(stage: &Stage) -> Result<u64, ChaosError> {
    let row = stage.connect().await?.query_one(include_str!("../../sql/chaos/count.sql"), &[]).await?;
    Ok(row.get::<_, i64>("committed") as u64)
}
