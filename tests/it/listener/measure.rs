//! Numbers, not checks: run with
//! `cargo test --release --test it listener::measure -- --ignored --nocapture --test-threads=1`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rowcast::listener::Config;
use sqlx::Connection;

use super::{Tap, beltless, make_notes};
use crate::kit::{OwnCluster, TestDb};

const WRITERS: u64 = 8;
const SECONDS: u64 = 4;

/// Commits at a steady rate from eight connections. From the moment that the insert is sent: how long until it was
/// committed (what the writer waits), and until its row was in the feed.
async fn at_rate(db: &TestDb<'_>, config: Config, per_s: u64) -> String {
    let mut tap = Tap::live(config, &db.url()).await;
    let (sent, waits) = (Arc::new(Mutex::new(HashMap::new())), Arc::new(Mutex::new(Vec::new())));
    let begin = Instant::now() + Duration::from_millis(300);
    for writer in 0..WRITERS {
        let mut connection = db.connect().await;
        let (sent, waits) = (sent.clone(), waits.clone());
        tokio::spawn(async move {
            for i in (writer..per_s * SECONDS).step_by(WRITERS as usize) {
                tokio::time::sleep_until((begin + Duration::from_secs_f64(i as f64 / per_s as f64)).into()).await;
                let now = Instant::now();
                sent.lock().expect("no panic").insert(i.to_string(), now);
                let insert = sqlx::query("insert into note values ($1)").bind(i.to_string());
                insert.execute(&mut connection).await.expect("inserts");
                waits.lock().expect("no panic").push(now.elapsed());
            }
            connection.close().await.expect("closes");
        });
    }
    let mut latencies = Vec::new();
    while latencies.len() < (per_s * SECONDS) as usize {
        let feed = tap.feed.recv().await.expect("the listener runs");
        let now = Instant::now();
        let before = tap.stream.rows.len();
        tap.stream.take(feed);
        for row in &tap.stream.rows[before..] {
            let body = String::from_utf8_lossy(row.new.as_deref().expect("a body")).trim_matches('"').to_owned();
            latencies.push(now - sent.lock().expect("no panic")[&body]);
        }
    }
    let stats = tap.stats();
    tap.handle.shutdown().await;
    let waits = waits.lock().expect("no panic").clone();
    format!(
        "feed p50 {:6.2} p99 {:6.2} ms | writer p50 {:6.2} p99 {:6.2} ms | rings {:5} arms {:4} releases {:3} drains {:6} of {:3} us",
        percentile(&mut latencies, 50),
        percentile(&mut latencies, 99),
        percentile(&mut waits.clone(), 50),
        percentile(&mut waits.clone(), 99),
        stats.rings,
        stats.arms,
        stats.bell_releases,
        stats.drains,
        stats.drain_us / stats.drains,
    )
}

fn percentile(of: &mut [Duration], percent: usize) -> f64 {
    of.sort();
    of[(of.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn commit_to_feed() {
    let durable = [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")];
    for (name, settings) in [("fsync on", &durable[..]), ("fsync off", &[])] {
        let cluster = OwnCluster::with(settings);
        let db = TestDb::on(&cluster).await;
        make_notes(&db).await;
        for per_s in [10, 50, 100, 200, 500, 1_000] {
            for (policy, wake_rings_per_s) in
                [("polls", 0), ("default", Config::default().wake_rings_per_s), ("armed", 1_000_000)]
            {
                let told = at_rate(&db, Config { wake_rings_per_s, ..beltless() }, per_s).await;
                eprintln!("{name:9} {per_s:5}/s {policy:8} {told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn rows_per_second() {
    let cluster = OwnCluster::start();
    let db = TestDb::on(&cluster).await;
    make_notes(&db).await;
    for bytes in [50, 1_000] {
        for rows in [2_000, 20_000, 200_000] {
            let mut tap = Tap::live(beltless(), &db.url()).await;
            let mut writer = db.connect().await;
            super::run(
                &mut writer,
                &format!("begin; insert into note select repeat('x', {bytes}) from generate_series(1, {rows})"),
            )
            .await;
            tap.caught_up().await;
            let start = Instant::now();
            super::run(&mut writer, "commit").await;
            tap.until("all", |stream| stream.rows.len() == rows).await;
            let took = start.elapsed();
            eprintln!("{rows:7} rows of {bytes:5} bytes: {took:?}, {:.0} rows/s", rows as f64 / took.as_secs_f64());
            tap.handle.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn empty_drains() {
    let cluster = OwnCluster::start();
    let db = TestDb::on(&cluster).await;
    make_notes(&db).await;
    let mut holder = db.connect().await;
    super::run(&mut holder, "select pg_advisory_lock_shared(1381257, 1)").await; // never asleep
    let mut tap = Tap::live(Config { arm_backoff_ms_max: 2, ..beltless() }, &db.url()).await;
    let mut open = db.connect().await;
    for name in ["idle", "200,000 uncommitted rows open"] {
        let (start, before) = (Instant::now(), tap.stats());
        while start.elapsed() < Duration::from_secs(3) {
            let _ = tokio::time::timeout(Duration::from_millis(50), async {
                tap.stream.take(tap.feed.recv().await.expect("runs"))
            })
            .await;
        }
        let stats = tap.stats();
        let (drains, us) = (stats.drains - before.drains, stats.drain_us - before.drain_us);
        eprintln!("{name}: {drains} drains of {} us", us / drains);
        super::run(&mut open, "begin; insert into note select 'x' from generate_series(1, 200000)").await;
    }
    tap.handle.shutdown().await;
}
