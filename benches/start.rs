//! How long the spine takes to start with many watched routes, and what they weigh: the configuration's queries, and
//! listener, router and hub until the first barrier has passed.
//!
//!     cargo bench --bench start -- [routes, default 10000]
//!
//! Linux only: it reads /proc.
#![allow(clippy::disallowed_methods, reason = "a bench is the surroundings")]

mod spine;

use std::time::Instant;

use rowcast::listener::Config;
use tokio_postgres::Client;

use spine::{Postgres, Result, Stage, median};

const TABLES: usize = 100;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Result<()> {
    let most = std::env::args().skip(1).find_map(|a| a.parse::<usize>().ok()).unwrap_or(10_000);
    let postgres = Postgres::start("bench-start", false).await?;
    let sql = postgres.connect().await?;
    let begun = Instant::now();
    for n in 0..TABLES {
        let table = format!(
            "create table t{n} (id bigint primary key, body text); select rowcast.watch('t{n}', 't{n}:{{id}}')"
        );
        sql.batch_execute(&table).await?;
    }
    println!("watch() of a table: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3 / TABLES as f64);
    println!("medians of {ROUNDS} starts\n\nroutes  queries ms  start ms  kB of ours");
    for routes in [TABLES, most / 10, most] {
        fill(&sql, routes).await?;
        let (mut queries, mut starts, mut kilobytes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let read = (postgres.store.routes().await?, postgres.store.families().await?);
            queries.push(begun.elapsed().as_secs_f64() * 1e3);
            assert_eq!(read.0.len(), routes.max(TABLES));
            drop(read);
            let (before, begun) = (resident_kb()?, Instant::now());
            let stage = Stage::start(Config::default(), postgres.listener_url()?, postgres.store.clone()).await?;
            starts.push(begun.elapsed().as_secs_f64() * 1e3);
            kilobytes.push(resident_kb()?.saturating_sub(before) as f64);
            stage.stop().await;
        }
        println!("{routes:>6} {:>11.1} {:>9.1} {:>11.0}", median(&queries), median(&starts), kilobytes[0]);
    }
    drop(sql);
    postgres.remove()
}

/// Up to so many, as `watch` would write them: it makes the table's capture function anew each time, which is not what is
/// measured here.
async fn fill(sql: &Client, routes: usize) -> Result<()> {
    let fill = format!(
        "insert into rowcast.route (source, template, operations, read_sql, since)
           select source, replace(template, ':', format('_%s:', n)), operations, read_sql, since
             from (select * from rowcast.route order by id limit {TABLES}) watched, generate_series(1, {most}) n
             where not exists (select from rowcast.route r
                                where r.source = watched.source and r.template = replace(watched.template, ':', format('_%s:', n)))",
        most = routes / TABLES - 1,
    );
    Ok(sql.batch_execute(&fill).await?)
}

fn resident_kb() -> Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    Ok(pages.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 4)
}
