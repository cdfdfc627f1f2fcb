//! What goes wrong, at random moments and all together: each kind of place has a task of its own that breaks it, waits,
//! and makes it whole again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::seeded::Seeded;
use super::stage::{Instance, Stage};
use super::{ChaosError, Proxy};
use crate::embedded::Mode;

macro_rules! faults {
    ($($name:ident = $text:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($name),* }
        impl Fault {
            pub const ALL: &[Fault] = &[$(Fault::$name),*];
            pub fn name(self) -> &'static str {
                match self { $(Fault::$name => $text),* }
            }
        }
    };
}

faults! {
    ListenerEnded = "listener's backend terminated",
    PoolEnded = "pool's backends terminated",
    PostgresFast = "Postgres stopped fast",
    PostgresImmediate = "Postgres stopped immediately",
    PostgresKilled = "Postgres killed with -9",
    ServerKilled = "server killed with -9",
    ServerStopped = "server stopped with SIGTERM",
    DatabaseCut = "way to Postgres cut",
    DatabaseDelayed = "way to Postgres delayed",
    DatabaseHalfOpen = "way to Postgres half open",
    DatabaseRefused = "way to Postgres refused",
    DatabaseCorrupted = "way to Postgres corrupted mid-frame",
    ClientsCut = "way to clients cut",
    ClientsDelayed = "way to clients delayed",
    ClientsHalfOpen = "way to clients half open",
    ClientsRefused = "way to clients refused",
    ClientsCorrupted = "way to clients corrupted mid-frame",
    Rotated = "slot in use emptied",
    NotifyPressure = "NOTIFY queue under pressure",
    SchemaChanged = "schema changed",
}

impl Fault {
    /// From which tenth of the run on. What may excuse a reset comes late, and the log that forgets before the crashes: their resets
    /// would hide that somebody was not told.
    fn begins_tenth(self) -> u32 {
        match self {
            Fault::Rotated => 4,
            Fault::PostgresImmediate | Fault::PostgresKilled => 7,
            _ => 0,
        }
    }
}

/// How often each was done.
pub struct Tally(Vec<AtomicU64>);

impl Tally {
    pub fn new() -> Self {
        Self(Fault::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }

    fn count(&self, fault: Fault) {
        self.0[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn all(&self) -> Vec<(&'static str, u64)> {
        Fault::ALL.iter().map(|f| (f.name(), self.0[*f as usize].load(Ordering::Relaxed))).collect()
    }
}

/// Where faults happen; each is done by one task, so that what one breaks no other mends.
const PLACES: &[&[Fault]] = &[
    // Orderly ones are the harder test: nothing may reset.
    &[Fault::PostgresFast, Fault::PostgresFast, Fault::PostgresImmediate, Fault::PostgresKilled],
    &[Fault::ServerKilled, Fault::ServerStopped],
    &[
        Fault::DatabaseCut,
        Fault::DatabaseDelayed,
        Fault::DatabaseHalfOpen,
        Fault::DatabaseRefused,
        Fault::DatabaseCorrupted,
    ],
    &[Fault::ClientsCut, Fault::ClientsDelayed, Fault::ClientsHalfOpen, Fault::ClientsRefused, Fault::ClientsCorrupted],
    &[Fault::ListenerEnded, Fault::PoolEnded, Fault::Rotated, Fault::NotifyPressure],
    &[Fault::SchemaChanged],
];

const DDL: &[&str] = &[
    include_str!("../../sql/chaos/ddl/0.sql"),
    include_str!("../../sql/chaos/ddl/1.sql"),
    include_str!("../../sql/chaos/ddl/2.sql"),
    include_str!("../../sql/chaos/ddl/3.sql"),
    include_str!("../../sql/chaos/ddl/4.sql"),
    include_str!("../../sql/chaos/ddl/5.sql"),
    include_str!("../../sql/chaos/ddl/6.sql"),
    include_str!("../../sql/chaos/ddl/7.sql"),
    include_str!("../../sql/chaos/ddl/8.sql"),
    include_str!("../../sql/chaos/ddl/9.sql"),
];

/// Ends when the time is over and all is whole. In the first four tenths nothing happens that could excuse a reset.
pub async fn break_things(
    stage: &Arc<Stage>,
    seed: u64,
    began: Instant,
    until: Instant,
    tally: &Arc<Tally>,
) -> Result<(), ChaosError> {
    let mut tasks = tokio::task::JoinSet::new();
    for (n, place) in PLACES.iter().enumerate() {
        let (stage, tally) = (stage.clone(), tally.clone());
        let mut seed = Seeded::new(seed.wrapping_add(1 + n as u64));
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(seed.ms(500, 5_000)).await;
                if Instant::now() >= until {
                    return Ok::<_, ChaosError>(());
                }
                let fault = place[seed.pick(place.len() as u64) as usize];
                if Instant::now() < began + (until - began) * fault.begins_tenth() / 10 {
                    continue;
                }
                tracing::info!("chaos: {}", fault.name());
                tally.count(fault);
                commit(&stage, fault, &mut seed).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a fault does not panic")?;
    }
    Ok(())
}

/// Breaks it, waits, and makes it whole.
async fn commit(stage: &Stage, fault: Fault, seed: &mut Seeded) -> Result<(), ChaosError> {
    let instance = &stage.instances[seed.pick(stage.instances.len() as u64) as usize];
    let pause = seed.ms(50, 2_000);
    match fault {
        Fault::PostgresFast => stage.restart_postgres(Mode::Fast, pause).await?,
        Fault::PostgresImmediate | Fault::PostgresKilled => {
            let mode = if fault == Fault::PostgresKilled { Mode::Kill9 } else { Mode::Immediate };
            stage.excuse_resets();
            stage.restart_postgres(mode, pause).await?;
            // It reaches clients when it has recovered.
            stage.excuse_resets();
        }
        Fault::ServerKilled => restart(instance, libc::SIGKILL, seed).await?,
        Fault::ServerStopped => restart(instance, libc::SIGTERM, seed).await?,
        Fault::DatabaseCut
        | Fault::DatabaseDelayed
        | Fault::DatabaseHalfOpen
        | Fault::DatabaseRefused
        | Fault::DatabaseCorrupted => network(&instance.to_postgres, fault, seed).await,
        Fault::ClientsCut
        | Fault::ClientsDelayed
        | Fault::ClientsHalfOpen
        | Fault::ClientsRefused
        | Fault::ClientsCorrupted => network(&instance.to_clients, fault, seed).await,
        Fault::Rotated => {
            stage.excuse_resets();
            try_sql(stage, include_str!("../../sql/chaos/rotate_now.sql")).await;
            stage.excuse_resets();
        }
        Fault::ListenerEnded => try_sql(stage, include_str!("../../sql/chaos/end_listener.sql")).await,
        Fault::PoolEnded => try_sql(stage, include_str!("../../sql/chaos/end_pool.sql")).await,
        Fault::NotifyPressure => try_sql(stage, include_str!("../../sql/chaos/notify_pressure.sql")).await,
        Fault::SchemaChanged => try_sql(stage, DDL[seed.pick(DDL.len() as u64) as usize]).await,
    }
    Ok(())
}

async fn restart(instance: &Instance, signal: libc::c_int, seed: &mut Seeded) -> Result<(), ChaosError> {
    instance.end(signal).await;
    tokio::time::sleep(seed.ms(10, 1_500)).await;
    instance.start().await
}

async fn network(proxy: &Proxy, fault: Fault, seed: &mut Seeded) {
    let lasts = seed.ms(100, 6_000);
    match fault {
        Fault::DatabaseCut | Fault::ClientsCut => proxy.cut_now(),
        Fault::DatabaseDelayed | Fault::ClientsDelayed => proxy.delay(1 + seed.pick(150)),
        Fault::DatabaseHalfOpen | Fault::ClientsHalfOpen => proxy.blackhole(),
        Fault::DatabaseRefused | Fault::ClientsRefused => {
            proxy.refuse().await;
            proxy.cut_now();
        }
        _ => return proxy.corrupt(),
    }
    tokio::time::sleep(lasts).await;
    if matches!(fault, Fault::DatabaseHalfOpen | Fault::ClientsHalfOpen) && seed.one_in(2) {
        // What was held back never arrives.
        proxy.cut_now();
    }
    proxy.restore().await;
}

/// Postgres may be away, or the statement not possible just now: both are part of it.
async fn try_sql(stage: &Stage, sql: &str) {
    if let Err(why) = stage.execute(sql).await {
        tracing::info!("chaos: not done: {why}");
    }
}
