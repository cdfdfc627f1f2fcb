//! How many events one listener drains and routes in a second: from the log of a Postgres of its own, through the real
//! listener, router and hub; wall time, and CPU time of our side and of Postgres' backend. The floor is what it takes to
//! get the same rows out of the same log and throw them away: `COPY … BINARY`, and the plain select, in the same rounds.
//!
//!     cargo bench --bench drain -- [events, default 200000] [rounds, default 5] [subscribed channels, default 0, 100 and 1000]
//!
//! Linux only: it reads /proc.
#![allow(clippy::disallowed_methods, reason = "a bench is the surroundings")]

mod spine;

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use rowcast::listener::{Config, Status};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Client;

use spine::{LISTENER, Postgres, Result, Stage, median, process_ns, read_all, threads_ns};

/// Channels that the events are for, in turn.
const CHANNELS: usize = 1_000;

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let (events, rounds) = (numbers.next().unwrap_or(200_000), numbers.next().unwrap_or(5));
    let subscribed = numbers.next().map_or(vec![0, 100, CHANNELS], |n| vec![n.min(CHANNELS)]);
    let control = Builder::new_multi_thread().worker_threads(1).thread_name("control").enable_all().build()?;
    let ours = Builder::new_multi_thread().thread_name("ours").enable_all().build()?;
    control.block_on(run(&ours, events, rounds, &subscribed))
}

async fn run(ours: &Runtime, events: usize, rounds: usize, subscribed: &[usize]) -> Result<()> {
    let postgres = Postgres::start("bench-drain", false).await?;
    let sql = postgres.connect().await?;
    sql.batch_execute(&format!(
        "create table orders (id bigint primary key, customer int not null, status text, total numeric(12,2),
                              placed_at timestamptz, note text);
         insert into orders select i, i % {CHANNELS}, 'placed', i / 100.0, now(), 'leave it at the door' \
           from generate_series(1, {events}) i;
         select rowcast.watch('orders', 'customer:{{customer}}');
         -- All rounds together are more than the default bound, past which nothing is recorded.
         select setval('rowcast.log_bytes_max', 1::bigint << 40)"
    ))
    .await?;
    let one = "update orders set total = total + 1";
    let many = format!(
        "do $$ begin for n in 0..{} loop \
           update orders set total = total + 1 where id between n * 10 + 1 and n * 10 + 10; commit; \
         end loop; end $$",
        events / 10
    );
    println!("{events} updates of rows of 100 bytes, to {CHANNELS} channels; medians of {rounds} rounds\n");
    println!(
        "{:<34} {:>9} {:>6} {:>6} | us of CPU an event: {:>8} {:>6} {:>6}",
        "", "events/s", "/copy", "/sel.", "Postgres", "ours", "shards"
    );
    for (name, fill) in [("in one transaction", one), ("in transactions of ten", &many)] {
        for &subscribed in subscribed {
            // Back soon after a round has let it in again.
            let config = Config { reconnect_ms_min: 10, reconnect_ms_max: 20, ..Config::default() };
            let stage = ours.spawn(Stage::start(config, postgres.listener_url()?, postgres.store.clone())).await??;
            read_all(stage.subscribe((0..subscribed).map(|n| format!("customer:{n}")))?, |_| ())?;
            let drain = Drain(stage);
            let mut all = Vec::new();
            for _ in 0..rounds {
                all.push(drain.round(&postgres, &sql, fill, events).await?);
            }
            ours.spawn(drain.0.stop()).await?;
            report(&format!("{name}, {subscribed} subscribed"), events, &all);
        }
    }
    drop(sql);
    postgres.remove()
}

/// One client on each of the first channels.
struct Drain(Stage);

struct Round {
    wall_s: f64,
    postgres_ns: u64,
    ours_ns: u64,
    shards_ns: u64,
    copy: Floor,
    select: Floor,
}

struct Floor {
    wall_s: f64,
    postgres_ns: u64,
    ours_ns: u64,
}

impl Drain {
    /// Fills the log while the listener is locked out, reads the rows the plain way, then lets it in.
    async fn round(&self, postgres: &Postgres, sql: &Client, fill: &str, events: usize) -> Result<Round> {
        sql.batch_execute(&format!("alter role {LISTENER} nologin")).await?;
        sql.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", &[&LISTENER]).await?;
        self.until(|status| !matches!(status, Status::Live(_))).await;
        let first: String = sql.query_one("select pg_snapshot_xmax(pg_current_snapshot())::text", &[]).await?.get(0);
        sql.batch_execute(fill).await?;
        let copy = floor(postgres, &first, true, events).await?;
        let select = floor(postgres, &first, false, events).await?;

        let rows = self.0.router.stats().rows.load(Relaxed);
        let (ours, shards, start) = (threads_ns("ours")?, threads_ns("hub-")?, Instant::now());
        sql.batch_execute(&format!("alter role {LISTENER} login")).await?;
        while self.0.router.stats().rows.load(Relaxed) < rows + events as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let wall_s = start.elapsed().as_secs_f64();
        while self.0.hub.stats().fifo_items > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (ours_ns, shards_ns) = (threads_ns("ours")? - ours, threads_ns("hub-")? - shards);
        let live = self.until(|status| matches!(status, Status::Live(_))).await;
        let Status::Live(live) = live else { return Err("waited for it".into()) };
        let postgres_ns = process_ns(live.backend_pid);
        Ok(Round { wall_s, postgres_ns, ours_ns, shards_ns, copy, select })
    }

    async fn until(&self, wanted: impl FnMut(&Status) -> bool) -> Status {
        self.0.listener.status().wait_for(wanted).await.expect("the listener runs").clone()
    }
}

/// The same rows, thrown away. On a runtime of its own, whose thread is all that is counted.
async fn floor(postgres: &Postgres, first: &str, copy: bool, events: usize) -> Result<Floor> {
    let url = postgres.server.url("postgres");
    let rows = format!(
        "select id, xid, at, source, op, new, old, matched, channel, event from rowcast.event \
          where xid >= '{first}' order by id"
    );
    let read = thread::Builder::new().name("floor".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = spine::connect(&url).await?;
            client.batch_execute("set jit = off; set enable_seqscan = off; set enable_bitmapscan = off").await?;
            let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await?.get(0);
            let statement = client.prepare(&rows).await?;
            let (ours, theirs, start) = (threads_ns("floor")?, process_ns(pid), Instant::now());
            let mut count = 0;
            if copy {
                let data = client.copy_out(&format!("copy ({rows}) to stdout (format binary)")).await?;
                let mut data = std::pin::pin!(data);
                while let Some(piece) = data.next().await {
                    // One message a row, but for the end.
                    count += usize::from(piece?.len() > 2);
                }
            } else {
                let none: [i32; 0] = [];
                let mut data = std::pin::pin!(client.query_raw(&statement, none).await?);
                while let Some(row) = data.next().await {
                    row?;
                    count += 1;
                }
            }
            let (wall_s, ours_ns) = (start.elapsed().as_secs_f64(), threads_ns("floor")? - ours);
            if count < events {
                return Err(format!("{count} of {events} rows").into());
            }
            Ok(Floor { wall_s, postgres_ns: process_ns(pid) - theirs, ours_ns })
        })
    })?;
    tokio::task::spawn_blocking(move || read.join()).await?.map_err(|_| "the floor panicked")?
}

fn report(name: &str, events: usize, rounds: &[Round]) {
    let of = |figure: &dyn Fn(&Round) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
    let us = |ns: u64| ns as f64 / events as f64 / 1e3;
    println!(
        "{name:<34} {:>9.0} {:>6.2} {:>6.2} | {:>8} {:>8.2} {:>6.2} {:>6.2}",
        of(&|r| events as f64 / r.wall_s),
        of(&|r| r.copy.wall_s / r.wall_s),
        of(&|r| r.select.wall_s / r.wall_s),
        "",
        of(&|r| us(r.postgres_ns)),
        of(&|r| us(r.ours_ns)),
        of(&|r| us(r.shards_ns)),
    );
    for (name, floor) in
        [("  floor: copy binary", (|r| &r.copy) as fn(&Round) -> &Floor), ("  floor: select", |r| &r.select)]
    {
        println!(
            "{name:<34} {:>9.0} {:>6} {:>6} | {:>8} {:>8.2} {:>6.2}",
            of(&|r| events as f64 / floor(r).wall_s),
            "",
            "",
            "",
            of(&|r| us(floor(r).postgres_ns)),
            of(&|r| us(floor(r).ours_ns)),
        );
    }
}
