//! The promise that nothing is lost, put to the test: a seeded load, subscribers of all kinds, faults at random moments, and
//! an oracle that compares what was committed with what was received. `rowcast chaos`; a short form runs in CI.
//!
//! The seed decides what each writer, follower and fault does; when the scheduler lets them is not in its hands, so a
//! seed replays a run's load and faults, not its every interleaving.

mod dead;
mod fault;
mod follower;
mod gathering;
mod known;
mod proxy;
mod report;
mod seeded;
mod stage;
mod storm;
mod stream;
mod truth;
mod upkeep;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::embedded::EmbeddedError;
use fault::Tally;
use follower::{Manner, Role, follow};
use stage::Stage;
use upkeep::Held;

pub use dead::{DeadReaders, run as dead_readers};
pub use gathering::Gathering;
pub use proxy::Proxy;
pub use report::Report;
pub use storm::{Storm, run as storm};

/// Of a writer of the load alone, which shall be the same from minute to minute whatever the machine could do.
const PACE: Duration = Duration::from_millis(250);
/// Everybody has heard the end by then, however much there is to catch up.
const SETTLES_WITHIN: Duration = Duration::from_secs(240);

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub lasts: Duration,
    pub instances: usize,
    pub writers: usize,
    /// rowcast itself, started as `serve` and `migrate`.
    pub program: PathBuf,
    /// For the cluster and the instances' logs.
    pub root: PathBuf,
    /// Without, the load alone, at a constant rate.
    pub faults: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    #[error(transparent)]
    Cluster(#[from] EmbeddedError),
    #[error("the run's own statement failed: {}", .0.as_db_error().map_or_else(|| .0.to_string(), ToString::to_string))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("the program cannot be run: {0}")]
    Program(String),
}

/// Sets the stage, lets everything happen, waits until it is calm, and judges. `tell` is called about once a second.
pub async fn run(plan: &Plan, mut tell: impl FnMut(Duration)) -> Result<Report, ChaosError> {
    let stage = Stage::set(&plan.program, &plan.root, plan.instances.max(1)).await?;
    let began = Instant::now();
    let until = began + plan.lasts;
    let tally = Arc::new(Tally::new());
    let mut followers = JoinSet::new();
    for role in cast(plan) {
        let stage = stage.clone();
        followers.spawn(async move { (role.clone(), follow(stage, role).await) });
    }
    let mut writers = JoinSet::new();
    let pace = (!plan.faults).then_some(PACE);
    for n in 0..plan.writers as u64 {
        writers.spawn(writer::write(stage.clone(), plan.seed.wrapping_add(1_000 + n), until, pace));
    }
    let breaking = plan.faults.then(|| {
        let (stage, tally, seed) = (stage.clone(), tally.clone(), plan.seed);
        tokio::spawn(async move { fault::break_things(&stage, seed, began, until, &tally).await })
    });

    let mut held = Vec::new();
    let mut look_at = began + plan.lasts / 10;
    while Instant::now() < until {
        if Instant::now() >= look_at {
            look_at += plan.lasts / 30;
            // Postgres may be away: then there is nothing to see.
            held.extend(Held::now(&stage).await.ok());
        }
        tell(began.elapsed());
        tokio::time::sleep(Duration::from_secs(1).min(until - Instant::now().min(until))).await;
    }
    let mut written = writer::Written::default();
    while let Some(done) = writers.join_next().await {
        let one = done.expect("a writer does not panic");
        written.committed += one.committed;
        written.rolled_back += one.rolled_back;
        written.failed += one.failed;
    }
    if let Some(breaking) = breaking {
        breaking.await.expect("faults do not panic")?;
    }

    let truth = truth::read(&stage).await?;
    stage.settle(truth.clone());
    stage.calm.store(true, Ordering::Release);
    let patience = Instant::now() + SETTLES_WITHIN;
    let mut followed = Vec::new();
    while !followers.is_empty() {
        tell(began.elapsed());
        // More than one: who begins afresh after an end has missed it.
        stage.execute(include_str!("../../sql/chaos/end.sql")).await?;
        let pause = tokio::time::sleep(Duration::from_secs(1));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                Some(done) = followers.join_next() => followed.push(done.expect("a follower does not panic")),
                () = &mut pause => break,
                else => break,
            }
        }
        if Instant::now() > patience {
            break;
        }
    }
    let missing = followers.len();
    followers.abort_all();
    let committed = truth::committed(&stage).await?;
    stage.stop().await;
    Ok(Report::judge(plan, began.elapsed(), written, committed, tally.all(), held, &truth, &followed, missing))
}

/// Subscribers of all kinds, over everything there is to follow.
fn cast(plan: &Plan) -> Vec<Role> {
    let long_ms = (plan.lasts.as_millis() as u64 / 4).min(90_000);
    let mut roles = Vec::new();
    let mut add = |channel: &str, manner: Manner, sse: bool| {
        let seed = plan.seed.wrapping_add(100_000 + roles.len() as u64);
        roles.push(Role { channel: channel.into(), manner, sse, seed });
    };
    for channel in ["item_0", "item_1", "item_2"] {
        for sse in [false, true] {
            add(channel, Manner::Steady, sse);
            add(channel, Manner::Flapping { away_ms_max: 300 }, sse);
            add(channel, Manner::Flapping { away_ms_max: long_ms }, sse);
        }
        add(channel, Manner::Slow, false);
    }
    add("wide", Manner::Steady, false);
    add("wide", Manner::Flapping { away_ms_max: 5_000 }, true);
    for g in 0..8 {
        let channel = format!("sum:{g}");
        add(&channel, if g % 2 == 0 { Manner::Steady } else { Manner::Flapping { away_ms_max: 2_000 } }, g % 4 == 3);
    }
    roles
}
