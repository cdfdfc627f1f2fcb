//! Changes at a given rate, each with a number of its own: when its statement was sent, and when its commit was
//! answered. The clock decides when the next one is due, not the answer to the last: a server that falls behind is
//! seen to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::BenchError;
use super::ground::{Ground, all};

pub struct Ticker {
    /// Each with a row of its own: they never wait for each other.
    clients: Vec<Arc<Client>>,
    next: u64,
}

/// One change. Times in microseconds since the epoch that the ticker was given.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    pub n: u64,
    pub sent_us: u64,
    pub committed_us: u64,
}

/// What a run of the ticker came to.
pub struct Ticks {
    /// In the order of their numbers.
    pub all: Vec<Tick>,
    pub per_s: f64,
}

impl Ticker {
    pub async fn new(ground: &Ground, writers: usize, durable: bool) -> Result<Self, BenchError> {
        let mut clients = Vec::with_capacity(writers);
        for _ in 0..writers {
            let client = ground.connect().await?;
            if !durable {
                client.batch_execute(include_str!("../../sql/bench/async.sql")).await?;
            }
            clients.push(Arc::new(client));
        }
        Ok(Self { clients, next: 1 })
    }

    /// `count` changes at `per_s`, or as many as can be made in twice the time.
    pub async fn run(&mut self, count: u64, per_s: f64, epoch: Instant) -> Result<Ticks, BenchError> {
        let (first, step) = (self.next, self.clients.len() as u64);
        let began = Instant::now();
        let until = began + Duration::from_secs_f64(2.0 * count as f64 / per_s);
        let done = all(self.clients.iter().cloned().enumerate().map(|(row, client)| async move {
            let update = client.prepare(include_str!("../../sql/bench/tick.sql")).await?;
            let mut ticks = Vec::new();
            for k in (row as u64..count).step_by(step as usize) {
                tokio::time::sleep_until((began + Duration::from_secs_f64(k as f64 / per_s)).into()).await;
                if Instant::now() > until {
                    break;
                }
                let n = first + k;
                let sent_us = since(epoch);
                client.execute(&update, &[&(row as i32), &(n as i64)]).await?;
                ticks.push(Tick { n, sent_us, committed_us: since(epoch) });
            }
            Ok(ticks)
        }))
        .await?;
        let took = began.elapsed().as_secs_f64().max(count as f64 / per_s);
        let mut all: Vec<Tick> = done.into_iter().flatten().collect();
        all.sort_unstable_by_key(|tick| tick.n);
        self.next = first + count;
        Ok(Ticks { per_s: all.len() as f64 / took, all })
    }
}

impl Ticks {
    pub fn find(&self, n: u64) -> Option<&Tick> {
        self.all.binary_search_by_key(&n, |tick| tick.n).ok().map(|at| &self.all[at])
    }
}

pub fn since(epoch: Instant) -> u64 {
    epoch.elapsed().as_micros() as u64
}
