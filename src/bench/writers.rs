//! What watching a table costs those who write to it: the same statement on the unwatched and the watched table, turn by
//! turn, so that whatever else the machine does meets both.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::figures::median;
use super::ground::{Ground, all};
use super::marker::Marker;
use super::report::Writers;
use super::{Agenda, BenchError};

/// Rounds are long enough for the doorbell to settle, and as many as then fit.
const SLICE: Duration = Duration::from_millis(500);
const ROUNDS_MIN: u32 = 3;
const ROUNDS_MAX: u32 = 9;
/// Of a slice, before commits are counted: a server that slept is being woken.
const WARMS_UP: u32 = 5;
const ROWS_PER_WRITER: i64 = 100;

pub async fn measure(agenda: &Agenda<'_>, ground: &Ground, marker: &Marker) -> Result<Vec<Writers>, BenchError> {
    let mut measured = Vec::new();
    for &count in &agenda.plan.writers {
        let name =
            format!("{count} {}: an unwatched and a watched table", if count == 1 { "writer" } else { "writers" });
        agenda.begin(&name, agenda.plan.lasts);
        measured.push(with(count, agenda.plan.lasts, ground, marker).await?);
    }
    Ok(measured)
}

async fn with(count: usize, lasts: Duration, ground: &Ground, marker: &Marker) -> Result<Writers, BenchError> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(ground.connect().await?);
    }
    let rounds = ((lasts.as_millis() / (2 * SLICE).as_millis()) as u32).clamp(ROUNDS_MIN, ROUNDS_MAX);
    let slice = lasts / (2 * rounds);
    let (mut plain, mut watched, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first is for caches and is not counted.
    for round in 0..=rounds {
        let mut rates = [0.0; 2];
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let (rate, back) = slice_of(clients, ["plain", "watched"][which], slice).await?;
            (rates[which], clients) = (rate, back);
            marker.settle().await?;
        }
        if round > 0 {
            plain.push(rates[0]);
            watched.push(rates[1]);
            ratios.push(rates[1] / rates[0]);
        }
    }
    let of = |values: &mut Vec<f64>| median(values).expect("there were rounds");
    Ok(Writers {
        writers: count,
        unwatched_per_s: of(&mut plain),
        watched_per_s: of(&mut watched),
        ratio: of(&mut ratios),
    })
}

/// All of them write for so long; their commits in a second, and the sessions back.
async fn slice_of(clients: Vec<Client>, path: &str, lasts: Duration) -> Result<(f64, Vec<Client>), BenchError> {
    let mut ready = Vec::with_capacity(clients.len());
    for client in clients {
        client.execute(include_str!("../../sql/bench/path.sql"), &[&path]).await?;
        let update = client.prepare(include_str!("../../sql/bench/update_one.sql")).await?;
        ready.push((client, update));
    }
    let began = Instant::now();
    let counts_from = lasts / WARMS_UP;
    let done = all(ready.into_iter().enumerate().map(|(n, (client, update))| async move {
        let first = 1 + n as i64 * ROWS_PER_WRITER;
        let (mut commits, mut counted) = (0, 0);
        // One at least: a commit may take longer than a short slice.
        while counted == 0 || began.elapsed() < lasts {
            client.execute(&update, &[&(first + commits % ROWS_PER_WRITER)]).await?;
            commits += 1;
            counted += i64::from(began.elapsed() > counts_from);
        }
        Ok((counted, client))
    }))
    .await?;
    let took = (began.elapsed() - counts_from).as_secs_f64();
    let commits: i64 = done.iter().map(|(commits, _)| commits).sum();
    Ok((commits as f64 / took, done.into_iter().map(|(_, client)| client).collect()))
}
