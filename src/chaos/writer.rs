//! Transactions of all kinds, one after another or at a constant rate, until the time is over. What fails is rolled back: the
//! table is the truth.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::Client;

use super::ChaosError;
use super::seeded::Seeded;
use super::stage::Stage;

#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub committed: u64,
    pub rolled_back: u64,
    /// Lost connections, deadlocks, refused writes.
    pub failed: u64,
}

/// One transaction in `pace`, and later none to make up for what a slow one took.
pub async fn write(stage: Arc<Stage>, seed: u64, until: Instant, pace: Option<Duration>) -> Written {
    let mut seed = Seeded::new(seed);
    let mut written = Written::default();
    let mut client = None;
    let mut beat = pace.map(interval);
    if let Some(beat) = &mut beat {
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    }
    while Instant::now() < until {
        if let Some(beat) = &mut beat {
            beat.tick().await;
        }
        let session = match client.take().filter(|c: &Client| !c.is_closed()) {
            Some(session) => session,
            None => match stage.connect().await {
                Ok(session) => session,
                Err(_) => {
                    tokio::time::sleep(seed.ms(20, 200)).await;
                    continue;
                }
            },
        };
        match transaction(&session, &mut seed).await {
            Ok(true) => written.committed += 1,
            Ok(false) => written.rolled_back += 1,
            Err(_) => {
                written.failed += 1;
                let _ = session.batch_execute("rollback").await; // gone with its connection otherwise
            }
        }
        client = Some(session);
    }
    written
}

/// Whether it committed.
async fn transaction(client: &Client, seed: &mut Seeded) -> Result<bool, ChaosError> {
    // An early xid and a late change: sequence order, xid order and commit order all differ.
    let early = seed.one_in(2);
    client.batch_execute(if early { include_str!("../../sql/chaos/begin_early.sql") } else { "begin" }).await?;
    if early && seed.one_in(30) {
        // Others begin and commit meanwhile, and the listener must come back for this one.
        tokio::time::sleep(seed.ms(500, 6_000)).await;
    }
    // In the order of tables and ids, so that no two wait for each other.
    for table in 0..3i32 {
        if seed.one_in(2) {
            continue;
        }
        let ids = if table == 0 { 200 } else { 100 };
        let many = if seed.one_in(8) { 60 } else { 4 };
        let mut ids: Vec<i32> = (0..1 + seed.pick(many)).map(|_| seed.pick(ids) as i32).collect();
        ids.sort_unstable();
        ids.dedup();
        let removes = seed.one_in(3);
        let touch = include_str!("../../sql/chaos/touch.sql");
        if seed.one_in(5) {
            client.batch_execute("savepoint s").await?;
            client.execute(touch, &[&table, &ids, &removes]).await?;
            client.batch_execute("rollback to s").await?;
        }
        client.execute(touch, &[&table, &ids, &removes]).await?;
        if seed.one_in(150) {
            // With its rows locked.
            tokio::time::sleep(seed.ms(500, 3_000)).await;
        }
    }
    if seed.one_in(60) {
        let rows = [1, 10, 100, 1_000, 10_000][seed.pick(5) as usize];
        let low = seed.pick(10_001 - rows) as i32;
        client.execute(include_str!("../../sql/chaos/sweep.sql"), &[&low, &(low + rows as i32 - 1)]).await?;
    }
    let commits = !seed.one_in(7);
    client.batch_execute(if commits { "commit" } else { "rollback" }).await?;
    tokio::time::sleep(Duration::from_millis(seed.pick(20))).await;
    Ok(commits)
}
