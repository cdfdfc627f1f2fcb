//! Jobs of `rowcast.schedule` and rowcast's own, against a real Postgres and whole servers. Waits are for rows.

mod rates;
mod rest;
mod roles;
mod runs;
mod two;

use crate::kit::{TestDb, wait_until};

/// Of a job, `outcome` by how many runs.
async fn outcomes(db: &TestDb<'_>, job: &str) -> String {
    db.text(&format!(
        "select coalesce(string_agg(outcome || ' ' || n, ', ' order by outcome), '') from (
           select coalesce(r.outcome, 'open') as outcome, count(*) as n from rowcast.job_run r join rowcast.job j on j.id = r.job
            where j.name = '{job}' group by 1) x"
    ))
    .await
}

async fn until_run(db: &TestDb<'_>, job: &str, outcome: &str, times: u32) {
    let ask = format!(
        "select (count(*) >= {times})::text from rowcast.job_run r join rowcast.job j on j.id = r.job
          where j.name = '{job}' and r.outcome = '{outcome}'"
    );
    wait_until(&format!("{job} is {outcome} {times} times"), async || db.text(&ask).await == "true").await;
}

/// The error of the newest run that has one.
async fn error(db: &TestDb<'_>, job: &str) -> String {
    db.text(&format!(
        "select r.error from rowcast.job_run r join rowcast.job j on j.id = r.job
          where j.name = '{job}' and r.error is not null order by r.id desc limit 1"
    ))
    .await
}
