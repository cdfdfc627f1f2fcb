//! Changes of one table, everybody who follows it: rows inserted at a rate, one transaction each, through Postgres, the real
//! server, and real sockets. Latency runs from before the INSERT is sent until a client has the frame.

use std::fmt::Write as _;
use std::time::Duration;

use super::Result;
use super::clients::{Clients, Hello, Report, now_us};
use super::fanout::request;
use super::measure::cpu_ns;
use super::program::{Database, token};

const SECONDS: u64 = 10;
const WRITERS: u64 = 8;
const TARGET_MS: f64 = 250.0;
/// Subscribers, changes a second.
const MATRIX: [(usize, u64); 3] = [(500, 1000), (5000, 100), (10_000, 50)];

const SQL: &str = "
    create table ticks (id bigint generated always as identity primary key, sent_us bigint not null, symbol text, price numeric);
    select rowcast.watch('ticks', 'ticks');
    select rowcast.define_access('ticks', everyone => true);
";

pub fn run(args: &[String]) -> Result<()> {
    let mut cells = MATRIX.to_vec();
    if !args.is_empty() {
        let parse = |a: &String| -> Result<(usize, u64)> {
            let (subscribers, rate) = a.split_once(':').ok_or("subscribers:changes_per_s")?;
            Ok((subscribers.parse()?, rate.parse()?))
        };
        cells = args.iter().map(parse).collect::<Result<_>>()?;
    }
    let database = Database::start(true, SQL)?;
    println!(
        "\n{SECONDS} s each, {WRITERS} writers, durable commits; ms from before the INSERT; target: p95 below {TARGET_MS} ms\n"
    );
    println!(
        "| subscribers | changes/s wanted | made | frames/s | missing | p50 | p95 | p99 | p95 until all have it | server CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (subscribers, rate) in cells {
        one(&database, subscribers, rate)?;
    }
    Ok(())
}

fn one(database: &Database, subscribers: usize, rate: u64) -> Result<()> {
    let program = database.serve(&[("ROWCAST_SCHEDULER_ENABLED", "false")])?;
    let mut lines = String::new();
    for user in 0..subscribers {
        let request = request("/ws", &format!("Authorization: Bearer {}\r\n", token(user)?));
        let frames = vec![r#"{"type":"subscribe","channel":"ticks"}"#.to_owned()];
        writeln!(lines, "{}", serde_json::to_string(&Hello { request, frames })?)?;
    }
    let file = std::env::temp_dir().join(format!("rowcast-hello-{}", std::process::id()));
    std::fs::write(&file, lines)?;
    let mut clients = Clients::start(program.port, subscribers, Some((&file, 3)))?;
    clients.ready()?;
    std::fs::remove_file(&file)?;
    let changes = rate * SECONDS;
    clients.expect_changes(changes as usize)?;
    let cpu = cpu_ns(program.pid())?;
    let took = database.runtime.block_on(write(database, changes, rate))?;
    // Whatever has not come by then has missed its time by far.
    super::clients::pause_ms(2000);
    clients.enough()?;
    let report: Report = serde_json::from_str(&clients.answer()?)?;
    let cpu = (cpu_ns(program.pid())? - cpu) as f64 / 1e9 / took.as_secs_f64();
    println!(
        "| {subscribers} | {rate} | {:.0} | {:.0} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} % |",
        changes as f64 / took.as_secs_f64(),
        report.delivered as f64 / took.as_secs_f64(),
        report.missing,
        report.p50_ms,
        report.p95_ms,
        report.p99_ms,
        report.all_p95_ms,
        cpu * 100.0
    );
    Ok(())
}

/// Each writer its share of the changes, at its share of the rate, whatever the last one took.
async fn write(database: &Database, changes: u64, rate: u64) -> Result<Duration> {
    let start = tokio::time::Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let pool = database.pool.clone();
        writers.spawn(async move {
            for n in (writer..changes).step_by(WRITERS as usize) {
                tokio::time::sleep_until(start + Duration::from_micros(n * 1_000_000 / rate)).await;
                let insert = sqlx::query("insert into ticks (sent_us, symbol, price) values ($1, 'BX', 149.90)");
                insert.bind(now_us() as i64).execute(&pool).await?;
            }
            Ok::<_, sqlx::Error>(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    Ok(start.elapsed())
}
