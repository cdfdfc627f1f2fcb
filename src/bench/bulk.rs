//! Statements that write many rows: what capture by row (the default) and by statement (`bulk => true`) cost them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio_postgres::{Client, CopyInSink};

use super::figures::median;
use super::ground::Ground;
use super::marker::Marker;
use super::report::Bulk;
use super::{Agenda, BenchError};

/// As the schemas in sql/bench/schema.sql.
const TABLES: [&str; 3] = ["plain", "watched", "bulk"];
const UPDATED_ROWS: u64 = 1_000;
/// For short runs fewer rows are copied: a second must do for some rounds.
const COPIED_ROWS_PER_S: u64 = 20_000;
const COPIED_ROWS_MAX: u64 = 100_000;
const ROUNDS_MIN: usize = 3;

#[derive(Clone, Copy)]
enum Work<'a> {
    Update,
    Copy(&'a Bytes),
}

pub async fn measure(agenda: &Agenda<'_>, ground: &Ground, marker: &Marker) -> Result<Vec<Bulk>, BenchError> {
    let lasts = agenda.plan.lasts;
    let client = ground.connect().await?;
    agenda.begin("one UPDATE of 1,000 rows", lasts);
    let update = rounds(&client, marker, lasts, Work::Update).await?;
    let rows = (COPIED_ROWS_PER_S as f64 * lasts.as_secs_f64()).min(COPIED_ROWS_MAX as f64) as u64;
    let lines = lines(rows);
    agenda.begin(&format!("one COPY of {rows} rows"), lasts);
    let copy = rounds(&client, marker, lasts, Work::Copy(&lines)).await?;
    Ok(vec![result("update", UPDATED_ROWS, update), result("copy", rows, copy)])
}

/// Milliseconds of each table, turn by turn.
async fn rounds(
    client: &Client,
    marker: &Marker,
    lasts: Duration,
    work: Work<'_>,
) -> Result<[Vec<f64>; 3], BenchError> {
    let mut times = [const { Vec::new() }; 3];
    let began = Instant::now();
    for round in 0.. {
        if round > ROUNDS_MIN && began.elapsed() >= lasts {
            break;
        }
        for n in 0..TABLES.len() {
            let which = (n + round) % TABLES.len();
            client.execute(include_str!("../../sql/bench/path.sql"), &[&TABLES[which]]).await?;
            let took = once(client, work).await?;
            // The first round is for caches.
            if round > 0 {
                times[which].push(took.as_secs_f64() * 1_000.0);
            }
            marker.settle().await?;
        }
    }
    Ok(times)
}

async fn once(client: &Client, work: Work<'_>) -> Result<Duration, BenchError> {
    match work {
        Work::Update => {
            let update = client.prepare(include_str!("../../sql/bench/update_many.sql")).await?;
            let began = Instant::now();
            client.execute(&update, &[]).await?;
            Ok(began.elapsed())
        }
        Work::Copy(lines) => {
            let copy = client.prepare(include_str!("../../sql/bench/copy.sql")).await?;
            let began = Instant::now();
            let sink: CopyInSink<Bytes> = client.copy_in(&copy).await?;
            tokio::pin!(sink);
            sink.send(lines.clone()).await?;
            sink.finish().await?;
            let took = began.elapsed();
            client.batch_execute(include_str!("../../sql/bench/empty.sql")).await?;
            Ok(took)
        }
    }
}

/// In the format of COPY.
fn lines(rows: u64) -> Bytes {
    let mut text = String::with_capacity(rows as usize * 110);
    for id in 1..=rows {
        let _ = writeln!(text, "{id}\t0\tcustomer {}\topen\t{}.50\t{}", id % 997, id % 1_000, "n".repeat(60)); // a String takes it
    }
    text.into()
}

fn result(statement: &'static str, rows: u64, mut times: [Vec<f64>; 3]) -> Bulk {
    // Of each round on its own, as with the writers: what disturbs a round disturbs all of it.
    let ratio = |of: usize| {
        let mut ratios: Vec<f64> = times[0].iter().zip(&times[of]).map(|(plain, other)| plain / other).collect();
        median(&mut ratios).expect("there were rounds")
    };
    let (watched_ratio, by_statement_ratio) = (ratio(1), ratio(2));
    let [unwatched_ms, watched_ms, by_statement_ms] =
        times.each_mut().map(|times| median(times).expect("there were rounds"));
    Bulk { statement, rows, unwatched_ms, watched_ms, by_statement_ms, watched_ratio, by_statement_ratio }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_is_compared_with_itself() {
        let bulk = result("update", 1_000, [vec![1.0, 10.0, 2.0], vec![2.0, 20.0, 4.0], vec![1.0, 20.0, 2.0]]);
        assert_eq!((bulk.watched_ratio, bulk.by_statement_ratio), (0.5, 1.0));
        assert_eq!((bulk.unwatched_ms, bulk.watched_ms, bulk.by_statement_ms), (2.0, 4.0, 2.0));
        assert_eq!(lines(2).iter().filter(|b| **b == b'\n').count(), 2);
    }
}
